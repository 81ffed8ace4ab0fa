//! `cargo xtask soak`: two nodes under load for minutes.

use std::{env, process::ExitCode};

use crate::shell::{Result, built, ended};

pub(crate) const USAGE: &str = "\
cargo xtask soak --minutes M [--json FILE] [--seed N]
    Runs two nodes over an S3 server with faults and cancels reads. Fails if anything is left at
    the end, or if memory has grown.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let mut soak = built("bench --package benches --bench soak --no-run --locked")?;
    // What is looked at is what the cache keeps, not what the C library's arenas do not give back. docs/reliability.md has both.
    if env::var_os(ARENAS).is_none() {
        soak.env(ARENAS, "1");
    }
    ended(soak.args(args))
}

/// Into how many heaps glibc deals a process's memory. By default eight for each core, and none fills another's holes.
const ARENAS: &str = "MALLOC_ARENA_MAX";
