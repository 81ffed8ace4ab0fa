//! What only `MokaBackend` does.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use cache_core::{Admission, Backend, ErrorKind, Rejection};
use cache_policy::MokaBackend;

use crate::support::{at, entry, expiring, hold, insert, polled, recount, remove, totals};

#[test]
fn a_newcomer_that_moka_does_not_admit_is_refused_and_counted() {
    let backend = MokaBackend::builder().max_entries(2).build().unwrap();
    for key in ["a", "b"] {
        hold(&backend, &entry(key, 10));
        for _ in 0..10 {
            assert!(backend.get_now(key).is_some());
        }
    }
    assert_eq!(insert(&backend, &entry("c", 10)), Admission::Rejected(Rejection::Policy));
    assert_eq!(recount(&backend, ["a", "b"]), 2);
    assert_eq!(totals(&backend), (0, 0, 1));
}

#[test]
fn a_newcomer_asked_for_more_often_takes_the_place_of_another() {
    let backend = MokaBackend::builder().max_entries(2).build().unwrap();
    hold(&backend, &entry("a", 10));
    hold(&backend, &entry("b", 10));
    for _ in 0..10 {
        assert!(backend.get_now("c").is_none());
    }
    hold(&backend, &entry("c", 10));
    assert_eq!(recount(&backend, ["a", "b", "c"]), 2);
    assert_eq!(totals(&backend), (1, 0, 0));
}

#[test]
fn a_look_that_is_no_use_makes_no_entry_more_popular() {
    let backend = MokaBackend::builder().max_entries(2).build().unwrap();
    for key in ["a", "b"] {
        let held = entry(key, 10);
        hold(&backend, &held);
        for _ in 0..10 {
            assert!(backend.peek(key).unwrap().is_same(&held));
            assert_eq!((backend.contains(key), backend.contains("d")), (Some(true), Some(false)));
        }
    }
    for _ in 0..4 {
        assert!(backend.get_now("c").is_none());
    }
    hold(&backend, &entry("c", 10));
    assert_eq!(recount(&backend, ["a", "b", "c"]), 2);
}

#[test]
fn limits_of_zero_are_config_errors() {
    for settings in [MokaBackend::builder().max_capacity(0), MokaBackend::builder().max_entries(0)]
    {
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
    for (capacity, entries) in
        [(u64::MAX, u64::MAX), (u64::MAX, 1), (1, u64::MAX), (1, 1), (1000, 1 << 40)]
    {
        let backend =
            MokaBackend::builder().max_capacity(capacity).max_entries(entries).build().unwrap();
        for key in ["a", "b"] {
            let _ = insert(&backend, &entry(key, 1));
        }
        let usage = backend.usage();
        assert!(usage.entries <= entries && usage.bytes <= capacity, "{usage:?}");
        recount(&backend, ["a", "b"]);
    }
}

/// `n` entries, of which those with odd numbers have expired at 10.
fn filled(n: usize) -> (MokaBackend, Vec<String>) {
    let backend = MokaBackend::builder().build().expect("the settings are good");
    let keys: Vec<_> = (0..n).map(|n| format!("key/{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        hold(&backend, &expiring(key, 10, 0, if n % 2 == 1 { 10 } else { 100 }));
    }
    (backend, keys)
}

#[test]
fn a_sweep_looks_at_a_few_entries_and_lets_others_run() {
    let (backend, keys) = filled(5000);
    let mut sweep = backend.sweep(at(10));
    assert!(sweep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (_, expired, _) = totals(&backend);
    assert!((1..=256).contains(&expired), "{expired} in one poll");
    let (swept, n) = polled(sweep);
    swept.unwrap();
    assert!(n >= 5000 / 256 - 1, "{n} steps");
    assert_eq!(recount(&backend, keys.iter().map(String::as_str)), 2500);
    assert_eq!(totals(&backend), (0, 2500, 0));
}

#[test]
fn a_clear_shows_nothing_from_its_first_step_on_and_drops_a_few_entries_at_a_time() {
    let (backend, keys) = filled(5000);
    let mut clear = pin!(backend.clear());
    assert!(clear.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(keys.iter().all(|key| backend.get_now(key).is_none()));
    assert!(backend.usage().entries >= 5000 - 256, "{:?}", backend.usage());
    // What is not shown is not there to be removed.
    assert!(!remove(&backend, &keys[0]) && !remove(&backend, &keys[4999]));
    let (cleared, _) = polled(clear);
    cleared.unwrap();
    assert_eq!(recount(&backend, keys.iter().map(String::as_str)), 0);
}

/// Neither what came while it went on, nor what replaced an entry that it had not reached.
#[test]
fn a_clear_spares_what_comes_meanwhile() {
    let (backend, keys) = filled(5000);
    let mut clear = backend.clear();
    assert!(clear.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let later: Vec<_> = keys.iter().step_by(10).map(|key| entry(key, 20)).collect();
    later.iter().for_each(|entry| hold(&backend, entry));
    let (cleared, n) = polled(clear);
    cleared.unwrap();
    assert!(n >= 10, "{n} steps");
    assert!(later.iter().all(|entry| backend.get_now(entry.key()).unwrap().is_same(entry)));
    assert_eq!(recount(&backend, keys.iter().map(String::as_str)), 500);
    assert_eq!(totals(&backend), (0, 0, 0));
}

#[test]
fn what_a_dropped_clear_left_goes_with_the_next_sweep() {
    let (backend, keys) = filled(2000);
    let mut clear = backend.clear();
    assert!(clear.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(clear);
    polled(backend.sweep(at(10))).0.unwrap();
    assert_eq!(recount(&backend, keys.iter().map(String::as_str)), 0);
    assert_eq!(totals(&backend), (0, 0, 0), "it was cleared, not expired");
}
