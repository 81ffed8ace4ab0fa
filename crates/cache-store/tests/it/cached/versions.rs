//! An object that is replaced while it is read.

use bytes::Bytes;
use cache_core::Freshness;
use cache_store::CachedStore;
use cache_testkit::{Failure, Fault, FaultyStore, Operation, TagFault};
use futures_util::StreamExt;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};

use super::{
    HOUR, asked, body, bounded, builder, builder_over, get, lasting, part, read, read_all,
    scripted_store::ScriptedStore, slow::slow, with_object,
};
use crate::{path, write};

fn new() -> Bytes {
    Bytes::from(vec![b'n'; 17])
}

/// A cache that holds the head and the first block of an object that has been replaced since.
async fn with_old_head(store: &FaultyStore, body: impl Into<Bytes>) -> CachedStore {
    let cached = lasting(store);
    read(&cached, 0..5).await;
    write(store, body).await;
    store.reset();
    cached
}

#[tokio::test]
async fn nothing_given_out_the_read_begins_anew() {
    let store = with_object(17).await;
    let cached = with_old_head(&store, new()).await;
    assert_eq!(read(&cached, 6..12).await, "nnnnnn");
    // The answer to the second question brings the bytes.
    assert_eq!(asked(&store), [(bounded(5..15), true), (bounded(5..15), false)]);
    assert_eq!(cached.stats().restarts, 1);
    assert_eq!(read_all(&cached).await, new());
}

#[tokio::test]
async fn a_held_beginning_is_not_given_out_before_the_rest_is_known_to_be_there() {
    let store = with_object(17).await;
    let cached = with_old_head(&store, new()).await;
    assert_eq!(read(&cached, 0..17).await, new());
    let cached = with_old_head(&store, body(17)).await;
    assert_eq!(
        cached.get_ranges(&path(), &[0..3, 15..16]).await.unwrap(),
        [part(0..3), part(15..16)]
    );
}

#[tokio::test]
async fn a_shorter_or_deleted_object_is_seen_too() {
    for len in [1, 4, 7] {
        let store = with_object(17).await;
        let cached = with_old_head(&store, part(0..len)).await;
        let bare = store.inner().get_range(&path(), 3..12).await;
        match (get(&cached, 3..12).await, bare) {
            (Ok(ours), Ok(bare)) => assert_eq!(ours.bytes().await.unwrap(), bare),
            (Err(object_store::Error::Generic { .. }), Err(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let store = with_object(17).await;
    let cached = with_old_head(&store, new()).await;
    store.inner().delete(&path()).await.unwrap();
    assert!(matches!(get(&cached, 6..12).await, Err(object_store::Error::NotFound { .. })));
    assert!(matches!(get(&cached, 0..1).await, Err(object_store::Error::NotFound { .. })));
}

/// More requests than are sent ahead.
#[tokio::test]
async fn something_given_out_it_is_an_error_and_never_a_mix() {
    let store = with_object(100).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(0).build().unwrap();
    for start in (0..100).step_by(10) {
        read(&cached, start..start + 5).await;
    }
    let mut chunks = get(&cached, 0..100).await.unwrap().into_stream();
    assert_eq!(chunks.next().await.unwrap().unwrap(), part(0..5));
    write(&store, vec![b'n'; 100]).await;
    let mut got = 5;
    let error = loop {
        match chunks.next().await.unwrap() {
            Ok(chunk) => {
                assert_eq!(chunk, part(got..got + chunk.len()));
                got += chunk.len();
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, object_store::Error::Precondition { .. }), "{error}");
    assert_eq!(got, 45);
    assert!(chunks.next().await.is_none());
    // The next reader is not sent into the same trap.
    assert_eq!(read_all(&cached).await, vec![b'n'; 100]);
}

#[tokio::test]
async fn a_body_that_has_begun_is_of_its_version_to_the_end() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    let answer = cached.get(&path()).await.unwrap();
    write(&store, new()).await;
    assert_eq!(answer.bytes().await.unwrap(), body(17));
}

#[tokio::test]
async fn a_store_that_does_not_know_if_match_is_caught_by_the_tag() {
    let store = ScriptedStore::hears(|options| GetOptions { if_match: None, ..options });
    write(&store, body(17)).await;
    let cached = with_old_head(&store, new()).await;
    assert_eq!(read(&cached, 6..12).await, "nnnnnn");
    assert_eq!(cached.stats().restarts, 1);
    // And where the tag repeats, by the length.
    let store = ScriptedStore::hears(|options| GetOptions { if_match: None, ..options });
    write(&store, body(17)).await;
    store.fault(Fault::tag(TagFault::Replaced("\"x\"".into())));
    let cached = with_old_head(&store, vec![b'n'; 18]).await;
    assert_eq!(read(&cached, 0..6).await, "nnnnnn");
}

/// A store whose object has always been replaced when blocks of it are asked for.
fn restless() -> FaultyStore {
    let store = FaultyStore::in_memory();
    store.fault(Fault::error(Failure::Precondition).when(|request| request.if_match.is_some()));
    store
}

#[tokio::test]
async fn an_object_that_never_stands_still_is_read_by_one_answer() {
    let store = restless();
    write(&store, body(17)).await;
    let cached = lasting(&store);
    read(&cached, 0..5).await;
    store.reset();
    assert_eq!(read(&cached, 0..12).await, part(0..12));
    // The request that validates brings the bytes as well, and needs no `If-Match`.
    assert_eq!(cached.stats().restarts, 1);
    assert_eq!(asked(&store), [(bounded(5..15), true), (bounded(5..15), false)]);
    let parts = cached.get_ranges(&path(), &[0..1, 6..7, 16..17]).await.unwrap();
    assert_eq!(parts, [part(0..1), part(6..7), part(16..17)]);
}

#[tokio::test]
async fn those_who_wait_for_one_request_all_begin_anew() {
    let store = with_object(17).await;
    let cached = with_old_head(&store, new()).await;
    store.fault(Fault::hold().once());
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { read(&cached, 6..12).await })
        })
        .collect();
    store.wait_until_held(1).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.release_all();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "nnnnnn");
    }
    assert!(store.count() < 10, "{}", store.count());
}

#[tokio::test]
async fn a_strong_read_sees_what_was_there_when_it_began() {
    let store = with_object(17).await;
    let cached = builder(&store).freshness(Freshness::strong()).build().unwrap();
    read_all(&cached).await;
    store.fault(Fault::hold().once().late());
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { read(&cached, 0..17).await }
    });
    store.wait_until_held(1).await;
    write(&store, new()).await;
    let second = tokio::spawn({
        let cached = cached.clone();
        async move { read(&cached, 0..17).await }
    });
    tokio::task::yield_now().await;
    store.release_all();
    assert_eq!(first.await.unwrap(), body(17));
    assert_eq!(second.await.unwrap(), new());
}

#[tokio::test]
async fn a_reader_that_may_not_join_a_request_for_a_head_sends_its_own() {
    let store = with_object(17).await;
    let (slow, backend) = slow();
    let rule = Freshness::max_age(super::HOUR);
    let cached = builder_over(&store, backend).freshness(rule).build().unwrap();
    slow.look_ups.close();
    let head = tokio::spawn({
        let cached = cached.clone();
        async move { cached.head(&path()).await.unwrap() }
    });
    slow.look_ups.wait_held(1).await;
    let reader = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get(&path()).await.unwrap() }
    });
    slow.look_ups.wait_held(2).await;
    store.fault(Fault::hold().once().late());
    slow.look_ups.release_one();
    store.wait_until_held(1).await;
    assert_eq!(store.requests()[0].operation, Operation::Head);
    // The other may not join any more.
    write(&store, new()).await;
    cached.invalidate_prefix("").unwrap();
    slow.look_ups.open();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.release_all();
    let old = head.await.unwrap().e_tag;
    let answer = reader.await.unwrap();
    assert_ne!(answer.meta.e_tag, old);
    assert_eq!(answer.bytes().await.unwrap(), new());
}
