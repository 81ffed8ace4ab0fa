//! What is counted, and how it is exported.

use cache_metrics::{Source, Value, names::ORIGIN_REQUESTS, samples};
use cache_testkit::{Failure, Fault, Operation};
use object_store::ObjectStoreExt as _;

use super::{body, builder, get, lasting, with_object};
use crate::path;

/// Requests for blocks are counted by outcome; with those for heads, they are all that the store was asked.
#[tokio::test]
async fn requests_for_blocks_are_counted_when_they_have_ended() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    let requests = || cached.stats().block_requests;
    store.reset();
    get(&cached, 0..5).await.unwrap().bytes().await.unwrap();
    assert_eq!(requests().requests(), 0, "the first block came with the head");
    get(&cached, 5..10).await.unwrap().bytes().await.unwrap();
    assert_eq!((requests().done, requests().requests()), (1, 1));

    store.fault(Fault::error(Failure::Unavailable).once());
    get(&cached, 10..15).await.unwrap_err();
    assert_eq!((requests().failed, requests().requests()), (1, 2));

    // Given up before it was answered.
    store.fault(Fault::hold().on(Operation::Get).once());
    let reader = tokio::spawn({
        let cached = cached.clone();
        async move { get(&cached, 10..15).await.map(drop) }
    });
    store.wait_until_held(1).await;
    assert_eq!(cached.stats().block_requests_in_flight, 1);
    reader.abort();
    while requests().abandoned == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cached.stats().block_requests_in_flight, 0);
    store.heal();

    // Replaced: the request for blocks is refused, and the read begins anew.
    store.inner().put(&path(), body(41).into()).await.unwrap();
    get(&cached, 15..20).await.unwrap().bytes().await.unwrap();
    assert_eq!((requests().refused, requests().requests(), cached.stats().restarts), (1, 4, 1));
    let of_heads = cached.stats().heads.origin.requests();
    assert_eq!(of_heads + requests().requests(), store.count() as u64);
    assert_eq!(cached.stats().block_request_times.count(), 3, "all but the one that was given up");
}

#[tokio::test]
async fn a_source_has_the_bytes_of_blocks_and_no_hold_on_the_store() {
    let store = with_object(12).await;
    let cached = builder(&store).name("tables").build().unwrap();
    let source = Source::from(&cached);
    assert_eq!((source.name(), cached.name()), ("tables", "tables"));
    for _ in 0..2 {
        get(&cached, 0..12).await.unwrap().bytes().await.unwrap();
    }
    let snapshot = source.snapshot().unwrap();
    assert_eq!((snapshot.stats.bytes_from_origin, snapshot.stats.bytes_from_cache), (12, 12));
    assert_eq!((snapshot.blocks.unwrap().hit, snapshot.blocks.unwrap().requests.requests()), (3, 0));
    let of_origin = samples(&snapshot).filter(|sample| sample.metric == &ORIGIN_REQUESTS);
    let numbers = of_origin.map(|sample| if let Value::Number(number) = sample.value { number } else { 0 });
    assert_eq!(numbers.sum::<u64>(), 2);
    drop(cached);
    assert!(source.snapshot().is_none());
}

#[tokio::test]
async fn an_empty_name_is_an_error() {
    let error = builder(&with_object(1).await).name("").build().unwrap_err();
    assert!(error.to_string().contains("name is empty"), "{error}");
}
