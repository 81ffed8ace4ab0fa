//! `cargo xtask soak`: two nodes under load for minutes.

use std::{env, process::ExitCode};

use crate::shell::{Result, built, ended};

pub(crate) const USAGE: &str = "\
cargo xtask soak --minutes M [--json FILE] [--seed N]
    Runs two nodes over an S3 server with faults and cancels reads. Fails if anything is left at
    the end, or if memory has grown.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let mut soak = built("build --profile bench --package benches --bin soak --locked")?;
    // The run measures the memory that the cache keeps, not that which the arenas of the C library
    // do not return. docs/reliability.md has both.
    if env::var_os(ARENAS).is_none() {
        soak.env(ARENAS, "1");
    }
    ended(soak.args(args))
}

/// The number of heaps of a process in glibc. The default is eight for each core, and none fills
/// the holes of another.
const ARENAS: &str = "MALLOC_ARENA_MAX";
