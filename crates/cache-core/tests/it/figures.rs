//! What is counted of errors and of waiting.

use cache_core::{ErrorKind, Histogram, PutCondition};
use cache_testkit::{MapBackend, OriginFault, OriginOperation};

use crate::support::{FOREVER, KEY, Rig, STRONG, secs, settle};

fn of(times: Histogram) -> (u64, f64) {
    (times.count(), times.sum_seconds())
}

#[tokio::test]
async fn errors_are_counted_by_kind() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "body");
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unavailable, ErrorKind::Unavailable] {
        rig.origin.fault(OriginFault::error(kind).on(OriginOperation::Validate).once());
        rig.get(STRONG).await.unwrap_err();
    }
    rig.cache.put(KEY, "x".into(), PutCondition::Absent).await.unwrap_err();
    rig.origin
        .fault(OriginFault::error(ErrorKind::PermissionDenied).on(OriginOperation::Put).once());
    rig.cache.put(KEY, "x".into(), PutCondition::Always).await.unwrap_err();
    rig.origin.inner().write(KEY, "news");
    rig.get(STRONG).await.unwrap();

    let stats = rig.cache.stats();
    let counted =
        |counts: cache_core::ErrorCounts| counts.iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
    assert_eq!(
        counted(stats.errors_by_kind),
        [(ErrorKind::PermissionDenied, 1), (ErrorKind::Unavailable, 2)]
    );
    assert_eq!(
        counted(stats.origin.errors_by_kind),
        [
            (ErrorKind::PreconditionFailed, 1),
            (ErrorKind::PermissionDenied, 2),
            (ErrorKind::Unavailable, 2)
        ]
    );
    assert_eq!(stats.errors_by_kind.total(), stats.errors);
    let origin = stats.origin;
    assert_eq!(
        origin.errors_by_kind.total(),
        origin.refused + origin.failed + origin.puts.refused + origin.puts.failed
    );
}

/// What does not exist is no error, of a read.
#[tokio::test]
async fn an_object_that_is_not_there_is_no_error() {
    let rig = Rig::new();
    rig.get(STRONG).await.unwrap_err();
    let stats = rig.cache.stats();
    assert_eq!(
        (stats.not_found, stats.errors_by_kind.total(), stats.origin.errors_by_kind.total()),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn a_read_waits_from_its_begin_to_the_answer() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "body");
    rig.origin.fault(OriginFault::hold().on(OriginOperation::Validate));
    let first = rig.spawn_get(STRONG);
    settle().await;
    rig.clock.advance(secs(2));
    // It came too late for the first request: it waits for that one and for the next.
    let second = rig.spawn_get(STRONG);
    settle().await;
    rig.clock.advance(secs(1));
    rig.origin.release(1);
    settle().await;
    first.await.unwrap().unwrap();
    assert_eq!(of(rig.cache.stats().wait_times), (1, 3.0));
    rig.clock.advance(secs(4));
    rig.origin.release_all();
    second.await.unwrap().unwrap();
    assert_eq!(of(rig.cache.stats().wait_times), (2, 8.0));

    // A read that is served at once does not wait.
    rig.get(FOREVER).await.unwrap();
    // An error is waited for like an answer.
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    rig.get(STRONG).await.unwrap_err();
    assert_eq!(of(rig.cache.stats().wait_times), (3, 8.0));
    assert_eq!(of(rig.cache.stats().queue_times), (0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn the_queue_counts_those_who_found_no_permit() {
    let rig =
        Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1).queue_timeout(secs(30)));
    for key in ["a", "b"] {
        rig.origin.inner().write(key, key);
    }
    rig.origin.fault(OriginFault::hold());
    let get = |key: &'static str| {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.get(key, Some(&STRONG)).await })
    };
    let (a, b) = (get("a"), get("b"));
    settle().await;
    let permit = tokio::spawn({
        let cache = rig.cache.clone();
        async move { drop(cache.request_permit().await) }
    });
    settle().await;
    rig.clock.advance(secs(5));
    rig.origin.release_all();
    for read in [a, b] {
        read.await.unwrap().unwrap();
    }
    permit.await.unwrap();
    let stats = rig.cache.stats();
    assert_eq!((of(stats.queue_times), of(stats.wait_times)), ((2, 10.0), (2, 10.0)));
}
