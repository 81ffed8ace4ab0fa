//! `cargo xtask peers`: this cache and its peers through the same races.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask peers
    Runs races through this cache and others and prints a table in Markdown. Fails if this cache
    loses one.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --profile bench --package benches --bin peers", args)
}
