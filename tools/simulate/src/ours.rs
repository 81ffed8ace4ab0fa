//! The caches under test, and ours among them.
//!
//! *By entries* a policy of ours runs in a real [`MemoryBackend`], with as many shards as its builder chooses, as a
//! user gets it: `max_entries` is the capacity, and each request is a `peek`, and an `insert` if that said no.
//!
//! *By bytes* it runs alone, in one shard, called as the contract of [`EvictionPolicy`] says, and an object weighs
//! exactly its size. In a backend an entry also weighs its key and its bookkeeping, of which a trace knows nothing,
//! and bodies as large as those of many traces would have to be held.
//!
//! The clock moves by a millisecond a request, and nothing expires. A copy weighs what the request says that fetched
//! it. A later request for the object is a hit whatever size it gives: a trace does not say when an object changed.

use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
};

use bytes::Bytes;
use cache_core::{
    Backend, Deadlines, Entry, EntryInfo, EvictionPolicy, EvictionReason, Key, Limits, Moment, RemovalCause,
    Slot,
};
use cache_policy::{Adaptive, Fifo, Gdsf, Lfu, Lru, MemoryBackend, Objective, S3Fifo, Sieve, WTinyLfu};
use futures_util::FutureExt;

use crate::{
    Result,
    setting::{Setting, Unit},
    trace::Request,
};

/// A cache under test.
pub trait Cache {
    /// Asks for the object and, if it is not held, puts it in. Whether it was held.
    fn request(&mut self, request: Request) -> bool;
}

/// A kind of cache under test.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// As in `--policy`, in tables and charts.
    pub name: &'static str,
    /// An empty one.
    pub build: fn(Setting) -> Result<Box<dyn Cache>>,
}

/// The policies of this project.
pub const OURS: &[Subject] = &[
    Subject { name: "default", build: |setting| ours(Adaptive::new(), setting) },
    Subject {
        name: "default-bytes",
        build: |setting| ours(Adaptive::new().optimize_for(Objective::ByteHitRatio), setting),
    },
    Subject { name: "lru", build: |setting| ours(Lru::new(), setting) },
    Subject { name: "fifo", build: |setting| ours(Fifo::new(), setting) },
    Subject { name: "lfu", build: |setting| ours(Lfu::new(), setting) },
    Subject { name: "sieve", build: |setting| ours(Sieve::new(), setting) },
    Subject { name: "s3-fifo", build: |setting| ours(S3Fifo::new(), setting) },
    Subject { name: "w-tiny-lfu", build: |setting| ours(WTinyLfu::new(), setting) },
    Subject { name: "gdsf", build: |setting| ours(Gdsf::new(), setting) },
    Subject { name: "gdsf-bytes", build: |setting| ours(Gdsf::saving_bytes(), setting) },
];

fn ours<P: EvictionPolicy>(policy: P, setting: Setting) -> Result<Box<dyn Cache>> {
    Ok(match setting.unit {
        Unit::Entries => Box::new(InBackend::new(policy, setting.capacity)?),
        Unit::Bytes => Box::new(Alone::new(&policy, setting)),
    })
}

/// A policy in the backend that users get.
struct InBackend<P> {
    backend: MemoryBackend<P>,
    /// Of the request; a field for its allocation.
    key: String,
    n_requests: u64,
}

impl<P: EvictionPolicy> InBackend<P> {
    fn new(policy: P, max_entries: u64) -> Result<Self> {
        let backend =
            MemoryBackend::builder(policy).max_capacity(u64::MAX).max_entries(max_entries).build()?;
        Ok(Self { backend, key: String::new(), n_requests: 0 })
    }
}

impl<P: EvictionPolicy> Cache for InBackend<P> {
    fn request(&mut self, Request { object, .. }: Request) -> bool {
        self.n_requests += 1;
        self.key.clear();
        // All keys are of one length, so that all entries weigh the same.
        write!(self.key, "{object:08x}").expect("a string can be written to");
        if self.backend.get_now(&self.key).is_some() {
            return true;
        }
        let key = Key::parse(&self.key).expect("made of hexadecimal digits");
        let entry = Entry::builder(&key, Bytes::new()).validated(moment(self.n_requests), None).build();
        let admission = self.backend.insert(entry).now_or_never();
        let _ = admission.expect("a memory backend answers at once").expect("it has no errors");
        false
    }
}

/// A policy by itself: one shard without entries.
struct Alone<P> {
    policy: P,
    setting: Setting,
    /// Of each object.
    slots: Vec<Option<Slot>>,
    /// What is in each slot, and what it weighs.
    places: Vec<Option<(u32, u64)>>,
    free: Vec<Slot>,
    weight: u64,
    hasher: RandomState,
    n_requests: u64,
}

impl<P: EvictionPolicy> Alone<P> {
    fn new(pattern: &P, setting: Setting) -> Self {
        let limits = match setting.unit {
            Unit::Entries => Limits { weight: u64::MAX, entries: setting.capacity },
            Unit::Bytes => Limits { weight: setting.capacity, entries: u64::MAX },
        };
        Self {
            policy: pattern.for_shard(&limits),
            setting,
            slots: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            weight: 0,
            hasher: RandomState::new(),
            n_requests: 0,
        }
    }

    fn insert(&mut self, object: u32, weight: u64) {
        let now = moment(self.n_requests);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            Slot::new(u32::try_from(self.places.len() - 1).expect("no more than objects"))
        });
        self.places[slot.index()] = Some((object, weight));
        self.slots[object as usize] = Some(slot);
        self.weight += weight;
        let cost = EntryInfo { hash: self.hasher.hash_one(object), weight, now, expires_at: None };
        self.policy.on_insert(slot, &cost);
        while self.weight > self.setting.capacity {
            let victim = self.policy.victim(now, EvictionReason::Capacity, &NothingExpires);
            let victim = victim.expect("a policy names somebody while anybody is there");
            let why = if victim == slot { RemovalCause::Rejected } else { RemovalCause::Evicted };
            let (object, weight) = self.places[victim.index()].take().expect("and only who is there");
            self.slots[object as usize] = None;
            self.free.push(victim);
            self.weight -= weight;
            self.policy.on_remove(victim, why);
        }
    }
}

impl<P: EvictionPolicy> Cache for Alone<P> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        self.n_requests += 1;
        if self.slots.len() <= object as usize {
            self.slots.resize(object as usize + 1, None);
        }
        if let Some(slot) = self.slots[object as usize] {
            self.policy.on_hit(slot);
            return true;
        }
        let weight = self.setting.unit.weight(size);
        // What no cache could hold never gets to a policy.
        if weight <= self.setting.capacity {
            self.insert(object, weight);
        }
        false
    }
}

struct NothingExpires;

impl Deadlines for NothingExpires {
    fn expires_at(&self, _slot: Slot) -> Option<Moment> {
        None
    }
}

fn moment(n_requests: u64) -> Moment {
    Moment::from_nanos(n_requests * NANOS_PER_REQUEST)
}

const NANOS_PER_REQUEST: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// LRU as one would write it down.
    fn lru(requests: &[Request], unit: Unit, capacity: u64) -> Vec<bool> {
        let mut held: Vec<(u32, u64)> = Vec::new();
        let mut request = |Request { object, size }: &Request| {
            if let Some(at) = held.iter().position(|(held, _)| held == object) {
                let used = held.remove(at);
                held.push(used);
                return true;
            }
            if unit.weight(*size) <= capacity {
                held.push((*object, unit.weight(*size)));
            }
            while held.iter().map(|(_, weight)| weight).sum::<u64>() > capacity {
                held.remove(0);
            }
            false
        };
        requests.iter().map(&mut request).collect()
    }

    fn replayed(name: &str, requests: &[Request], unit: Unit, capacity: u64) -> Vec<bool> {
        let subject = OURS.iter().find(|subject| subject.name == name).unwrap();
        let mut cache = (subject.build)(Setting { unit, capacity, expected_entries: 1 }).unwrap();
        requests.iter().map(|request| cache.request(*request)).collect()
    }

    fn requests() -> impl Strategy<Value = Vec<Request>> {
        vec((0_u32..12, 1_u64..5_000).prop_map(|(object, size)| Request { object, size }), 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_capacity_in_entries_is_exact(requests in requests(), capacity in 1_u64..12) {
            let expected = lru(&requests, Unit::Entries, capacity);
            prop_assert_eq!(replayed("lru", &requests, Unit::Entries, capacity), expected);
        }

        #[test]
        fn a_capacity_in_bytes_is_exact(requests in requests(), capacity in 1_u64..30_000) {
            let expected = lru(&requests, Unit::Bytes, capacity);
            prop_assert_eq!(replayed("lru", &requests, Unit::Bytes, capacity), expected);
        }

        #[test]
        fn no_policy_beats_the_optimum(requests in requests(), capacity in 1_u64..12) {
            let mut builder = crate::trace::TraceBuilder::new("t");
            for Request { object, size } in &requests {
                prop_assert!(builder.push(&object.to_le_bytes(), *size));
            }
            let setting = Setting { unit: Unit::Entries, capacity, expected_entries: 1 };
            let most = crate::optimum::replay(&builder.build(), setting).hits;
            for subject in OURS {
                let hits = replayed(subject.name, &requests, Unit::Entries, capacity);
                let hits = hits.into_iter().filter(|&is_hit| is_hit).count() as u64;
                prop_assert!(hits <= most, "{}: {hits} of {most}", subject.name);
            }
        }
    }

    #[test]
    fn alone_a_policy_does_what_it_does_in_a_backend() {
        fn check<P: EvictionPolicy>(pattern: fn() -> P, requests: &[Request]) {
            let setting = Setting { unit: Unit::Entries, capacity: 10, expected_entries: 10 };
            let mut alone = Alone::new(&pattern(), setting);
            let mut in_backend = InBackend::new(pattern(), 10).unwrap();
            for (i, request) in requests.iter().enumerate() {
                assert_eq!(alone.request(*request), in_backend.request(*request), "request {i}");
            }
        }
        // Not those that draw or hash: they differ from one instance to the next. Nor `Gdsf`, which rounds: a backend
        // weighs more than one byte for each.
        let requests: Vec<_> =
            (0_u32..2_000).map(|i| Request { object: i * i % 41 % (i % 29 + 1), size: 1 }).collect();
        check(Lru::new, &requests);
        check(Fifo::new, &requests);
        check(Lfu::new, &requests);
        check(Sieve::new, &requests);
    }
}
