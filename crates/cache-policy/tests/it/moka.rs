//! What only `MokaBackend` does.

use cache_core::{Admission, Backend, ErrorKind, Refusal};
use cache_policy::MokaBackend;

use crate::world::{entry, hold, insert, recount, totals};

#[test]
fn a_newcomer_that_moka_does_not_admit_is_refused_and_counted() {
    let backend = MokaBackend::builder().max_entries(2).build().unwrap();
    for key in ["a", "b"] {
        hold(&backend, &entry(key, 10));
        for _ in 0..10 {
            assert!(backend.peek(key).is_some());
        }
    }
    assert_eq!(insert(&backend, &entry("c", 10)), Admission::Refused(Refusal::Policy));
    assert_eq!(recount(&backend, ["a", "b"]), 2);
    assert_eq!(totals(&backend), (0, 0, 1));
}

#[test]
fn a_newcomer_asked_for_more_often_takes_the_place_of_another() {
    let backend = MokaBackend::builder().max_entries(2).build().unwrap();
    hold(&backend, &entry("a", 10));
    hold(&backend, &entry("b", 10));
    for _ in 0..10 {
        assert!(backend.peek("c").is_none());
    }
    hold(&backend, &entry("c", 10));
    assert_eq!(recount(&backend, ["a", "b", "c"]), 2);
    assert_eq!(totals(&backend), (1, 0, 0));
}

#[test]
fn limits_of_zero_are_config_errors() {
    for settings in [MokaBackend::builder().max_capacity(0), MokaBackend::builder().max_entries(0)] {
        assert_eq!(settings.build().unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn beyond_4_gib_entries_are_charged_in_larger_units_and_counted_in_bytes() {
    let backend = MokaBackend::builder().max_capacity(64 << 30).build().unwrap();
    let held = entry("a", 1001);
    hold(&backend, &held);
    assert_eq!(backend.usage().bytes, held.weight());
    assert_eq!(backend.usage().capacity_bytes, Some(64 << 30));
}

#[test]
fn absurd_limits_hold_too() {
    for (capacity, entries) in [(u64::MAX, u64::MAX), (u64::MAX, 1), (1, u64::MAX), (1, 1), (1000, 1 << 40)] {
        let backend = MokaBackend::builder().max_capacity(capacity).max_entries(entries).build().unwrap();
        for key in ["a", "b"] {
            let _ = insert(&backend, &entry(key, 1));
        }
        let usage = backend.usage();
        assert!(usage.entries <= entries && usage.bytes <= capacity, "{usage:?}");
        recount(&backend, ["a", "b"]);
    }
}
