//! The sentences of `Backend`'s contract, over every backend here.

use std::collections::BTreeMap;

use cache_core::{Admission, Backend, Refusal};
use proptest::prelude::*;

use crate::world::{SUBJECTS, Subject, at, done, entry, expiring, hold, insert, recount, remove, totals};

const ROOM: usize = 1 << 20;

fn check(test: impl Fn(&Subject, &dyn Backend)) {
    for subject in SUBJECTS {
        println!("{}", subject.name);
        test(subject, &*(subject.build)(ROOM as u64, None));
    }
}

#[test]
fn what_was_inserted_is_shown_as_the_same_entry_under_its_key_only() {
    check(|_, backend| {
        let one = entry("a/1", 10);
        hold(backend, &one);
        assert!(backend.peek("a/1").unwrap().is_same(&one));
        assert!(backend.peek("a").is_none() && backend.peek("").is_none() && backend.peek("a/11").is_none());
    });
}

#[test]
fn memory_answers_in_peek_alone() {
    check(|_, backend| {
        hold(backend, &entry("a", 10));
        assert!(done(backend.get("a")).unwrap().is_none());
    });
}

#[test]
fn after_an_insert_the_earlier_entry_is_not_shown() {
    check(|_, backend| {
        let (old, new) = (entry("a", 10), entry("a", 2000));
        hold(backend, &old);
        hold(backend, &new);
        assert!(backend.peek("a").unwrap().is_same(&new));
        assert_eq!(recount(backend, ["a"]), 1);
        assert_eq!(totals(backend), (0, 0, 0), "a replaced entry left for none of these reasons");
    });
}

#[test]
fn a_refused_entry_drops_the_earlier_one() {
    check(|_, backend| {
        hold(backend, &entry("a", 10));
        assert_eq!(insert(backend, &entry("a", ROOM)), Admission::Refused(Refusal::TooLarge));
        assert!(backend.peek("a").is_none());
        assert_eq!(recount(backend, ["a"]), 0);
        assert_eq!(totals(backend), (0, 0, 1));
    });
}

#[test]
fn a_removed_entry_is_not_shown() {
    check(|_, backend| {
        hold(backend, &entry("a", 10));
        hold(backend, &entry("b", 10));
        assert!(remove(backend, "a"));
        assert!(!remove(backend, "a"));
        assert!(backend.peek("a").is_none());
        assert_eq!(recount(backend, ["a", "b"]), 1);
        assert_eq!(totals(backend), (0, 0, 0));
    });
}

#[test]
fn after_a_clear_nothing_is_shown_and_what_comes_later_is() {
    check(|_, backend| {
        for round in 0..3 {
            let keys: Vec<_> = (0..100).map(|n| format!("k{n}")).collect();
            for key in &keys {
                assert_eq!(insert(backend, &entry(key, 10)), Admission::Stored, "round {round}");
            }
            assert_eq!(recount(backend, keys.iter().map(String::as_str)), 100);
            done(backend.clear()).unwrap();
            assert_eq!(recount(backend, keys.iter().map(String::as_str)), 0);
        }
        assert_eq!(totals(backend), (0, 0, 0));
    });
}

#[test]
fn a_future_dropped_before_it_was_polled_does_nothing() {
    check(|_, backend| {
        let held = entry("a", 10);
        hold(backend, &held);
        drop(backend.remove("a"));
        drop(backend.clear());
        assert!(backend.peek("a").unwrap().is_same(&held));
    });
}

#[test]
fn a_sweep_drops_what_has_expired_and_nothing_else() {
    check(|subject, backend| {
        hold(backend, &entry("for-ever", 10));
        hold(backend, &expiring("later", 10, 5, 100));
        hold(backend, &expiring("now", 10, 5, 50));
        hold(backend, &expiring("long-ago", 10, 5, 0));
        let keys = ["for-ever", "later", "now", "long-ago"];
        done(backend.sweep(at(54))).unwrap();
        assert_eq!(recount(backend, keys), if subject.sweeps { 3 } else { 4 });
        done(backend.sweep(at(55))).unwrap();
        assert!(backend.peek("for-ever").is_some() && backend.peek("later").is_some());
        if subject.sweeps {
            assert_eq!(recount(backend, keys), 2);
            assert_eq!(totals(backend), (0, 2, 0));
        }
    });
}

#[test]
fn a_sweep_does_not_drop_the_next_entry_of_a_key_that_expired() {
    check(|_, backend| {
        hold(backend, &expiring("a", 10, 5, 50));
        hold(backend, &expiring("a", 10, 50, 50));
        hold(backend, &expiring("b", 10, 5, 50));
        hold(backend, &entry("b", 10));
        done(backend.sweep(at(60))).unwrap();
        assert_eq!(recount(backend, ["a", "b"]), 2);
    });
}

#[test]
fn an_entry_never_vouched_for_is_held_like_any_other() {
    check(|_, backend| {
        let key = cache_core::Key::parse("a").unwrap();
        let unvouched = cache_core::Entry::builder(&key, bytes::Bytes::new()).build();
        hold(backend, &unvouched);
        done(backend.sweep(cache_core::Moment::MAX)).unwrap();
        assert_eq!(recount(backend, ["a"]), 1);
    });
}

#[derive(Debug, Clone)]
enum Step {
    Insert { key: usize, size: usize, span: Option<u64> },
    Peek(usize),
    Remove(usize),
    Clear,
    Pass(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => 0usize..3000, 1 => 3000usize..20_000];
    prop_oneof![
        10 => (0..KEYS, size, prop::option::of(0u64..20))
            .prop_map(|(key, size, span)| Step::Insert { key, size, span }),
        6 => (0..KEYS).prop_map(Step::Peek),
        2 => (0..KEYS).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        3 => (0u64..8).prop_map(Step::Pass),
        2 => Just(Step::Sweep),
    ]
}

const KEYS: usize = 24;
const CAPACITY: u64 = 12_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// After every step: the limits hold, what is shown is what was stored last, what is counted as held is what is
    /// shown, and no entry has left uncounted.
    #[test]
    fn the_accounting_is_exact_after_any_steps(
        steps in prop::collection::vec(step(), 1..80),
        max_entries in prop::option::of(1u64..12),
    ) {
        let keys: Vec<String> = (0..KEYS).map(|n| format!("key/{n}")).collect();
        for subject in SUBJECTS {
            let backend = &*(subject.build)(CAPACITY, max_entries);
            let mut stored = BTreeMap::new();
            let (mut now, mut arrived, mut left) = (0, 0, 0);
            for step in &steps {
                match *step {
                    Step::Insert { key, size, span } => {
                        let key = &keys[key];
                        left += u64::from(backend.peek(key).is_some());
                        arrived += 1;
                        let newcomer = span.map_or_else(|| entry(key, size), |span| expiring(key, size, now, span));
                        let admission = insert(backend, &newcomer);
                        let is_too_large = newcomer.weight() > CAPACITY;
                        prop_assert_eq!(is_too_large, admission == Admission::Refused(Refusal::TooLarge));
                        prop_assert_eq!(backend.peek(key).is_some(), admission == Admission::Stored);
                        // One that has expired when it comes may leave at once.
                        if subject.admits_all && span != Some(0) {
                            prop_assert_eq!(is_too_large, admission != Admission::Stored);
                        }
                        stored.insert(key, newcomer);
                    }
                    Step::Peek(key) => drop(backend.peek(&keys[key])),
                    Step::Remove(key) => {
                        let was_held = remove(backend, &keys[key]);
                        left += u64::from(was_held);
                        stored.remove(&keys[key]);
                    }
                    Step::Clear => {
                        left += backend.usage().entries;
                        done(backend.clear()).unwrap();
                        stored.clear();
                    }
                    Step::Pass(span) => now += span,
                    Step::Sweep => {
                        done(backend.sweep(at(now))).unwrap();
                        for key in &keys {
                            let deadline = backend.peek(key).and_then(|held| held.expires_at());
                            prop_assert!(!subject.sweeps || deadline.is_none_or(|deadline| deadline > at(now)));
                        }
                    }
                }
                for key in &keys {
                    if let Some(shown) = backend.peek(key) {
                        prop_assert!(stored.get(key).is_some_and(|stored| stored.is_same(&shown)), "{}", key);
                    }
                }
                let held = recount(backend, keys.iter().map(String::as_str));
                prop_assert!(held <= max_entries.unwrap_or(u64::MAX), "{}: {held} entries", subject.name);
                let (evicted, expired, refused) = totals(backend);
                prop_assert_eq!(arrived, held + left + evicted + expired + refused, "{}", subject.name);
            }
        }
    }
}
