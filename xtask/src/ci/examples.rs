//! Every example runs, as the README runs them: from the root, with the default features. So does
//! the demo.

use std::{fs, io, path::Path};

use crate::shell::{Result, cargo, root, run};

pub(super) fn check() -> Result<()> {
    let mut names = Vec::new();
    for package in fs::read_dir(root().join("crates"))? {
        names.extend(examples_in(&package?.path().join("examples"))?);
    }
    if names.is_empty() {
        return Err("no example found under crates/*/examples".into());
    }
    names.sort();
    names
        .iter()
        .try_for_each(|name| run(&mut cargo(&format!("run --quiet --locked --example {name}"))))?;
    // It fails if a read was wrong, or if readers, caches and origin have not counted the same.
    run(&mut cargo("run --quiet --locked --package demo -- --plain --seconds 3"))?;
    // It fails if an object cost more than one 304 after the restart.
    run(&mut cargo("run --quiet --locked --package demo -- --disk"))
}

fn examples_in(folder: &Path) -> Result<Vec<String>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    let examples = paths.iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    Ok(examples.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}
