//! The contracts, as the testkit checks them: of every policy here, and of every backend, under
//! every policy.

use std::sync::Arc;

use cache_core::{Admission, EvictionPolicy, EvictionReason, Limits, Slot};
use cache_policy::{Adaptive, Gdsf, Lru, Objective, S3Fifo, Sieve, Ttl, WTinyLfu};
use cache_testkit::conformance::{Outcome, backend, policy};

use crate::support::{SUBJECTS, Slots, at, entry, hold, insert, memory};

/// Calls a generic function for each policy: its name, whether it finds what has expired, the
/// policy.
macro_rules! for_every_policy {
    ($check:ident) => {{
        $check("Lru", false, Lru::new());
        $check("Sieve", false, Sieve::new());
        $check("S3Fifo", false, S3Fifo::new());
        $check("WTinyLfu", false, WTinyLfu::new());
        $check("Gdsf", false, Gdsf::new());
        $check("Gdsf, saving bytes", false, Gdsf::new().optimize_for(Objective::ByteHitRatio));
        $check("Adaptive", false, Adaptive::new());
        $check(
            "Adaptive, saving bytes",
            false,
            Adaptive::new().optimize_for(Objective::ByteHitRatio),
        );
        $check("Ttl<Lru>", true, Ttl::new(Lru::new()));
        $check("Ttl<Sieve>", true, Ttl::new(Sieve::new()));
        $check("Ttl<S3Fifo>", true, Ttl::new(S3Fifo::new()));
        $check("Ttl<WTinyLfu>", true, Ttl::new(WTinyLfu::new()));
        $check("Ttl<Gdsf>", true, Ttl::new(Gdsf::new()));
        $check("Ttl<Adaptive>", true, Ttl::new(Adaptive::new()));
        $check("Ttl<Ttl<WTinyLfu>>", true, Ttl::new(Ttl::new(WTinyLfu::new())));
    }};
}

#[test]
fn every_policy_keeps_its_contract() {
    fn check(name: &str, finds_expired: bool, pattern: impl EvictionPolicy) {
        let can = policy::Capabilities::new();
        let can = if finds_expired { can.finds_expired() } else { can };
        let report = policy::check(&policy::Suite::new(can, pattern));
        let report = report.unwrap_or_else(|broken| panic!("{name}: {broken}"));
        assert_eq!(report.left_out().count(), usize::from(!finds_expired), "{name}: {report}");
    }
    for_every_policy!(check);
}

#[test]
fn the_memory_backend_keeps_its_contract_under_every_policy() {
    fn check(name: &str, sweeps: bool, pattern: impl EvictionPolicy) {
        let pattern = Arc::new(pattern);
        for (shards, max_entries) in [(1, None), (4, Some(50))] {
            let pattern = Arc::clone(&pattern);
            let suite = backend::Suite::new(can(sweeps, max_entries), move |_| {
                let policy = pattern.for_shard(&Limits::new(CAPACITY, 50));
                let backend = memory(policy, shards, CAPACITY, max_entries);
                async { backend }
            });
            passes(&format!("{name}, {shards} shards"), sweeps, &suite);
        }
    }
    for_every_policy!(check);
}

#[test]
fn every_backend_keeps_its_contract() {
    for subject in SUBJECTS {
        for max_entries in [None, Some(50)] {
            let suite = backend::Suite::new(can(subject.sweeps, max_entries), move |_| {
                let backend = (subject.build)(CAPACITY, max_entries);
                async { backend }
            });
            passes(subject.name, subject.sweeps, &suite);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_backend_keeps_it_on_several_threads() {
    for subject in SUBJECTS {
        let suite = backend::Suite::new(can(subject.sweeps, Some(50)), |_| {
            let backend = (subject.build)(CAPACITY, Some(50));
            async { backend }
        });
        let kept = backend::many_tasks_at_once_find_their_own(&suite).await;
        assert_eq!(kept, Ok(Outcome::Kept), "{}", subject.name);
    }
}

fn can(sweeps: bool, max_entries: Option<u64>) -> backend::Capabilities {
    let can = backend::Capabilities::new();
    let can = if sweeps { can.sweeps() } else { can };
    max_entries.map_or(can.clone(), |entries| can.max_entries(entries))
}

/// All rules are kept but those that are about disks, about sweeps and reports of evictions where
/// there are none, and about uses where an entry that is used is evicted all the same, or one that
/// is not used stays.
fn passes(name: &str, sweeps: bool, suite: &backend::Suite) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime of one thread");
    let report = runtime.block_on(backend::check(suite));
    let report = report.unwrap_or_else(|broken| panic!("{name}: {broken}"));
    let mut left_out: Vec<_> = report.left_out().map(|(rule, _)| rule).collect();
    if name != "Lru, 1 shards" {
        left_out.retain(|rule| *rule != "a_peek_counts_no_use");
    }
    let mut expected = vec![
        "what_outlives_the_process_comes_back_without_a_stamp",
        "a_closed_backend_keeps_to_its_word",
    ];
    if name == "moka" {
        expected.push("each_entry_that_leaves_is_reported_once");
    }
    if !sweeps {
        expected.push("a_sweep_drops_what_has_expired");
    }
    assert_eq!(left_out, expected, "{name}");
}

/// More than the contract asks for: hits come for slots in use alone.
#[test]
fn a_hit_of_a_slot_that_is_free_is_harmless() {
    #[expect(clippy::needless_pass_by_value, reason = "as for the other checks")]
    fn check(name: &str, _: bool, pattern: impl EvictionPolicy) {
        let mut policy = pattern.for_shard(&Limits::new(100, 10));
        let mut slots = Slots::default();
        for round in 0..200 {
            for slot in [0, 3, 40, u32::MAX] {
                policy.on_hit(Slot::new(slot));
            }
            slots.insert(&mut policy, None);
            if round % 3 > 0 {
                let victim = slots.evict(&mut policy, at(round), EvictionReason::Capacity);
                assert!(victim.is_some(), "{name}");
            }
        }
        while slots.evict(&mut policy, at(200), EvictionReason::Capacity).is_some() {}
        assert!(slots.0.is_empty(), "{name} leaves {slots:?}");
    }
    for_every_policy!(check);
}

#[test]
fn an_object_as_large_as_the_cache_gets_in_under_any() {
    fn check(name: &str, _: bool, pattern: impl EvictionPolicy) {
        let backend = &*memory(pattern, 1, 100_000, None);
        for n in 0..100 {
            hold(backend, &entry(&format!("key/{n}"), 100));
        }
        let large = entry("large", 95_000);
        // One that weighs sizes, or newcomers, wants it asked for more than once.
        let asked = (1..1000).find(|_| insert(backend, &large) == Admission::Stored);
        assert!(asked.is_some(), "{name} never lets it in");
        assert!(backend.get_now("large").is_some());
    }
    for_every_policy!(check);
}

const CAPACITY: u64 = 1 << 20;
