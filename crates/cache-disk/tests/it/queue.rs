//! Which entries are written and which are dropped, and how fresh they come back.

use std::{path::Path, sync::Arc, time::Duration};

use cache_core::{Backend, Entry, Key, Moment, Namespace};
use cache_disk::{DiskAdmission, DiskTier, TieredBackend};
use cache_policy::MokaBackend;

use crate::support::{Memory, body_of, entry, look_up, memory, open, tier, until, written};

fn quiet(path: &Path) -> DiskTier {
    DiskTier::new(path).max_capacity(1 << 30).write_budget(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_the_queue_has_room_for_is_kept_whole() {
    const BODY: usize = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).queue_bytes(256 << 20);
    let backend = open(memory(1, 2 << 20), tier).await;
    let keys: Vec<_> = (0..100).map(|n| format!("burst/{n}")).collect();
    for key in &keys {
        assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, BODY))).is_ok());
    }
    for key in &keys {
        let found = look_up(&backend, key).await.unwrap_or_else(|| panic!("{key} is lost"));
        assert!(found.body() == &body_of(key, BODY), "{key}");
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.entries, stats.dropped.total(), stats.written), (100, 0, 100));
    assert!(stats.write_amplification() < 1.02, "{}", stats.write_amplification());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_memory_has_room_for_is_kept_whole() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).queue_bytes(300_000);
    let backend = open(memory(1000, 1 << 30), tier).await;
    let keys: Vec<_> = (0..200).map(|n| format!("burst/{n}")).collect();
    for key in &keys {
        assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, 100_000))).is_ok());
        assert!(backend.lower_tier().unwrap().queue_bytes <= 300_000);
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.entries, stats.dropped.total(), stats.queue_bytes), (200, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_the_queue_has_no_room_for_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    // The budget is used up by the first entry: nothing more is written.
    let tier = quiet(directory.path()).queue_bytes(100_000).write_budget(1);
    let backend = open(memory(1, 1 << 20), tier).await;
    for n in 0..40 {
        let key = format!("a/{n}");
        assert!(backend.insert_now(entry(&key, "\"1\"", body_of(&key, 10_000))).is_ok());
    }
    let stats = backend.lower_tier().unwrap();
    assert!(stats.dropped.queue_full > 0, "{stats:?}");
    // An entry dropped at its insert was offered again when memory evicted it.
    assert!(stats.queue_bytes <= 100_000, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_again_and_again_does_not_fill_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).queue_bytes(1 << 20).write_budget(1);
    let backend = open(memory(10, 1 << 20), tier).await;
    for n in 0..6000 {
        let e_tag = format!("\"{n}\"");
        assert!(backend.insert_now(entry("a", &e_tag, body_of("a", 10_000))).is_ok());
    }
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.queue_entries, stats.dropped.queue_full), (1, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_on_reuse_only_what_was_used_is_written_when_it_is_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).admission(DiskAdmission::OnReuse);
    let backend = open(memory(1, 1 << 20), tier).await;
    for key in ["used", "unused", "last"] {
        assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, 10_000))).is_ok());
        if key == "used" {
            assert!(backend.get_now(key).is_some());
        }
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.entries, stats.dropped.not_admitted), (1, 1), "{stats:?}");
    assert!(look_up(&backend, "unused").await.is_none());
    backend.close().await.unwrap();
    // The entries of memory are written at the end, used or not.
    let backend = open(memory(1, 1 << 20), quiet(directory.path())).await;
    for (key, is_there) in [("used", true), ("unused", false), ("last", true)] {
        assert_eq!(look_up(&backend, key).await.is_some(), is_there, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_decides_by_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path())
        .admission_for("logs/", DiskAdmission::Never)
        .admission_for("logs/kept/", DiskAdmission::Always);
    let backend = open(memory(1, 1 << 20), tier).await;
    for key in ["logs/a", "logs/kept/a", "a", "last"] {
        assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, 10_000))).is_ok());
    }
    written(&backend).await;
    assert!(look_up(&backend, "logs/a").await.is_none());
    assert!(look_up(&backend, "logs/kept/a").await.is_some());
    assert!(look_up(&backend, "a").await.is_some());
}

/// An entry comes back from disk with the latest stamp, whichever memory is above it.
async fn check_stamps(backend: TieredBackend<impl Backend>, is_evicted: bool) {
    let stamped = |key: &str| {
        let key = Key::parse(key).expect("the key is right");
        Entry::builder(&key, body_of("x", 1000).into())
            .e_tag("\"1\"")
            .namespace(Some(Namespace::named("test")))
            .validated(Moment::from_nanos(7), Some(Duration::from_nanos(50)))
            .build()
    };
    let push_out = async |key: &str| {
        written(&backend).await;
        if is_evicted {
            for n in 0..3 {
                let other = entry(&format!("other/{n}"), "\"1\"", body_of("o", 1000));
                assert!(backend.insert_now(other).is_ok());
            }
        } else {
            backend.memory().remove(key).await.expect("memory does not fail");
        }
        assert!(backend.peek(key).is_none(), "it is still in memory");
    };
    let first = stamped("a");
    assert!(backend.insert_now(first.clone()).is_ok());
    push_out("a").await;
    let second = look_up(&backend, "a").await.expect("it is on disk");
    assert!(!second.is_same(&first));
    assert_eq!(second.validated_at(), Some(Moment::from_nanos(7)));
    assert_eq!(second.expires_at(), Some(Moment::from_nanos(57)));
    // Marked while it is not in memory.
    push_out("a").await;
    backend.mark_stale("a").await.expect("it needs no I/O");
    let third = look_up(&backend, "a").await.expect("it is on disk");
    assert!(third.must_revalidate());
    // Renewed by a handle that memory does not have any more.
    push_out("a").await;
    third.renew_from(&stamped("a"));
    backend.renewed(&third);
    let fourth = look_up(&backend, "a").await.expect("it is on disk");
    assert!(!fourth.must_revalidate());
    // Renewed by an older handle while memory has another one.
    backend.mark_stale("a").await.expect("it needs no I/O");
    assert!(fourth.must_revalidate());
    second.renew_from(&stamped("a"));
    backend.renewed(&second);
    assert!(!fourth.must_revalidate());
    // A handle of an earlier insert renews nothing.
    let newer = stamped("a");
    assert!(backend.insert_now(newer.clone()).is_ok());
    backend.mark_stale("a").await.expect("it needs no I/O");
    backend.renewed(&second);
    assert!(newer.must_revalidate());
    push_out("a").await;
    assert!(look_up(&backend, "a").await.is_some_and(|entry| entry.must_revalidate()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_stamp_comes_back_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    check_stamps(open(memory(3, 1 << 20), tier(&directory.path().join("1"))).await, true).await;
    let moka = MokaBackend::builder().max_entries(3).build().unwrap();
    check_stamps(open(moka, tier(&directory.path().join("2"))).await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_entries_outlast_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let tier = DiskTier::new(directory.path())
        .max_capacity(8 << 20)
        .segment_bytes(1 << 20)
        .write_budget(None)
        .pin("db/");
    let backend: TieredBackend<Memory> = open(memory(1, 1 << 20), tier).await;
    let pinned: Vec<_> = (0..20).map(|n| format!("db/{n}")).collect();
    for key in &pinned {
        assert!(backend.insert(entry(key, "\"1\"", body_of(key, 100_000))).await.is_ok());
    }
    for n in 0..400 {
        let key = format!("other/{n}");
        assert!(backend.insert(entry(&key, "\"1\"", body_of(&key, 100_000))).await.is_ok());
        until(&backend, |stats| stats.queue_bytes < 1 << 20).await;
        let bytes = backend.lower_tier().unwrap().bytes;
        assert!(bytes <= 8 << 20, "{bytes} bytes of files");
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!(stats.pins_lost.total(), 0, "{stats:?}");
    assert!(stats.rewritten > 0 && stats.dropped.recycled > 200, "{stats:?}");
    for key in &pinned {
        let found = look_up(&backend, key).await.unwrap_or_else(|| panic!("{key} is lost"));
        assert!(found.body() == &body_of(key, 100_000), "{key}");
    }
    // More than half of the capacity is not pinned, and counted.
    for n in 20..60 {
        let key = format!("db/{n}");
        assert!(backend.insert(entry(&key, "\"1\"", body_of(&key, 100_000))).await.is_ok());
        written(&backend).await;
    }
    let stats = backend.lower_tier().unwrap();
    assert!(stats.pinned_bytes <= 4 << 20, "{stats:?}");
    assert!(stats.pins_lost.pin_limit > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_entries_wait_for_room_in_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).queue_bytes(300_000).pin("db/");
    let backend = open(memory(1, 1 << 20), tier).await;
    for n in 0..200 {
        let key = format!("db/{n}");
        let entry = entry(&key, "\"1\"", body_of(&key, 100_000));
        match backend.insert_now(entry) {
            Ok(admission) => assert!(admission.is_stored()),
            Err(entry) => assert!(backend.insert(entry).await.unwrap().is_stored()),
        }
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.entries, stats.pins_lost.total()), (200, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mirror_keeps_its_entries_when_they_are_replaced_or_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let tier = DiskTier::new(directory.path())
        .max_capacity(1 << 20)
        .segment_bytes(64 << 10)
        .write_budget(None)
        .pin("db/");
    let backend: TieredBackend<Memory> = open(memory(1, 1 << 20), tier).await;
    let store = async |key: &str| {
        assert!(backend.insert(entry(key, "\"1\"", body_of(key, 100))).await.is_ok());
    };
    let mut n_pinned = 0;
    while backend.lower_tier().unwrap().pins_lost.pin_limit == 0 {
        store(&format!("db/{n_pinned:05}")).await;
        n_pinned += 1;
        written(&backend).await;
    }
    let full = backend.lower_tier().unwrap();
    assert!(full.pinned_bytes <= 1 << 19, "{full:?}");
    for n in 0..6000 {
        store(&format!("other/{n}")).await;
        // Replaced by one of the same length: as many bytes are pinned as before.
        store(&format!("db/{:05}", n % (n_pinned - 1))).await;
        if n % 50 == 0 {
            written(&backend).await;
        }
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert!(stats.rewritten > 0, "{stats:?}");
    assert_eq!(stats.pins_lost.total(), 1, "{stats:?}");
    assert_eq!(stats.pinned_bytes, full.pinned_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_written_before_its_prefix_was_pinned_is_pinned_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let tier = || {
        let tier = DiskTier::new(directory.path()).max_capacity(1 << 20);
        tier.segment_bytes(64 << 10).write_budget(None)
    };
    let first = open(memory(1, 1 << 20), tier()).await;
    for n in 0..100 {
        let key = format!("db/{n}");
        assert!(first.insert(entry(&key, "\"1\"", body_of(&key, 1000))).await.is_ok());
    }
    first.close().await.unwrap();
    let second = open(memory(1, 1 << 20), tier().pin("db/")).await;
    for n in 0..100 {
        assert!(look_up(&second, &format!("db/{n}")).await.is_some(), "{n}");
    }
    assert!(second.lower_tier().unwrap().pinned_bytes > 100 * 1000);
    for n in 0..4000 {
        let key = format!("other/{n}");
        assert!(second.insert(entry(&key, "\"1\"", body_of(&key, 1000))).await.is_ok());
        if n % 20 == 0 {
            written(&second).await;
        }
    }
    for n in 0..100 {
        assert!(look_up(&second, &format!("db/{n}")).await.is_some(), "{n}");
    }
    // What is written again is no payload.
    let stats = second.lower_tier().unwrap();
    let twice = stats.written as f64 / (stats.written - stats.rewritten) as f64;
    assert!(twice > 1.1 && stats.write_amplification() > twice, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_entry_that_is_larger_than_the_queue_waits_alone() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).segment_bytes(2 << 20).queue_bytes(1 << 20).pin("db/");
    let backend = open(memory(1, 16 << 20), tier).await;
    for key in ["db/1", "db/2", "db/3", "db/4"] {
        assert!(backend.insert(entry(key, "\"1\"", body_of(key, 1_500_000))).await.is_ok());
    }
    written(&backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.entries, stats.dropped.total()), (4, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn pinned_entries_that_are_stored_at_once_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let tier = quiet(directory.path()).queue_bytes(30_000).pin("db/");
    let backend = Arc::new(open(memory(1, 1 << 20), tier).await);
    let store = |n| {
        let backend = Arc::clone(&backend);
        let key = format!("db/{n}");
        let stored = async move {
            backend.insert(entry(&key, "\"1\"", body_of(&key, 20_000))).await.is_ok()
        };
        tokio::spawn(stored)
    };
    let all: Vec<_> = (0..2000).map(store).collect();
    for stored in all {
        assert!(stored.await.unwrap());
    }
    written(&*backend).await;
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.entries, stats.pins_lost.total()), (2000, 0), "{stats:?}");
}
