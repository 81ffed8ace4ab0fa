//! `cargo xtask simulate-nodes`: schedules of several nodes over one origin, in virtual time. The program is an example
//! of `cache-core`, which may know the backends; here it is built and run.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run, cargo, run as sh};

pub(crate) const USAGE: &str = "\
cargo xtask simulate-nodes [--first-seed S] [--seeds N] [--nodes K] [--minutes M] [--json FILE]
                                         play generated schedules of reads, writes, faults and restarts on K nodes,
                                         and check every history; what breaks a rule is printed, shrunk";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --package cache-core --example simulate_nodes", args)
}

/// What CI plays.
pub(crate) fn check() -> Result<()> {
    let run = "run --quiet --locked --package cache-core --example simulate_nodes --";
    sh(&mut cargo(&format!("{run} --seeds 2000 --json target/simulate-nodes.json")))
}
