//! `cargo test --workspace` builds neither the benchmarks nor a peer: only `cargo bench` does.
//! `benches/Cargo.toml` says how that is done.

use std::collections::BTreeSet;

use crate::shell::{Result, cargo, output};

/// Asks cargo what those tests are built from. Builds them first if that has not been done.
pub(super) fn check() -> Result<()> {
    let messages =
        output(&mut cargo("test --workspace --no-run --quiet --locked --message-format json"))?;
    let built = built(&messages);
    if !built.contains("cache-core") {
        return Err("cargo did not say what it built".into());
    }
    match BENCH_ONLY.iter().find(|name| built.contains(**name)) {
        None => {
            println!("{} packages, none of {}", built.len(), BENCH_ONLY.join(", "));
            Ok(())
        }
        Some(name) => {
            Err(format!("cargo test --workspace builds {name}; see benches/Cargo.toml").into())
        }
    }
}

/// The package of the benchmarks, and dependencies that only it has.
const BENCH_ONLY: [&str; 6] =
    ["benches", "criterion", "foyer", "foyer-memory", "quick_cache", "redb"];

/// The names of the packages in cargo's JSON messages. A package's id ends in `/name#version` or
/// `#name@version`.
fn built(messages: &str) -> BTreeSet<&str> {
    let ids = messages.split(r#""package_id":""#).skip(1).filter_map(|rest| rest.split('"').next());
    ids.filter_map(name_of).collect()
}

fn name_of(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_in_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","package_id":"registry+https://index#criterion@0.8.2","fresh":true}
            {"reason":"compiler-artifact","package_id":"path+file:///x/crates/cache-core#0.1.0","target":{}}"#;
        assert_eq!(built(messages), BTreeSet::from(["cache-core", "criterion"]));
    }
}
