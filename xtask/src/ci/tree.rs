//! What `cargo tree` says: packages, their features, what they depend on.

use crate::shell::{Result, cargo, output};

/// A crate of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// Without `default`.
    pub(super) features: Vec<String>,
}

/// The crates under `crates/`, by name.
pub(super) fn crates() -> Result<Vec<Package>> {
    let all = "tree --workspace --exclude xtask --exclude benches --exclude simulate \
        --all-features --depth 0";
    Ok(parse(&lines(all, "{p}|{f}")?))
}

/// What `package` needs to be built, with all features, itself included.
pub(super) fn dependencies(package: &str) -> Result<String> {
    lines(
        &format!("tree --package {package} --all-features --edges normal,build --target all"),
        "{p}",
    )
}

/// What the crates that are shipped need to be built, as `name version|licence`.
pub(super) fn licences() -> Result<String> {
    let all = "tree --workspace --exclude benches --all-features --edges normal,build --target all";
    lines(all, "{p}|{l}")
}

fn lines(args: &str, format: &str) -> Result<String> {
    output(cargo(args).args(["--locked", "--prefix", "none", "--format", format]))
}

fn parse(tree: &str) -> Vec<Package> {
    let of_line = |line: &str| {
        let (package, features) = line.split_once('|')?;
        Some(Package {
            name: package.split(' ').next()?.to_owned(),
            features: features
                .split(',')
                .filter(|feature| !matches!(*feature, "" | "default"))
                .map(ToOwned::to_owned)
                .collect(),
        })
    };
    tree.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_with_their_features() {
        let tree = "cache-core v0.1.0 (/x)|\n\ncache-store v0.1.0 (/y)|aws,default,fs\n";
        let package = |name: &str, features: &[&str]| Package {
            name: name.to_owned(),
            features: features.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            parse(tree),
            [package("cache-core", &[]), package("cache-store", &["aws", "fs"])]
        );
    }
}
