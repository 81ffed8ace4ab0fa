//! A feature adds API and never changes what existing code does: so each crate must build without
//! any, with each one alone, and pass its tests with all of them.

use super::tree::{Package, crates};
use crate::shell::{Result, cargo, run};

/// Lints the library of every crate without features, then with each feature alone.
pub(super) fn alone() -> Result<()> {
    for package in crates()? {
        for features in alone_sets(&package) {
            let args =
                format!("clippy --package {} --no-default-features {features}", package.name);
            run(&mut cargo(&format!("{args} --quiet --locked -- -D warnings")))?;
        }
    }
    Ok(())
}

/// Tests the crates that have features with all of them. The tests that need a server run if its
/// environment variables are set: see `cargo xtask servers`.
pub(super) fn test() -> Result<()> {
    let with_features = crates()?.into_iter().filter(|package| !package.features.is_empty());
    let packages: Vec<_> =
        with_features.map(|package| format!("--package {}", package.name)).collect();
    run(&mut cargo(&format!("test {} --all-features --locked", packages.join(" "))))
}

fn alone_sets(package: &Package) -> Vec<String> {
    let each = package.features.iter().map(|feature| format!("--features {feature}"));
    std::iter::once(String::new()).chain(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_feature_is_the_first_set() {
        let package =
            Package { name: "a".to_owned(), features: vec!["x".to_owned(), "y".to_owned()] };
        assert_eq!(alone_sets(&package), ["", "--features x", "--features y"]);
    }
}
