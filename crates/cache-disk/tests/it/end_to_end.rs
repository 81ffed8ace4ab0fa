//! A second cache over the same directory: requests and bytes are counted at the store.

use std::{path::Path, sync::Arc, time::Duration};

use cache_disk::DiskTier;
use cache_facade::{CachedStore, Eviction, Freshness, Memory, Namespace, ObjectCache, Tier};
use cache_testkit::FaultyStore;
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path as Location};

use crate::support::body_of;

const LARGE: usize = 3_300_000;

async fn bucket() -> Arc<FaultyStore> {
    let store = FaultyStore::in_memory();
    for (path, len) in [("empty", 0), ("small", 10), ("tables/large", LARGE)] {
        let body = body_of(path, len);
        store.inner().put(&Location::from(path), body.into()).await.expect("memory does not fail");
    }
    store.reset();
    Arc::new(store)
}

fn disk(path: &Path) -> DiskTier {
    DiskTier::new(path).max_capacity(1 << 30).write_budget(None)
}

fn objects(store: &Arc<FaultyStore>, path: &Path, freshness: Freshness) -> ObjectCache {
    ObjectCache::builder(Arc::clone(store) as Arc<dyn ObjectStore>)
        .backend(Memory::new().max_capacity(5 << 20))
        .disk(disk(path))
        .freshness(freshness)
        .namespace(Namespace::named("bucket"))
        .build()
        .expect("the settings are right")
}

fn cached(store: &Arc<FaultyStore>, path: &Path, freshness: Freshness) -> CachedStore {
    let memory = Memory::new().max_capacity(2 << 20);
    CachedStore::builder(Arc::clone(store) as Arc<dyn ObjectStore>, memory)
        .disk(disk(path))
        .freshness(freshness)
        .namespace(Namespace::named("bucket"))
        .build()
        .expect("the settings are right")
}

fn freshnesses() -> [Freshness; 2] {
    [Freshness::strong(), Freshness::max_age(Duration::from_secs(600))]
}

/// Waits until the entries of earlier processes are known.
async fn started(stats: impl Fn() -> Option<cache_core::TierStats>) {
    while stats().expect("there is a tier").state == cache_core::TierState::Starting {
        tokio::task::yield_now().await;
    }
}

async fn settled(stats: impl Fn() -> Option<cache_core::TierStats>) {
    while stats().expect("there is a tier").queue_entries > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_costs_one_request_and_no_body_after_a_restart() {
    for freshness in freshnesses() {
        for is_closed in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let store = bucket().await;
            let first = objects(&store, directory.path(), freshness);
            for path in ["empty", "small", "tables/large"] {
                first.get(path).await.unwrap();
            }
            settled(|| first.lower_tier()).await;
            if is_closed {
                first.close().await.unwrap();
            }
            drop(first);
            store.reset();

            let second = objects(&store, directory.path(), freshness);
            started(|| second.lower_tier()).await;
            for (path, len) in [("empty", 0), ("small", 10), ("tables/large", LARGE)] {
                let object = second.get(path).await.unwrap();
                assert!(object.bytes() == &body_of(path, len), "{path}");
            }
            assert_eq!((store.count(), store.body_bytes()), (3, 0), "{freshness:?} {is_closed}");
            // From here on they are as fresh as any, also when they come from disk once more.
            store.reset();
            for path in ["empty", "small", "tables/large"] {
                second.get(path).await.unwrap();
            }
            let expected = if freshness == Freshness::strong() { 3 } else { 0 };
            assert_eq!((store.count(), store.body_bytes()), (expected, 0), "{freshness:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_many_blocks_costs_one_request_after_a_restart() {
    for freshness in freshnesses() {
        for is_closed in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let store = bucket().await;
            let location = Location::from("tables/large");
            let first = cached(&store, directory.path(), freshness);
            first.get(&location).await.unwrap().bytes().await.unwrap();
            settled(|| first.lower_tier()).await;
            if is_closed {
                first.close().await.unwrap();
            }
            drop(first);
            store.reset();

            let second = cached(&store, directory.path(), freshness);
            started(|| second.lower_tier()).await;
            let body = second.get(&location).await.unwrap().into_stream();
            let body: Vec<_> = body.try_collect().await.unwrap();
            assert!(body.concat() == body_of("tables/large", LARGE));
            assert_eq!((store.count(), store.body_bytes()), (1, 0), "{freshness:?} {is_closed}");
            let range = second.get_range(&location, 2_000_000..2_000_100).await.unwrap();
            assert!(range == body_of("tables/large", LARGE)[2_000_000..2_000_100]);
            assert_eq!(store.body_bytes(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_object_is_fetched_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = bucket().await;
    let first = objects(&store, directory.path(), Freshness::strong());
    first.get("small").await.unwrap();
    first.close().await.unwrap();
    let newer = body_of("newer", 12);
    store.inner().put(&Location::from("small"), newer.clone().into()).await.unwrap();
    store.reset();
    let second = objects(&store, directory.path(), Freshness::max_age(Duration::from_secs(600)));
    started(|| second.lower_tier()).await;
    assert!(second.get("small").await.unwrap().bytes() == &newer);
    assert_eq!((store.count(), store.body_bytes()), (1, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = bucket().await;
    let first = objects(&store, directory.path(), Freshness::strong());
    first.get("small").await.unwrap();
    first.close().await.unwrap();
    store.reset();
    let other = ObjectCache::builder(Arc::clone(&store) as Arc<dyn ObjectStore>)
        .disk(disk(directory.path()))
        .namespace(Namespace::named("another bucket"))
        .build()
        .unwrap();
    started(|| other.lower_tier()).await;
    other.get("small").await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (1, 10));
    other.close().await.unwrap();
    // The first one's segments are still there for it.
    store.reset();
    let again = objects(&store, directory.path(), Freshness::strong());
    started(|| again.lower_tier()).await;
    again.get("small").await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_entries_come_back_from_disk_without_a_request() {
    let directory = tempfile::tempdir().unwrap();
    let store = FaultyStore::in_memory();
    let paths: Vec<_> = (0..60).map(|n| format!("a/{n}")).collect();
    for path in &paths {
        let body = body_of(path, 100_000);
        store.inner().put(&Location::from(path.as_str()), body.into()).await.unwrap();
    }
    let store = Arc::new(store);
    let cache = ObjectCache::builder(Arc::clone(&store) as Arc<dyn ObjectStore>)
        .backend(Memory::new().max_capacity(600_000).eviction(Eviction::Lru))
        .disk(disk(directory.path()))
        .freshness(Freshness::max_age(Duration::from_secs(600)))
        .build()
        .unwrap();
    started(|| cache.lower_tier()).await;
    store.reset();
    for round in 0..3 {
        for path in &paths {
            let object = cache.get(path).await.unwrap();
            assert_eq!(object.tier(), (round > 0).then_some(Tier::Disk), "{path}");
            assert!(object.bytes() == &body_of(path, 100_000), "{path}");
        }
        assert_eq!(store.count(), 60, "in round {round}");
    }
    // A marked object is revalidated once, wherever its bytes are.
    cache.mark_stale(&paths[0]).await.unwrap();
    cache.get(&paths[0]).await.unwrap();
    cache.get(&paths[0]).await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (61, 60 * 100_000));
    // An invalidated object is fetched.
    cache.invalidate(&paths[1]).await.unwrap();
    cache.get(&paths[1]).await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (62, 61 * 100_000));
    cache.clear().await.unwrap();
    cache.get(&paths[2]).await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (63, 62 * 100_000));
}

/// I-36: its memory has none of them, so its usage says that there is no entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_marks_deleted_objects_that_are_only_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = bucket().await;
    let cache = ObjectCache::builder(Arc::clone(&store) as Arc<dyn ObjectStore>)
        .backend(Memory::new().max_capacity(1))
        .disk(disk(directory.path()))
        .freshness(Freshness::max_age(Duration::from_secs(600)))
        .namespace(Namespace::named("bucket"))
        .build()
        .expect("the settings are right");
    for path in ["small", "tables/large"] {
        cache.get(path).await.unwrap();
    }
    settled(|| cache.lower_tier()).await;
    store.inner().delete(&Location::from("small")).await.unwrap();
    store.reset();
    let listed: Vec<_> =
        cache.get_prefix("").map_ok(|object| object.key().to_owned()).try_collect().await.unwrap();
    assert_eq!(listed, ["empty", "tables/large"]);
    assert!(cache.get("small").await.is_err());
    // The list, the object that was not cached, and the one that was deleted.
    assert_eq!(store.count(), 3);
}
