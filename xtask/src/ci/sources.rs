//! The files of the repository, as the checks read them.

use std::fs;

use crate::shell::{Result, command, output, root};

pub(super) struct Source {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// Every text file that git knows or would add.
pub(super) fn sources() -> Result<Vec<Source>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = output(command("git").args(list))?;
    // A file that is not text, or was deleted but not yet committed, has no lines to look at.
    let read = |path: &str| {
        Some(Source { path: path.to_owned(), text: fs::read_to_string(root().join(path)).ok()? })
    };
    let sources: Vec<_> = listed.lines().filter_map(read).collect();
    if sources.is_empty() { Err("git lists no file".into()) } else { Ok(sources) }
}
