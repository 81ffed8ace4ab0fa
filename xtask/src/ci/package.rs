//! Every crate under `crates/` can be published: its package has what it needs, and builds from it.

use std::fs;

use crate::shell::{Result, cargo, output, root, run};

/// Packages the crates and builds each package, with the others as the registry would serve them.
pub(super) fn check() -> Result<()> {
    // Packaging looks at all of Cargo.lock, other platforms' dependencies too.
    run(&mut cargo("fetch --locked"))?;
    let packages = packages()?;
    for package in &packages {
        let list = format!("package --package {package} --list --allow-dirty --offline");
        if let Some(file) = missing(&output(&mut cargo(&list))?) {
            return Err(format!("the package of {package} has no {file}").into());
        }
    }
    let packages: Vec<_> = packages.iter().map(|name| format!("--package {name}")).collect();
    let flags = "--locked --offline --allow-dirty --target-dir target";
    let mut package = cargo(&format!("package {} {flags}", packages.join(" ")));
    // As the workspace's profile has it: dependencies that are built already are used again.
    run(package.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"))
}

/// The names of the folders under `crates/`, which are those of the packages.
fn packages() -> Result<Vec<String>> {
    let folders = fs::read_dir(root().join("crates"))?;
    let names = folders.map(|folder| Ok(folder?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    if names.is_empty() { Err("no folder under crates".into()) } else { Ok(names) }
}

const NEEDED: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];

/// The first file that a package needs and `list`, one file a line, does not have.
fn missing(list: &str) -> Option<&'static str> {
    NEEDED.into_iter().find(|needed| !list.lines().any(|file| file == *needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_its_licences_or_its_readme_is_found() {
        let list = "Cargo.toml\nLICENSE-APACHE\nLICENSE-MIT\nREADME.md\nsrc/lib.rs\n";
        assert_eq!(missing(list), None);
        for file in NEEDED {
            assert_eq!(missing(&list.replace(&format!("{file}\n"), "")), Some(file));
        }
    }
}
