//! Writing results. A file appears whole or not at all.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use crate::Result;

/// The target folder of cargo, found by its marker file above this program.
pub(crate) fn target_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// Writes the file and creates its folders. The complete file is renamed to its place.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let fault = |error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    let name = path.file_name().ok_or_else(|| format!("{}: names no file", path.display()))?;
    let draft = path.with_file_name(format!(".{}.{}", name.display(), process::id()));
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&draft);
    }
    Ok(written.map_err(fault)?)
}
