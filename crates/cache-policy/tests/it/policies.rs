//! The sentences of `EvictionPolicy`'s contract, over every policy here.

use cache_core::{Admission, Cost, EvictionPolicy, Held, Limits, Pressure, Removal, Slot};
use cache_policy::{Adaptive, Fifo, Gdsf, Lfu, Lru, S3Fifo, Saving, Sieve, Ttl, WTinyLfu};
use proptest::prelude::*;

use crate::world::{Slots, at, done, entry, expiring, hold, insert, memory, recount, remove, totals};

/// Calls a generic function for each policy: its name, the policy, then the arguments.
macro_rules! for_every_policy {
    ($check:ident($($argument:expr),*)) => {{
        $check("Fifo", Fifo::new(), $($argument),*)?;
        $check("Lru", Lru::new(), $($argument),*)?;
        $check("Lfu", Lfu::new(), $($argument),*)?;
        $check("Sieve", Sieve::new(), $($argument),*)?;
        $check("S3Fifo", S3Fifo::new(), $($argument),*)?;
        $check("WTinyLfu", WTinyLfu::new(), $($argument),*)?;
        $check("Gdsf", Gdsf::new(), $($argument),*)?;
        $check("Gdsf, saving bytes", Gdsf::saving_bytes(), $($argument),*)?;
        $check("Adaptive", Adaptive::new(), $($argument),*)?;
        $check("Adaptive, saving bytes", Adaptive::new().saving(Saving::Bytes), $($argument),*)?;
        $check("Ttl<S3Fifo>", Ttl::new(S3Fifo::new()), $($argument),*)?;
        $check("Ttl<Ttl<WTinyLfu>>", Ttl::new(Ttl::new(WTinyLfu::new())), $($argument),*)?;
    }};
}

type Outcome = Result<(), TestCaseError>;

#[derive(Debug, Clone)]
enum Step {
    Insert {
        key: u64,
        weight: u64,
        span: Option<u64>,
    },
    Update {
        choice: usize,
        weight: u64,
        span: Option<u64>,
    },
    /// The deadline moves away; the policy is not told.
    Renew(usize, u64),
    Hit(usize),
    /// Of a slot that may be free, or was never used.
    StrayHit(u32),
    Leave(usize, Removal),
    Pass(u64),
    Evict(Pressure),
}

fn step() -> impl Strategy<Value = Step> {
    let weight = || prop_oneof![Just(0u64), 1u64..20, Just(5_000_000_000), Just(u64::MAX / 1024)];
    let span = || prop::option::of(0u64..200);
    let why = prop_oneof![
        Just(Removal::Removed),
        Just(Removal::Evicted),
        Just(Removal::Expired),
        Just(Removal::Refused)
    ];
    prop_oneof![
        8 => (0u64..40, weight(), span()).prop_map(|(key, weight, span)| Step::Insert { key, weight, span }),
        1 => (any::<usize>(), weight(), span())
            .prop_map(|(choice, weight, span)| Step::Update { choice, weight, span }),
        1 => (any::<usize>(), 1u64..200).prop_map(|(choice, span)| Step::Renew(choice, span)),
        8 => any::<usize>().prop_map(Step::Hit),
        2 => prop_oneof![0u32..40, Just(u32::MAX)].prop_map(Step::StrayHit),
        1 => (any::<usize>(), why).prop_map(|(choice, why)| Step::Leave(choice, why)),
        2 => (0u64..60).prop_map(Step::Pass),
        6 => Just(Step::Evict(Pressure::Full)),
        2 => Just(Step::Evict(Pressure::Expired)),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || prop_oneof![1u64..100, Just(u64::MAX)];
    (limit(), limit()).prop_map(|(weight, entries)| Limits { weight, entries })
}

proptest! {
    #[test]
    fn who_is_named_is_held_and_under_pressure_somebody_is(
        limits in limits(),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        for_every_policy!(names_whom_it_may(limits, &steps));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as for the other checks")]
fn names_whom_it_may(name: &str, pattern: impl EvictionPolicy, limits: Limits, steps: &[Step]) -> Outcome {
    let mut policy = pattern.for_shard(&limits);
    let mut slots = Slots::default();
    let mut now = 0;
    for step in steps {
        let cost = |key: u64, weight, span: Option<u64>| Cost {
            hash: key.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            weight,
            now: at(now),
            expires_at: span.map(|span| at(now + span)),
        };
        match *step {
            Step::Insert { key, weight, span } => {
                let (slot, cost) = (slots.free(), cost(key, weight, span));
                slots.0.insert(slot, cost.expires_at);
                policy.on_insert(slot, &cost);
            }
            Step::Update { choice, weight, span } => {
                if let Some(slot) = slots.pick(choice) {
                    let cost = cost(0, weight, span);
                    slots.0.insert(slot, cost.expires_at);
                    policy.on_update(slot, &cost);
                }
            }
            Step::Renew(choice, span) => {
                let slot = slots.pick(choice);
                if let Some(deadline) = slot.and_then(|slot| slots.0.get_mut(&slot)?.as_mut()) {
                    *deadline = (*deadline).max(at(now + span));
                }
            }
            Step::Hit(choice) => slots.pick(choice).into_iter().for_each(|slot| policy.on_hit(slot)),
            Step::StrayHit(slot) => policy.on_hit(Slot::new(slot)),
            Step::Leave(choice, why) => {
                if let Some(slot) = slots.pick(choice) {
                    slots.remove(&mut policy, slot, why);
                }
            }
            Step::Pass(span) => now += span,
            Step::Evict(pressure) => {
                let victim = policy.victim(at(now), pressure, &slots);
                prop_assert!(victim.is_none_or(|slot| slots.0.contains_key(&slot)), "{name}: {victim:?}");
                match (pressure, victim) {
                    (Pressure::Full, None) => prop_assert!(slots.0.is_empty(), "{name} names nobody"),
                    (Pressure::Full, Some(victim)) => slots.remove(&mut policy, victim, Removal::Evicted),
                    (Pressure::Expired, None) => {
                        let has_expired = slots.0.values().flatten().any(|deadline| *deadline <= at(now));
                        prop_assert!(!(has_expired && name.starts_with("Ttl")), "{name} finds none");
                    }
                    (Pressure::Expired, Some(victim)) => {
                        prop_assert!(slots.expires_at(victim).is_some_and(|deadline| deadline <= at(now)));
                        slots.remove(&mut policy, victim, Removal::Expired);
                    }
                }
            }
        }
    }
    // All leave, one after the other.
    while let Some(victim) = slots.evict(&mut policy, at(now), Pressure::Full) {
        prop_assert!(!slots.0.contains_key(&victim));
    }
    prop_assert!(slots.0.is_empty(), "{name} leaves {:?}", slots.0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_backend_stays_within_its_limits_under_any(
        requests in prop::collection::vec((0usize..60, 0usize..4000, prop::option::of(0u64..50)), 1..300),
        max_entries in prop::option::of(1u64..30),
        shards in 1u64..5,
    ) {
        for_every_policy!(stays_within_its_limits(&requests, max_entries, shards));
    }
}

fn stays_within_its_limits(
    name: &str,
    policy: impl EvictionPolicy,
    requests: &[(usize, usize, Option<u64>)],
    max_entries: Option<u64>,
    shards: u64,
) -> Outcome {
    let backend = &*memory(policy, shards, 30_000, max_entries);
    let keys: Vec<_> = (0..60).map(|n| format!("key/{n}")).collect();
    let (mut arrived, mut left) = (0, 0);
    for (now, &(key, size, span)) in (0..).zip(requests) {
        let key = &keys[key];
        if size % 16 == 0 {
            left += u64::from(remove(backend, key));
        } else if backend.peek(key).is_none() {
            arrived += 1;
            let _ = insert(
                backend,
                &span.map_or_else(|| entry(key, size), |span| expiring(key, size, now, span)),
            );
        } else if size % 16 == 1 {
            (arrived, left) = (arrived + 1, left + 1);
            let _ = insert(backend, &entry(key, size));
        }
    }
    let held = recount(backend, keys.iter().map(String::as_str));
    prop_assert!(held <= max_entries.unwrap_or(u64::MAX), "{name}: {held} entries");
    let (evicted, expired, refused) = totals(backend);
    prop_assert_eq!(arrived, held + left + evicted + expired + refused, "{}", name);
    Ok(())
}

#[test]
fn an_object_as_large_as_the_cache_gets_in_under_any() -> Outcome {
    fn check(name: &str, policy: impl EvictionPolicy) -> Outcome {
        let backend = &*memory(policy, 1, 100_000, None);
        let small: Vec<_> = (0..100).map(|n| format!("key/{n}")).collect();
        for key in &small {
            hold(backend, &entry(key, 100));
        }
        let large = entry("large", 95_000);
        // One that weighs sizes, or newcomers, wants it asked for more than once.
        let asked = (1..1000).find(|_| insert(backend, &large) == Admission::Stored);
        prop_assert!(asked.is_some(), "{name} never lets it in");
        prop_assert!(backend.peek("large").is_some());
        done(backend.clear()).expect("memory does not fail");
        Ok(())
    }
    for_every_policy!(check());
    Ok(())
}
