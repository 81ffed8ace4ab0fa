//! What only `MemoryBackend` does.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use cache_core::{
    Admission, Backend, Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment,
    RemovalCause, Slot,
};
use cache_policy::{Lru, MemoryBackend, Ttl};

use crate::support::{
    at, done, entry, entry_with, expiring, hold, insert, looking, memory, polled, recount, remove,
    totals,
};

type DropIt = fn(&dyn Backend);

#[test]
fn bodies_are_freed_without_a_lock() {
    let ways: &[(&str, DropIt)] = &[
        ("replaced", |backend| hold(backend, &entry("a", 1))),
        ("refused", |backend| assert_ne!(insert(backend, &entry("a", 1 << 20)), Admission::Stored)),
        ("evicted", |backend| hold(backend, &entry("b", 1))),
        ("removed", |backend| assert!(remove(backend, "a"))),
        ("cleared", |backend| done(backend.clear()).unwrap()),
        ("expired", |backend| done(backend.sweep(at(10))).unwrap()),
    ];
    for &(way, drop_it) in ways {
        let backend = memory(Ttl::new(Lru::new()), 1, 1 << 20, Some(1));
        let (body, saw) = looking(&backend);
        let span = Some(std::time::Duration::from_nanos(10));
        hold(&*backend, &entry_with("a", body, at(0), span));
        drop_it(&*backend);
        assert_eq!(saw.try_recv(), Ok(true), "{way}");
    }
}

#[test]
fn what_is_inserted_at_once_is_shown_when_the_call_returns() {
    let backend = memory(Lru::new(), 1, 1 << 20, None);
    let (old, new) = (entry("a", 1), entry("a", 2));
    drop((*backend).insert(old.clone()));
    assert!(backend.get_now("a").is_none(), "an insert that was never polled has an effect");
    for entry in [old, new] {
        assert_eq!(backend.insert_now(entry.clone()).unwrap(), Admission::Stored);
        assert!(backend.get_now("a").unwrap().is_same(&entry));
    }
}

#[test]
fn under_pressure_the_expired_leave_first_and_count_as_such() {
    let backend =
        MemoryBackend::builder(Ttl::new(Lru::new())).shards(1).max_entries(2).build().unwrap();
    let _ = insert(&backend, &entry("old", 1));
    let _ = insert(&backend, &expiring("expired", 1, 0, 10));
    let _ = insert(&backend, &expiring("new", 1, 10, 10));
    assert_eq!(recount(&backend, ["old", "new"]), 2);
    assert_eq!(totals(&backend), (0, 1, 0));
}

/// First in, first out, and tells how many each shard holds.
#[derive(Default)]
struct Told {
    shards: Arc<Mutex<Vec<usize>>>,
    shard: usize,
    slots: VecDeque<Slot>,
}

impl Told {
    fn tell(&self) {
        self.shards.lock().expect("nobody panicked")[self.shard] = self.slots.len();
    }
}

impl EvictionPolicy for Told {
    fn for_shard(&self, _: &Limits) -> Self {
        let mut shards = self.shards.lock().expect("nobody panicked");
        shards.push(0);
        Self { shards: Arc::clone(&self.shards), shard: shards.len() - 1, slots: VecDeque::new() }
    }
    fn on_insert(&mut self, slot: Slot, _: &EntryInfo) {
        self.slots.push_back(slot);
        self.tell();
    }
    fn on_update(&mut self, _: Slot, _: &EntryInfo) {}
    fn on_hit(&self, _: Slot) {}
    fn on_remove(&mut self, slot: Slot, _: RemovalCause) {
        self.slots.retain(|held| *held != slot);
        self.tell();
    }
    fn victim(&mut self, _: Moment, _: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        self.slots.front().copied()
    }
}

#[test]
fn shards_are_kept_even() {
    let shards = Arc::default();
    let backend =
        memory(Told { shards: Arc::clone(&shards), ..Told::default() }, 8, 64 << 20, Some(160));
    for n in 0..3000 {
        hold(&*backend, &entry(&format!("key/{n}"), 1));
    }
    let shards = shards.lock().unwrap();
    assert_eq!((shards.len(), shards.iter().sum::<usize>()), (8, 160));
    assert!(shards.iter().all(|held| (19..=21).contains(held)), "{shards:?}");
}

/// `n` entries with short keys, of which those with odd numbers have expired at 10.
fn fill(backend: &dyn Backend, n: usize) -> Vec<String> {
    let keys: Vec<_> = (0..n).map(|n| format!("key/{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        hold(backend, &expiring(key, 10, 0, if n % 2 == 1 { 10 } else { 100 }));
    }
    keys
}

#[test]
fn a_clear_shows_nothing_from_its_first_step_on_and_lets_others_run() {
    for shards in [1, 8] {
        let backend = memory(Ttl::new(Lru::new()), shards, u64::MAX, None);
        let keys = fill(&*backend, 10_000);
        let mut clear = backend.clear();
        let mut context = Context::from_waker(Waker::noop());
        assert!(clear.as_mut().poll(&mut context).is_pending());
        assert_eq!(recount(&*backend, keys.iter().map(String::as_str)), 0);
        // What comes now stays.
        let later = entry("key/1", 10);
        hold(&*backend, &later);
        let ((), n) = polled(async { clear.await.unwrap() });
        assert!((30..50).contains(&n), "{n} steps");
        assert!(backend.get_now("key/1").unwrap().is_same(&later));
        assert_eq!(recount(&*backend, keys.iter().map(String::as_str)), 1);
    }
}

#[test]
fn a_clear_frees_what_it_took_also_if_it_is_dropped() {
    let backend = memory(Lru::new(), 1, u64::MAX, None);
    let entries: Vec<_> = (0..1000).map(|n| entry(&format!("key/{n}"), 10)).collect();
    let bodies: Vec<_> = entries.iter().map(|entry| entry.body().clone()).collect();
    entries.iter().for_each(|entry| hold(&*backend, entry));
    drop(entries);
    let mut clear = backend.clear();
    assert!(clear.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let n_freed = || bodies.iter().filter(|body| body.is_unique()).count();
    assert_eq!(n_freed(), 256, "in a step");
    drop(clear);
    assert_eq!(n_freed(), 1000);
}

#[test]
fn a_sweep_drops_all_that_has_expired_and_lets_others_run() {
    for shards in [1, 8] {
        let backend = memory(Ttl::new(Lru::new()), shards, u64::MAX, None);
        let keys = fill(&*backend, 10_000);
        let (swept, n) = polled(backend.sweep(at(10)));
        swept.unwrap();
        assert_eq!(n, 5000 / 256);
        assert_eq!(recount(&*backend, keys.iter().map(String::as_str)), 5000);
        assert_eq!(totals(&*backend), (0, 5000, 0));
    }
}
