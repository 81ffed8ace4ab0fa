//! Segments in a directory of the file system.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, IoSlice, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cache_core::{Error, ErrorKind, Result};

use super::{Files, SegmentFile, SegmentName};
use crate::sync::lock;

/// A directory that one process has locked. Owned by the user alone: the directory is made with the
/// mode 0700, files with 0600. Files that are no segments are never touched.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    hash_key: [u8; 16],
    /// `None` once the directory was given free.
    locked: Mutex<Option<File>>,
}

impl Directory {
    /// Opens and locks the directory at `path`, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// `Config`, with what is wrong and what can be done.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let wrong = |what: String| {
            Error::new(ErrorKind::Config, format!("the disk tier's directory {path:?} {what}"))
        };
        // The process may change its working directory later.
        let path = &std::path::absolute(path)
            .map_err(|error| wrong("is no path".into()).with_source(error))?;
        make_private_dir(path)
            .map_err(|error| wrong("cannot be made".into()).with_source(error))?;
        let meta = fs::symlink_metadata(path)
            .map_err(|error| wrong("cannot be looked at".into()).with_source(error))?;
        if !meta.is_dir() {
            let kind = if meta.is_symlink() { "a symbolic link" } else { "no directory" };
            return Err(wrong(format!("is {kind}: name the directory itself")));
        }
        if is_writable_by_others(&meta) {
            return Err(wrong(
                "can be written by other users, who could change what is cached: \
                 make it private (chmod 700), \
                 or name a new folder in it, which is made private"
                    .into(),
            ));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(windows)]
        std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 0);
        let mut file = private(&mut options)
            .open(path.join(LOCK))
            .map_err(|error| wrong("is not writable".into()).with_source(error))?;
        try_lock(&file).map_err(|error| {
            wrong(
                "is in use by another cache, in this process or another one: \
                 give each its own directory"
                    .into(),
            )
            .with_source(error)
        })?;
        let hash_key = read_or_write_key(&mut file).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => wrong(
                "was written by a newer release in another format: \
                 use that release, or another directory"
                    .into(),
            ),
            _ => wrong("cannot be written".into()).with_source(error),
        })?;
        Ok(Self { path: path.to_owned(), hash_key, locked: Mutex::new(Some(file)) })
    }

    fn path_of(&self, name: SegmentName) -> PathBuf {
        self.path.join(name.to_string())
    }
}

impl Files for Directory {
    fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    fn list(&self) -> io::Result<Vec<SegmentName>> {
        list(&self.path)
    }

    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        Ok(Arc::new(Segment(private(&mut options).open(self.path_of(name))?)))
    }

    fn open(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        Ok(Arc::new(Segment(private(&mut options).open(self.path_of(name))?)))
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        fs::remove_file(self.path_of(name))
    }

    fn unlock(&self) {
        if let Some(file) = lock(&self.locked).take() {
            // Closing would not do: a process that is just being started has a copy of the file.
            unlock(&file);
        }
    }
}

/// Reads the directory's key, or writes a new one into an empty file.
fn read_or_write_key(file: &mut File) -> io::Result<[u8; 16]> {
    let mut bytes = Vec::new();
    file.take(LOCK_LEN as u64 + 1).read_to_end(&mut bytes)?;
    // After damage a new key is made, with which the old segments are foreign.
    if let Some(key) = parse_key(&bytes)? {
        return Ok(key);
    }
    let random = || RandomState::new().build_hasher().finish().to_le_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random());
    key[8..].copy_from_slice(&random());
    let bytes = [&MAGIC[..], &key, &checksum(&key)].concat();
    file.set_len(0)?;
    io::Seek::rewind(file)?;
    file.write_all(&bytes)?;
    Ok(key)
}

/// Returns the key in the bytes of the lock file; `None` if they are damaged.
///
/// # Errors
///
/// `Unsupported` for the file of a newer release.
fn parse_key(bytes: &[u8]) -> io::Result<Option<[u8; 16]>> {
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    let (format, ours) = (magic[7], MAGIC[7]);
    if magic[..7] == MAGIC[..7] && format > ours {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let (key, sum) = rest.split_at(rest.len().min(16));
    let key = <[u8; 16]>::try_from(key).ok();
    Ok(key.filter(|key| magic == MAGIC && sum == checksum(key)))
}

/// Returns the key of the directory at `path`, without a lock and without changing anything;
/// `None` if there is none.
pub(crate) fn key_of(path: &Path) -> io::Result<Option<[u8; 16]>> {
    let bytes = match open_to_read(&path.join(LOCK)) {
        Ok((file, _)) => {
            let mut bytes = Vec::new();
            file.take(LOCK_LEN as u64 + 1).read_to_end(&mut bytes)?;
            bytes
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    parse_key(&bytes)
}

/// Returns the names of the segments in the directory at `path`. Other files are left out.
pub(crate) fn list(path: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for file in fs::read_dir(path)? {
        names.extend(file?.file_name().to_str().and_then(SegmentName::parse));
    }
    Ok(names)
}

/// Opens a file to read it alone. Returns its length too. Not through a symbolic link, and nothing
/// that is no file: a pipe would be waited for.
pub(crate) fn open_to_read(path: &Path) -> io::Result<(File, u64)> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut options = OpenOptions::new();
    let file = private(options.read(true)).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

fn checksum(key: &[u8; 16]) -> [u8; 8] {
    xxhash_rust::xxh3::xxh3_64(key).to_le_bytes()
}

#[derive(Debug)]
struct Segment(File);

#[cfg(unix)]
impl SegmentFile for Segment {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A length that is out of all reason is an error, not an abort.
        bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            let limited = &mut bytes;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(limited), at) {
                Ok(0) => break,
                Ok(_) => bytes.truncate(len),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }

    #[cfg(target_os = "linux")]
    fn read_cached_at(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        use rustix::io::{ReadWriteFlags, preadv2};

        // Says EAGAIN where a byte is not in the page cache, and fewer bytes where some are not.
        let fill = |bytes: &mut [u8], at| {
            let parts = &mut [io::IoSliceMut::new(bytes)];
            let read = preadv2(&self.0, parts, at, ReadWriteFlags::NOWAIT);
            read.is_ok_and(|read| read == bytes.len()).then_some(())
        };
        // A long buffer is not made in vain.
        if len > PROBED_ABOVE {
            fill(&mut [0], offset + len as u64 - 1)?;
        }
        let mut bytes = vec![0; len];
        fill(&mut bytes, offset)?;
        Some(bytes)
    }

    fn write_at(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut rest: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = rest.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match rustix::io::pwritev(&self.0, &rest[..rest.len().min(PARTS_MAX)], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(windows)]
impl SegmentFile for Segment {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        use std::os::windows::fs::FileExt as _;

        let (mut bytes, mut read) = (vec![0; len], 0);
        while read < len {
            match self.0.seek_read(&mut bytes[read..], offset + read as u64)? {
                0 => break,
                n => read += n,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write_at(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        use std::os::windows::fs::FileExt as _;

        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                match self.0.seek_write(rest, offset)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => {
                        offset += n as u64;
                        rest = &rest[n..];
                    }
                }
            }
        }
        Ok(())
    }
}

/// Files are made for their owner alone, and are not opened through a symbolic link.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

fn is_writable_by_others(meta: &fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        meta.mode() & 0o022 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = meta;
        false
    }
}

/// Locks the file for this process and handle alone. On Windows it was opened so.
fn try_lock(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    let _ = file;
    Ok(())
}

/// Gives the file free. If that fails, closing it does so.
fn unlock(file: &File) {
    #[cfg(unix)]
    let _ = rustix::fs::flock(file, rustix::fs::FlockOperation::Unlock);
    let _ = file;
}

#[cfg(target_os = "linux")]
const PROBED_ABOVE: usize = 128 << 10;
const LOCK: &str = "object-cache.lock";
/// The last byte is the format's version.
const MAGIC: &[u8; 8] = b"OCDLOCK\x01";
const LOCK_LEN: usize = 8 + 16 + 8;
/// The most parts of one call (`IOV_MAX`).
#[cfg(unix)]
const PARTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stays_the_same_if_the_working_directory_changes() {
        let made = tempfile::tempdir_in(".").unwrap();
        let relative = Path::new(made.path().file_name().unwrap());
        assert!(relative.is_relative());
        let directory = Directory::open(relative).unwrap();
        assert!(directory.path_of(SegmentName { start: 0, number: 0 }).is_absolute());
    }

    #[test]
    fn a_directory_is_free_although_a_forked_process_has_its_lock_file_open() {
        let made = tempfile::tempdir().unwrap();
        let directory = Directory::open(made.path()).unwrap();
        // As a forked process has it: another descriptor of the same open file.
        let forked = lock(&directory.locked).as_ref().unwrap().try_clone().unwrap();
        assert!(Directory::open(made.path()).is_err());
        directory.unlock();
        assert!(Directory::open(made.path()).is_ok());
        drop(forked);
    }
}
