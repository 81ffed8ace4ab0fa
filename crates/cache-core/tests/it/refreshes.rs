//! Lists at intervals.

use std::{sync::Arc, time::Duration};

use cache_core::{Clock as _, ErrorKind, Freshness, Moment, ReadThrough, Status};
use cache_testkit::{
    FaultyOrigin, MapBackend, MemoryOrigin, OriginFault, OriginOperation, OriginOutcome, TokioClock,
};
use tokio::time::sleep;

use crate::support::{FOREVER, Rig, secs, settle};

const PREFIX: &str = "a/";
const TEN: Freshness = Freshness::max_age(secs(10));

type Origin = FaultyOrigin<MemoryOrigin>;

/// A cache by tokio's clock, and an origin with three objects, all cached.
async fn cached() -> (Arc<Origin>, ReadThrough<Origin>) {
    let origin = Arc::new(FaultyOrigin::in_memory());
    let cache = ReadThrough::builder(Arc::clone(&origin), Arc::new(MapBackend::new()))
        .clock(Arc::new(TokioClock::new()))
        .build()
        .unwrap();
    for key in ["a/1", "a/2", "b"] {
        origin.inner().write(key, key);
        cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    sleep(secs(1)).await;
    origin.reset();
    (origin, cache)
}

fn count(origin: &Origin, operation: OriginOperation) -> usize {
    origin.requests().iter().filter(|request| request.operation == operation).count()
}

fn lists(origin: &Origin) -> usize {
    count(origin, OriginOperation::List)
}

#[tokio::test(start_paused = true)]
async fn reads_of_a_prefix_that_is_listed_often_enough_send_no_requests() {
    let (origin, cache) = cached().await;
    let _refresh = cache.refresh_by_list(PREFIX, secs(9)).unwrap();
    for _ in 0..200 {
        sleep(Duration::from_millis(500)).await;
        for key in ["a/1", "a/2"] {
            let served = cache.get(key, Some(&TEN)).await.unwrap();
            assert_eq!(served.status, Status::Fresh);
            assert!(served.age() <= secs(9), "{:?}", served.age());
        }
    }
    assert!((12..=15).contains(&lists(&origin)), "{}", lists(&origin));
    assert_eq!(count(&origin, OriginOperation::Validate), 0);
    assert_eq!(cache.get("b", Some(&TEN)).await.unwrap().status, Status::Revalidated);

    origin.inner().write("a/1", "new");
    sleep(secs(9)).await;
    assert_eq!(cache.get("a/1", Some(&TEN)).await.unwrap().entry.body(), "new");
}

#[tokio::test(start_paused = true)]
async fn intervals_are_between_eight_and_ten_tenths_and_differ() {
    let (origin, cache) = cached().await;
    let clock = TokioClock::new();
    let at = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&at);
    origin.fault(OriginFault::meanwhile(move |_| {
        noted.lock().unwrap().push(clock.now().saturating_since(Moment::from_nanos(0)));
        std::future::ready(())
    }));
    let refresh = cache.refresh_by_list(PREFIX, secs(100)).unwrap();
    sleep(secs(3000)).await;
    drop(refresh);
    let at = at.lock().unwrap();
    let mut intervals: Vec<_> = at.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(at[0], Duration::ZERO, "the first is made at once");
    // A timer of tokio may be a millisecond late.
    assert!(intervals.iter().all(|it| (secs(80)..=Duration::from_millis(100_001)).contains(it)));
    intervals.sort_unstable();
    assert!(intervals[intervals.len() - 1] - intervals[0] > secs(5), "{intervals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_ends_when_it_is_dropped_and_not_when_it_is_detached() {
    let (origin, cache) = cached().await;
    drop(cache.refresh_by_list(PREFIX, secs(10)).unwrap());
    sleep(secs(100)).await;
    assert_eq!(lists(&origin), 0);
    let refresh = cache.refresh_by_list(PREFIX, secs(10)).unwrap();
    sleep(secs(5)).await;
    drop(refresh);
    sleep(secs(100)).await;
    assert_eq!(lists(&origin), 1);
    cache.refresh_by_list(PREFIX, secs(10)).unwrap().detach();
    sleep(secs(100)).await;
    let n_lists = lists(&origin);
    assert!(n_lists > 10);
    cache.close().await.unwrap();
    sleep(secs(100)).await;
    assert_eq!(lists(&origin), n_lists);
    let error = cache.refresh_by_list(PREFIX, secs(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_keeps_no_cache_alive() {
    let (origin, cache) = cached().await;
    let refresh = cache.refresh_by_list(PREFIX, secs(10)).unwrap();
    cache.refresh_by_list(PREFIX, secs(10)).unwrap().detach();
    sleep(secs(5)).await;
    let weak = cache.downgrade();
    drop(cache);
    assert!(weak.upgrade().is_none());
    sleep(secs(100)).await;
    assert_eq!(lists(&origin), 2);
    drop(refresh);
}

#[tokio::test(start_paused = true)]
async fn two_refreshes_of_a_prefix_are_independent() {
    let (origin, cache) = cached().await;
    let _kept = cache.refresh_by_list(PREFIX, secs(10)).unwrap();
    let other = cache.refresh_by_list(PREFIX, secs(10)).unwrap();
    sleep(secs(5)).await;
    assert_eq!(lists(&origin), 2);
    drop(other);
    sleep(secs(100)).await;
    assert!((12..=15).contains(&lists(&origin)), "{}", lists(&origin));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_made_again_at_the_next_interval() {
    let (origin, cache) = cached().await;
    origin.fault(OriginFault::error(ErrorKind::Unavailable).on(OriginOperation::List).times(3));
    origin.fault(OriginFault::panic().on(OriginOperation::List).once());
    let _refresh = cache.refresh_by_list(PREFIX, secs(10)).unwrap();
    sleep(secs(100)).await;
    assert!(lists(&origin) >= 10);
    assert_eq!(cache.stats().origin.lists.failed, 4);
    assert_eq!(cache.get("a/1", Some(&TEN)).await.unwrap().status, Status::Fresh);
}

/// Two lists at once would only cost requests.
#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_is_given_up_and_delays_the_next() {
    let (origin, cache) = cached().await;
    origin.fault(OriginFault::hang().on(OriginOperation::List).once());
    let _refresh = cache.refresh_by_list(PREFIX, secs(10)).unwrap();
    sleep(secs(29)).await;
    assert_eq!(lists(&origin), 1);
    sleep(secs(2)).await;
    assert_eq!(origin.requests()[0].outcome, OriginOutcome::Dropped);
    assert_eq!(lists(&origin), 2);
    assert_eq!(cache.get("a/1", Some(&TEN)).await.unwrap().status, Status::Fresh);
}

#[tokio::test]
async fn an_interval_of_zero_is_an_error_and_a_long_one_is_none() {
    let rig = Rig::new();
    let error = rig.cache.refresh_by_list("", Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let _refreshes =
        [Duration::MAX, Duration::from_nanos(1)].map(|every| rig.cache.refresh_by_list("", every));
    settle().await;
    assert!(lists(&rig.origin) >= 2);
}

#[test]
fn a_refresh_begins_with_the_first_request_and_outlives_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let rig = Rig::new();
    rig.origin.inner().write("a/1", "one");
    let _refresh = rig.cache.refresh_by_list(PREFIX, secs(3600)).unwrap();
    for n in 1..=3 {
        let runtime = runtime();
        runtime.block_on(async {
            rig.cache.get("a/1", None).await.unwrap();
            settle().await;
        });
        assert_eq!(lists(&rig.origin), n, "its runtime has ended");
    }
    // Not driven any more, and not ended.
    let idle = runtime();
    idle.block_on(async {
        rig.cache.get("a/1", None).await.unwrap();
        settle().await;
    });
    assert_eq!(lists(&rig.origin), 4);
    let read = || async {
        rig.cache.get("a/1", None).await.unwrap();
        settle().await;
    };
    let other = runtime();
    other.block_on(read());
    assert_eq!(lists(&rig.origin), 4);
    rig.clock.advance(secs(3700));
    other.block_on(read());
    assert_eq!(lists(&rig.origin), 5);
}

#[test]
fn a_runtime_without_time_has_one_list() {
    let rig = Rig::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let _refresh = rig.cache.refresh_by_list(PREFIX, secs(1)).unwrap();
        settle().await;
    });
    assert_eq!(lists(&rig.origin), 1);
}
