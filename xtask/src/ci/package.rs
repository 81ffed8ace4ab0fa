//! Every crate under `crates/` can be published: its package has what it needs, and builds.
//!
//! cargo builds each package against the others as a registry would serve them, and takes them for
//! immutable, as those of a real registry are: an unpacked package, and the library built from it,
//! are used again by the next run, although the code has changed. Both are dropped first.

use std::{env, fs, path::Path};

use crate::shell::{Result, cargo, output, root, run};

/// Packages the crates and builds each package.
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
    drop_unpacked(&packages)?;
    drop_built(&packages)?;
    let packages: Vec<_> = packages.iter().map(|name| format!("--package {name}")).collect();
    let flags = "--locked --offline --allow-dirty --target-dir target";
    let mut package = cargo(&format!("package {} {flags}", packages.join(" ")));
    // As in the profile of the workspace: dependencies that are built already are used again.
    run(package.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"))
}

/// The names of the folders under `crates/`, which are those of the packages.
fn packages() -> Result<Vec<String>> {
    let mut names = names_in(&root().join("crates"));
    names.sort();
    if names.is_empty() { Err("no folder under crates".into()) } else { Ok(names) }
}

const NEEDED: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];

/// The first file that a package needs and `list`, one file a line, does not have.
fn missing(list: &str) -> Option<&'static str> {
    NEEDED.into_iter().find(|needed| !list.lines().any(|file| file == *needed))
}

/// Drops our packages that cargo has unpacked from a registry in a folder, also those of another
/// clone: cargo unpacks them again.
fn drop_unpacked(packages: &[String]) -> Result<()> {
    let home = env::var("CARGO_HOME").or_else(|_| Ok(format!("{}/.cargo", env::var("HOME")?)));
    let home: Result<String> = home;
    let sources = Path::new(&home?).join("registry/src");
    for registry in names_in(&sources).iter().filter(|name| is_local(name)) {
        let registry = sources.join(registry);
        for folder in names_in(&registry).iter().filter(|name| is_version_of(name, packages)) {
            fs::remove_dir_all(registry.join(folder))?;
        }
    }
    Ok(())
}

/// Has cargo build anew what it built from such packages.
fn drop_built(packages: &[String]) -> Result<()> {
    let target = root().join("target/debug");
    for file in names_in(&target.join("deps")) {
        let Some(unit) = unit(&file, packages) else { continue };
        let inputs = fs::read_to_string(target.join("deps").join(&file))?;
        let fingerprint = target.join(".fingerprint").join(unit);
        if is_from_local_registry(&inputs) && fingerprint.exists() {
            fs::remove_dir_all(fingerprint)?;
        }
    }
    Ok(())
}

/// None if there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A registry's folder is `HOST-HASH`; one in a folder has no host.
fn is_local(registry: &str) -> bool {
    registry.starts_with('-')
}

/// Whether a folder has `package-1.2.3`.
fn is_version_of(folder: &str, packages: &[String]) -> bool {
    let version = |package: &String| folder.strip_prefix(package.as_str())?.strip_prefix('-');
    packages
        .iter()
        .filter_map(version)
        .any(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// `cache-core-HASH`, of the dep-info file `cache_core-HASH.d`, if it is one of `packages`.
fn unit(file: &str, packages: &[String]) -> Option<String> {
    let (krate, hash) = file.strip_suffix(".d")?.rsplit_once('-')?;
    let package = packages.iter().find(|package| package.replace('-', "_") == krate)?;
    Some(format!("{package}-{hash}"))
}

fn is_from_local_registry(inputs: &str) -> bool {
    inputs.contains("/registry/src/-")
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

    #[test]
    fn only_our_packages_of_a_local_registry_are_dropped() {
        let ours = ["cache-core".to_owned()];
        assert!(is_local("-d194a795f5a8ed26") && !is_local("index.crates.io-1949cf8c6b5b557f"));
        assert!(is_version_of("cache-core-0.1.0", &ours));
        for other in ["cache-core-extra-0.1.0", "cache-0.1.0", "cache-core"] {
            assert!(!is_version_of(other, &ours), "{other}");
        }
        assert_eq!(unit("cache_core-0a1b.d", &ours).as_deref(), Some("cache-core-0a1b"));
        for other in ["cache_core-0a1b.rmeta", "cache_store-0a1b.d", "cache_core.d"] {
            assert_eq!(unit(other, &ours), None);
        }
        assert!(is_from_local_registry("x.d: /home/registry/src/-d19/cache-core-0.1.0/src/lib.rs"));
        assert!(!is_from_local_registry("x.d: crates/cache-core/src/lib.rs"));
    }
}
