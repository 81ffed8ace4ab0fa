//! Tasks that only build a program and run it with their arguments.

use crate::{Task, shell::build_and_run};

pub(crate) const DEMO: Task = Task {
    name: "demo",
    usage: "\
cargo xtask demo [--seconds N] [--plain] [--svg FILE]
    Two nodes over a store 40 ms away, live in the terminal; every read is checked.
cargo xtask demo --disk
    One cache with a disk tier, closed in the middle and opened again over the same directory.",
    run: |args| build_and_run("build --release --package demo --bin demo", args),
};

pub(crate) const DISK_INSPECT: Task = Task {
    name: "disk-inspect",
    usage: "\
cargo xtask disk-inspect DIRECTORY [--entries] [--verify] [--json]
    Lists the segments in the directory of a disk tier, and verifies their checksums.",
    run: |args| build_and_run("build --release --package disk-inspect", args),
};

pub(crate) const PEERS: Task = Task {
    name: "peers",
    usage: "\
cargo xtask peers
    Runs races through this cache and others and prints a table in Markdown. Fails if this cache
    loses one.",
    run: |args| build_and_run("build --profile bench --package benches --bin peers", args),
};

pub(crate) const REPORT: Task = Task {
    name: "report",
    usage: "\
cargo xtask report
    Writes the latest results of `cargo bench`, `simulate` and `instructions` to
    target/report.html.",
    run: |args| build_and_run("build --package simulate --bin report", args),
};

pub(crate) const SIMULATE: Task = Task {
    name: "simulate",
    usage: "\
cargo xtask simulate --trace FILE…
    Replays traces through eviction policies, other caches and Belady's optimum: hit ratios,
    tables, charts.
cargo xtask simulate --trace FILE --nodes N… --freshness RULE…
    Splits a trace over N nodes with a cache each: requests a second and their cost, age and
    staleness, messages on the bus.",
    run: |args| {
        // A fleet needs none of the other caches, which take minutes to build.
        let is_fleet = args.iter().any(|arg| arg == "--nodes" || arg.starts_with("--nodes="));
        let program = if is_fleet {
            "build --profile bench --package simulate --bin fleet"
        } else {
            "build --profile bench --package benches --bin replay"
        };
        build_and_run(program, args)
    },
};
