//! Readers that joined a fetch of another reader which fails.

use cache_testkit::{BodyFault, Failure, Fault, FaultyStore};
use futures_util::{FutureExt, StreamExt, future::join_all};
use object_store::{ObjectStore, ObjectStoreExt};

use super::{body, get, lasting, part, scripted_store::ScriptedStore, status, with_object};
use crate::{path, write};

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// What three readers of one fetch get, whose request meets `fault`, with a cache that knows the
/// head.
async fn three_readers(
    store: &FaultyStore,
    fault: Fault,
) -> Vec<object_store::Result<bytes::Bytes>> {
    let cached = lasting(store);
    cached.head(&path()).await.unwrap();
    store.reset();
    store.fault(Fault::hold().once());
    store.fault(fault);
    let mut readers = Vec::new();
    for _ in 0..3 {
        let cached = cached.clone();
        readers.push(tokio::spawn(async move { get(&cached, 3..48).await?.bytes().await }));
        // In order.
        settle().await;
    }
    store.wait_until_held(1).await;
    store.release_all();
    join_all(readers).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_joined_request_that_fails_is_followed_by_one_of_the_readers_own() {
    for failure in [Failure::Unavailable, Failure::PermissionDenied] {
        let store = with_object(50).await;
        let read = three_readers(&store, Fault::error(failure).once()).await;
        assert!(read[0].is_err(), "{failure:?}: its own request");
        for joined in &read[1..] {
            assert_eq!(joined.as_ref().unwrap(), &part(3..48), "{failure:?}");
        }
        assert!(store.count() <= 3, "{failure:?}: {:?}", store.requests());
    }
}

#[tokio::test]
async fn an_outage_is_told_after_one_request_each() {
    let store = with_object(50).await;
    for read in three_readers(&store, Fault::error(Failure::Unavailable)).await {
        read.unwrap_err();
    }
    assert_eq!(store.count(), 3);
}

#[tokio::test]
async fn a_joined_body_that_breaks_is_read_on_by_a_request_of_the_readers_own() {
    for len in 0..50 {
        let store = ScriptedStore::gated(&std::sync::Arc::default(), 3);
        write(&store, body(50)).await;
        let cached = lasting(&store);
        cached.get_ranges(&path(), &[0..1]).await.unwrap();
        cached.clear().await.unwrap();
        cached.get_opts(&path(), object_store::GetOptions::new().with_head(true)).await.unwrap();
        store.fault(Fault::body(BodyFault::Fails(len)).once());
        let mut own = cached.get(&path()).await.unwrap().into_stream();
        let joined = cached.get(&path()).await.unwrap();
        let (joined_status, mut joined) = (status(&joined), joined.into_stream());
        // The one that joined reads; the other one left it unread.
        let mut read = Vec::new();
        while let Some(chunk) = joined.next().await {
            read.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(read, body(50), "after {len} bytes");
        assert!(joined_status.coalesced());
        drop(joined);
        store.heal();
        let first = own.next().now_or_never().flatten();
        assert!(first.is_some());
    }
}

#[tokio::test]
async fn joined_ranges_are_read_on_too() {
    for len in [0, 2, 7, 19] {
        let store = ScriptedStore::gated(&std::sync::Arc::default(), 2);
        write(&store, body(50)).await;
        let cached = lasting(&store);
        cached.get_opts(&path(), object_store::GetOptions::new().with_head(true)).await.unwrap();
        store.fault(Fault::body(BodyFault::Fails(len)).once());
        let own = cached.get(&path()).await.unwrap();
        let ranges = [1..3, 11..23];
        let parts = cached.get_ranges(&path(), &ranges).await.unwrap();
        assert_eq!(parts, [part(1..3), part(11..23)], "after {len} bytes");
        drop(own);
    }
}
