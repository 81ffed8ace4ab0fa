//! Which entries a memory backend reports when they leave it.

use std::{
    collections::BTreeSet,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use cache_core::{
    Admission, Backend, Deadlines, Entry, EntryInfo, EvictionPolicy, EvictionReason, Limits,
    Moment, Rejection, RemovalCause, Slot,
};
use cache_policy::{Adaptive, Lru, Objective, Ttl};

use crate::{
    large::{N, Refuses, capacity, full, keys, large},
    support::{at, done, entry, entry_with, expiring, hold, insert, memory, remove, totals},
};

/// The entries that were reported, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Entry>>>);

impl Told {
    fn by(backend: &dyn Backend) -> Self {
        let told = Self::default();
        let entries = Arc::clone(&told.0);
        let listener = Arc::new(move |entry| entries.lock().expect(SOUND).push(entry));
        assert!(backend.on_eviction(listener));
        assert!(!backend.on_eviction(Arc::new(|_| {})), "there is one listener");
        told
    }

    /// The keys since the last call.
    fn keys(&self) -> Vec<String> {
        mem::take(&mut *self.0.lock().expect(SOUND))
            .iter()
            .map(|entry| entry.key().into())
            .collect()
    }

    /// How many there were so far, each of which is another entry.
    fn len(&self) -> u64 {
        let told = self.0.lock().expect(SOUND);
        let keys: BTreeSet<_> = told.iter().map(Entry::key).collect();
        assert_eq!(keys.len(), told.len(), "each is reported once");
        told.len() as u64
    }

    fn has(&self, key: &str) -> bool {
        self.0.lock().expect(SOUND).iter().any(|entry| entry.key() == key)
    }
}

#[test]
fn an_evicted_entry_is_reported_with_its_handle() {
    let backend = &*memory(Lru::new(), 1, 1 << 20, Some(2));
    let told = Told::by(backend);
    let entries = ["a", "b", "c"].map(|key| entry(key, 10));
    for entry in &entries {
        hold(backend, entry);
    }
    assert!(told.0.lock().unwrap()[0].is_same(&entries[0]));
    assert_eq!(told.keys(), ["a"]);
    // Those that leave by a call for their key are not.
    hold(backend, &entry("b", 20));
    remove(backend, "c");
    hold(backend, &entry("c", 20));
    assert_eq!(
        insert(backend, &entry("c", 2 << 20)),
        Admission::Rejected(Rejection::TooLarge),
        "which drops the earlier one"
    );
    done(backend.clear()).unwrap();
    assert!(told.keys().is_empty());
    // It may be evicted again under the same key.
    for key in ["a", "b", "c"] {
        assert_eq!(backend.insert_now(entry(key, 10)).unwrap(), Admission::Stored);
    }
    assert_eq!(told.keys(), ["a"]);
}

#[test]
fn expired_entries_are_reported_by_the_sweep_and_by_inserts() {
    for shards in [1, 4] {
        let backend = &*memory(Ttl::new(Lru::new()), shards, 1 << 20, Some(8));
        let told = Told::by(backend);
        for n in 0..4 {
            hold(backend, &expiring(&format!("old/{n}"), 10, 0, 5));
            hold(backend, &expiring(&format!("new/{n}"), 10, 0, 50));
        }
        done(backend.sweep(at(10))).unwrap();
        let mut keys = told.keys();
        keys.sort_unstable();
        assert_eq!(keys, ["old/0", "old/1", "old/2", "old/3"]);
        done(backend.sweep(at(10))).unwrap();
        assert!(told.keys().is_empty());
        for n in 0..5 {
            hold(backend, &expiring(&format!("late/{n}"), 10, 60, 50));
        }
        let (evicted, expired, rejected) = totals(backend);
        assert_eq!((told.len(), evicted + expired, rejected), (1, 5, 0));
        // Of several shards, the one that has to evict may have no expired entry.
        assert!(shards > 1 || expired == 5);
    }
}

#[test]
fn a_close_reports_what_is_left_and_once() {
    for shards in [1, 8] {
        let backend = &*memory(Lru::new(), shards, 1 << 20, None);
        let told = Told::by(backend);
        for n in 0..600 {
            hold(backend, &entry(&format!("key/{n}"), 10));
        }
        remove(backend, "key/7");
        done(backend.close()).unwrap();
        assert_eq!((told.len(), told.has("key/7"), backend.usage().entries), (599, false, 0));
        done(backend.close()).unwrap();
        assert_eq!(told.len(), 599);
    }
}

#[test]
fn a_rejected_newcomer_is_not_reported() {
    // The policy names the newest, which is the newcomer.
    let backend = &*memory(Refuses::after(1), 1, 1 << 20, Some(2));
    let told = Told::by(backend);
    for key in ["a", "b"] {
        hold(backend, &entry(key, 10));
    }
    for key in ["c", "a"] {
        let is_there = backend.peek(key).is_some();
        let admission = insert(backend, &entry(key, 10));
        assert_eq!(admission.is_stored(), is_there, "{key}");
    }
    assert!(matches!(
        backend.insert_now(entry("d", 10)),
        Ok(Admission::Rejected(Rejection::Policy))
    ));
    assert!(told.keys().is_empty());
}

/// Those that were evicted for a large entry, and put back when it was rejected, have not left.
#[test]
fn restored_victims_are_not_reported_but_expired_ones_are() {
    for n_expired in [0, 10] {
        let backend = memory(Ttl::new(Refuses::after(100)), 1, capacity(), None);
        for (n, key) in keys().iter().enumerate() {
            hold(&*backend, &expiring(key, 100, 0, if n < n_expired { 5 } else { 1000 }));
        }
        let told = Told::by(&*backend);
        let body = vec![0; (capacity() / 2) as usize].into();
        let large = entry_with("large", body, at(50), None);
        assert_eq!(insert(&*backend, &large), Admission::Rejected(Rejection::Policy));
        assert_eq!(told.len(), n_expired as u64);
        assert_eq!(backend.usage().entries, N - n_expired as u64);
    }
}

#[test]
fn each_step_of_a_large_insert_reports_what_it_evicted() {
    for shards in [1, 8] {
        for policy in [Adaptive::new(), Adaptive::new().optimize_for(Objective::ByteHitRatio)] {
            let backend = full(policy, shards, 0);
            let told = Told::by(&*backend);
            let (before, _, _) = totals(&*backend);
            let mut insert = (*backend).insert(large(90));
            let mut n_steps = 0;
            let admission = loop {
                let polled = insert.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                n_steps += 1;
                assert_eq!(told.len(), totals(&*backend).0 - before, "by the end of a step");
                if let Poll::Ready(admission) = polled {
                    break admission.unwrap();
                }
            };
            assert!(!told.has("large"));
            if admission == Admission::Stored {
                assert!(n_steps > 1 && told.len() > N / 2, "{n_steps} steps, {}", told.len());
            } else {
                assert_eq!(told.len(), 0);
            }
        }
    }
}

#[test]
fn a_dropped_insert_reports_its_victims_and_not_its_own_entry() {
    for polls in [0, 1, 2] {
        let backend = full(Lru::new(), 1, 0);
        let told = Told::by(&*backend);
        let mut insert = (*backend).insert(large(90));
        for _ in 0..polls {
            assert!(insert.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        drop(insert);
        assert_eq!((told.len(), told.has("large")), (totals(&*backend).0, false));
        assert_eq!(told.len() > 0, polls > 0);
    }
}

#[test]
fn an_entry_that_is_handed_back_is_not_reported() {
    let tiny: Vec<_> = (0..400).map(|n| entry(&format!("tiny/{n:03}"), 10)).collect();
    let huge = entry("huge", 6_000_000);
    let capacity = tiny.iter().chain([&huge]).map(Entry::weight).sum();
    let backend = memory(Lru::new(), 1, capacity, None);
    for entry in tiny.iter().chain([&huge]) {
        hold(&*backend, entry);
    }
    let told = Told::by(&*backend);
    let newcomer = backend.insert_now(entry("newcomer", 55_000)).unwrap_err();
    assert_eq!((told.len(), told.has("newcomer")), (totals(&*backend).0, false));
    assert!(told.len() > 256);
    hold(&*backend, &newcomer);
    assert_eq!((told.len(), told.has("newcomer")), (totals(&*backend).0, false));
}

/// It is called without a lock.
#[test]
fn a_listener_may_call_the_backend() {
    let backend = memory(Lru::new(), 1, 1 << 20, Some(2));
    let weak = Arc::downgrade(&backend);
    let kept = Arc::new(Mutex::new(false));
    let listener = {
        let kept = Arc::clone(&kept);
        Arc::new(move |left: Entry| {
            let Some(backend) = weak.upgrade() else { return };
            assert!(backend.peek(left.key()).is_none());
            // Once: it evicts another one.
            if !mem::replace(&mut *kept.lock().unwrap(), true) {
                hold(&*backend, &left);
            }
        })
    };
    assert!(backend.on_eviction(listener));
    for key in ["a", "b", "c"] {
        hold(&*backend, &entry(key, 10));
    }
    assert!(*kept.lock().unwrap() && backend.peek("a").is_some());
}

/// The entries of a shard whose policy panicked.
#[test]
fn entries_that_a_panic_costs_are_reported() {
    let backend = &*memory(PanicsAtB(Lru::new()), 1, 1 << 20, None);
    let told = Told::by(backend);
    hold(backend, &entry("a", 10));
    hold(backend, &entry("c", 1000));
    assert!(catch_unwind(AssertUnwindSafe(|| insert(backend, &entry("b", 5000)))).is_err());
    assert!(backend.peek("a").is_none());
    hold(backend, &entry("d", 10));
    let mut keys = told.keys();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c"]);
    assert!(backend.peek("d").is_some());
}

/// Panics at an entry of more than 5,000 bytes.
struct PanicsAtB(Lru);

impl EvictionPolicy for PanicsAtB {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self(self.0.for_shard(limits))
    }
    fn on_insert(&mut self, slot: Slot, info: &EntryInfo) {
        assert!(info.weight < 5000, "told to");
        self.0.on_insert(slot, info);
    }
    fn on_update(&mut self, slot: Slot, info: &EntryInfo) {
        self.0.on_update(slot, info);
    }
    fn on_hit(&self, slot: Slot) {
        self.0.on_hit(slot);
    }
    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        self.0.on_remove(slot, why);
    }
    fn victim(
        &mut self,
        now: Moment,
        reason: EvictionReason,
        deadlines: &dyn Deadlines,
    ) -> Option<Slot> {
        self.0.victim(now, reason, deadlines)
    }
}

const SOUND: &str = "no listener panics";
