//! Whose copies a cache serves: its own, wherever it finds others.

use std::sync::Arc;

use cache_core::{Admission, Backend, Entry, Identity, Key, ReadThrough, Status};
use cache_testkit::{FaultyOrigin, MapBackend, WaitingBackend};

use crate::rig::{FOREVER, KEY, Rig, STRONG};

/// Two caches of two stores, with equal keys and equal tags, on one backend by accident.
async fn two_stores_on_one_backend(backend: Arc<dyn Backend>) {
    let (one, other) = (Rig::over(Arc::clone(&backend)), Rig::over(backend));
    assert_eq!(one.origin.inner().write(KEY, "of one"), other.origin.inner().write(KEY, "of the other"));
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
    let remembering = |backend| Rig::with(backend, |builder| builder.negative_ttl(crate::rig::secs(60)));
    let (one, other) = (remembering(Arc::clone(&backend)), remembering(backend));
    assert!(one.get(FOREVER).await.is_err());
    other.origin.inner().write(KEY, "of the other");
    other.check(FOREVER, "of the other", Status::Fetched).await;
}

/// What a medium brings back is asked about if it was written under the cache's name, else it is no copy at all.
#[tokio::test]
async fn a_medium_is_read_by_whom_it_was_written_for() {
    let (key, name) = (Key::parse(KEY).unwrap(), Identity::named("the bucket, as reader"));
    for (identity, status) in [
        (Some(name), Status::Revalidated),
        (Some(Identity::named("the bucket, as writer")), Status::Fetched),
        (None, Status::Fetched),
    ] {
        let origin = Arc::new(FaultyOrigin::in_memory());
        let e_tag = origin.inner().write(KEY, "one");
        let backend = Arc::new(MapBackend::new());
        let held = Entry::builder(&key, "one".into()).e_tag(e_tag).identity(identity).build();
        assert_eq!(backend.insert(held).await.unwrap(), Admission::Stored);
        let cache = ReadThrough::builder(Arc::clone(&origin), backend).identity(name).build().unwrap();
        assert_eq!(cache.get(KEY, Some(&FOREVER)).await.unwrap().status, status, "{identity:?}");
    }
}
