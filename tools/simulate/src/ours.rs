//! Our own policies as subjects of the simulation.
//!
//! *By entries* a policy runs in a real [`MemoryBackend`] with the default number of shards, as
//! users get it: `max_entries` is the capacity. Each request looks the object up, and inserts it on
//! a miss.
//!
//! *By bytes* it runs alone, in one shard, under the contract of [`EvictionPolicy`], and an object
//! weighs exactly its size. In a backend an entry also weighs its key and its bookkeeping, which
//! are not part of a trace, and the bodies of many traces would not fit into memory.
//!
//! The clock advances by 1 ms per request, and nothing expires. An entry has the size given by the
//! request that fetched it. A later request is a hit whatever size it gives: a trace does not say
//! when an object changed.

use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
};

use bytes::Bytes;
use cache_core::{
    Backend, Deadlines, Entry, EntryInfo, EvictionPolicy, EvictionReason, Key, Limits, Moment,
    RemovalCause, Slot,
};
use cache_policy::{Adaptive, Gdsf, Lru, MemoryBackend, Objective, S3Fifo, Sieve, WTinyLfu};
use futures_util::FutureExt;

use crate::{
    Result,
    setting::{Setting, Unit},
    textbook::{Fifo, Lfu},
    trace::Request,
};

/// A cache under test.
pub trait Cache {
    /// Reads the object, and inserts it on a miss. Returns whether it was a hit.
    fn request(&mut self, request: Request) -> bool;
}

/// The contents of one node's cache under the default policy.
pub(crate) trait Contents {
    /// Looks the object up. Counts a use if it is cached.
    fn get(&mut self, object: u32) -> bool;
    /// Inserts the object, in place of what is cached of it. It may be rejected.
    fn insert(&mut self, request: Request);
    /// Removes the object, if it is cached.
    fn remove(&mut self, object: u32);
}

/// A kind of cache under test.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The name in `--policy`, tables and charts.
    pub name: &'static str,
    /// Builds an empty cache.
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
    Subject { name: "fifo", build: |setting| ours(Fifo::default(), setting) },
    Subject { name: "lfu", build: |setting| ours(Lfu::default(), setting) },
    Subject { name: "sieve", build: |setting| ours(Sieve::new(), setting) },
    Subject { name: "s3-fifo", build: |setting| ours(S3Fifo::new(), setting) },
    Subject { name: "w-tiny-lfu", build: |setting| ours(WTinyLfu::new(), setting) },
    Subject { name: "gdsf", build: |setting| ours(Gdsf::new(), setting) },
    Subject {
        name: "gdsf-bytes",
        build: |setting| ours(Gdsf::new().optimize_for(Objective::ByteHitRatio), setting),
    },
];

fn ours<P: EvictionPolicy>(policy: P, setting: Setting) -> Result<Box<dyn Cache>> {
    Ok(match setting.unit {
        Unit::Entries => Box::new(InBackend::new(policy, Some(setting.capacity))?),
        Unit::Bytes => Box::new(Alone::new(&policy, setting)),
    })
}

/// An empty cache with the default policy; without a setting, of unlimited capacity.
pub(crate) fn contents(setting: Option<Setting>) -> Result<Box<dyn Contents>> {
    Ok(match setting {
        None => Box::new(InBackend::new(Adaptive::new(), None)?),
        Some(Setting { unit: Unit::Entries, capacity, .. }) => {
            Box::new(InBackend::new(Adaptive::new(), Some(capacity))?)
        }
        Some(setting) => Box::new(Alone::new(&Adaptive::new(), setting)),
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
    fn new(policy: P, max_entries: Option<u64>) -> Result<Self> {
        let mut builder = MemoryBackend::builder(policy).max_capacity(u64::MAX);
        if let Some(max_entries) = max_entries {
            builder = builder.max_entries(max_entries);
        }
        Ok(Self { backend: builder.build()?, key: String::new(), n_requests: 0 })
    }

    fn name(&mut self, object: u32) {
        self.key.clear();
        // All keys are of one length, so that all entries weigh the same.
        write!(self.key, "{object:08x}").expect("a string can be written to");
    }
}

impl<P: EvictionPolicy> Contents for InBackend<P> {
    fn get(&mut self, object: u32) -> bool {
        self.n_requests += 1;
        self.name(object);
        self.backend.get_now(&self.key).is_some()
    }

    fn insert(&mut self, Request { object, .. }: Request) {
        self.name(object);
        let key = Key::parse(&self.key).expect("made of hexadecimal digits");
        let entry =
            Entry::builder(&key, Bytes::new()).validated(moment(self.n_requests), None).build();
        let admission = self.backend.insert(entry).now_or_never();
        let _ = admission.expect("a memory backend answers at once").expect("it has no errors");
    }

    fn remove(&mut self, object: u32) {
        self.name(object);
        let removed = self.backend.remove(&self.key).now_or_never();
        let _ = removed.expect("a memory backend answers at once").expect("it has no errors");
    }
}

impl<P: EvictionPolicy> Cache for InBackend<P> {
    fn request(&mut self, request: Request) -> bool {
        read(self, request)
    }
}

fn read(cache: &mut impl Contents, request: Request) -> bool {
    let is_hit = cache.get(request.object);
    if !is_hit {
        cache.insert(request);
    }
    is_hit
}

/// A policy by itself: one shard without entries.
struct Alone<P> {
    policy: P,
    setting: Setting,
    /// Of each object.
    slots: Vec<Option<Slot>>,
    /// The object in each slot, and its weight.
    places: Vec<Option<(u32, u64)>>,
    free: Vec<Slot>,
    weight: u64,
    hasher: RandomState,
    n_requests: u64,
}

impl<P: EvictionPolicy> Alone<P> {
    fn new(pattern: &P, setting: Setting) -> Self {
        let limits = match setting.unit {
            Unit::Entries => Limits::new(u64::MAX, setting.capacity),
            Unit::Bytes => Limits::new(setting.capacity, u64::MAX),
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

    fn slot(&self, object: u32) -> Option<Slot> {
        self.slots.get(object as usize).copied().flatten()
    }

    fn free_slot(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            Slot::new(u32::try_from(self.places.len() - 1).expect("no more than objects"))
        })
    }

    fn take_out(&mut self, slot: Slot, why: RemovalCause) {
        let (object, weight) = self.places[slot.index()].take().expect("a victim is cached");
        self.slots[object as usize] = None;
        self.free.push(slot);
        self.weight -= weight;
        self.policy.on_remove(slot, why);
    }
}

impl<P: EvictionPolicy> Contents for Alone<P> {
    fn get(&mut self, object: u32) -> bool {
        self.n_requests += 1;
        let slot = self.slot(object);
        if let Some(slot) = slot {
            self.policy.on_hit(slot);
        }
        slot.is_some()
    }

    fn insert(&mut self, Request { object, size }: Request) {
        let weight = self.setting.unit.weight(size);
        // An object larger than the cache is not offered to the policy.
        if weight > self.setting.capacity {
            self.remove(object);
            return;
        }
        let now = moment(self.n_requests);
        let cost = EntryInfo::new(self.hasher.hash_one(object), weight, now, None);
        let slot = match self.slot(object) {
            Some(slot) => {
                let (_, replaced) =
                    self.places[slot.index()].replace((object, weight)).expect("used");
                self.weight = self.weight - replaced + weight;
                self.policy.on_update(slot, &cost);
                slot
            }
            None => {
                let slot = self.free_slot();
                self.places[slot.index()] = Some((object, weight));
                if self.slots.len() <= object as usize {
                    self.slots.resize(object as usize + 1, None);
                }
                self.slots[object as usize] = Some(slot);
                self.weight += weight;
                self.policy.on_insert(slot, &cost);
                slot
            }
        };
        while self.weight > self.setting.capacity {
            let victim = self.policy.victim(now, EvictionReason::Capacity, &NothingExpires);
            let victim = victim.expect("a policy with entries names a victim");
            let why = if victim == slot { RemovalCause::Rejected } else { RemovalCause::Evicted };
            self.take_out(victim, why);
        }
    }

    fn remove(&mut self, object: u32) {
        if let Some(slot) = self.slot(object) {
            self.take_out(slot, RemovalCause::Removed);
        }
    }
}

impl<P: EvictionPolicy> Cache for Alone<P> {
    fn request(&mut self, request: Request) -> bool {
        read(self, request)
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

    /// The hits of a cache that evicts the first of its entries in `order`, which is called with
    /// the uses since the insert, the moment of the insert and that of the last use.
    fn model(
        requests: &[Request],
        unit: Unit,
        capacity: u64,
        order: fn(u32, usize, usize) -> (u32, usize),
    ) -> Vec<bool> {
        struct Cached {
            object: u32,
            weight: u64,
            uses: u32,
            inserted: usize,
            used: usize,
        }
        let mut cached: Vec<Cached> = Vec::new();
        let request = |(now, Request { object, size }): (usize, &Request)| {
            if let Some(hit) = cached.iter_mut().find(|entry| entry.object == *object) {
                (hit.uses, hit.used) = (hit.uses + 1, now);
                return true;
            }
            let weight = unit.weight(*size);
            if weight <= capacity {
                while cached.iter().map(|entry| entry.weight).sum::<u64>() + weight > capacity {
                    let rank = |entry: &Cached| order(entry.uses, entry.inserted, entry.used);
                    let at = (0..cached.len()).min_by_key(|at| rank(&cached[*at]));
                    cached.remove(at.expect("a single entry fits"));
                }
                cached.push(Cached { object: *object, weight, uses: 0, inserted: now, used: now });
            }
            false
        };
        requests.iter().enumerate().map(request).collect()
    }

    fn lru(requests: &[Request], unit: Unit, capacity: u64) -> Vec<bool> {
        model(requests, unit, capacity, |_, _, used| (0, used))
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
        fn fifo_evicts_in_the_order_of_insertion(requests in requests(), capacity in 1_u64..30_000) {
            let expected = model(&requests, Unit::Bytes, capacity, |_, inserted, _| (0, inserted));
            prop_assert_eq!(replayed("fifo", &requests, Unit::Bytes, capacity), expected);
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
    fn lfu_evicts_the_least_frequently_used() {
        // 1 has two uses, 2 has one; 3 and 4 evict each other, and 5 evicts 2 once 4 has two.
        let objects = [1, 1, 1, 2, 2, 3, 4, 3, 4, 4, 4, 5, 1, 2, 4];
        let requests = objects.map(|object| Request { object, size: 1 });
        let hits = replayed("lfu", &requests, Unit::Bytes, 3);
        let misses: Vec<_> = (0..objects.len()).filter(|at| !hits[*at]).collect();
        assert_eq!(misses, [0, 3, 5, 6, 7, 8, 11, 13]);
    }

    #[test]
    fn alone_a_policy_does_what_it_does_in_a_backend() {
        fn check<P: EvictionPolicy>(pattern: fn() -> P, requests: &[Request]) {
            let setting = Setting { unit: Unit::Entries, capacity: 10, expected_entries: 10 };
            let mut alone = Alone::new(&pattern(), setting);
            let mut in_backend = InBackend::new(pattern(), Some(10)).unwrap();
            for (i, request) in requests.iter().enumerate() {
                assert_eq!(alone.request(*request), in_backend.request(*request), "request {i}");
            }
        }
        // Not those that draw or hash: they differ from one instance to the next. Nor `Gdsf`, which
        // rounds: a backend weighs more than one byte for each.
        let requests: Vec<_> = (0_u32..2_000)
            .map(|i| Request { object: i * i % 41 % (i % 29 + 1), size: 1 })
            .collect();
        check(Lru::new, &requests);
        check(Fifo::default, &requests);
        check(Lfu::default, &requests);
        check(Sieve::new, &requests);
    }
}
