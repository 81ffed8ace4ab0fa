//! Caches that are used from several runtimes, some of which end.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{
    Entry, ErrorKind, Freshness, Key, PutCondition, ReadThrough, Result, Status, Validation,
    Validator,
};
use cache_testkit::{
    FaultyOrigin, ManualClock, MapBackend, MemoryOrigin, OriginFault, WaitingBackend,
};
use tokio::runtime::{Builder, Runtime};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, secs, settle, text};

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// A runtime that has got its answer need not be driven any more; who waits elsewhere is not to
/// wait for it.
#[test]
#[expect(
    clippy::async_yields_async,
    reason = "the reader is awaited later, on the runtime that it was spawned on"
)]
fn a_waiting_flight_starts_where_somebody_waits() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let (left, right) = (runtime(), runtime());
    let first = left.block_on(async {
        let first = rig.spawn_get(STRONG);
        rig.origin.wait_until_held(1).await;
        first
    });
    let second = right.block_on(async {
        let second = rig.spawn_get(STRONG);
        settle().await;
        second
    });
    rig.origin.release(1);
    assert_eq!(text(&left.block_on(first).unwrap().unwrap()), "one");
    // From here on nobody drives the left one.
    rig.origin.release_all();
    assert_eq!(text(&right.block_on(second).unwrap().unwrap()), "one");
    assert_eq!(rig.origin.count(), 2);
    drop(left);
}

#[tokio::test]
async fn a_runtime_that_is_shut_down_under_a_flight_leaves_its_readers_an_answer() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let dying = rig.clone();
    let begun = move || {
        let ending = runtime();
        ending.block_on(async {
            dying.spawn_get(STRONG);
            dying.origin.wait_until_held(1).await;
        });
        ending
    };
    let runtime = tokio::task::spawn_blocking(begun).await.unwrap();
    let waiting: Vec<_> = [STRONG, FOREVER].map(|freshness| rig.spawn_get(freshness)).into();
    settle().await;
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    rig.origin.release_all();
    for reader in waiting {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "one");
    }
    settle().await;
    assert_eq!(rig.cache.keys_in_flight(), 0);
    assert_eq!(rig.cache.stats().origin.cancelled, 1);
}

#[tokio::test]
async fn a_runtime_that_is_shut_down_while_an_answer_is_published_leaves_nothing_in_doubt() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    let (dying, gate) = (rig.clone(), Arc::clone(&backend));
    let begun = move || {
        let ending = runtime();
        ending.block_on(async {
            dying.origin.fault(OriginFault::hold().late());
            dying.spawn_get(STRONG);
            dying.origin.wait_until_held(1).await;
            gate.gate.close();
            dying.origin.release_all();
            gate.gate.wait_held(1).await;
        });
        drop(ending);
    };
    tokio::task::spawn_blocking(begun).await.unwrap();
    backend.gate.open();
    rig.check(FOREVER, "two", Status::Fetched).await;
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

#[tokio::test]
async fn a_runtime_that_is_shut_down_under_a_write_leaves_nothing_in_doubt() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    let (cache, gate) = (rig.cache.clone(), Arc::clone(&backend));
    let mut invalidation = Box::pin(async move { cache.invalidate(KEY).await });
    let begun = move || {
        let ending = runtime();
        ending.block_on(async {
            gate.gate.close();
            assert!(poll_once(invalidation.as_mut()).is_pending());
            gate.gate.wait_held(1).await;
        });
        drop(ending);
        invalidation
    };
    let invalidation = tokio::task::spawn_blocking(begun).await.unwrap();
    assert_eq!(invalidation.await.unwrap_err().kind(), ErrorKind::Other);
    backend.gate.open();
    rig.check(FOREVER, "two", Status::Fetched).await;
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

/// The task of a write that is lost with its runtime cannot remove what is held: the caller voids
/// it.
#[tokio::test]
async fn a_write_on_a_runtime_that_is_gone_voids_what_is_held() {
    let gone = tokio::task::spawn_blocking(|| {
        let gone = runtime();
        let handle = gone.handle().clone();
        drop(gone);
        handle
    });
    let gone = gone.await.unwrap();
    let rig = Rig::new();
    for write in ["invalidate", "put", "delete", "expire", "open_write"] {
        rig.origin.inner().write(KEY, "one");
        rig.get(STRONG).await.unwrap();
        rig.origin.inner().write(KEY, "two");
        let lost = {
            let _inside = gone.enter();
            let mut call: std::pin::Pin<Box<dyn Future<Output = cache_core::Result<()>>>> =
                match write {
                    "invalidate" => Box::pin(rig.cache.invalidate(KEY)),
                    "delete" => Box::pin(rig.cache.delete(KEY)),
                    "open_write" => Box::pin(async { rig.cache.open_write(KEY).await.map(drop) }),
                    "expire" => Box::pin(rig.cache.mark_stale(KEY)),
                    _ => Box::pin(async {
                        rig.cache.put(KEY, "x".into(), PutCondition::Always).await.map(drop)
                    }),
                };
            poll_once(call.as_mut())
        };
        assert!(
            matches!(lost, std::task::Poll::Ready(Err(error)) if error.kind() == ErrorKind::Other)
        );
        rig.check(FOREVER, "two", Status::Fetched).await;
    }
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

/// An origin that takes some turns of the scheduler to answer, as one behind a network does.
struct Distant(FaultyOrigin<MemoryOrigin>);

#[async_trait]
impl Validator for Distant {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.0.validate(key, held).await
    }
}

/// A cache that holds a stale "one"; the object is "two".
fn stale() -> (Arc<Distant>, ReadThrough<Distant>, Freshness) {
    let rule = Freshness::max_age(secs(10)).stale_while_revalidate(secs(1000));
    let (origin, clock) =
        (Arc::new(Distant(FaultyOrigin::in_memory())), Arc::new(ManualClock::new()));
    // At hand, so that a read is ready when it is first polled.
    let backend = Arc::new(MapBackend::new());
    let cache =
        ReadThrough::builder(Arc::clone(&origin), backend).clock(clock.clone()).build().unwrap();
    origin.0.inner().write(KEY, "one");
    runtime().block_on(async { cache.get(KEY, Some(&rule)).await.unwrap() });
    clock.advance(secs(10));
    origin.0.inner().write(KEY, "two");
    (origin, cache, rule)
}

/// Each read is ready when it is first polled, so nothing else lets the refresh run.
#[test]
fn a_program_that_only_blocks_on_reads_has_its_stale_copies_refreshed() {
    for entered in [false, true] {
        let (origin, cache, rule) = stale();
        let here = runtime();
        let get = || {
            let get = async { cache.get(KEY, Some(&rule)).await.unwrap() };
            // Also where something else drives it, inside of another task.
            if entered { here.block_on(async { tokio::join!(get).0 }) } else { here.block_on(get) }
        };
        let stale = (0..20).take_while(|_| get().status == Status::Stale).count();
        assert!((1..20).contains(&stale), "{stale} stale reads");
        let fresh = get();
        assert_eq!((text(&fresh), fresh.status), ("two".to_owned(), Status::Fresh));
        assert_eq!(origin.0.count(), 2);
    }
}

/// A task that only reads keeps its worker, and what it spawned waits in a place that no other
/// worker takes from.
#[test]
fn a_task_that_only_reads_has_its_stale_copies_refreshed() {
    for workers in [1, 2] {
        let (origin, cache, rule) = stale();
        let runtime = Builder::new_multi_thread().worker_threads(workers).build().unwrap();
        let reads = runtime.spawn(async move {
            let mut stale = 0;
            while stale < 10_000
                && cache.get(KEY, Some(&rule)).await.unwrap().status == Status::Stale
            {
                stale += 1;
            }
            stale
        });
        let stale = runtime.block_on(reads).unwrap();
        assert!((1..10_000).contains(&stale), "{stale} stale reads on {workers} workers");
        assert_eq!(origin.0.count(), 2);
    }
}
