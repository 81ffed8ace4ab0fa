//! Whose copies a cache serves: its own, wherever it finds others.

use std::sync::Arc;

use cache_core::{Admission, Backend, Entry, Freshness, Key, Namespace, ReadThrough, Status};
use cache_testkit::{FaultyOrigin, ManualClock, MapBackend, MemoryOrigin, WaitingBackend};

use crate::support::{FOREVER, KEY, Rig, STRONG, secs, text};

/// Two caches of two stores, with equal keys and equal tags, on one backend by accident.
async fn two_stores_on_one_backend(backend: Arc<dyn Backend>) {
    let (one, other) = (Rig::over(Arc::clone(&backend)), Rig::over(backend));
    assert_eq!(
        one.origin.inner().write(KEY, "of one"),
        other.origin.inner().write(KEY, "of the other")
    );
    one.check(FOREVER, "of one", Status::Fetched).await;
    // Neither fresh nor confirmed by a tag that happens to be equal.
    other.check(FOREVER, "of the other", Status::Fetched).await;
    one.check(STRONG, "of one", Status::Fetched).await;
    one.check(FOREVER, "of one", Status::Fresh).await;
    other.cache.invalidate(KEY).await.unwrap();
    one.check(FOREVER, "of one", Status::Fetched).await;
    one.at_rest(4).await;
    other.at_rest(1).await;
}

#[tokio::test]
async fn two_stores_on_one_backend_share_nothing() {
    two_stores_on_one_backend(Arc::new(MapBackend::new())).await;
}

/// The same where copies are shown by `get`.
#[tokio::test(start_paused = true)]
async fn two_stores_on_one_backend_that_waits_share_nothing() {
    two_stores_on_one_backend(Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1))).await;
}

/// A put keeps its entry as its own cache's.
#[tokio::test]
async fn what_a_put_keeps_is_its_own_caches() {
    let backend: Arc<dyn Backend> = Arc::new(MapBackend::new());
    let (one, other) = (Rig::over(Arc::clone(&backend)), Rig::over(backend));
    one.cache.put(KEY, "of one".into(), Default::default()).await.unwrap();
    one.check(FOREVER, "of one", Status::Fresh).await;
    other.origin.inner().write(KEY, "of the other");
    other.check(FOREVER, "of the other", Status::Fetched).await;
}

/// That an object is missing is known of one store alone.
#[tokio::test]
async fn a_missing_object_is_missing_for_its_own_cache() {
    let backend: Arc<dyn Backend> = Arc::new(MapBackend::new());
    let remembering =
        |backend| Rig::with(backend, |builder| builder.negative_ttl(crate::support::secs(60)));
    let (one, other) = (remembering(Arc::clone(&backend)), remembering(backend));
    assert!(one.get(FOREVER).await.is_err());
    other.origin.inner().write(KEY, "of the other");
    other.check(FOREVER, "of the other", Status::Fetched).await;
}

/// What a medium brings back is asked about if it was written under the cache's name, else it is no
/// copy at all.
#[tokio::test]
async fn a_medium_is_read_by_whom_it_was_written_for() {
    let (key, name) = (Key::parse(KEY).unwrap(), Namespace::named("the bucket, as reader"));
    for (identity, status) in [
        (Some(name), Status::Revalidated),
        (Some(Namespace::named("the bucket, as writer")), Status::Fetched),
        (None, Status::Fetched),
    ] {
        let origin = Arc::new(FaultyOrigin::in_memory());
        let e_tag = origin.inner().write(KEY, "one");
        let backend = Arc::new(MapBackend::new());
        let held = Entry::builder(&key, "one".into()).e_tag(e_tag).namespace(identity).build();
        assert_eq!(backend.insert(held).await.unwrap(), Admission::Stored);
        let cache =
            ReadThrough::builder(Arc::clone(&origin), backend).namespace(name).build().unwrap();
        assert_eq!(cache.get(KEY, Some(&FOREVER)).await.unwrap().status, status, "{identity:?}");
    }
}

/// `mark_stale` and `invalidate` leave alone, and do not count, what is another's. A mark of
/// an entry that is not at hand reaches whatever has the key, which costs its owner one request.
#[tokio::test(start_paused = true)]
async fn another_caches_copy_is_neither_marked_nor_counted() {
    let backend: Arc<dyn Backend> = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let (one, other) = (Rig::over(Arc::clone(&backend)), Rig::over(backend));
    one.origin.inner().write(KEY, "of one");
    one.check(FOREVER, "of one", Status::Fetched).await;
    other.cache.mark_stale(KEY).await.unwrap();
    one.check(FOREVER, "of one", Status::Revalidated).await;
    one.check(FOREVER, "of one", Status::Fresh).await;

    let backend: Arc<dyn Backend> = Arc::new(MapBackend::new());
    let (one, other) = (Rig::over(Arc::clone(&backend)), Rig::over(backend));
    one.origin.inner().write(KEY, "of one");
    one.check(FOREVER, "of one", Status::Fetched).await;
    other.cache.mark_stale(KEY).await.unwrap();
    one.check(FOREVER, "of one", Status::Fresh).await;
    assert!(other.get(FOREVER).await.is_err());
    assert_eq!(other.cache.stats().invalidations(), 0);
}

/// Caches of one name, one after the other on one backend in memory: each with a clock and epochs
/// of its own.
#[tokio::test]
async fn stamps_of_an_earlier_cache_of_the_same_name_say_nothing() {
    let (name, backend) = (Namespace::named("the bucket, as reader"), Arc::new(MapBackend::new()));
    let origin = Arc::new(MemoryOrigin::new());
    let cache = |age| {
        let clock = Arc::new(ManualClock::new());
        clock.advance(secs(age));
        let builder = ReadThrough::builder(Arc::clone(&origin), Arc::clone(&backend) as _);
        builder.namespace(name).time_to_live(None).clock(clock).build().unwrap()
    };
    let ten = Freshness::max_age(secs(10));
    origin.write(KEY, "one");
    let first = cache(3600);
    for _ in 0..5 {
        first.invalidate_prefix("elsewhere/").unwrap();
    }
    assert_eq!(text(&first.get(KEY, Some(&ten)).await.unwrap()), "one");
    origin.write(KEY, "two");
    // By the clock of the first it is not there yet.
    let second = cache(600);
    assert_eq!(text(&second.get(KEY, Some(&ten)).await.unwrap()), "two");
    // Nor may the first be served what the second holds: it has not seen what the first has voided.
    origin.write(KEY, "three");
    assert_eq!(text(&first.get(KEY, Some(&FOREVER)).await.unwrap()), "three");
    drop((first, second));

    let third = cache(0);
    origin.write(KEY, "four");
    third.invalidate_prefix("a").unwrap();
    assert_eq!(text(&third.get(KEY, Some(&FOREVER)).await.unwrap()), "four");
}
