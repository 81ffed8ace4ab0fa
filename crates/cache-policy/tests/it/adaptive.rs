//! What the default policy is for: never far from the best.

use std::collections::HashMap;

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};
use cache_policy::{Adaptive, Lru, Objective};
use proptest::prelude::*;

const NOW: Moment = Moment::from_nanos(0);

#[test]
fn a_loop_larger_than_the_cache_keeps_its_share() {
    for (n_keys, capacity) in [(300, 60), (1000, 200), (5000, 2500), (10_000, 600)] {
        let requests = |n: u64| (0..n).map(move |at| (at % n_keys, 1));
        let hits = of(&Adaptive::new(), entries(capacity), requests(15 * n_keys)).hit_ratio();
        assert_eq!(of(&Lru::new(), entries(capacity), requests(15 * n_keys)).hits, 0);
        let share = capacity as f64 / n_keys as f64;
        assert!(hits > 0.75 * share, "{hits} of {share}");
    }
}

/// The window is left to those who use it.
#[test]
fn of_a_loop_that_nearly_fits_nearly_all_is_kept() {
    for (n_keys, capacity) in [(1100, 1000), (2500, 2000), (220, 200)] {
        let requests = || (0..60 * n_keys).map(move |at| (at % n_keys, 1));
        let hits = of(&Adaptive::new(), entries(capacity), requests()).hit_ratio();
        let share = capacity as f64 / n_keys as f64;
        assert!(hits > 0.93 * share, "{hits} of {share}");
    }
}

#[test]
fn drifting_popularity_is_followed_as_by_lru() {
    for (capacity, step) in [(50, 20), (300, 5), (1000, 2), (2000, 4)] {
        let requests = || drift(100_000, step);
        let lru = of(&Lru::new(), entries(capacity), requests()).hit_ratio();
        let ours = of(&Adaptive::new(), entries(capacity), requests()).hit_ratio();
        assert!(ours > lru - 0.01, "{ours} against {lru} with {capacity}");
    }
}

#[test]
fn scans_pass_through() {
    for capacity in [60, 500, 2000] {
        let mut dice = Dice(7);
        let requests = (0..100_000u64)
            .map(|at| if at % 1000 < 600 { dice.zipf(10_000) } else { 1 << 32 | at });
        let requests: Vec<_> = requests.map(|key| (key, 1)).collect();
        let lru = of(&Lru::new(), entries(capacity), requests.iter().copied()).hit_ratio();
        let ours = of(&Adaptive::new(), entries(capacity), requests.iter().copied()).hit_ratio();
        assert!(ours > lru + 0.04, "{ours} against {lru} with {capacity}");
    }
}

/// A shard need not find out for itself what another has seen.
#[test]
fn shards_of_one_cache_decide_together() {
    let pattern = Adaptive::new();
    let mut first = Cache::new(&pattern, entries(300));
    drift(40_000, 5).for_each(|(key, weight)| first.request(key, weight));
    let hits_of_a_loop = |pattern: &Adaptive| {
        let mut cache = Cache::new(pattern, entries(100));
        (0..300).for_each(|at| cache.request(at % 150, 1));
        cache.hits
    };
    let (told, untold) = (hits_of_a_loop(&pattern), hits_of_a_loop(&Adaptive::new()));
    assert!(told < untold / 2, "{told}, and {untold} where nothing was seen");
}

#[test]
fn each_change_of_the_requests_is_followed() {
    const PHASE: u64 = 40_000;
    let looping = |from: u64| (0..PHASE).map(move |at| (from + at % 1000, 1));
    let phases: [Vec<_>; 4] = [
        looping(1 << 40).collect(),
        drift(PHASE, 5).collect(),
        looping(2 << 40).collect(),
        drift(PHASE, 5).map(|(key, weight)| (3 << 40 | key, weight)).collect(),
    ];
    let (mut ours, mut lru) =
        (Cache::new(&Adaptive::new(), entries(300)), Cache::new(&Lru::new(), entries(300)));
    for (n, phase) in phases.iter().enumerate() {
        let hits = |cache_hits: u64, before: u64| (cache_hits - before) as f64 / PHASE as f64;
        let (before, lru_before) = (ours.hits, lru.hits);
        phase.iter().for_each(|&(key, weight)| ours.request(key, weight));
        phase.iter().for_each(|&(key, weight)| lru.request(key, weight));
        let (ratio, lru_ratio) = (hits(ours.hits, before), hits(lru.hits, lru_before));
        if n % 2 == 0 {
            assert!(ratio > 0.2, "phase {n}: {ratio} of a loop");
        } else {
            assert!(ratio > lru_ratio - 0.03, "phase {n}: {ratio} against {lru_ratio}");
        }
    }
}

#[test]
fn small_objects_stay_where_requests_are_to_be_saved_and_bytes_where_bytes_are() {
    let limits = Limits::new(2_000_000, u64::MAX);
    let requests = || {
        let mut dice = Dice(11);
        (0..100_000).map(move |_| {
            let key = dice.zipf(10_000);
            (key, 1 << (key * 0x9E37_79B9 % 14))
        })
    };
    let lru = of(&Lru::new(), limits, requests());
    let requests_saved = of(&Adaptive::new(), limits, requests());
    let bytes_saved =
        of(&Adaptive::new().optimize_for(Objective::ByteHitRatio), limits, requests());
    assert!(
        requests_saved.hit_ratio() > lru.hit_ratio() + 0.1,
        "{requests_saved:?} against {lru:?}"
    );
    assert!(
        requests_saved.hit_ratio() > bytes_saved.hit_ratio() + 0.05,
        "{requests_saved:?}, {bytes_saved:?}"
    );
    assert!(
        bytes_saved.byte_hit_ratio() > lru.byte_hit_ratio() + 0.02,
        "{bytes_saved:?} against {lru:?}"
    );
    assert!(
        bytes_saved.byte_hit_ratio() > requests_saved.byte_hit_ratio(),
        "{requests_saved:?}, {bytes_saved:?}"
    );
}

/// Sizes are no price where only the number of entries is limited.
#[test]
fn large_objects_stay_where_entries_are_what_is_short() {
    let limits = Limits::new(1 << 40, 500);
    let requests = |is_sized: bool| {
        let mut dice = Dice(3);
        (0..50_000).map(move |_| {
            let key = dice.zipf(5000);
            (key, if is_sized { 1 << (key % 20) } else { 1 })
        })
    };
    let (sized, alike) = (
        of(&Adaptive::new(), limits, requests(true)),
        of(&Adaptive::new(), limits, requests(false)),
    );
    assert!(sized.hit_ratio() > alike.hit_ratio() - 0.03, "{sized:?} against {alike:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Request(u64, u64),
    Update(u64, u64),
    Remove(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let weight = || prop_oneof![Just(0), 1..100u64, Just(u64::MAX >> 8)];
    prop_oneof![
        8 => (0..60u64, weight()).prop_map(|(key, weight)| Step::Request(key, weight)),
        1 => (0..60u64, weight()).prop_map(|(key, weight)| Step::Update(key, weight)),
        1 => (0..60u64).prop_map(Step::Remove),
    ]
}

proptest! {
    /// `Cache` checks each victim.
    #[test]
    fn whatever_is_called_only_a_slot_in_use_is_named_and_always_one(
        steps in prop::collection::vec(step(), 0..600),
        n in 1..40u64,
        weight in prop_oneof![Just(u64::MAX), Just(1000)],
        saving in prop_oneof![Just(Objective::HitRatio), Just(Objective::ByteHitRatio)],
    ) {
        let mut cache = Cache::new(&Adaptive::new().optimize_for(saving), Limits::new(weight, n));
        for step in steps {
            match step {
                Step::Request(key, weight) => cache.request(key, weight),
                Step::Update(key, weight) => cache.update(key, weight),
                Step::Remove(key) => cache.remove(key),
            }
            prop_assert_eq!(cache.policy.victim(NOW, EvictionReason::Expired, &Nothing), None);
        }
        while !cache.slots.is_empty() {
            cache.evict();
        }
        prop_assert_eq!(cache.policy.victim(NOW, EvictionReason::Capacity, &Nothing), None);
    }
}

/// A cache as its policy sees it.
#[derive(Debug)]
struct Cache<P> {
    policy: P,
    limits: Limits,
    slots: HashMap<u64, (Slot, u64)>,
    keys: Vec<Option<u64>>,
    free: Vec<Slot>,
    weight: u128,
    newcomer: Option<Slot>,
    requests: u64,
    hits: u64,
    bytes: u64,
    bytes_hit: u64,
}

impl<P: EvictionPolicy> Cache<P> {
    fn new(pattern: &P, limits: Limits) -> Self {
        Self {
            policy: pattern.for_shard(&limits),
            limits,
            slots: HashMap::new(),
            keys: Vec::new(),
            free: Vec::new(),
            weight: 0,
            newcomer: None,
            requests: 0,
            hits: 0,
            bytes: 0,
            bytes_hit: 0,
        }
    }

    fn request(&mut self, key: u64, weight: u64) {
        self.requests += 1;
        self.bytes = self.bytes.wrapping_add(weight);
        if let Some((slot, _)) = self.slots.get(&key) {
            self.hits += 1;
            self.bytes_hit = self.bytes_hit.wrapping_add(weight);
            self.policy.on_hit(*slot);
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            Slot::new(u32::try_from(self.keys.len() - 1).expect("there are few"))
        });
        self.keys[slot.index()] = Some(key);
        self.slots.insert(key, (slot, weight));
        self.weight += u128::from(weight);
        self.policy.on_insert(slot, &cost(key, weight));
        self.newcomer = Some(slot);
        self.make_room();
    }

    fn update(&mut self, key: u64, weight: u64) {
        if let Some((slot, old)) = self.slots.get_mut(&key) {
            self.weight = self.weight - u128::from(*old) + u128::from(weight);
            *old = weight;
            self.policy.on_update(*slot, &cost(key, weight));
            self.make_room();
        }
    }

    fn remove(&mut self, key: u64) {
        if let Some((slot, _)) = self.slots.get(&key) {
            self.leave(*slot, RemovalCause::Removed);
        }
    }

    fn make_room(&mut self) {
        while self.weight > u128::from(self.limits.weight)
            || self.slots.len() as u64 > self.limits.entries
        {
            self.evict();
        }
        self.newcomer = None;
    }

    fn evict(&mut self) {
        let slot =
            self.policy.victim(NOW, EvictionReason::Capacity, &Nothing).expect("somebody is held");
        let why = if self.newcomer == Some(slot) {
            RemovalCause::Rejected
        } else {
            RemovalCause::Evicted
        };
        self.leave(slot, why);
    }

    fn leave(&mut self, slot: Slot, why: RemovalCause) {
        let key = self.keys[slot.index()].take().expect("the slot is in use");
        let (_, weight) = self.slots.remove(&key).expect("the key is held");
        self.weight -= u128::from(weight);
        self.free.push(slot);
        self.policy.on_remove(slot, why);
    }
}

#[derive(Debug)]
struct Outcome {
    requests: u64,
    hits: u64,
    bytes: u64,
    bytes_hit: u64,
}

impl Outcome {
    fn hit_ratio(&self) -> f64 {
        self.hits as f64 / self.requests as f64
    }

    fn byte_hit_ratio(&self) -> f64 {
        self.bytes_hit as f64 / self.bytes as f64
    }
}

/// Replays `requests`, of key and weight.
fn of<P: EvictionPolicy>(
    pattern: &P,
    limits: Limits,
    requests: impl Iterator<Item = (u64, u64)>,
) -> Outcome {
    let mut cache = Cache::new(pattern, limits);
    requests.for_each(|(key, weight)| cache.request(key, weight));
    Outcome {
        requests: cache.requests,
        hits: cache.hits,
        bytes: cache.bytes,
        bytes_hit: cache.bytes_hit,
    }
}

fn entries(n: u64) -> Limits {
    Limits::new(u64::MAX, n)
}

/// Skewed demand, where each key becomes more popular, and then is never asked for again: one every
/// `step` requests.
fn drift(n: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut dice = Dice(5);
    (0..n).map(move |at| (at / step + dice.zipf(10_000), 1))
}

fn cost(key: u64, weight: u64) -> EntryInfo {
    EntryInfo::new(Dice(key).next(), weight, NOW, None)
}

struct Nothing;

impl Deadlines for Nothing {
    fn expires_at(&self, _slot: Slot) -> Option<Moment> {
        None
    }
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`, about as likely as its rank is small.
    #[expect(clippy::cast_possible_truncation, reason = "rounded down")]
    fn zipf(&mut self, n: u64) -> u64 {
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (n as f64).powf(uniform) as u64 - 1
    }
}
