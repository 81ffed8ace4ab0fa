//! Objects that are read before anybody asks for them.

use std::{collections::BTreeMap, error::Error as _, sync::Arc, time::Duration};

use cache_core::{ErrorKind, Freshness, Rejection, Status};
use cache_store::WarmResult;
use cache_testkit::{
    BackendAction, BackendCall, BodyFault, Failure, Fault, FaultyStore, HookBackend, MapBackend,
    Operation, TagFault, WaitingBackend,
};
use futures_util::{FutureExt, StreamExt};
use object_store::{ObjectStoreExt, path::Path};

use super::{HOUR, body, builder, builder_over, cached, lasting, slow::slow, tiers::Tiers};
use crate::path;

/// Of 11 bytes each, so of three blocks.
async fn with_objects(n: usize) -> (FaultyStore, Vec<Path>) {
    let store = FaultyStore::in_memory();
    let paths: Vec<_> = (0..n).map(|n| Path::from(format!("models/{n}"))).collect();
    for path in &paths {
        store.inner().put(path, body(11).into()).await.unwrap();
    }
    (store, paths)
}

/// How each object was read: the outcome, and how many bytes came from the store.
async fn outcomes(
    warmed: impl futures_util::Stream<Item = WarmResult>,
) -> BTreeMap<String, (Status, u64)> {
    let seen = |object: WarmResult| {
        let status = object.result.unwrap();
        (object.location.to_string(), (status.status(), status.bytes_from_origin()))
    };
    warmed.map(seen).collect().await
}

fn listed(store: &FaultyStore) -> usize {
    store.requests().iter().filter(|request| request.operation == Operation::List).count()
}

#[tokio::test]
async fn what_was_warmed_is_held() {
    let (store, paths) = with_objects(5).await;
    let cached = lasting(&store);
    let warmed = outcomes(cached.warm(paths.clone(), 2)).await;
    assert_eq!(warmed.len(), 5);
    assert!(warmed.values().all(|seen| *seen == (Status::Fetched, 11)), "{warmed:?}");
    assert_eq!((store.gets(), store.count(), store.body_bytes()), (5, 5, 55));

    store.reset();
    for path in &paths {
        assert_eq!(cached.get(path).await.unwrap().bytes().await.unwrap(), body(11));
    }
    let again = outcomes(cached.warm(paths, 2)).await;
    assert!(again.values().all(|seen| *seen == (Status::Fresh, 0)), "{again:?}");
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn what_was_warmed_is_held_though_the_backend_takes_its_time() {
    let store = FaultyStore::in_memory();
    store.inner().put(&path(), body(1000).into()).await.unwrap();
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let cached = builder_over(&store, backend).freshness(Freshness::max_age(HOUR)).build().unwrap();
    outcomes(cached.warm([path()], 1)).await;
    store.reset();
    assert_eq!(cached.get(&path()).await.unwrap().bytes().await.unwrap(), body(1000));
    assert_eq!(store.count(), 0);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
async fn a_backend_that_takes_nothing_is_not_waited_for_for_ever() {
    let store = FaultyStore::in_memory();
    store.inner().put(&path(), body(1000).into()).await.unwrap();
    let (slow, backend) = slow();
    slow.blocks.close();
    let limit = Duration::from_secs(3);
    let cached = builder_over(&store, backend).origin_timeout(limit).build().unwrap();
    let start = tokio::time::Instant::now();
    let warmed: Vec<_> = cached.warm([path()], 1).collect().await;
    let error = not_cached(&warmed[0]);
    assert!(error.to_string().contains("1000 bytes"), "{error}");
    assert_eq!(start.elapsed(), limit);
}

/// The error of an object that was read, and of which some bytes were not cached.
#[track_caller]
fn not_cached(warmed: &WarmResult) -> &cache_core::Error {
    let error = warmed.result.as_ref().unwrap_err();
    let error: &cache_core::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    error
}

#[tokio::test]
async fn blocks_that_the_backend_rejects_are_an_error_that_says_how_much() {
    let (store, paths) = with_objects(2).await;
    let rejected = HookBackend::new(MapBackend::new(), |call| match call {
        BackendCall::Insert(entry) if entry.key() == "b/5/models/0" => {
            BackendAction::Reject(Rejection::Policy)
        }
        _ => BackendAction::Proceed,
    });
    let cached = builder_over(&store, Arc::new(rejected)).build().unwrap();
    let warmed: Vec<_> = cached.warm(paths, 1).collect().await;
    let error = not_cached(&warmed[0]);
    assert!(error.to_string().starts_with("5 bytes"), "{error}");
    assert!(error.to_string().contains("\"models/0\""), "{error}");
    assert!(error.to_string().contains("raise max_capacity"), "{error}");
    assert_eq!((warmed.len(), warmed[1].result.is_ok()), (2, true));
}

/// Those that wait for room in the queue of a tier, or anywhere else, are waited for.
#[tokio::test]
async fn warm_ends_when_the_backend_has_taken_the_last_block() {
    for rejects in [false, true] {
        let store = FaultyStore::in_memory();
        store.inner().put(&path(), body(500).into()).await.unwrap();
        let tiers = Tiers::default();
        tiers.inserts().close();
        let cached = builder_over(&store, Arc::new(tiers.clone())).build().unwrap();
        let warmed = tokio::spawn(cached.warm([path()], 1).collect::<Vec<_>>());
        for left in (1..=100).rev() {
            tiers.inserts().wait_held(1).await;
            assert!(!warmed.is_finished());
            while tiers.blocks() < 100 - left {
                tokio::task::yield_now().await;
            }
            if left == 1 && rejects {
                tiers.reject();
            }
            tiers.inserts().release_one();
        }
        let warmed = warmed.await.unwrap();
        if rejects {
            assert!(not_cached(&warmed[0]).to_string().contains("5 bytes"));
        } else {
            assert!(warmed[0].result.is_ok());
        }
        assert_eq!((warmed.len(), tiers.blocks()), (1, 100 - usize::from(rejects)));
    }
}

/// Without room in `max_in_flight_bytes` they are not kept either.
#[tokio::test]
async fn blocks_that_find_no_room_are_an_error() {
    let store = FaultyStore::in_memory();
    store.inner().put(&path(), body(5000).into()).await.unwrap();
    let builder = builder(&store).block_size(2048).max_in_flight_bytes(1024);
    let cached = builder.build().unwrap();
    let warmed: Vec<_> = cached.warm([path()], 1).collect().await;
    assert!(not_cached(&warmed[0]).to_string().starts_with("4096 bytes"), "{warmed:?}");
    assert_eq!(cached.stats().blocks_refused.backend, 2, "the last one is small enough");
}

#[tokio::test]
async fn pinned_entries_that_were_lost_are_one_more_item() {
    let (store, paths) = with_objects(3).await;
    let tiers = Tiers::default();
    let cached = builder(&store).disk(tiers.clone()).build().unwrap();
    tiers.lower(|tier| {
        (tier.pins_lost.pin_limit, tier.pins_lost.queue_full) = (7, 1);
        (tier.pinned_bytes, tier.capacity_bytes) = (40, 100);
    });
    // Those of before are not this one's.
    assert_eq!(cached.warm(paths.clone(), 1).count().await, 3);
    let prefix = Path::from("models");
    let warmed = cached.warm_prefix(Some(&prefix), 1);
    let warmed = warmed.inspect(|_| tiers.lower(|tier| tier.pins_lost.pin_limit += 1));
    let warmed: Vec<_> = warmed.collect().await;
    assert_eq!((warmed.len(), &warmed[3].location), (4, &prefix));
    let error = warmed[3].result.as_ref().unwrap_err();
    let error: &cache_core::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for words in ["3 entries", "up to 15 bytes", "max_capacity", "40 bytes", "100"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("queue_bytes"), "{text}");
}

#[tokio::test]
async fn under_a_strong_rule_what_is_held_is_asked_about() {
    let (store, paths) = with_objects(2).await;
    let cached = cached(&store);
    outcomes(cached.warm(paths.clone(), 2)).await;
    store.reset();
    store.inner().put(&paths[1], "news".into()).await.unwrap();
    let warmed = outcomes(cached.warm(paths, 2)).await;
    assert_eq!(warmed["models/0"], (Status::Revalidated, 0));
    assert_eq!(warmed["models/1"], (Status::Refetched, 4));
    // A HEAD for each, and the one that has changed.
    assert_eq!((store.count(), store.body_bytes()), (3, 4));
}

#[tokio::test]
async fn a_prefix_is_listed_once_and_what_is_too_large_is_left_out() {
    let (store, _) = with_objects(3).await;
    for (path, len) in [("models/large", 12), ("other", 11)] {
        store.inner().put(&Path::from(path), body(len).into()).await.unwrap();
    }
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).max_object_size(11).build().unwrap();
    let warmed = outcomes(cached.warm_prefix(Some(&Path::from("models")), 4)).await;
    assert_eq!(warmed.len(), 4);
    assert_eq!(warmed["models/large"], (Status::Bypass, 0));
    assert_eq!((listed(&store), store.gets(), store.count()), (1, 3, 4));

    assert_eq!(outcomes(cached.warm_prefix(None, 0)).await.len(), 5);
}

#[tokio::test]
async fn what_cannot_be_held_is_not_read() {
    let (store, paths) = with_objects(1).await;
    store.fault(Fault::tag(TagFault::Missing));
    let cached = lasting(&store);
    let warmed = outcomes(cached.warm(paths, 1)).await;
    assert_eq!(warmed["models/0"], (Status::Bypass, 0));
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
}

#[tokio::test]
async fn an_error_of_one_object_does_not_end_the_others() {
    let (store, mut paths) = with_objects(3).await;
    paths.insert(1, Path::from("missing"));
    store.fault(
        Fault::body(BodyFault::Fails(5)).when(|request| request.location.as_ref() == "models/0"),
    );
    let cached = lasting(&store);
    let warmed: Vec<WarmResult> = cached.warm(paths, 1).collect().await;
    let failed: Vec<_> = warmed.iter().map(|object| object.result.is_err()).collect();
    assert_eq!(failed, [true, true, false, false]);
    let missing = warmed[1].result.as_ref().unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
}

#[tokio::test]
async fn a_list_that_fails_is_told() {
    let (store, _) = with_objects(1).await;
    store.fault(Fault::error(Failure::Unavailable).on(Operation::List));
    let warmed: Vec<WarmResult> =
        lasting(&store).warm_prefix(Some(&Path::from("models")), 1).collect().await;
    assert_eq!((warmed.len(), warmed[0].location.as_ref()), (1, "models"));
    assert!(warmed[0].result.is_err());
}

#[tokio::test]
async fn so_many_are_read_at_a_time_and_none_before_it_is_polled() {
    let (store, paths) = with_objects(10).await;
    store.fault(Fault::hold());
    let cached = lasting(&store);
    let mut warmed = cached.warm(paths, 3);
    assert_eq!(store.count(), 0);
    assert!(warmed.next().now_or_never().is_none());
    store.wait_until_held(3).await;
    assert!(warmed.next().now_or_never().is_none());
    assert_eq!(store.count(), 3);
    store.release_all();
    assert_eq!(outcomes(warmed).await.len(), 10);
    assert_eq!(store.count(), 10);
}

#[tokio::test]
async fn an_object_that_is_replaced_meanwhile_is_read_anew() {
    let (store, paths) = with_objects(1).await;
    let cached = lasting(&store);
    cached.get_range(&paths[0], 0..5).await.unwrap();
    store.inner().put(&paths[0], body(13).into()).await.unwrap();
    store.reset();
    let warmed = outcomes(cached.warm(paths.clone(), 1)).await;
    assert_eq!(warmed["models/0"], (Status::Refetched, 13));
    store.reset();
    assert_eq!(cached.get(&paths[0]).await.unwrap().bytes().await.unwrap(), body(13));
    assert_eq!(store.count(), 0);
}
