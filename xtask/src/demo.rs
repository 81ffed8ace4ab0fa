//! `cargo xtask demo`: two nodes over a slow origin, live. The program is the package `demo`.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask demo [--seconds N] [--plain] [--svg FILE]    two nodes over an origin 40 ms away, live in the terminal: f switches
                                         freshness, k kills the origin or brings it back, q quits; --plain plays
                                         a script and prints lines; fails if a read was stale or torn";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --release --package demo --bin demo", args)
}
