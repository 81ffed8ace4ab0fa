//! Both limits, at their edges.

use cache_core::{Admission, Backend, ErrorKind, Rejection};
use cache_policy::{Lru, MemoryBackend};

use crate::support::{SUBJECTS, entry, hold, insert, recount, totals};

const CAPACITY: u64 = 1 << 20;

/// An entry that weighs exactly `weight`.
fn weighing(key: &str, weight: u64) -> cache_core::Entry {
    entry(key, usize::try_from(weight - entry(key, 0).weight()).expect("fits"))
}

#[test]
fn many_puts_reach_the_limit_of_entries_and_never_pass_it() {
    for subject in SUBJECTS {
        let backend = &*(subject.build)(256 << 20, Some(5000));
        for n in 0..20_000 {
            let _ = insert(backend, &entry(&format!("key/{n}"), 100));
            assert!(backend.usage().entries <= 5000, "{}", subject.name);
        }
        assert_eq!(backend.usage().entries, 5000, "{}", subject.name);
        let (evicted, expired, refused) = totals(backend);
        assert_eq!((evicted + refused, expired), (15_000, 0), "{}", subject.name);
    }
}

#[test]
fn many_puts_fill_the_capacity_and_never_pass_it() {
    for subject in SUBJECTS {
        let backend = &*(subject.build)(CAPACITY, None);
        for n in 0..3000 {
            let _ = insert(backend, &entry(&format!("key/{n}"), 100 + n % 900));
            assert!(backend.usage().bytes <= CAPACITY, "{}", subject.name);
        }
        assert!(backend.usage().bytes > CAPACITY - 2000, "{}: {:?}", subject.name, backend.usage());
    }
}

#[test]
fn an_entry_as_large_as_the_capacity_is_held_and_one_byte_more_is_not() {
    for subject in SUBJECTS {
        let backend = &*(subject.build)(CAPACITY, None);
        hold(backend, &weighing("a", CAPACITY));
        assert_eq!(backend.usage().bytes, CAPACITY);
        let refused = Admission::Rejected(Rejection::TooLarge);
        assert_eq!(insert(backend, &weighing("b", CAPACITY + 1)), refused, "{}", subject.name);
        assert_eq!(recount(backend, ["a", "b"]), 1);
        assert_eq!(totals(backend), (0, 0, 1));
    }
}

#[test]
fn all_shards_make_room_for_one_large_entry_and_fill_again_evenly() {
    for subject in SUBJECTS.iter().filter(|subject| subject.admits_all) {
        let backend = &*(subject.build)(CAPACITY, None);
        let keys: Vec<_> = (0..5000).map(|n| format!("key/{n}")).collect();
        for key in &keys {
            hold(backend, &entry(key, 100));
        }
        hold(backend, &weighing("large", CAPACITY));
        assert_eq!(backend.usage().entries, 1);
        for key in &keys {
            hold(backend, &entry(key, 100));
        }
        assert!(backend.get_now("large").is_none());
        assert!(backend.usage().bytes > CAPACITY - 1000, "{}", subject.name);
    }
}

#[test]
fn with_one_entry_allowed_the_last_one_stays() {
    for subject in SUBJECTS.iter().filter(|subject| subject.admits_all) {
        let backend = &*(subject.build)(CAPACITY, Some(1));
        for n in 0..50 {
            hold(backend, &entry(&format!("key/{n}"), 100));
            assert_eq!(recount(backend, [&*format!("key/{n}")]), 1, "{}", subject.name);
        }
    }
}

#[test]
fn with_one_shard_the_least_recently_used_of_all_leaves() {
    let backend = MemoryBackend::builder(Lru::new()).shards(1).max_entries(3).build().unwrap();
    for key in ["a", "b", "c"] {
        let _ = insert(&backend, &entry(key, 1));
    }
    backend.get_now("a");
    let _ = insert(&backend, &entry("d", 1));
    assert_eq!(recount(&backend, ["c", "a", "d"]), 3); // Looks in this order.
    let _ = insert(&backend, &entry("c", 2)); // A new entry is no use of the key.
    let _ = insert(&backend, &entry("e", 1));
    assert_eq!(recount(&backend, ["a", "d", "e"]), 3);
}

#[test]
fn limits_out_of_bounds_are_config_errors() {
    #[track_caller]
    fn check(settings: cache_policy::MemoryBackendBuilder<Lru>, ok: bool) {
        let built = settings.build();
        assert_eq!(built.is_ok(), ok, "{built:?}");
        if let Err(error) = built {
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
    let builder = || MemoryBackend::builder(Lru::new());
    check(builder(), true);
    check(builder().max_capacity(0), false);
    check(builder().max_capacity(1), true);
    check(builder().max_capacity(u64::MAX).max_entries(u64::MAX), true);
    check(builder().max_entries(0), false);
    check(builder().max_entries(1), true);
    check(builder().shards(0), false);
    check(builder().shards(3), true);
    check(builder().shards(1024), true);
    check(builder().shards(1025), false);
    check(builder().shards(u64::MAX), false);
}

#[test]
fn the_default_capacity_is_256_mib() {
    let backend = MemoryBackend::builder(Lru::new()).build().unwrap();
    assert_eq!(backend.usage().capacity_bytes, Some(256 << 20));
}

#[test]
fn without_limits_everything_is_held() {
    let backend = MemoryBackend::builder(Lru::new())
        .max_capacity(u64::MAX)
        .max_entries(u64::MAX)
        .build()
        .unwrap();
    for n in 0..1000 {
        hold(&backend, &entry(&format!("key/{n}"), 10));
    }
    assert_eq!(backend.usage().entries, 1000);
}
