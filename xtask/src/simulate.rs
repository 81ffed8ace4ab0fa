//! `cargo xtask simulate`: traces replayed through eviction policies. The program is a target of the package
//! `benches`, where the caches are that it compares with; here it is built and run.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask simulate --trace FILE…       replay traces through policies, other caches and Belady's optimum: tables,
                                         charts and figures in target/simulate; see --help";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("bench --package benches --bench simulate --no-run", args)
}
