//! What is counted, and how it is exported.

use cache_core::{ErrorCounts, ErrorKind};
use cache_metrics::{MetricsSource, Value, names::ORIGIN_REQUESTS, samples};
use cache_store::CachedStore;
use cache_testkit::{Failure, Fault, Operation};
use futures_util::{StreamExt as _, stream};
use object_store::{
    GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, path::Path,
};

use super::{
    body, builder, builder_over, get, lasting, read, read_all, settings::small, with_object,
};
use crate::path;

/// Requests for blocks are counted by outcome; with those for heads, they are all that the store
/// was asked.
#[tokio::test]
async fn requests_for_blocks_are_counted_when_they_have_ended() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    let requests = || cached.stats().block_requests;
    store.reset();
    get(&cached, 0..5).await.unwrap().bytes().await.unwrap();
    assert_eq!(requests().requests(), 0, "the first block came with the head");
    get(&cached, 5..10).await.unwrap().bytes().await.unwrap();
    assert_eq!((requests().succeeded, requests().requests()), (1, 1));

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
    assert_eq!(cached.stats().requests_in_flight, 1);
    reader.abort();
    while requests().cancelled == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cached.stats().requests_in_flight, 0);
    store.heal();

    // Replaced: the request for blocks is refused, and the read begins anew.
    store.inner().put(&path(), body(41).into()).await.unwrap();
    get(&cached, 15..20).await.unwrap().bytes().await.unwrap();
    assert_eq!((requests().refused, requests().requests(), cached.stats().restarts), (1, 4, 1));
    let of_heads = cached.stats().heads.origin.requests();
    assert_eq!(of_heads + requests().requests(), store.count() as u64);
    assert_eq!(cached.stats().block_times.count(), 3, "all but the one that was given up");
}

#[tokio::test]
async fn a_source_has_the_bytes_of_blocks_and_no_hold_on_the_store() {
    let store = with_object(12).await;
    let cached = builder(&store).name("tables").build().unwrap();
    let source = MetricsSource::from(&cached);
    assert_eq!((source.name(), cached.name()), ("tables", "tables"));
    for _ in 0..2 {
        get(&cached, 0..12).await.unwrap().bytes().await.unwrap();
    }
    let snapshot = source.snapshot().unwrap();
    assert_eq!((snapshot.stats.bytes_from_origin, snapshot.stats.bytes_from_cache), (12, 12));
    assert_eq!(
        (snapshot.blocks.unwrap().hit, snapshot.blocks.unwrap().requests.requests()),
        (3, 0)
    );
    let of_origin = samples(&snapshot).filter(|sample| sample.metric == &ORIGIN_REQUESTS);
    let numbers =
        of_origin.map(|sample| if let Value::Number(number) = sample.value { number } else { 0 });
    assert_eq!(numbers.sum::<u64>(), 2);
    drop(cached);
    assert!(source.snapshot().is_none());
}

#[tokio::test]
async fn an_empty_name_is_an_error() {
    let error = builder(&with_object(1).await).name("").build().unwrap_err();
    assert!(error.to_string().contains("name is empty"), "{error}");
}

/// All that the store was asked for is in one figure: heads', or one of the four others.
#[tokio::test]
async fn every_request_is_in_one_figure() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    let (other, third) = (Path::from("other"), Path::from("third"));
    store.reset();
    let of = |cached: &CachedStore| {
        let stats = cached.stats();
        let of_all = [
            stats.block_requests,
            stats.bypass_requests,
            stats.puts,
            stats.deletes,
            stats.lists,
            stats.copies,
            stats.renames,
            stats.multiparts,
        ];
        (of_all.map(|of_op| of_op.requests()), stats.requests_in_flight)
    };
    let check = |what: &str| {
        let (of_all, in_flight) = of(&cached);
        let sum = of_all.iter().sum::<u64>() + cached.stats().heads.origin.requests();
        assert_eq!((sum, in_flight), (store.count() as u64, 0), "{what}: {of_all:?}");
        assert_eq!(sum, cached.stats().requests());
    };

    cached.put(&other, "12345".into()).await.unwrap();
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    cached.put_opts(&other, "1".into(), create).await.unwrap_err();
    check("puts");
    cached.copy(&other, &third).await.unwrap();
    cached.rename(&third, &Path::from("fourth")).await.unwrap();
    check("copies");
    for is_kept in [true, false] {
        let mut upload = cached.put_multipart(&third).await.unwrap();
        upload.put_part("1".into()).await.unwrap();
        if is_kept {
            upload.complete().await.unwrap();
        } else {
            upload.abort().await.unwrap();
        }
    }
    check("uploads");
    get(&cached, 0..5).await.unwrap().bytes().await.unwrap();
    get(&cached, 10..40).await.unwrap().bytes().await.unwrap();
    get(&cached, 90..95).await.unwrap_err();
    cached.get_ranges(&path(), &[0..3, 20..22]).await.unwrap();
    let conditional = GetOptions::new().with_if_none_match(Some("x"));
    cached.get_opts(&path(), conditional).await.unwrap();
    cached.head(&Path::from("nothing")).await.unwrap_err();
    check("reads");
    assert_eq!(cached.list(None).count().await, 4);
    assert_eq!(cached.list(Some(&Path::from("nothing"))).count().await, 0);
    // One of which nobody wants more than the first, and one that nobody looks at.
    assert!(cached.list_with_offset(None, &Path::from("a")).next().await.is_some());
    drop(cached.list(None));
    cached.list_with_delimiter(None).await.unwrap();
    check("lists");
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Delete).once());
    let locations = [other, third, Path::from("fourth")].map(Ok);
    let deleted = cached.delete_stream(stream::iter(locations).boxed());
    let deleted: Vec<_> = deleted.map(|deleted| deleted.is_ok()).collect().await;
    assert_eq!(deleted.iter().filter(|is_ok| **is_ok).count(), 2);
    check("deletes");

    let stats = cached.stats();
    assert_eq!((stats.puts.succeeded, stats.puts.refused), (1, 1));
    assert_eq!(
        (stats.copies.succeeded, stats.renames.succeeded, stats.multiparts.succeeded),
        (1, 1, 6)
    );
    // One by folders, and one that nobody looks at is not sent.
    assert_eq!((stats.lists.succeeded, stats.lists.requests()), (4, 4));
    assert_eq!((stats.bypass_requests.succeeded, stats.bypass_requests.requests()), (0, 1));
    assert_eq!((stats.deletes.succeeded, stats.deletes.refused), (2, 1));
    assert_eq!((stats.put_times.count(), stats.delete_times.count()), (2, 3));
    let exported = MetricsSource::from(&cached).snapshot().unwrap().stats.origin;
    assert_eq!((exported.puts, exported.deletes), (stats.puts, stats.deletes));
}

/// A put whose caller goes away was made, and so was a delete that nobody hears of.
#[tokio::test]
async fn writes_that_are_given_up_are_abandoned() {
    let store = with_object(5).await;
    let cached = lasting(&store);
    store.reset();
    store.fault(Fault::hold());
    let put = tokio::spawn({
        let cached = cached.clone();
        async move { cached.put(&path(), "1".into()).await }
    });
    let delete = tokio::spawn({
        let cached = cached.clone();
        async move { cached.delete(&Path::from("other")).await }
    });
    store.wait_until_held(2).await;
    assert_eq!(cached.stats().requests_in_flight, 2);
    put.abort();
    delete.abort();
    while cached.stats().requests_in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((cached.stats().puts.cancelled, cached.stats().deletes.cancelled), (1, 1));
    store.heal();
}

/// An error in the place of a location comes out again. It is no deletion's.
#[tokio::test]
async fn an_error_of_the_callers_own_is_no_outcome_of_a_delete() {
    let store = with_object(5).await;
    let cached = lasting(&store);
    store.fault(Fault::hold().on(Operation::Delete));
    let own = object_store::Error::NotImplemented {
        operation: "a".to_owned(),
        implementer: "b".to_owned(),
    };
    let mut deleted = cached.delete_stream(stream::iter([Err(own), Ok(path())]).boxed());
    assert!(deleted.next().await.unwrap().is_err());
    tokio::select! {
        deleted = deleted.next() => panic!("{deleted:?}"),
        () = store.wait_until_held(1) => {}
    }
    drop(deleted);
    let deletes = cached.stats().deletes;
    assert_eq!((deletes.cancelled, deletes.requests()), (1, 1));
    store.heal();
}

#[tokio::test]
async fn blocks_that_the_backend_does_not_keep_are_counted() {
    let store = with_object(40).await;
    let cached = builder_over(&store, small()).build().unwrap();
    get(&cached, 0..40).await.unwrap().bytes().await.unwrap();
    let refused = cached.stats().blocks_refused;
    assert_eq!((refused.too_large, refused.policy, refused.backend), (8, 0, 0));
    assert_eq!(
        MetricsSource::from(&cached).snapshot().unwrap().stats.rejected.too_large,
        8 + 1,
        "and the head"
    );
}

/// It is no caller's doing.
#[tokio::test]
async fn a_request_in_which_the_store_panics_has_failed() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    get(&cached, 0..5).await.unwrap().bytes().await.unwrap();
    store.fault(Fault::panic().once());
    let reader = {
        let cached = cached.clone();
        tokio::spawn(async move { get(&cached, 20..25).await.map(drop) })
    };
    assert!(reader.await.map_or(true, |read| read.is_err()));
    assert_eq!((cached.stats().block_requests.failed, cached.stats().requests_in_flight), (1, 0));
}

/// What is refused is told apart: rights, a condition, and an outage.
#[tokio::test]
async fn errors_of_requests_are_counted_by_kind() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    get(&cached, 0..5).await.unwrap().bytes().await.unwrap();
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Put).once());
    cached.put(&path(), "x".into()).await.unwrap_err();
    cached.put_opts(&path(), "x".into(), PutOptions::from(PutMode::Create)).await.unwrap_err();
    // Of a deletion whose error may be anybody's, too.
    let paths = ["a", "b"].map(|path| Ok(Path::from(path)));
    store.fault(Fault::error(Failure::Unavailable).on(Operation::Delete).times(2));
    let deleted: Vec<_> = cached.delete_stream(stream::iter(paths).boxed()).collect().await;
    assert!(deleted.iter().all(Result::is_err));

    let counted = |counts: ErrorCounts| counts.iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
    let expected = [
        (ErrorKind::PreconditionFailed, 1),
        (ErrorKind::PermissionDenied, 1),
        (ErrorKind::Unavailable, 2),
    ];
    assert_eq!(counted(cached.stats().request_errors), expected);
    // Those of heads are exported with them.
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Head).once());
    cached.head(&Path::from("other")).await.unwrap_err();
    let exported = MetricsSource::from(&cached).snapshot().unwrap().stats.origin.errors_by_kind;
    assert_eq!(exported.of(ErrorKind::PermissionDenied), 2);
}

#[tokio::test]
async fn read_amplification_is_what_was_fetched_for_what_was_read() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    assert!(cached.stats().read_amplification().abs() < f64::EPSILON);
    // One block of 5 bytes for one byte.
    read(&cached, 7..8).await;
    let stats = cached.stats();
    assert_eq!((stats.bytes_served, stats.bytes_from_origin), (1, store.body_bytes()));
    assert!((stats.read_amplification() - 5.0).abs() < f64::EPSILON, "{stats}");
    // The rest of that block comes from the cache, and ranges count too.
    cached.get_ranges(&path(), &[5..7, 8..10]).await.unwrap();
    let stats = cached.stats();
    assert_eq!((stats.bytes_served, stats.bytes_from_origin), (5, store.body_bytes()));
    assert!((stats.read_amplification() - 1.0).abs() < f64::EPSILON, "{stats}");
    // A head hands out no bytes; neither does what is read past the cache add to the cached ones.
    cached.head(&path()).await.unwrap();
    assert_eq!(cached.stats().bytes_served, 5);
    read_all(&cached).await;
    assert_eq!(cached.stats().bytes_served, 45);
}

#[tokio::test]
async fn the_table_of_figures_is_short() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    read_all(&cached).await;
    let stats = cached.stats();
    let shown = stats.to_string();
    assert!(shown.lines().count() <= 15 && shown.lines().all(|line| line.len() < 120), "{shown}");
    for words in ["reads      2: 1 fresh, 1 fetched", "hit ratio  50.0 %", "80 read, 40 fetched"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!((stats.entries, stats.bytes), (stats.heads.entries, stats.heads.bytes));
}
