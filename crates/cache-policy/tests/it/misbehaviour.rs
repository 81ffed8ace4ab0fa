//! Policies that break their contract cost entries, and nothing else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cache_core::{
    Admission, Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, Rejection,
    RemovalCause, Slot,
};

use crate::support::{
    at, done, entry, entry_with, expiring, hold, insert, looking, memory, recount, remove, totals,
};

/// Names what it was told to, whatever is held.
#[derive(Clone, Copy)]
struct Names(Option<Slot>);

impl EvictionPolicy for Names {
    fn for_shard(&self, _: &Limits) -> Self {
        *self
    }
    fn on_insert(&mut self, _: Slot, _: &EntryInfo) {}
    fn on_update(&mut self, _: Slot, _: &EntryInfo) {}
    fn on_hit(&self, _: Slot) {}
    fn on_remove(&mut self, _: Slot, _: RemovalCause) {}
    fn victim(&mut self, _: Moment, _: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        self.0
    }
}

#[test]
fn a_policy_that_names_nobody_or_a_free_slot_does_not_break_the_limits() {
    for named in [None, Some(Slot::new(1000)), Some(Slot::new(u32::MAX)), Some(Slot::new(0))] {
        for shards in [1, 4] {
            let backend = &*memory(Names(named), shards, 1 << 20, Some(5));
            let keys: Vec<_> = (0..50).map(|n| format!("key/{n}")).collect();
            for key in &keys {
                let _ = insert(backend, &entry(key, 10));
                assert!(recount(backend, keys.iter().map(String::as_str)) <= 5);
            }
            assert_eq!(backend.usage().entries, 5, "{named:?}");
        }
    }
}

#[test]
fn a_policy_that_names_nobody_does_not_get_the_newcomer_refused() {
    let backend = &*memory(Names(None), 1, 1 << 20, Some(2));
    for n in 0..20 {
        hold(backend, &entry(&format!("key/{n}"), 10));
    }
    assert_eq!(totals(backend), (18, 0, 0));
}

#[test]
fn what_a_policy_wrongly_calls_expired_stays() {
    let backend = &*memory(Names(Some(Slot::new(0))), 1, 1 << 20, None);
    let _ = insert(backend, &expiring("a", 10, 0, 100));
    done(backend.sweep(at(99))).unwrap();
    assert_eq!(recount(backend, ["a"]), 1);
    done(backend.sweep(at(100))).unwrap();
    assert_eq!(recount(backend, ["a"]), 0);
    done(backend.sweep(at(100))).unwrap();
    assert_eq!(totals(backend), (0, 1, 0));
}

/// Names the newcomer, whoever it is: an admission filter that lets nobody in.
#[derive(Default)]
struct Closed(Slots);

type Slots = Vec<Slot>;

impl EvictionPolicy for Closed {
    fn for_shard(&self, _: &Limits) -> Self {
        Self::default()
    }
    fn on_insert(&mut self, slot: Slot, _: &EntryInfo) {
        self.0.push(slot);
    }
    fn on_update(&mut self, _: Slot, _: &EntryInfo) {}
    fn on_hit(&self, _: Slot) {}
    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        assert_eq!(why, RemovalCause::Rejected);
        self.0.retain(|held| *held != slot);
    }
    fn victim(&mut self, _: Moment, _: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        self.0.last().copied()
    }
}

#[test]
fn a_newcomer_that_its_policy_names_is_refused_and_counted() {
    let backend = &*memory(Closed::default(), 1, 1 << 20, Some(2));
    hold(backend, &entry("a", 10));
    hold(backend, &entry("b", 10));
    assert_eq!(insert(backend, &entry("c", 10)), Admission::Rejected(Rejection::Policy));
    assert_eq!(recount(backend, ["a", "b"]), 2);
    assert_eq!(totals(backend), (0, 0, 1));
}

/// Panics where it is told to.
struct Panics {
    at: &'static str,
    armed: Arc<AtomicBool>,
    slots: Slots,
}

impl Panics {
    fn pass(&self, at: &str) {
        assert!(at != self.at || !self.armed.load(Ordering::Relaxed), "told to");
    }
}

impl EvictionPolicy for Panics {
    fn for_shard(&self, _: &Limits) -> Self {
        Self { at: self.at, armed: Arc::clone(&self.armed), slots: Vec::new() }
    }
    fn on_insert(&mut self, slot: Slot, _: &EntryInfo) {
        self.pass("insert");
        self.slots.push(slot);
    }
    fn on_update(&mut self, _: Slot, _: &EntryInfo) {
        self.pass("update");
    }
    fn on_hit(&self, _: Slot) {
        self.pass("hit");
    }
    fn on_remove(&mut self, slot: Slot, _: RemovalCause) {
        self.pass("remove");
        self.slots.retain(|held| *held != slot);
    }
    fn victim(&mut self, _: Moment, _: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        self.pass("victim");
        self.slots.first().copied()
    }
}

#[test]
fn after_a_policys_panic_the_backend_goes_on() {
    for place in ["insert", "update", "hit", "remove", "victim"] {
        for shards in [1, 4] {
            println!("{place}, {shards} shards");
            let armed = Arc::new(AtomicBool::new(false));
            let policy = Panics { at: place, armed: Arc::clone(&armed), slots: Vec::new() };
            let backend = &*memory(policy, shards, 1 << 20, Some(3));
            let keys: Vec<_> = (0..20).map(|n| format!("key/{n}")).collect();
            for key in &keys[..3] {
                hold(backend, &entry(key, 10));
            }
            armed.store(true, Ordering::Relaxed);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                backend.get_now(&keys[0]);
                let _ = insert(backend, &entry(&keys[0], 20));
                for key in &keys[3..] {
                    let _ = insert(backend, &entry(key, 10));
                }
                remove(backend, &keys[0]);
            }));
            assert!(panicked.is_err());
            armed.store(false, Ordering::Relaxed);
            keys.iter().for_each(|key| drop(backend.get_now(key)));
            for key in &keys {
                remove(backend, key);
                hold(backend, &entry(key, 10));
                assert!(backend.get_now(key).is_some());
            }
            assert_eq!(recount(backend, keys.iter().map(String::as_str)), 3);
            for key in &keys {
                remove(backend, key);
            }
            assert_eq!(recount(backend, keys.iter().map(String::as_str)), 0);
        }
    }
}

#[test]
fn what_a_panic_leaves_behind_is_freed_without_a_lock() {
    let armed = Arc::new(AtomicBool::new(false));
    let policy = Panics { at: "insert", armed: Arc::clone(&armed), slots: Vec::new() };
    let backend = memory(policy, 1, 1 << 20, Some(3));
    let (body, saw) = looking(&backend);
    hold(&*backend, &entry_with("a", body, at(0), None));
    armed.store(true, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| insert(&*backend, &entry("b", 10)))).is_err());
    armed.store(false, Ordering::Relaxed);
    hold(&*backend, &entry("c", 10));
    assert_eq!(saw.try_recv(), Ok(true));
    assert_eq!(recount(&*backend, ["a", "b", "c"]), 1);
}
