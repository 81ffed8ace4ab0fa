//! Lists, and the reads of cached objects after them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cache_core::{Freshness, Status};
use cache_store::{CachedStore, ValidatorStrength};
use cache_testkit::{Fault, FaultyStore, ManualClock, Operation, S3Server};
use futures_util::{StreamExt as _, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path};

use super::{HOUR, body, builder, lasting, read_all, with_object};
use crate::{
    listed_store::{Listed, ListedStore},
    write,
};

/// Lists in one of the ways there are.
async fn list(store: &dyn ObjectStore, how: usize) -> Vec<ObjectMeta> {
    let folder = Path::from("a");
    match how {
        0 => store.list(None).try_collect().await.unwrap(),
        1 => store.list_with_offset(Some(&folder), &Path::from("a/a")).try_collect().await.unwrap(),
        _ => store.list_with_delimiter(Some(&folder)).await.unwrap().objects,
    }
}

fn reads(store: &FaultyStore) -> usize {
    let is_list = |operation| matches!(operation, Operation::List | Operation::ListWithDelimiter);
    store.requests().iter().filter(|request| !is_list(request.operation)).count()
}

#[tokio::test]
async fn an_object_that_a_list_shows_to_have_changed_is_revalidated() {
    for how in 0..3 {
        let store = with_object(17).await;
        let cached = lasting(&store);
        read_all(&cached).await;
        write(&store, "news").await;
        assert_eq!(read_all(&cached).await, body(17), "its head is fresh");
        assert_eq!(list(&cached, how).await[0].size, 4);
        assert_eq!(read_all(&cached).await, "news");
    }
}

#[tokio::test]
async fn a_list_is_the_stores_and_costs_no_read() {
    for how in 0..3 {
        let store = with_object(17).await;
        let cached = lasting(&store);
        read_all(&cached).await;
        store.reset();
        assert_eq!(list(&cached, how).await, list(store.inner(), how).await);
        assert_eq!(reads(&store), 0);
        // An object that has not changed is fresh as before.
        read_all(&cached).await;
        assert_eq!(reads(&store), 0);
    }
}

fn paths(n: usize) -> Vec<Path> {
    (0..n).map(|n| Path::from(format!("a/n{n:05}"))).collect()
}

async fn with_objects(n: usize) -> (FaultyStore, Vec<Path>) {
    let store = FaultyStore::in_memory();
    for path in paths(n) {
        store.inner().put(&path, body(11).into()).await.unwrap();
    }
    (store, paths(n))
}

/// A cache over a server with `n` objects.
fn over_server(n: usize) -> (S3Server, Arc<ManualClock>, CachedStore) {
    let server = S3Server::start().unwrap();
    for path in paths(n) {
        server.put(path.as_ref(), body(11));
    }
    let clock = Arc::new(ManualClock::new());
    let store = FaultyStore::new(Arc::new(server.client()));
    let cached = builder(&store).freshness(Freshness::max_age(MINUTE)).clock(clock.clone());
    (server, clock, cached.time_to_live(None).build().unwrap())
}

async fn read(cached: &CachedStore, path: &Path) -> bytes::Bytes {
    cached.get(path).await.unwrap().bytes().await.unwrap()
}

/// DataFusion and Delta list, then read.
#[tokio::test]
async fn a_list_and_a_hundred_reads_past_their_max_age_are_one_request() {
    for how in 0..3 {
        let (store, paths) = with_objects(100).await;
        let clock = Arc::new(ManualClock::new());
        let cached = builder(&store).freshness(Freshness::max_age(MINUTE)).clock(clock.clone());
        let cached = cached.time_to_live(None).build().unwrap();
        let read_all = || async {
            for path in &paths {
                assert_eq!(read(&cached, path).await, body(11));
            }
        };
        read_all().await;
        clock.advance(MINUTE + SECOND);
        store.reset();
        assert_eq!(list(&cached, how).await.len(), 100);
        read_all().await;
        assert_eq!(store.count(), 1, "{how}");
        // As after a HEAD of each.
        clock.advance(MINUTE - SECOND);
        read_all().await;
        assert_eq!(store.count(), 1, "{how}");
        clock.advance(SECOND + SECOND);
        read_all().await;
        assert_eq!(store.count(), 101, "{how}");
    }
}

#[tokio::test]
async fn a_deleted_object_is_not_served_after_a_list_that_leaves_it_out() {
    for freshness in [Freshness::max_age(HOUR), Freshness::immutable()] {
        for how in 0..3 {
            let (store, paths) = with_objects(10).await;
            let cached = builder(&store).freshness(freshness).build().unwrap();
            // The first list marks all that was cached before.
            for is_first in [true, false] {
                for path in &paths {
                    read(&cached, path).await;
                }
                list(&cached, how).await;
                store.reset();
                for path in &paths {
                    read(&cached, path).await;
                }
                assert_eq!(store.count(), 0, "{how} {is_first}");
            }
            // The first is before the offset of a list.
            for path in [&paths[4], &paths[9]] {
                store.inner().delete(path).await.unwrap();
                read(&cached, path).await;
            }
            list(&cached, how).await;
            for path in [&paths[4], &paths[9]] {
                let error = cached.get(path).await.unwrap_err();
                assert!(matches!(error, object_store::Error::NotFound { .. }), "{how}: {error}");
            }
            store.reset();
            read(&cached, &paths[3]).await;
            assert_eq!(store.count(), 0, "{how}");
        }
    }
}

/// `a/b` may be both an object and a folder, and a list of the folder does not show the object.
#[tokio::test]
async fn a_list_tells_only_of_what_is_below_its_prefix() {
    for how in 0..3 {
        let store = FaultyStore::in_memory();
        for path in ["a", "a-b", "a/b", "a/b/c", "ab/c"] {
            store.inner().put(&Path::from(path), body(11).into()).await.unwrap();
        }
        let cached = lasting(&store);
        let paths = ["a", "a-b", "ab/c"].map(Path::from);
        for path in &paths {
            read(&cached, path).await;
        }
        for path in &paths {
            store.inner().delete(path).await.unwrap();
        }
        let folder = Path::from("a");
        match how {
            0 => drop(cached.list(Some(&folder)).count().await),
            1 => drop(cached.list_with_offset(Some(&folder), &Path::from("a/a")).count().await),
            _ => drop(cached.list_with_delimiter(Some(&folder)).await.unwrap()),
        }
        store.reset();
        for path in &paths {
            read(&cached, path).await;
        }
        assert_eq!(store.count(), 0, "{how}");
    }
}

#[tokio::test]
async fn an_object_before_an_offset_or_deeper_is_not_left_out() {
    let store = FaultyStore::in_memory();
    for path in ["a/1", "a/2", "a/d/3"] {
        store.inner().put(&Path::from(path), body(11).into()).await.unwrap();
    }
    let (cached, folder) = (lasting(&store), Path::from("a"));
    cached.list(None).count().await;
    let statuses = || async {
        let mut revalidated = Vec::new();
        for path in ["a/1", "a/2", "a/d/3"] {
            let answer = cached.get(&Path::from(path)).await.unwrap();
            if super::status(&answer).status() != Status::Fresh {
                revalidated.push(path);
            }
            answer.bytes().await.unwrap();
        }
        revalidated
    };
    statuses().await;
    cached.list_with_offset(Some(&folder), &Path::from("a/1")).count().await;
    cached.list_with_delimiter(Some(&folder)).await.unwrap();
    cached.list_with_delimiter(None).await.unwrap();
    assert_eq!(statuses().await, [] as [&str; 0]);
}

/// A page is requested when it is wanted, as by the store alone.
#[tokio::test]
async fn a_page_is_requested_when_the_last_one_was_read() {
    let (server, _, cached) = over_server(2500);
    let alone = server.client();
    let stores: [&dyn ObjectStore; 2] = [&alone, &cached];
    for store in stores {
        let mut listed = store.list(None);
        assert_eq!(server.count(), 0);
        for n in 0..2500 {
            listed.next().await.unwrap().unwrap();
            assert_eq!(server.count(), n / 1000 + 1, "{store} {n}");
        }
        assert!(listed.next().await.is_none());
        assert_eq!(server.count(), 3);
        server.reset();
    }
    assert_eq!(cached.stats().lists.succeeded, 3);
}

/// Of its first page, and no more.
#[tokio::test]
async fn a_dropped_list_has_taken_note_of_the_page_it_showed() {
    let (server, clock, cached) = over_server(2500);
    cached.list(None).count().await;
    let probes = [0, 999, 1000, 2499].map(|n| paths(2500)[n].clone());
    for path in &probes {
        read(&cached, path).await;
    }
    clock.advance(MINUTE + SECOND);
    let changed = &paths(2500)[999];
    server.put(changed.as_ref(), "news");
    server.reset();
    let mut listed = cached.list(None);
    listed.next().await.unwrap().unwrap();
    drop(listed);
    assert_eq!(server.count_of(Operation::List), 1);
    let mut requested = BTreeSet::new();
    for path in &probes {
        server.reset();
        read(&cached, path).await;
        if server.count() > 0 {
            requested.insert(path.clone());
        }
    }
    assert_eq!(requested, BTreeSet::from_iter(probes[1..].iter().cloned()));
    assert_eq!(read(&cached, changed).await, "news");
}

/// A renewal counts from the request of its own page, and that of a page without one from the
/// request before.
#[tokio::test]
async fn a_head_is_as_old_as_the_request_for_its_page() {
    let azure = "MicrosoftAzure { account: a, container: c }";
    // When the reads of an object of each thousand need a request, after the list: in seconds.
    for (name, sizes, expected) in [
        (azure, &[1000, 1000, 1000][..], [40, 50, 60]),
        (azure, &[2000, 1000], [40, 40, 60]),
        (azure, &[3000], [40, 40, 40]),
        // A page that is short is seen to have ended, and so the next one is requested.
        (azure, &[1000, 999, 1001], [40, 50, 50]),
        ("PrefixStore(a)", &[1000, 1000, 1000], [40, 40, 40]),
    ] {
        let store = ListedStore::paged(name, sizes);
        for path in paths(3000) {
            store.inner.inner().put(&path, body(11).into()).await.unwrap();
        }
        let clock = Arc::new(ManualClock::new());
        let cached = CachedStore::builder(
            Arc::new(store.clone()),
            Arc::new(cache_testkit::MapBackend::new()),
        );
        let cached = cached.freshness(Freshness::max_age(MINUTE)).clock(clock.clone());
        let cached = cached.validator_strength(ValidatorStrength::Strong).time_to_live(None);
        let cached = cached.build().unwrap();
        let probes = [500, 1500, 2500].map(|n| paths(3000)[n].clone());
        for path in &probes {
            read(&cached, path).await;
        }
        clock.advance(HOUR);
        let mut listed = cached.list(None);
        for n in 0..3000 {
            listed.next().await.unwrap().unwrap();
            if [999, 1999].contains(&n) {
                clock.advance(10 * SECOND);
            }
        }
        assert!(listed.next().await.is_none());
        let mut seconds = [0; 3];
        for (path, seconds) in probes.iter().zip(&mut seconds) {
            store.inner.reset();
            // The age is exact at the end of the list.
            let answer = cached.get(path).await.unwrap();
            *seconds = 60 - super::status(&answer).age().as_secs();
            assert_eq!(store.inner.count(), 0, "{name} {sizes:?} {path}");
        }
        assert_eq!(seconds, expected, "{name} {sizes:?}");
    }
}

/// The rest of a list that fails is not missing.
#[tokio::test]
async fn a_list_that_fails_in_the_middle_marks_nothing_that_it_did_not_show() {
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_failing = Arc::clone(&fails);
    let store = ListedStore::new("InMemory", move |objects| {
        let mut listed: Vec<_> = objects.into_iter().map(Listed::Object).collect();
        if is_failing.load(std::sync::atomic::Ordering::Relaxed) {
            listed.truncate(2);
            listed.push(Listed::Error);
        }
        listed
    });
    for path in paths(4) {
        store.inner.inner().put(&path, body(11).into()).await.unwrap();
    }
    let backend = Arc::new(cache_testkit::MapBackend::new());
    let cached = CachedStore::builder(Arc::new(store.clone()), backend);
    let cached = cached.freshness(Freshness::max_age(HOUR)).build().unwrap();
    for path in paths(4) {
        read(&cached, &path).await;
    }
    cached.list(None).count().await;
    fails.store(true, std::sync::atomic::Ordering::Relaxed);
    store.inner.inner().delete(&paths(4)[0]).await.unwrap();
    let listed: Vec<_> = cached.list(None).collect().await;
    let shown: Vec<_> = listed.iter().map(Result::is_ok).collect();
    assert_eq!(shown, [true, true, false]);
    store.inner.reset();
    // It is before those that were shown.
    cached.get(&paths(4)[0]).await.unwrap_err();
    assert_eq!(store.inner.count(), 1);
    for path in &paths(4)[1..] {
        read(&cached, path).await;
    }
    assert_eq!(store.inner.count(), 1);
}

/// As S3 lists the objects `a/` and `a/b/` that consoles make to show folders.
#[tokio::test]
async fn a_marker_of_a_folder_is_not_taken_for_an_object() {
    let (server, _, cached) = over_server(0);
    for key in ["a", "a/", "a/b-c", "a/b/", "a/b/d"] {
        server.put(key, if key.ends_with('/') { "" } else { "body" });
    }
    let object = Path::from("a");
    let folder = Some(&object);
    cached.list(None).count().await;
    for path in ["a", "a/b-c", "a/b/d"] {
        read(&cached, &Path::from(path)).await;
    }
    for how in 0..4 {
        match how {
            0 => assert_eq!(cached.list(None).count().await, 5),
            1 => drop(cached.list(folder).count().await),
            2 => drop(cached.list_with_delimiter(folder).await.unwrap()),
            _ => drop(cached.list_with_offset(None, &Path::from("a/b")).count().await),
        }
        server.reset();
        for path in ["a", "a/b-c", "a/b/d"] {
            read(&cached, &Path::from(path)).await;
        }
        assert_eq!(server.count(), 0, "{how}");
    }
}

/// I-36.
#[tokio::test]
async fn a_read_after_a_list_is_not_older_than_it_showed() {
    for freshness in [Freshness::max_age(HOUR), Freshness::immutable()] {
        for (how, is_deleted) in (0..3).flat_map(|how| [(how, false), (how, true)]) {
            let (store, paths) = with_objects(2).await;
            let cached = builder(&store).freshness(freshness).build().unwrap();
            list(&cached, how).await;
            store.fault(Fault::hold().late().once().on(Operation::Get));
            let late = tokio::spawn({
                let (cached, path) = (cached.clone(), paths[1].clone());
                async move { cached.get(&path).await.unwrap().bytes().await }
            });
            store.wait_until_held(1).await;
            match is_deleted {
                true => store.inner().delete(&paths[1]).await.unwrap(),
                false => drop(store.inner().put(&paths[1], "news".into()).await.unwrap()),
            }
            list(&cached, how).await;
            store.release_all();
            late.await.unwrap().ok();
            match is_deleted {
                true => drop(cached.get(&paths[1]).await.unwrap_err()),
                false => assert_eq!(read(&cached, &paths[1]).await, "news"),
            }
        }
    }
}

/// It costs the list, whatever the rule, and an object that has changed its own requests.
#[tokio::test]
async fn warming_a_prefix_again_costs_one_list() {
    let (store, paths) = with_objects(20).await;
    for freshness in [Freshness::strong(), Freshness::max_age(SECOND)] {
        let clock = Arc::new(ManualClock::new());
        let cached = builder(&store).freshness(freshness).clock(clock.clone());
        let cached = cached.time_to_live(None).build().unwrap();
        let warm = || async {
            let warmed: Vec<_> = cached.warm_prefix(None, 4).collect().await;
            assert!(warmed.len() == 20 && warmed.iter().all(|object| object.result.is_ok()));
        };
        warm().await;
        clock.advance(HOUR);
        store.reset();
        warm().await;
        assert_eq!(store.count(), 1);
        clock.advance(HOUR);
        store.inner().put(&paths[3], "news".into()).await.unwrap();
        store.reset();
        warm().await;
        // As for a warmed object alone: a HEAD, and the bytes.
        assert_eq!((store.count(), store.body_bytes()), (3, 4));
        store.inner().put(&paths[3], body(11).into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_cache_still_lists() {
    let (store, _) = with_objects(3).await;
    let cached = lasting(&store);
    cached.close().await.unwrap();
    for how in 0..3 {
        assert_eq!(list(&cached, how).await.len(), 3);
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
