//! `cargo xtask demo`: two nodes over a slow origin, live. The program is the package `demo`.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask demo [--seconds N] [--plain] [--svg FILE]    two nodes over an origin 40 ms away, live in the terminal: keys
                                         switch freshness and kill the origin; see the package's --help";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --release --package demo --bin demo", args)
}
