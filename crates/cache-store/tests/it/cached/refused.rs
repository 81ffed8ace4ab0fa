//! Stores that do not take a request in the form that the cache gives it.

use std::sync::Arc;

use cache_core::Freshness;
use cache_store::{CachedStore, OnlyIfCached};
use cache_testkit::{Failure, Fault, FaultyStore, Operation, Request};
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::{
    HOUR, body, bounded, builder, get, lasting, part, read, read_all,
    scripted_store::ScriptedStore, with_object,
};
use crate::{path, write};

/// A cache that has the blocks of 5 bytes that begin at 5 and 15 of an object of 33.
async fn partly_cached(store: &FaultyStore) -> CachedStore {
    write(store, body(33)).await;
    let cached = lasting(store);
    for range in [5..10, 15..20] {
        read(&cached, range).await;
    }
    store.reset();
    cached
}

fn is_pinned(request: &Request) -> bool {
    request.if_match.is_some()
}

fn is_ranged(request: &Request) -> bool {
    request.range.is_some()
}

/// What a client of object_store says of a status.
fn status(status: &'static str) -> impl Fn(&Request) -> Error {
    move |_| Error::Generic {
        store: "S3",
        source: format!("Server returned non-2xx status code: {status}: ").into(),
    }
}

#[tokio::test]
async fn a_store_without_ranges_is_read_whole() {
    let faults: [fn() -> Fault; 3] = [
        || Fault::error(Failure::NotSupported),
        || Fault::error(Failure::NotImplemented),
        || Fault::error_with(status("416 Range Not Satisfiable")),
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        let store = FaultyStore::in_memory();
        let cached = partly_cached(&store).await;
        store.fault(fault().when(is_ranged));
        assert_eq!(read_all(&cached).await, body(33), "{n}");
        let last = store.requests().pop().unwrap();
        assert_eq!((last.range, last.if_match), (None, None), "the caller's own request");
        if n < 2 {
            assert!(store.count() <= 3, "{:?}", store.requests());
            // It is cached from then on.
            store.reset();
            assert_eq!(read_all(&cached).await, body(33));
            assert_eq!(store.count(), 0);
        }
    }
}

/// A range of it may be a small part: it is asked for as the caller did.
#[tokio::test]
async fn of_a_store_without_ranges_a_range_is_its_own_affair() {
    let store = FaultyStore::in_memory();
    let cached = partly_cached(&store).await;
    store.fault(Fault::error(Failure::NotSupported).when(is_ranged));
    assert!(matches!(get(&cached, 11..12).await, Err(Error::NotSupported { .. })));
    assert_eq!(store.requests().last().unwrap().range, bounded(11..12));
    assert_eq!(read(&cached, 6..8).await, part(6..8));
    let parts = cached.get_ranges(&path(), &[0..3, 6..8]).await;
    assert_eq!(parts.unwrap(), [part(0..3), part(6..8)], "its ranges are not refused");
}

#[tokio::test]
async fn a_store_that_answers_ranges_with_the_whole_is_cut() {
    let store = ScriptedStore::hears(|options| GetOptions { range: None, ..options });
    write(&store, body(33)).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    for (from, to) in [(11, 12), (0, 3), (20, 33), (7, 33), (0, 33)] {
        let cached = lasting(&store);
        cached.head(&path()).await.unwrap();
        store.reset();
        assert_eq!(read(&cached, from as u64..to as u64).await, part(from..to));
        let ranges = cached.get_ranges(&path(), &[1..2, 17..18]).await.unwrap();
        assert_eq!(ranges, [part(1..2), part(17..18)]);
        assert_eq!(read_all(&cached).await, body(33));
        assert!(store.count() <= 3, "{:?}", store.requests());
    }
}

#[tokio::test]
async fn a_store_without_if_match_is_asked_without_it() {
    let faults: [fn() -> Fault; 3] = [
        || Fault::error(Failure::NotSupported),
        || Fault::error(Failure::NotImplemented),
        || Fault::error_with(status("501 Not Implemented")),
    ];
    for fault in faults {
        let store = FaultyStore::in_memory();
        let cached = partly_cached(&store).await;
        store.fault(fault().when(is_pinned));
        assert_eq!(read(&cached, 11..12).await, part(11..12));
        assert_eq!(store.count(), 2);
        assert_eq!(read_all(&cached).await, body(33));
        assert_eq!(
            cached.get_ranges(&path(), &[0..3, 6..8]).await.unwrap(),
            [part(0..3), part(6..8)]
        );
        // The tag tells when it has been replaced.
        let cached = partly_cached(&store).await;
        write(&store, vec![b'n'; 33]).await;
        assert_eq!(read_all(&cached).await, vec![b'n'; 33]);
    }
}

/// And says 416 of an object that has become shorter.
#[tokio::test]
async fn a_store_that_looks_at_the_range_first_is_asked_anew() {
    for len in [0, 1, 6, 12] {
        let store = ScriptedStore::hears(|options| GetOptions { if_match: None, ..options });
        let cached = partly_cached(&store).await;
        write(&store, vec![b'n'; len]).await;
        assert_eq!(read_all(&cached).await, vec![b'n'; len]);
        let cached = partly_cached(&store).await;
        write(&store, vec![b'n'; 6]).await;
        assert_eq!(cached.get_ranges(&path(), &[0..3, 4..6]).await.unwrap(), ["nnn", "nn"]);
    }
    // Before the condition, too.
    let store = FaultyStore::in_memory();
    let cached = partly_cached(&store).await;
    write(&store, vec![b'n'; 12]).await;
    store.fault(Fault::error_with(status("416 Range Not Satisfiable")).when(is_pinned));
    assert_eq!(read_all(&cached).await, vec![b'n'; 12]);
}

#[tokio::test]
async fn a_body_that_was_begun_goes_on_by_the_whole_object() {
    let store = FaultyStore::in_memory();
    write(&store, body(100)).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(0).build().unwrap();
    for start in (0..100).step_by(10) {
        read(&cached, start..start + 5).await;
    }
    let mut chunks = cached.get(&path()).await.unwrap().into_stream();
    let first = futures_util::StreamExt::next(&mut chunks).await.unwrap().unwrap();
    assert_eq!(first, part(0..5));
    store.fault(Fault::error(Failure::NotSupported).when(is_ranged));
    let mut rest = Vec::new();
    while let Some(chunk) = futures_util::StreamExt::next(&mut chunks).await {
        rest.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(rest, part(5..100));
}

#[tokio::test]
async fn an_outage_costs_one_request_a_read() {
    let outages: [fn() -> Fault; 3] = [
        || Fault::error(Failure::Unavailable),
        || Fault::error_with(status("503 Slow Down")),
        || Fault::error_with(status("429 Too Many Requests")),
    ];
    for outage in outages {
        let store = FaultyStore::in_memory();
        let cached = partly_cached(&store).await;
        let strong = builder(&store).build().unwrap();
        let cold = lasting(&store);
        read(&strong, 5..10).await;
        store.reset();
        store.fault(outage());
        for (n, cached) in [cached, strong, cold].iter().enumerate() {
            for range in [11..12, 6..12] {
                get(cached, range.clone()).await.unwrap_err();
                assert_eq!(store.count(), 1, "cache {n}, {range:?}: {:?}", store.requests());
                store.reset();
            }
            cached.get(&path()).await.unwrap_err();
            assert_eq!(store.count(), 1, "cache {n}: {:?}", store.requests());
            store.reset();
            cached.get_ranges(&path(), &[11..12, 12..14]).await.unwrap_err();
            assert_eq!(store.count(), 1, "cache {n}: {:?}", store.requests());
            store.reset();
        }
    }
}

/// What is named by its path has no say.
#[tokio::test]
async fn the_words_of_a_path_do_not_make_an_outage_a_refusal() {
    let location = object_store::path::Path::from("ranges/416");
    let store = with_object(1).await;
    store.inner().put(&location, body(33).into()).await.unwrap();
    let cached = Arc::new(lasting(&store));
    cached.head(&location).await.unwrap();
    store.reset();
    store.fault(Fault::error_with(|request| Error::Generic {
        store: "S3",
        source: Box::new(Named(request.location.to_string())),
    }));
    cached.get_range(&location, 3..4).await.unwrap_err();
    assert_eq!(store.count(), 1);
}

#[derive(Debug)]
struct Named(String);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Error performing GET https://bucket/{}", self.0)
    }
}

impl std::error::Error for Named {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Refused)
    }
}

#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection refused")
    }
}

impl std::error::Error for Refused {}

/// Credentials and servers that are good for a GET alone.
#[tokio::test]
async fn a_store_that_refuses_a_head_is_asked_for_the_bytes() {
    let faults: [fn() -> Fault; 4] = [
        || Fault::error_with(status("405 Method Not Allowed")),
        || Fault::error_with(status("501 Not Implemented")),
        || Fault::error(Failure::PermissionDenied),
        || Fault::error(Failure::Unauthenticated),
    ];
    for fault in faults {
        let store = with_object(33).await;
        store.fault(fault().when(|request| request.operation == Operation::Head));
        let cached = builder(&store).build().unwrap();
        for n in 0..3 {
            store.reset();
            assert_eq!(read_all(&cached).await, body(33));
            // What a denial has dropped is fetched anew.
            assert!(store.count() <= if n == 0 { 1 } else { 2 }, "{:?}", store.requests());
            assert_eq!(
                cached.get_ranges(&path(), &[0..3, 6..8]).await.unwrap(),
                [part(0..3), part(6..8)]
            );
        }
        store.fault(fault());
        store.reset();
        cached.get(&path()).await.unwrap_err();
        assert!(store.count() <= 2, "{:?}", store.requests());
    }
}

/// I-36: the GET may be denied too, so nothing cached is served until it is answered.
#[tokio::test]
async fn a_denied_head_is_heard_before_the_bytes_are_requested() {
    for denied in [Failure::PermissionDenied, Failure::Unauthenticated] {
        let store = with_object(33).await;
        let cached = builder(&store).build().unwrap();
        read_all(&cached).await;
        store.fault(Fault::error(denied).when(|request| request.operation == Operation::Head));
        store.fault(Fault::hold().when(|request| request.operation == Operation::Get));
        let strong = tokio::spawn({
            let cached = cached.clone();
            async move { read_all(&cached).await }
        });
        store.wait_until_held(1).await;
        let mut meanwhile = GetOptions::new();
        meanwhile.extensions.insert(Freshness::immutable());
        meanwhile.extensions.insert(OnlyIfCached);
        assert!(cached.get_opts(&path(), meanwhile).await.is_err(), "{denied:?}");
        store.release_all();
        assert_eq!(strong.await.unwrap(), body(33));
    }
}

/// What the cache asks for is longer than what the caller asks for.
#[tokio::test]
async fn a_store_that_refuses_a_range_past_the_end_gets_the_callers_own() {
    let store = with_object(17).await;
    store.fault(
        Fault::error_with(status("416 Range Not Satisfiable"))
            .when(|request| matches!(request.range, Some(GetRange::Suffix(len)) if len > 17)),
    );
    store.fault(Fault::error_with(status("400 Bad Request")).when(
        |request| matches!(&request.range, Some(GetRange::Bounded(range)) if range.end > 17),
    ));
    for freshness in [Freshness::strong(), Freshness::max_age(HOUR)] {
        for range in [GetRange::Suffix(8), GetRange::Bounded(9..17)] {
            let cached = builder(&store).block_size(64).freshness(freshness).build().unwrap();
            for _ in 0..2 {
                store.reset();
                assert_eq!(read(&cached, range.clone()).await, part(9..17));
                assert_eq!(store.count(), 2);
            }
            let ranges = cached.get_ranges(&path(), &[1..3, 9..17]).await.unwrap();
            assert_eq!(ranges, [part(1..3), part(9..17)]);
        }
    }
}

/// Also where that answer brings the head.
#[tokio::test]
async fn a_store_that_answers_a_first_range_with_the_whole_is_cut() {
    let store = ScriptedStore::hears(|options| GetOptions { range: None, ..options });
    write(&store, body(33)).await;
    for freshness in [Freshness::strong(), Freshness::max_age(HOUR)] {
        for range in [GetRange::Bounded(11..12), GetRange::Offset(20), GetRange::Suffix(3)] {
            let cached = builder(&store).freshness(freshness).build().unwrap();
            let wanted = range.as_range(33).unwrap();
            let wanted = body(33)
                .slice(usize::try_from(wanted.start).unwrap()..wanted.end.try_into().unwrap());
            for _ in 0..2 {
                store.reset();
                assert_eq!(read(&cached, range.clone()).await, wanted);
                assert!(store.count() <= 1, "{:?}", store.requests());
            }
            assert_eq!(read_all(&cached).await, body(33), "partly cached");
        }
    }
}
