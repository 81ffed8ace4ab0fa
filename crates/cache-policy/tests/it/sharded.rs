//! What only `MemoryBackend` does.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, Weak, mpsc},
};

use bytes::Bytes;
use cache_core::{Admission, Backend, Cost, EvictionPolicy, Held, Limits, Moment, Pressure, Removal, Slot};
use cache_policy::{Lru, MemoryBackend, Ttl};

use crate::world::{at, done, entry, entry_with, expiring, hold, insert, memory, recount, remove, totals};

/// A body that, when freed, looks whether another thread could look something up meanwhile.
struct Looks {
    backend: Arc<OnceLock<Weak<dyn Backend>>>,
    seen: mpsc::Sender<bool>,
}

impl AsRef<[u8]> for Looks {
    fn as_ref(&self) -> &[u8] {
        b"body"
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        let Some(backend) = self.backend.get().and_then(Weak::upgrade) else { return };
        let (sender, looked) = mpsc::channel();
        std::thread::spawn(move || {
            backend.peek("other");
            sender.send(()).ok();
        });
        // The wait ends by itself only when the test fails.
        self.seen.send(looked.recv_timeout(std::time::Duration::from_secs(10)).is_ok()).ok();
    }
}

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
        let (seen, saw) = mpsc::channel();
        let weak = Arc::new(OnceLock::new());
        let backend = memory(Ttl::new(Lru::new()), 1, 1 << 20, Some(1));
        weak.set(Arc::downgrade(&backend)).unwrap();
        let body = Bytes::from_owner(Looks { backend: weak, seen });
        let span = Some(std::time::Duration::from_nanos(10));
        hold(&*backend, &entry_with("a", body, at(0), span));
        drop_it(&*backend);
        assert_eq!(saw.try_recv(), Ok(true), "{way}");
    }
}

#[test]
fn under_pressure_the_expired_leave_first_and_count_as_such() {
    let backend = MemoryBackend::builder(Ttl::new(Lru::new())).shards(1).max_entries(2).build().unwrap();
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
    fn on_insert(&mut self, slot: Slot, _: &Cost) {
        self.slots.push_back(slot);
        self.tell();
    }
    fn on_update(&mut self, _: Slot, _: &Cost) {}
    fn on_hit(&self, _: Slot) {}
    fn on_remove(&mut self, slot: Slot, _: Removal) {
        self.slots.retain(|held| *held != slot);
        self.tell();
    }
    fn victim(&mut self, _: Moment, _: Pressure, _: &dyn Held) -> Option<Slot> {
        self.slots.front().copied()
    }
}

#[test]
fn shards_are_kept_even() {
    let shards = Arc::default();
    let backend = memory(Told { shards: Arc::clone(&shards), ..Told::default() }, 8, 64 << 20, Some(160));
    for n in 0..3000 {
        hold(&*backend, &entry(&format!("key/{n}"), 1));
    }
    let shards = shards.lock().unwrap();
    assert_eq!((shards.len(), shards.iter().sum::<usize>()), (8, 160));
    assert!(shards.iter().all(|held| (19..=21).contains(held)), "{shards:?}");
}
