//! What the counters say of writes that were not made, of negative entries, and of `clear`.

use std::{sync::Arc, task::Poll};

use cache_core::{Backend, Clock as _, Error, ErrorKind, Freshness, Rejection, Stats, Status};
use cache_policy::{Lru, MemoryBackend, MokaBackend, Ttl};
use cache_testkit::{BackendAction, BackendCall, HookBackend, MapBackend, WaitingBackend};

use crate::rig::{FOREVER, KEY, Rig, STRONG, poll_once, secs};

/// The backends that tell negative entries from copies.
fn backends() -> Vec<Arc<dyn Backend>> {
    vec![
        Arc::new(MapBackend::new()),
        Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1)),
        Arc::new(MemoryBackend::builder(Ttl::new(Lru::new())).build().unwrap()),
        Arc::new(MokaBackend::builder().build().unwrap()),
    ]
}

fn remembering(backend: Arc<dyn Backend>) -> Rig {
    Rig::with(backend, |builder| builder.negative_ttl(secs(10)).time_to_live(Some(secs(300))))
}

/// Copies that were dropped, for whatever reason, and those that are held.
fn of_copies(stats: &Stats) -> [u64; 4] {
    [stats.invalidations(), stats.expirations, stats.evictions, stats.entries]
}

async fn sweep(rig: &Rig) {
    rig.cache.backend().sweep(rig.clock.now()).await.unwrap();
}

/// Each way in which a negative entry leaves.
#[derive(Debug, Clone, Copy)]
enum Way {
    Swept,
    Invalidated,
    VoidByPrefix,
    Cleared,
    Put,
    Deleted,
    OpenWrite,
    /// The object is there when it is next read.
    Found,
    FoundAfterItsTime,
    /// It is remembered once more.
    MissingAgain,
    Refused,
}

const WAYS: [Way; 11] = [
    Way::Swept,
    Way::Invalidated,
    Way::VoidByPrefix,
    Way::Cleared,
    Way::Put,
    Way::Deleted,
    Way::OpenWrite,
    Way::Found,
    Way::FoundAfterItsTime,
    Way::MissingAgain,
    Way::Refused,
];

#[tokio::test]
async fn a_negative_entry_is_no_copy_however_it_leaves() {
    for way in WAYS {
        for (n, backend) in backends().into_iter().enumerate() {
            check_negative(way, n, remembering(backend)).await;
        }
    }
}

async fn check_negative(way: Way, n: usize, rig: Rig) {
    let rule = Freshness::max_age(secs(1000));
    assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(rig.origin.count(), 1, "it is remembered");
    let held = rig.cache.stats();
    assert_eq!(of_copies(&held), [0; 4], "backend {n}");
    assert_eq!((rig.cache.backend().usage().entries, held.bytes > 0), (1, true), "it takes memory");
    let mut copies = 0;
    match way {
        Way::Swept => {
            rig.clock.advance(secs(11));
            sweep(&rig).await;
        }
        Way::Invalidated => rig.cache.invalidate(KEY).await.unwrap(),
        Way::VoidByPrefix => {
            rig.cache.invalidate_prefix("a").unwrap();
            rig.origin.inner().write(KEY, "1");
            rig.get(rule).await.unwrap();
            copies = 1;
        }
        Way::Cleared => rig.cache.clear().await.unwrap(),
        Way::Put => {
            rig.cache.put(KEY, "1".into(), Default::default()).await.unwrap();
            copies = 1;
        }
        Way::Deleted => drop(rig.cache.delete(KEY).await),
        Way::OpenWrite => drop(rig.cache.open_write(KEY).await.unwrap()),
        Way::Found | Way::FoundAfterItsTime => {
            rig.origin.inner().write(KEY, "1");
            if matches!(way, Way::FoundAfterItsTime) {
                rig.clock.advance(secs(11));
            }
            rig.get(STRONG).await.unwrap();
            copies = 1;
        }
        Way::MissingAgain => {
            rig.clock.advance(secs(11));
            assert!(rig.get(rule).await.is_err());
        }
        Way::Refused => {
            rig.origin.fault(cache_testkit::OriginFault::error(ErrorKind::PermissionDenied).once());
            assert!(rig.get(STRONG).await.is_err());
        }
    }
    let stats = rig.cache.stats();
    assert_eq!(of_copies(&stats), [0, 0, 0, copies], "{way:?}, backend {n}: {stats:?}");
    assert_eq!(rig.cache.backend().negative_entries(), u64::from(matches!(way, Way::MissingAgain)));
}

/// Beside copies, each of which is counted.
#[tokio::test]
async fn copies_are_counted_beside_negative_entries() {
    for (n, backend) in backends().into_iter().enumerate() {
        let rig = remembering(backend);
        for key in ["x", "y", "z"] {
            rig.origin.inner().write(key, key);
            rig.cache.get(key, Some(&FOREVER)).await.unwrap();
        }
        for key in 0..5 {
            let missing = rig.cache.get(&format!("missing/{key}"), Some(&FOREVER)).await;
            assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
        }
        assert_eq!(of_copies(&rig.cache.stats()), [0, 0, 0, 3], "backend {n}");
        rig.cache.clear().await.unwrap();
        assert_eq!(of_copies(&rig.cache.stats()), [3, 0, 0, 0], "backend {n}");
    }
}

/// Copies push it out.
#[tokio::test]
async fn a_negative_entry_that_is_evicted_is_no_eviction() {
    let backend = MemoryBackend::builder(Lru::new()).max_entries(64).shards(1).build().unwrap();
    let rig = remembering(Arc::new(backend));
    assert!(rig.get(FOREVER).await.is_err());
    for n in 0..70 {
        let key = format!("k/{n}");
        rig.origin.inner().write(&key, "1");
        rig.cache.get(&key, Some(&FOREVER)).await.unwrap();
    }
    let stats = rig.cache.stats();
    assert_eq!(
        (stats.evictions, stats.entries, rig.cache.backend().negative_entries()),
        (6, 64, 0)
    );
}

#[tokio::test]
async fn a_negative_entry_that_is_refused_is_no_body_that_was_refused() {
    let rig = remembering(Arc::new(HookBackend::new(MapBackend::new(), |call| match call {
        BackendCall::Insert(_) => BackendAction::Reject(Rejection::Policy),
        _ => BackendAction::Proceed,
    })));
    assert!(rig.get(FOREVER).await.is_err());
    assert_eq!(rig.cache.stats().rejected.policy, 0);
    rig.origin.inner().write(KEY, "1");
    rig.check(FOREVER, "1", Status::Fetched).await;
    assert_eq!(rig.cache.stats().rejected.policy, 1);
}

/// The copies are void, and stay where they are: they are counted when they leave.
#[test]
fn a_clear_outside_of_a_runtime_counts_nothing_until_the_copies_leave() {
    let rig = Rig::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for key in [KEY, "x"] {
            rig.origin.inner().write(key, "1");
            rig.cache.get(key, Some(&FOREVER)).await.unwrap();
        }
    });
    for _ in 0..3 {
        let mut clear = Box::pin(rig.cache.clear());
        let Poll::Ready(cleared) = poll_once(clear.as_mut()) else {
            panic!("it waits for nothing")
        };
        assert_eq!(cleared.unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(rig.cache.stats().invalidations(), 0);
    }
    runtime.block_on(async {
        // The one is void when it is next read; the other leaves with the next `clear`.
        rig.check(FOREVER, "1", Status::Fetched).await;
        assert_eq!(rig.cache.stats().invalidations(), 1);
        rig.cache.clear().await.unwrap();
        assert_eq!(rig.cache.stats().invalidations(), 3);
        rig.at_rest(3).await;
    });
}

/// Each copy leaves once, whoever calls.
#[tokio::test]
async fn clears_that_overlap_count_each_copy_once() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    for key in [KEY, "x", "y"] {
        rig.origin.inner().write(key, "1");
        rig.cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    backend.gate.close();
    let clears = [(), ()].map(|()| {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.clear().await })
    });
    backend.gate.wait_held(2).await;
    backend.gate.open();
    for clear in clears {
        clear.await.unwrap().unwrap();
    }
    assert_eq!((rig.cache.stats().invalidations(), rig.cache.stats().entries), (3, 0));
    rig.cache.clear().await.unwrap();
    assert_eq!(rig.cache.stats().invalidations(), 3);
}

/// What it could not drop is void, and counted when it leaves.
#[tokio::test]
async fn a_clear_that_fails_counts_nothing_until_the_copies_leave() {
    let rig = Rig::over(HookBackend::new(MapBackend::new(), |call| match call {
        BackendCall::Clear => BackendAction::Fail(Error::new(ErrorKind::Backend, "no clear")),
        _ => BackendAction::Proceed,
    }));
    rig.origin.inner().write(KEY, "1");
    rig.get(FOREVER).await.unwrap();
    for _ in 0..2 {
        assert_eq!(rig.cache.clear().await.unwrap_err().kind(), ErrorKind::Backend);
        assert_eq!((rig.cache.stats().invalidations(), rig.cache.stats().entries), (0, 1));
    }
    rig.cache.invalidate(KEY).await.unwrap();
    assert_eq!((rig.cache.stats().invalidations(), rig.cache.stats().entries), (1, 0));
}
