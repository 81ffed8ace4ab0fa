//! Entries that displace a great many others: decided first, and a step at a time.

use std::{
    collections::VecDeque,
    pin::pin,
    task::{Context, Poll, Waker},
};

use cache_core::{
    Admission, Backend, Deadlines, Entry, EntryInfo, EvictionPolicy, EvictionReason, Limits,
    Moment, Rejection, RemovalCause, Slot,
};
use cache_policy::{Adaptive, Gdsf, Lru, Objective, S3Fifo, Sieve, Ttl, WTinyLfu};

use crate::support::{at, entry, expiring, hold, insert, memory, polled, recount, totals};

/// So many small entries fill it.
pub(crate) const N: u64 = 1200;

pub(crate) fn keys() -> Vec<String> {
    (0..N).map(|n| format!("k/{n:05}")).collect()
}

pub(crate) fn capacity() -> u64 {
    N * entry("k/00000", 100).weight()
}

/// A backend full of small entries, each used up to `uses` times.
pub(crate) fn full(
    policy: impl EvictionPolicy,
    shards: u64,
    uses: usize,
) -> std::sync::Arc<dyn Backend> {
    let backend = memory(policy, shards, capacity(), None);
    for key in keys() {
        let _ = insert(&*backend, &entry(&key, 100));
    }
    for (n, key) in keys().iter().enumerate() {
        for _ in 0..uses.min(n % 7) {
            backend.get_now(key);
        }
    }
    backend
}

pub(crate) fn large(share_percent: u64) -> cache_core::Entry {
    let body = (capacity() * share_percent / 100) as usize;
    entry("large", body)
}

macro_rules! for_every_policy {
    ($check:ident) => {{
        $check("Lru", &Lru::new());
        $check("Sieve", &Sieve::new());
        $check("S3Fifo", &S3Fifo::new());
        $check("WTinyLfu", &WTinyLfu::new());
        $check("Gdsf", &Gdsf::new());
        $check("Gdsf, saving bytes", &Gdsf::new().optimize_for(Objective::ByteHitRatio));
        $check("Adaptive", &Adaptive::new());
        $check("Adaptive, saving bytes", &Adaptive::new().optimize_for(Objective::ByteHitRatio));
        $check("Ttl<Adaptive>", &Ttl::new(Adaptive::new()));
        $check("refuses the 100th time", &Refuses::after(100));
        $check("refuses the 500th time", &Refuses::after(500));
    }};
}

#[test]
fn a_large_entry_displaces_nothing_if_it_is_refused() {
    fn check(name: &str, pattern: &impl EvictionPolicy) {
        for (shards, uses, percent) in
            [(1, 0, 90), (1, 6, 90), (1, 1, 10), (1, 6, 4), (1, 6, 1), (8, 6, 50)]
        {
            let policy = pattern.for_shard(&Limits::new(capacity(), u64::MAX));
            let backend = full(policy, shards, uses);
            let (before, held_before) = (backend.usage(), totals(&*backend));
            let keys = keys();
            let is_stored = insert(&*backend, &large(percent)) == Admission::Stored;
            let usage = backend.usage();
            let all = keys.iter().map(String::as_str).chain(["large"]);
            let context = format!("{name}, {shards} shards, {uses} uses, {percent} %: {usage:?}");
            assert_eq!(recount(&*backend, all), usage.entries, "{context}");
            assert_eq!(backend.get_now("large").is_some(), is_stored, "{context}");
            let (evicted, _, refused) = totals(&*backend);
            if is_stored {
                assert_eq!(
                    usage.evicted - before.evicted,
                    before.entries + 1 - usage.entries,
                    "{context}"
                );
            } else {
                assert_eq!(
                    (usage.entries, usage.bytes),
                    (before.entries, before.bytes),
                    "{context}"
                );
                assert_eq!((evicted, refused), (held_before.0, held_before.2 + 1), "{context}");
            }
            // The policy knows of each entry once.
            for n in 0..N / 4 {
                let _ = insert(&*backend, &entry(&format!("l/{n:05}"), 100));
            }
            assert!(backend.usage().bytes <= capacity(), "{context}");
        }
    }
    for_every_policy!(check);
}

#[test]
fn a_large_entry_displaces_a_few_others_at_a_time() {
    fn check(name: &str, pattern: &impl EvictionPolicy) {
        for shards in [1, 8] {
            let policy = pattern.for_shard(&Limits::new(capacity(), u64::MAX));
            let backend = full(policy, shards, 0);
            let mut held = backend.usage().entries;
            let mut insert = pin!((*backend).insert(large(90)));
            let mut most = 0;
            let admission = loop {
                let now = backend.usage().entries;
                most = most.max(held.saturating_sub(now));
                held = now;
                match insert.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(admission) => break admission.unwrap(),
                    Poll::Pending => {}
                }
            };
            // The first step asks the policy besides.
            assert!(most <= 2 * 256, "{name}, {shards} shards: {most} in one step");
            assert!(backend.usage().bytes <= capacity());
            if admission == Admission::Stored {
                assert!(backend.usage().entries < N / 2, "{name}");
            }
        }
    }
    for_every_policy!(check);
}

/// The steps are there for others to run between.
#[test]
fn others_run_while_a_large_entry_displaces_many() {
    let backend = full(Lru::new(), 1, 0);
    let (admission, n) = polled((*backend).insert(large(90)));
    assert_eq!(admission.unwrap(), Admission::Stored);
    assert!((2..=4).contains(&n), "{n} steps");
    assert_eq!(
        backend.usage().entries,
        recount(&*backend, keys().iter().map(String::as_str).chain(["large"]))
    );
}

/// Never polled, or not to the end.
#[test]
fn an_insert_that_is_dropped_before_there_is_room_takes_its_entry_out() {
    for polls in [0, 1, 2] {
        let backend = full(Lru::new(), 1, 0);
        let mut insert = (*backend).insert(large(90));
        for _ in 0..polls {
            assert!(insert.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        drop(insert);
        assert!(backend.get_now("large").is_none() && backend.usage().bytes <= capacity());
        let held = recount(&*backend, keys().iter().map(String::as_str));
        let (evicted, _, refused) = totals(&*backend);
        // One that was never polled has done nothing.
        assert_eq!((held + evicted, refused), (N, u64::from(polls > 0)), "after {polls} polls");
    }
}

#[test]
fn a_large_entry_without_room_is_handed_back_before_anything_leaves() {
    for shards in [1, 8] {
        let backend = full(Lru::new(), shards, 0);
        let before = backend.usage();
        let large = large(90);
        let back = backend.insert_now(large.clone()).unwrap_err();
        assert!(back.is_same(&large));
        assert_eq!(backend.usage(), before);
        assert!(backend.peek("large").is_none());
        // One that never fits needs no waiting.
        let too_large = backend.insert_now(entry("larger", 1 << 30)).unwrap();
        assert_eq!(too_large, Admission::Rejected(Rejection::TooLarge));
    }
}

/// It weighs less than four average entries, for one of them is very large.
#[test]
fn what_displaces_too_many_is_handed_back_uncounted() {
    let tiny: Vec<_> = (0..400).map(|n| entry(&format!("tiny/{n:03}"), 10)).collect();
    let huge = entry("huge", 6_000_000);
    let capacity = tiny.iter().chain([&huge]).map(Entry::weight).sum();
    let backend = memory(Lru::new(), 1, capacity, None);
    for entry in tiny.iter().chain([&huge]) {
        assert_eq!(backend.insert_now(entry.clone()).unwrap(), Admission::Stored);
    }
    let newcomer = entry("newcomer", 55_000);
    let back = backend.insert_now(newcomer.clone()).unwrap_err();
    assert!(back.is_same(&newcomer) && backend.peek("newcomer").is_none());
    let keys = || tiny.iter().map(Entry::key).chain(["huge", "newcomer"]);
    let left = recount(&*backend, keys());
    let (evicted, _, refused) = totals(&*backend);
    assert_eq!((left + evicted, refused), (401, 0));
    assert!(evicted > 256 && backend.usage().bytes <= capacity, "{evicted} have left");
    assert_eq!(insert(&*backend, &back), Admission::Stored);
    assert!(backend.peek("newcomer").unwrap().is_same(&newcomer));
    recount(&*backend, keys());
}

/// Others are inserted and removed between its steps.
#[test]
fn what_comes_and_goes_between_the_steps_of_a_large_insert_is_as_always() {
    for shards in [1, 8] {
        let backend = full(Adaptive::new().optimize_for(Objective::ByteHitRatio), shards, 0);
        let keys = keys();
        let mut large_insert = (*backend).insert(large(90));
        let mut context = Context::from_waker(Waker::noop());
        let mut n = 0;
        while large_insert.as_mut().poll(&mut context).is_pending() {
            hold_or_refuse(&*backend, &format!("between/{n}"));
            assert_eq!(
                insert(&*backend, &entry(&keys[n], 1 << 30)),
                Admission::Rejected(Rejection::TooLarge)
            );
            assert!(backend.get_now(&keys[n]).is_none());
            n += 1;
        }
        let between: Vec<_> = (0..n).map(|n| format!("between/{n}")).collect();
        let all = keys.iter().chain(&between).map(String::as_str).chain(["large"]);
        recount(&*backend, all);
    }
}

fn hold_or_refuse(backend: &dyn Backend, key: &str) {
    let is_held = insert(backend, &entry(key, 100)) == Admission::Stored;
    assert_eq!(backend.get_now(key).is_some(), is_held);
}

/// They are not put back: they were to leave anyway.
#[test]
fn what_has_expired_leaves_for_a_large_entry_also_if_that_is_refused() {
    let backend = memory(Ttl::new(Refuses::after(100)), 1, capacity(), None);
    for (n, key) in keys().iter().enumerate() {
        hold(&*backend, &expiring(key, 100, 0, if n < 10 { 5 } else { 1000 }));
    }
    let body = vec![0; (capacity() / 2) as usize].into();
    let large = crate::support::entry_with("large", body, at(50), None);
    assert_eq!(insert(&*backend, &large), Admission::Rejected(Rejection::Policy));
    assert_eq!((backend.usage().entries, totals(&*backend)), (N - 10, (0, 10, 1)));
    recount(&*backend, keys().iter().map(String::as_str));
}

/// Has the oldest leave, but of every `after` victims in a row, one is the newest.
pub(crate) struct Refuses {
    after: usize,
    n_left: usize,
    slots: VecDeque<Slot>,
}

impl Refuses {
    pub(crate) fn after(after: usize) -> Self {
        Self { after, n_left: after, slots: VecDeque::new() }
    }
}

impl EvictionPolicy for Refuses {
    fn for_shard(&self, _: &Limits) -> Self {
        Self::after(self.after)
    }
    fn on_insert(&mut self, slot: Slot, _: &EntryInfo) {
        assert!(!self.slots.contains(&slot), "it is in use");
        self.n_left = self.after;
        self.slots.push_back(slot);
    }
    fn on_restore(&mut self, slot: Slot, _: &EntryInfo) {
        assert!(!self.slots.contains(&slot), "it is in use");
        self.slots.push_back(slot);
    }
    fn on_update(&mut self, _: Slot, _: &EntryInfo) {}
    fn on_hit(&self, _: Slot) {}
    fn on_remove(&mut self, slot: Slot, _: RemovalCause) {
        let before = self.slots.len();
        self.slots.retain(|held| *held != slot);
        assert_eq!(self.slots.len() + 1, before, "it was in use");
    }
    fn victim(&mut self, _: Moment, pressure: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        if pressure == EvictionReason::Expired {
            return None;
        }
        self.n_left = self.n_left.saturating_sub(1);
        if self.n_left == 0 { self.slots.back().copied() } else { self.slots.front().copied() }
    }
}
