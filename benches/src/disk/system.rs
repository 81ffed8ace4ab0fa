//! Figures of the process and of files.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::Stopwatch;

/// Bytes that this process has passed to `write` and its kin.
pub(super) fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

/// Bytes of memory that this process has resident.
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// All files under `path`.
pub(super) fn files_under(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = item.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { &mut folders } else { &mut files }.push(item.path());
        }
    }
    files.sort_unstable();
    files
}

/// Writes all that is dirty, and drops the files under `path` from the page cache.
#[cfg(target_os = "linux")]
pub(super) fn make_cold(path: &Path) -> io::Result<()> {
    use rustix::fs::{Advice, fadvise};

    rustix::fs::syncfs(File::open(path)?)?;
    for file in files_under(path) {
        fadvise(File::open(file)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Does nothing: the files stay in the page cache.
#[cfg(not(target_os = "linux"))]
pub(super) fn make_cold(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The wall time in which `cat` reads the segments under `path`, and their bytes.
pub(super) fn cat(path: &Path) -> io::Result<(Duration, u64)> {
    let is_segment = |file: &PathBuf| file.extension().is_some_and(|it| it == "seg");
    let files: Vec<_> = files_under(path).into_iter().filter(is_segment).collect();
    let bytes = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let watch = Stopwatch::start();
    let status = Command::new("cat").args(files).stdout(Stdio::null()).status()?;
    assert!(status.success(), "cat can read the segments");
    Ok((watch.elapsed(), bytes))
}
