//! `cargo xtask simulate`: traces replayed through eviction policies. The program is in the package
//! `benches`, with the caches that it compares.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask simulate --trace FILE…
    Replays traces through eviction policies, other caches and Belady's optimum: hit ratios,
    tables, charts.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --profile bench --package benches --bin replay", args)
}
