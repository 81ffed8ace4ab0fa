//! One process over a store and a change bus: see the library.

#![forbid(unsafe_code)]

mod faulty;
mod reader;
mod writer;

use std::{
    io::{BufRead as _, Write as _},
    process::ExitCode,
    sync::Arc,
    thread,
};

use bus_nodes::{Command, Line, Role, Setup};
use cache_bus_nats::NatsBus;
use cache_bus_redis::RedisBus;
use cache_facade::{BusStats, ChangeBus, Namespace, ObjectCache, ObjectCacheBuilder};
use tokio::sync::mpsc;

const USAGE: &str = "usage: bus-nodes SETUP, a `Setup` as JSON; `cargo test -p bus-nodes` does it";

fn main() -> ExitCode {
    let Some(argument) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&argument) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bus-nodes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(argument: &str) -> Result<(), String> {
    let setup: Setup =
        serde_json::from_str(argument).map_err(|error| format!("{error}; {USAGE}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let commands = commands();
        match &setup.role {
            Role::Writer(role) => writer::run(&setup, role, commands).await,
            Role::Reader(role) => reader::run(&setup, role, commands).await,
        }
    })
}

/// Returns the commands of the standard input. They end with it.
fn commands() -> mpsc::UnboundedReceiver<Command> {
    let (sender, commands) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let sent = match serde_json::from_str(&line) {
                Ok(command) => sender.send(command).is_ok(),
                Err(error) => {
                    say(&Line::Failed(format!("{line}: {error}")));
                    true
                }
            };
            if !sent {
                return;
            }
        }
    });
    commands
}

/// Returns the bus at the address of `setup`.
fn bus(setup: &Setup, buffer: Option<usize>) -> Result<Arc<dyn ChangeBus>, String> {
    let namespace = namespace(setup);
    let bus: cache_facade::Result<Arc<dyn ChangeBus>> = if setup.bus.starts_with("nats:") {
        let mut builder = NatsBus::builder(setup.bus.clone(), namespace);
        if let Some(messages) = buffer {
            builder = builder.buffer(messages);
        }
        builder.build().map(|bus| Arc::new(bus) as _)
    } else {
        let mut builder = RedisBus::builder(setup.bus.clone(), namespace);
        if let Some(messages) = buffer {
            builder = builder.buffer(messages);
        }
        builder.build().map(|bus| Arc::new(bus) as _)
    };
    bus.map_err(|error| error.to_string())
}

/// Returns a cache of the store of `setup`, to be completed.
fn cache(setup: &Setup, bus: Arc<dyn ChangeBus>) -> Result<ObjectCacheBuilder, String> {
    Ok(ObjectCache::builder(setup.store.open()?).namespace(namespace(setup)).bus(bus))
}

fn namespace(setup: &Setup) -> Namespace {
    Namespace::named(&setup.namespace)
}

/// Prints a line. A process whose output is closed has no use.
fn say(line: &Line) {
    let mut text = serde_json::to_string(line).expect("a line is JSON");
    text.push('\n');
    if std::io::stdout().lock().write_all(text.as_bytes()).is_err() {
        std::process::exit(1);
    }
}

fn say_stats(stats: Option<BusStats>) {
    let stats = stats.unwrap_or_default();
    say(&Line::Stats { sequence_gaps: stats.sequence_gaps, all: format!("{stats:?}") });
}
