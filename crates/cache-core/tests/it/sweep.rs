//! Expired entries leave by themselves, and the cache's own tasks end with it.

use std::sync::Arc;

use cache_core::{ErrorKind, PutCondition, ReadThrough, Status};
use cache_testkit::{
    FaultyOrigin, MapBackend, MemoryOrigin, OriginFault, TokioClock, WaitingBackend,
};

use crate::support::{FOREVER, KEY, Rig, STRONG, secs, settle, text};

fn cache() -> (Arc<FaultyOrigin<MemoryOrigin>>, ReadThrough<FaultyOrigin<MemoryOrigin>>) {
    let origin = Arc::new(FaultyOrigin::in_memory());
    let cache = ReadThrough::builder(Arc::clone(&origin), Arc::new(MapBackend::new()))
        .time_to_live(Some(secs(300)))
        .clock(Arc::new(TokioClock::new()))
        .build()
        .unwrap();
    (origin, cache)
}

#[tokio::test(start_paused = true)]
async fn an_idle_entry_leaves_by_itself_and_a_read_keeps_it() {
    let (origin, cache) = cache();
    for key in ["idle", "read"] {
        origin.inner().write(key, "x");
        cache.get(key, None).await.unwrap();
    }
    tokio::time::sleep(secs(200)).await;
    cache.get("read", None).await.unwrap();
    tokio::time::sleep(secs(200)).await;
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.expirations), (1, 1));
    assert!(cache.backend().peek("read").is_some());
    tokio::time::sleep(secs(200)).await;
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_ends_with_the_last_handle() {
    let (origin, cache) = cache();
    origin.inner().write(KEY, "x");
    cache.get(KEY, None).await.unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), 1, "the sweep");
    let other = cache.clone();
    drop(cache);
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(other);
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}

/// The first runtime is driven by nobody after its first read.
#[test]
fn a_sweep_that_is_left_alone_goes_on_where_the_cache_is_used() {
    for used_by in ["reads", "puts", "one read at a time"] {
        let rig = Rig::with(MapBackend::new(), |builder| builder.time_to_live(Some(secs(300))));
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (left, here) = (runtime(), runtime());
        for n in 0..10 {
            let key = format!("left/{n}");
            rig.origin.inner().write(&key, "x");
            left.block_on(async { rig.cache.get(&key, None).await.unwrap() });
        }
        rig.origin.inner().write(KEY, "x");
        for round in 0..10 {
            rig.clock.advance(secs(100));
            match used_by {
                "puts" => here.block_on(async {
                    rig.cache.put(KEY, "x".into(), PutCondition::Always).await.unwrap();
                    settle().await;
                }),
                "reads" => here.block_on(async {
                    rig.get(STRONG).await.unwrap();
                    settle().await;
                }),
                _ => drop(here.block_on(rig.get(STRONG)).unwrap()),
            }
            let entries = rig.cache.stats().entries;
            assert_eq!(entries, if round < 2 { 11 } else { 1 }, "{used_by}, round {round}");
        }
    }
}

/// A call of the backend that is under way there is given up with it.
#[test]
fn a_sweep_that_is_left_alone_half_way_begins_anew() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::with(Arc::clone(&backend), |builder| builder.time_to_live(Some(secs(300))));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (left, here) = (runtime(), runtime());
    rig.origin.inner().write("left", "x");
    left.block_on(async { rig.cache.get("left", None).await.unwrap() });
    rig.origin.inner().write(KEY, "x");
    // It is begun in the second one, and held.
    rig.clock.advance(secs(100));
    let also_left = runtime();
    also_left.block_on(async {
        rig.get(STRONG).await.unwrap();
        backend.gate.close();
        rig.clock.advance(secs(100));
        settle().await;
        backend.gate.open();
    });
    for _ in 0..3 {
        rig.clock.advance(secs(200));
        here.block_on(async {
            rig.get(STRONG).await.unwrap();
            settle().await;
        });
    }
    assert_eq!(rig.cache.stats().entries, 1);
}

#[test]
fn a_runtime_without_time_reads_and_writes_and_sweeps_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (origin, cache) = cache();
        origin.inner().write(KEY, "x");
        assert_eq!(text(&cache.get(KEY, None).await.unwrap()), "x");
        settle().await;
        assert_eq!(text(&cache.get(KEY, None).await.unwrap()), "x");
        cache.put(KEY, "y".into(), PutCondition::Always).await.unwrap();
    });
}

#[tokio::test]
async fn a_closed_cache_finishes_what_is_in_flight_and_refuses_the_rest() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.origin.fault(OriginFault::hold());
    let reader = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    let closing = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.close().await })
    };
    settle().await;
    assert!(!closing.is_finished());
    for freshness in [STRONG, FOREVER] {
        assert_eq!(rig.get(freshness).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(rig.cache.invalidate(KEY).await.unwrap_err().kind(), ErrorKind::Closed);
    let put = rig.cache.put(KEY, "two".into(), PutCondition::Always).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Closed);
    rig.origin.release_all();
    closing.await.unwrap().unwrap();
    assert_eq!(text(&reader.await.unwrap().unwrap()), "one");
    assert_eq!(rig.cache.stats().entries, 0);
    rig.cache.close().await.unwrap();
    rig.at_rest(4).await;
}

#[tokio::test]
async fn ten_thousand_keys_leave_no_state_behind() {
    let rig = Rig::new();
    for n in 0..10_000 {
        let missing = rig.cache.get(&format!("missing/{n}"), None).await;
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let stats = rig.cache.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
    rig.at_rest(10_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_cache_keeps_nothing_and_sweeps_no_more() {
    for freshness in [STRONG, FOREVER] {
        let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
        let origin = Arc::new(FaultyOrigin::in_memory());
        let cache = ReadThrough::builder(Arc::clone(&origin), backend.clone()).build().unwrap();
        origin.inner().write(KEY, "one");
        cache.get(KEY, None).await.unwrap();
        backend.gate.close();
        // One looks up what is held while the cache is closed; it was let in before. A strong one
        // has its flight look it up, which is waited for.
        let reader = {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(KEY, Some(&freshness)).await })
        };
        backend.gate.wait_held(1).await;
        let closing = {
            let cache = cache.clone();
            tokio::spawn(async move { cache.close().await })
        };
        settle().await;
        backend.gate.open();
        closing.await.unwrap().unwrap();
        match reader.await.unwrap() {
            Ok(served) if freshness.is_strong() => assert_eq!(text(&served), "one"),
            read => assert_eq!(read.unwrap_err().kind(), ErrorKind::Closed),
        }
        settle().await;
        assert_eq!(cache.stats().entries, 0);
        assert_eq!(cache.get(KEY, Some(&FOREVER)).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }
}

#[tokio::test]
async fn a_copy_that_has_expired_is_counted_as_that_by_a_write() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.time_to_live(Some(secs(10))));
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.clock.advance(secs(10));
    rig.cache.put(KEY, "two".into(), PutCondition::Always).await.unwrap();
    let stats = rig.cache.stats();
    assert_eq!((stats.expirations, stats.invalidations(), stats.entries), (1, 0, 1));
    rig.at_rest(1).await;
}

/// The sweep has counted it; a flight that looked it up before does not count it again.
#[tokio::test]
async fn a_copy_that_a_sweep_drops_under_its_flight_is_counted_once() {
    for sweeps in [false, true] {
        let rig = Rig::with(MapBackend::new(), |builder| builder.time_to_live(Some(secs(10))));
        rig.origin.inner().write(KEY, "one");
        rig.check(STRONG, "one", Status::Fetched).await;
        rig.clock.advance(secs(10));
        rig.origin.fault(OriginFault::hold());
        let reader = rig.spawn_get(STRONG);
        rig.origin.wait_until_held(1).await;
        if sweeps {
            let now = cache_core::Clock::now(&*rig.clock);
            rig.cache.backend().sweep(now).await.unwrap();
        }
        rig.origin.release_all();
        assert_eq!(reader.await.unwrap().unwrap().status, Status::Fetched);
        assert_eq!(rig.cache.stats().expirations, 1, "swept: {sweeps}");
    }
}
