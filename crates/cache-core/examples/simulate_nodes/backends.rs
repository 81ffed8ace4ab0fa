//! The backends that schedules are played over.

use std::{sync::Arc, time::Duration};

use cache_core::{Backend, Namespace, Rejection};
use cache_policy::{Lru, MemoryBackend, MokaBackend, Ttl};
use cache_testkit::{
    BackendAction, BackendCall, HookBackend, MapBackend, Random, TwoTierBackend, WaitingBackend,
    simulated_disk_tier,
};

/// A backend's name, and how it is made from the schedule's seed and the node's number.
pub(crate) type Named = (&'static str, fn(u64, usize) -> Arc<dyn Backend>);

/// In turn: one without limits; one of ours, and one of others, which evict all the time; one that
/// waits at every call; one that also refuses and fails; one of two tiers, which evicts from memory
/// all the time, and from both now and then; the disk tier over a disk that outlives restarts.
pub(crate) const BACKENDS: [Named; 7] = [
    ("map", |_, _| Arc::new(MapBackend::new())),
    ("memory", |seed, _| {
        let backend =
            MemoryBackend::builder(Ttl::new(Lru::new())).max_entries(1 + seed % 2).build();
        Arc::new(backend.expect("there is room for one entry"))
    }),
    ("moka", |seed, _| {
        let backend = MokaBackend::builder().max_capacity(500 + seed % 1_000).build();
        Arc::new(backend.expect("there is room for some bytes"))
    }),
    ("waiting", |seed, node| waiting(0, seed, node)),
    ("refusing", |seed, node| waiting(50, seed, node)),
    ("tiers", tiers),
    ("disk", disk),
];

/// Under memory that refuses half of all entries, so that many are read from disk.
fn disk(seed: u64, node: usize) -> Arc<dyn Backend> {
    let builder = MemoryBackend::builder(Ttl::new(Lru::new())).max_entries(1);
    let memory = builder.build().expect("there is room for one entry");
    let random = Random::new(seed ^ (node as u64) << 16);
    let memory = HookBackend::new(memory, move |call| match call {
        BackendCall::Insert(_) if random.index(2) == 0 => BackendAction::Reject(Rejection::Policy),
        _ => BackendAction::Proceed,
    });
    // That of every node in a simulation.
    let namespace = Namespace::named("the simulated origin");
    simulated_disk_tier(memory, namespace, seed, node, Duration::from_millis(1 + seed % 5))
}

fn tiers(seed: u64, node: usize) -> Arc<dyn Backend> {
    let memory_max = usize::try_from(seed % 3).unwrap_or(0);
    let backend =
        TwoTierBackend::new(memory_max).max_entries(if seed.is_multiple_of(4) { 2 } else { 9 });
    let seed = seed ^ (node as u64) << 16;
    Arc::new(backend.waiting(seed, Duration::from_millis(3 + seed % 15)))
}

fn waiting(spoiled: u8, seed: u64, node: usize) -> Arc<dyn Backend> {
    let latency_max = Duration::from_millis(3 + seed % 15);
    let seed = seed ^ (node as u64) << 16;
    Arc::new(WaitingBackend::new(MapBackend::new(), spoiled, seed).with_latency_max(latency_max))
}
