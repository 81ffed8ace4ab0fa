//! The change bus, and a list that validates, measured.

mod apply;
mod hits;
mod latency;
mod prefix;
mod reconnect;
mod servers;

use std::{process::ExitCode, sync::Arc};

use cache_core::{ChangeBus, Namespace, Result};
use cache_testkit::LocalBus;
use tokio::runtime::Runtime;

use self::servers::Server;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    writes: usize,
    messages: usize,
    hits: u64,
    rounds: usize,
    entries: usize,
}

const FULL: Size =
    Size { writes: 2_000, messages: 200_000, hits: 2_000_000, rounds: 9, entries: 1_000_000 };
const QUICK: Size = Size { writes: 20, messages: 2_000, hits: 10_000, rounds: 2, entries: 10_000 };

/// Runs the parts that are named, or all.
pub fn run(args: &[String]) -> ExitCode {
    let size = if args.iter().any(|arg| arg == "--quick") { QUICK } else { FULL };
    let parts: Vec<_> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|arg| *arg == part);
    match all(is_wanted, size) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn all(is_wanted: impl Fn(&str) -> bool, size: Size) -> Result<()> {
    let runtime = runtime();
    if is_wanted("hits") {
        hits::measure(&runtime, size)?;
    }
    if is_wanted("prefix") {
        prefix::measure(&runtime, size)?;
    }
    if is_wanted("reconnect") {
        reconnect::measure(&runtime, size)?;
    }
    let local: Arc<dyn ChangeBus> = Arc::new(LocalBus::new());
    let mut buses = vec![("in-process", local, None)];
    for server in [Server::redis(), Server::nats()] {
        match server {
            Ok(server) => buses.push((server.name, server.bus(&runtime)?, Some(server))),
            Err(reason) => println!("left out: {reason}"),
        }
    }
    for (name, bus, _server) in &buses {
        if is_wanted("apply") {
            runtime.block_on(apply::measure(name, bus, size))?;
        }
        if is_wanted("latency") {
            runtime.block_on(latency::measure(name, bus, size))?;
        }
    }
    Ok(())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn namespace() -> Namespace {
    Namespace::named("benches/bus")
}
