//! `cargo xtask demo`: two nodes over a slow store, live. The program is the package `demo`.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask demo [--seconds N] [--plain] [--svg FILE]
    Two nodes over a store 40 ms away, live in the terminal; every read is checked.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --release --package demo --bin demo", args)
}
