//! `cargo xtask soak`: two nodes under load for minutes.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask soak --minutes M [--json FILE] [--seed N]    two nodes, an S3 server with faults, storms of cancelled
                                         reads; fails if anything is left at its end, or memory has grown";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("bench --package benches --bench soak --no-run", args)
}
