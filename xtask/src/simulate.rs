//! `cargo xtask simulate`: traces replayed through eviction policies. The program is in the package
//! `benches`, with the peers that it compares with.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask simulate --trace FILE…       replay traces through policies, other caches and Belady's optimum: tables,
                                         charts and figures in target/simulate; see --help";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --profile bench --package benches --bin replay", args)
}
