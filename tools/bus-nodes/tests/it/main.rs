//! Processes over a real store and a real bus, with every read checked against a ledger of the
//! writes: the store is moto or azurite, the bus Redis or NATS. The bus is killed, paused and cut,
//! writers die, readers stall.
//!
//! Left out, with a word, where a server is missing: see `cargo xtask servers`.

mod pair;
mod proxy;
mod scenarios;
mod scene;
#[path = "../../../../crates/cache-bus-redis/tests/it/server.rs"]
mod server;

use std::thread;

use pair::{AZURITE_AND_NATS, MOTO_AND_REDIS, Pair};
use scenarios::SCENARIOS;
use scene::Scene;

#[test]
fn over_moto_and_redis() {
    play(MOTO_AND_REDIS);
}

#[test]
fn over_azurite_and_nats() {
    play(AZURITE_AND_NATS);
}

/// Plays all scenarios at a time: most of their time is waiting for a proof to end.
fn play(pair: Pair) {
    if !pair.is_there() {
        return;
    }
    let failed: Vec<_> = thread::scope(|scope| {
        let threads = SCENARIOS.map(|(name, scenario)| {
            let thread = thread::Builder::new().name(format!("{}: {name}", pair.name));
            let started = thread.spawn_scoped(scope, move || {
                if let Some(mut scene) = Scene::new(pair, name) {
                    scenario(&mut scene);
                }
            });
            (name, started.expect("a thread"))
        });
        threads.into_iter().filter_map(|(name, thread)| thread.join().err().map(|_| name)).collect()
    });
    assert!(failed.is_empty(), "{}: failed: {}", pair.name, failed.join("; "));
}
