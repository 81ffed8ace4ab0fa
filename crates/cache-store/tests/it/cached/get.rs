use std::sync::{Arc, Mutex};

use cache_core::Status;
use cache_core::{Backend, Freshness};
use cache_store::CachedStore;
use cache_testkit::{
    BackendAction, BackendCall, Fault, HookBackend, MapBackend, Operation, TagFault,
};
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutOptions,
    path::Path,
};

use super::{
    HOUR, asked, body, bounded, builder, builder_over, cached, get, lasting, part, read, read_all,
    status, with_object,
};
use crate::{local_disk, path, write};

#[tokio::test]
async fn a_cold_get_is_one_request() {
    let store = with_object(17).await;
    let cached = cached(&store);
    let answer = cached.get(&path()).await.unwrap();
    assert_eq!(answer.meta, store.inner().head(&path()).await.unwrap());
    assert_eq!((answer.range.clone(), status(&answer).status()), (0..17, Status::Fetched));
    assert_eq!(answer.bytes().await.unwrap(), body(17));
    assert_eq!(asked(&store), [(None, false)]);
}

#[tokio::test]
async fn a_cold_range_is_one_request_for_whole_blocks() {
    for (range, sent) in [
        (GetRange::Bounded(7..11), GetRange::Bounded(5..15)),
        (GetRange::Bounded(5..10), GetRange::Bounded(5..10)),
        (GetRange::Bounded(16..100), GetRange::Bounded(15..100)),
        (GetRange::Bounded(0..u64::MAX), GetRange::Bounded(0..u64::MAX)),
        (GetRange::Offset(12), GetRange::Offset(10)),
        (GetRange::Suffix(3), GetRange::Suffix(8)),
        (GetRange::Suffix(100), GetRange::Suffix(105)),
    ] {
        let store = with_object(17).await;
        let cached = cached(&store);
        let expected = range.as_range(17).unwrap();
        let answer = get(&cached, range).await.unwrap();
        assert_eq!((answer.range.clone(), answer.meta.size), (expected.clone(), 17));
        let expected =
            usize::try_from(expected.start).unwrap()..usize::try_from(expected.end).unwrap();
        assert_eq!(answer.bytes().await.unwrap(), part(expected));
        assert_eq!(asked(&store), [(Some(sent), false)]);
    }
}

#[tokio::test]
async fn what_is_cached_costs_one_head_request() {
    let store = with_object(17).await;
    let cached = cached(&store);
    read_all(&cached).await;
    store.reset();
    assert_eq!(read_all(&cached).await, body(17));
    let answer = get(&cached, 3..12).await.unwrap();
    let status = status(&answer);
    assert_eq!(answer.bytes().await.unwrap(), part(3..12));
    assert_eq!((status.status(), status.bytes_from_cache()), (Status::Revalidated, 9));
    assert_eq!(status.bytes_from_origin(), 0);
    assert_eq!((store.count(), store.body_bytes()), (2, 0));
    for request in store.requests() {
        assert_eq!((request.operation, request.if_none_match), (Operation::Head, None));
    }
}

#[tokio::test]
async fn what_is_held_and_fresh_costs_no_request() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    store.reset();
    assert_eq!(read_all(&cached).await, body(17));
    for (from, to) in [(0, 1), (4, 6), (16, 17), (0, 17), (5, 10)] {
        let answer = get(&cached, from as u64..to as u64).await.unwrap();
        assert_eq!(status(&answer).status(), Status::Fresh);
        assert_eq!(answer.bytes().await.unwrap(), part(from..to));
    }
    assert_eq!(read(&cached, GetRange::Suffix(7)).await, part(10..17));
    assert_eq!(cached.head(&path()).await.unwrap(), store.inner().head(&path()).await.unwrap());
    assert_eq!(store.count(), 0);
    let stats = cached.stats();
    assert_eq!(
        (stats.bytes_from_origin, stats.bytes_from_cache),
        (17, 17 + 1 + 2 + 1 + 17 + 5 + 7)
    );
    assert_eq!((stats.blocks_hit, stats.blocks_missed), (4 + 1 + 2 + 1 + 4 + 1 + 2, 4));
    assert_eq!((stats.passed_through, stats.restarts), (0, 0));
}

#[tokio::test]
async fn of_what_is_partly_cached_a_new_version_comes_with_the_same_request() {
    let store = with_object(17).await;
    let cached = cached(&store);
    read(&cached, 0..5).await;
    write(&store, "new and shorter").await;
    store.reset();
    let answer = get(&cached, 6..20).await.unwrap();
    assert_eq!((status(&answer).status(), answer.meta.size), (Status::Refetched, 15));
    assert_eq!(answer.bytes().await.unwrap(), "d shorter");
    assert_eq!(asked(&store), [(bounded(5..20), false)]);
}

#[tokio::test]
async fn only_the_blocks_that_are_missing_are_fetched() {
    let store = with_object(33).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(0).build().unwrap();
    read(&cached, 12..13).await;
    assert_eq!(asked(&store), [(bounded(10..15), false)]);
    assert_eq!(read_all(&cached).await, body(33));
    assert_eq!(asked(&store), [(bounded(0..10), true), (bounded(15..33), true)]);
    assert_eq!(cached.stats().bytes_from_origin, 33);
    assert_eq!(read_all(&cached).await, body(33));
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn a_head_is_one_request_without_a_body() {
    let store = with_object(17).await;
    let cached = cached(&store);
    let meta = store.inner().head(&path()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cached.head(&path()).await.unwrap(), meta);
    }
    let requests = store.requests();
    assert!(requests.iter().all(|request| request.operation == Operation::Head));
    // A 304 would not bring changed metadata.
    assert_eq!((requests.len(), &requests[1].if_none_match), (2, &None));
    store.reset();
    // It does not help to hear that this is still current: the bytes have to come. That they do
    // shows that it is.
    let answer = get(&cached, 6..7).await.unwrap();
    assert_eq!(status(&answer).status(), Status::Revalidated);
    assert_eq!(answer.bytes().await.unwrap(), part(6..7));
    let heads = cached.stats().heads;
    assert_eq!((heads.revalidated, heads.refetched, heads.invalidations()), (2, 0, 0));
    assert_eq!((store.count(), store.body_bytes()), (1, 5));
    assert_eq!(store.requests()[0].if_none_match, None);
    // The same for a read of more.
    store.reset();
    assert_eq!(read(&cached, 6..12).await, part(6..12));
    assert_eq!(asked(&store), [(bounded(10..15), false)]);
    // What it said is good for a read.
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    assert_eq!(read(&cached, 6..7).await, part(6..7));
    assert_eq!((store.count(), &store.requests()[0].if_match), (1, &meta.e_tag));
}

#[tokio::test]
async fn what_is_gone_is_not_found() {
    let store = with_object(17).await;
    let cached = cached(&store);
    read_all(&cached).await;
    store.inner().delete(&path()).await.unwrap();
    for range in [None, Some(GetRange::from(0..5))] {
        let options = GetOptions { range, ..GetOptions::new() };
        let error = cached.get_opts(&path(), options).await.unwrap_err();
        assert!(
            matches!(&error, object_store::Error::NotFound { path, .. } if path == "a/b"),
            "{error}"
        );
    }
    assert!(matches!(cached.head(&path()).await, Err(object_store::Error::NotFound { .. })));
}

#[tokio::test]
async fn an_object_without_a_byte_is_held_too() {
    let store = with_object(0).await;
    let cached = lasting(&store);
    for _ in 0..2 {
        let answer = cached.get(&path()).await.unwrap();
        assert_eq!((answer.range.clone(), answer.meta.size), (0..0, 0));
        assert_eq!(answer.bytes().await.unwrap(), "");
    }
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn attributes_come_back_as_they_were_put() {
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/plain"),
        (Attribute::CacheControl, "no-store"),
        (Attribute::Metadata("Owner".into()), "someone"),
    ]);
    let store = with_object(0).await;
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    store.inner().put_opts(&path(), body(17).into(), options).await.unwrap();
    let cached = lasting(&store);
    for _ in 0..2 {
        let answer = get(&cached, 3..4).await.unwrap();
        assert_eq!(answer.attributes, attributes);
        answer.bytes().await.unwrap();
    }
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn the_end_of_a_block_is_served_and_not_kept() {
    let store = with_object(17).await;
    let backend = Arc::new(MapBackend::new());
    let rule = Freshness::max_age(HOUR);
    let cached =
        builder_over(&store, Arc::<MapBackend>::clone(&backend)).freshness(rule).build().unwrap();
    assert_eq!(read(&cached, GetRange::Suffix(3)).await, part(14..17));
    assert_eq!(asked(&store), [(Some(GetRange::Suffix(8)), false)]);
    // The head and two blocks.
    assert_eq!(backend.usage().entries, 3);
    assert_eq!(read(&cached, 10..17).await, part(10..17));
    assert_eq!(store.count(), 0);
    assert_eq!(read(&cached, 8..9).await, part(8..9));
    assert_eq!(asked(&store), [(bounded(5..10), true)]);
}

#[tokio::test]
async fn what_is_held_is_not_copied() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    let block = read(&cached, 5..10).await;
    let part = read(&cached, 7..9).await;
    assert_eq!(part.as_ptr(), block[2..].as_ptr());
    let parts = cached.get_ranges(&path(), &[8..10, 5..6]).await.unwrap();
    assert_eq!((parts[0].as_ptr(), parts[1].as_ptr()), (block[3..].as_ptr(), block.as_ptr()));
}

#[tokio::test]
async fn a_block_has_a_buffer_of_its_own() {
    // The store gives out slices of one large buffer.
    let store = with_object(1000).await;
    let cached = builder(&store).freshness(Freshness::immutable()).block_size(100).build().unwrap();
    read_all(&cached).await;
    let held = store.inner().get(&path()).await.unwrap().bytes().await.unwrap();
    let span = held.as_ptr() as usize..held.as_ptr() as usize + held.len();
    let blocks = get(&cached, 0..1000).await.unwrap().into_stream();
    use futures_util::TryStreamExt;
    let blocks: Vec<_> = blocks.try_collect().await.unwrap();
    assert_eq!(blocks.iter().map(bytes::Bytes::len).collect::<Vec<_>>(), [100; 10]);
    assert!(blocks.iter().all(|block| !span.contains(&(block.as_ptr() as usize))));
}

#[tokio::test]
async fn two_caches_on_one_backend_do_not_serve_each_other() {
    let (one, other) = (with_object(17).await, with_object(17).await);
    write(&other, "quite another one").await;
    let backend = Arc::new(MapBackend::new());
    let on = |store: &cache_testkit::FaultyStore| {
        let builder = builder_over(store, Arc::<MapBackend>::clone(&backend));
        builder.freshness(Freshness::max_age(HOUR)).build().unwrap()
    };
    // Both give their object the tag that they give first, if they are asked to.
    one.fault(Fault::tag(TagFault::Replaced("\"x\"".into())));
    other.fault(Fault::tag(TagFault::Replaced("\"x\"".into())));
    let (first, second) = (on(&one), on(&other));
    for _ in 0..2 {
        assert_eq!(read_all(&first).await, body(17));
        assert_eq!(read_all(&second).await, "quite another one");
        // A head of its own, so that it looks for blocks.
        first.head(&path()).await.unwrap();
    }
    assert!(backend.usage().entries > 0);
}

#[tokio::test]
async fn two_caches_of_one_identity_serve_each_other_whatever_their_blocks() {
    let store = with_object(40).await;
    let backend = Arc::new(MapBackend::new());
    let identity = cache_core::Namespace::named("one store");
    let with_blocks_of = |size| {
        let builder = builder_over(&store, Arc::<MapBackend>::clone(&backend)).namespace(identity);
        builder.freshness(Freshness::max_age(HOUR)).block_size(size).build().unwrap()
    };
    let sizes = [4, 6, 8, 5, 40, 4];
    for size in sizes {
        let cached = with_blocks_of(size);
        for at in 0..40 {
            assert_eq!(
                read(&cached, at as u64..at as u64 + 1).await,
                part(at..at + 1),
                "{size} {at}"
            );
        }
    }
    // Which version is current, each finds out for itself.
    let last = with_blocks_of(4);
    last.head(&path()).await.unwrap();
    store.reset();
    assert_eq!(read_all(&last).await, body(40));
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn local_disk_is_read_like_any_store() {
    let (_folder, store) = local_disk();
    write(&store, body(100_000)).await;
    let cached = builder(&store)
        .validator_strength(cache_store::ValidatorStrength::Strong)
        .freshness(Freshness::max_age(HOUR))
        .block_size(1000)
        .build()
        .unwrap();
    assert_eq!(read(&cached, 10_500..20_500).await, part(10_500..20_500));
    assert_eq!(read_all(&cached).await, body(100_000));
    store.reset();
    assert_eq!(read_all(&cached).await, body(100_000));
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn paths_that_are_no_keys_are_the_stores_affair() {
    let store = with_object(17).await;
    let cached = cached(&store);
    let long = Path::from("k".repeat(5000));
    for path in [Path::default(), long.clone()] {
        assert!(matches!(cached.get(&path).await, Err(object_store::Error::NotFound { .. })));
    }
    cached.put(&long, body(17).into()).await.unwrap();
    assert_eq!(cached.get_range(&long, 3..9).await.unwrap(), part(3..9));
    assert_eq!(cached.get_ranges(&long, &[3..9]).await.unwrap(), [part(3..9)]);
    // The longest that is one, whose blocks have no key.
    let longest = Path::from("k".repeat(4094));
    cached.put(&longest, body(17).into()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cached.get_range(&longest, 3..9).await.unwrap(), part(3..9));
        assert_eq!(cached.get_ranges(&longest, &[3..9]).await.unwrap(), [part(3..9)]);
    }
}

#[tokio::test]
async fn it_shows_the_store_that_it_wraps_and_nothing_of_what_is_in_it() {
    let store = with_object(17).await;
    write(&store, "a body that is not shown").await;
    let cached = cached(&store);
    read_all(&cached).await;
    assert_eq!(cached.to_string(), "CachedStore(InMemory)");
    let shown = format!("{cached:?} {:?}", builder(&store));
    assert!(shown.contains("InMemory") && !shown.contains("not shown"), "{shown}");
}

#[tokio::test]
async fn a_stale_mark_costs_one_head_and_keeps_the_blocks() {
    let store = with_object(17).await;
    let cached = builder(&store).freshness(Freshness::immutable()).build().unwrap();
    read_all(&cached).await;
    let other = Path::from("zz");
    store.put(&other, "other".into()).await.unwrap();
    cached.head(&other).await.unwrap();
    for mark in ["object", "prefix", "empty prefix", "all"] {
        store.reset();
        match mark {
            "object" => cached.mark_stale(&path()).await.unwrap(),
            "prefix" => cached.mark_stale_prefix("a/").unwrap(),
            "empty prefix" => cached.mark_stale_prefix("").unwrap(),
            _ => cached.mark_all_stale().unwrap(),
        }
        assert_eq!(read_all(&cached).await, body(17), "{mark}");
        assert_eq!(read_all(&cached).await, body(17), "{mark}");
        let sent: Vec<_> = store.requests().iter().map(|request| request.operation).collect();
        assert_eq!(sent, [Operation::Head], "{mark}");
        // The mark covers no more than it names.
        store.reset();
        cached.head(&other).await.unwrap();
        let is_covered = matches!(mark, "empty prefix" | "all");
        assert_eq!(store.count() == 1, is_covered, "{mark}");
    }
    // A changed object is read anew.
    write(&store, "new").await;
    cached.mark_stale(&path()).await.unwrap();
    assert_eq!(read_all(&cached).await, "new");
    cached.close().await.unwrap();
    assert!(cached.mark_stale(&path()).await.is_err());
    assert!(cached.mark_stale_prefix("").is_err() && cached.mark_all_stale().is_err());
}

#[tokio::test]
async fn what_is_invalidated_is_asked_about_and_what_is_cleared_is_gone() {
    let store = with_object(17).await;
    let backend = Arc::new(MapBackend::new());
    let cached: CachedStore = builder_over(&store, Arc::<MapBackend>::clone(&backend))
        .freshness(Freshness::immutable())
        .build()
        .unwrap();
    read_all(&cached).await;
    for prefix in [None, Some("a/"), Some("")] {
        store.reset();
        match prefix {
            None => cached.invalidate(&path()).await.unwrap(),
            Some(prefix) => cached.invalidate_prefix(prefix).unwrap(),
        }
        cached.head(&path()).await.unwrap();
        cached.head(&path()).await.unwrap();
        assert_eq!(store.count(), 1, "{prefix:?}");
    }
    // One object's blocks are dropped with its head; below a prefix they stay, for their version.
    store.reset();
    assert_eq!(read_all(&cached).await, body(17));
    assert_eq!(store.body_bytes(), 17);
    cached.invalidate_prefix("").unwrap();
    cached.head(&path()).await.unwrap();
    store.reset();
    assert_eq!(read_all(&cached).await, body(17));
    assert_eq!(store.count(), 0);
    cached.clear().await.unwrap();
    assert_eq!(backend.usage().entries, 0);
    assert_eq!(read_all(&cached).await, body(17));
    assert_eq!(asked(&store), [(None, false)]);

    cached.clear().await.unwrap();
    let begun = cached.get(&path()).await.unwrap();
    cached.close().await.unwrap();
    assert_eq!(begun.bytes().await.unwrap(), body(17));
    assert!(matches!(cached.get(&path()).await, Err(object_store::Error::Generic { .. })));
    assert_eq!(backend.usage().entries, 0);
    assert_eq!(cached.inner().get(&path()).await.unwrap().bytes().await.unwrap(), body(17));
}

/// A Parquet footer, a Zarr index.
#[tokio::test]
async fn a_suffix_that_was_read_once_is_one_request_without_a_body() {
    for len in [1, 4, 7, 17, 40] {
        for is_known in [false, true] {
            let store = with_object(17).await;
            let (strong, lasting) = (cached(&store), lasting(&store));
            for (cached, requests) in [(&strong, 1), (&lasting, 0)] {
                if is_known {
                    cached.head(&path()).await.unwrap();
                }
                store.reset();
                let suffix = GetRange::Suffix(len);
                let expected = part(17 - usize::try_from(len.min(17)).unwrap()..17);
                assert_eq!(read(cached, suffix.clone()).await, expected);
                assert_eq!(store.count(), 1);
                assert!(store.body_bytes() <= len + 5, "{} bytes for {len}", store.body_bytes());
                store.reset();
                assert_eq!(read(cached, suffix).await, expected);
                assert_eq!((store.count(), store.body_bytes()), (requests, 0), "{len}");
            }
        }
    }
}

#[tokio::test]
async fn a_backend_that_waits_is_waited_for_each_block_once() {
    let store = with_object(33).await;
    for freshness in [Freshness::strong(), Freshness::max_age(HOUR)] {
        let waited_for = Arc::new(Mutex::new(Vec::new()));
        let backend = HookBackend::new(MapBackend::new(), {
            let waited_for = Arc::clone(&waited_for);
            move |call| match call {
                BackendCall::GetNow(_) | BackendCall::Peek(_) => BackendAction::Miss,
                BackendCall::Get(key) => {
                    waited_for.lock().unwrap().push(key.to_owned());
                    BackendAction::Proceed
                }
                _ => BackendAction::Proceed,
            }
        });
        let cached = builder_over(&store, Arc::new(backend)).freshness(freshness).build().unwrap();
        for cached_blocks in 0..3 {
            cached.clear().await.unwrap();
            cached.head(&path()).await.unwrap();
            for block in 0..cached_blocks {
                read(&cached, block * 10..block * 10 + 1).await;
            }
            for range in [0..1, 0..33, 6..23] {
                waited_for.lock().unwrap().clear();
                assert_eq!(
                    read(&cached, range.clone()).await.len() as u64,
                    range.end - range.start
                );
                let mut waited_for = waited_for.lock().unwrap().clone();
                waited_for.retain(|key| key.starts_with("b/"));
                let n = waited_for.len();
                waited_for.sort_unstable();
                waited_for.dedup();
                assert_eq!(n, waited_for.len(), "{cached_blocks} blocks, {range:?}");
            }
            waited_for.lock().unwrap().clear();
            cached.get_ranges(&path(), &[0..2, 20..22]).await.unwrap();
            let mut waited_for = waited_for.lock().unwrap().clone();
            waited_for.retain(|key| key.starts_with("b/"));
            let n = waited_for.len();
            waited_for.sort_unstable();
            waited_for.dedup();
            assert_eq!(n, waited_for.len(), "{cached_blocks} blocks, several ranges");
        }
    }
}

#[tokio::test]
async fn bytes_that_are_missing_come_with_the_validation() {
    let store = with_object(100).await;
    let cached = cached(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    assert_eq!(read_all(&cached).await, body(100));
    assert_eq!((store.count(), store.body_bytes()), (1, 100), "a head, then the whole object");

    // The first and the last block are cached, and one in between.
    let store = with_object(100).await;
    let cached = self::cached(&store);
    for range in [0..5, 40..45, 95..100] {
        read(&cached, range).await;
    }
    store.reset();
    let answer = cached.get(&path()).await.unwrap();
    let status = status(&answer);
    assert_eq!(answer.bytes().await.unwrap(), body(100));
    assert_eq!(asked(&store), [(bounded(5..95), false)]);
    assert_eq!((status.bytes_from_origin(), status.bytes_from_cache()), (90, 10));
    assert!(!status.coalesced());
    // Six blocks at the front are cached: more than a reader looks at before its answer.
    let store = with_object(100).await;
    let cached = self::cached(&store);
    read(&cached, 0..30).await;
    store.reset();
    assert_eq!(read_all(&cached).await, body(100));
    assert_eq!(asked(&store), [(Some(GetRange::Offset(30)), false)]);
}

#[tokio::test]
async fn of_a_new_version_what_the_validation_did_not_bring_is_fetched() {
    for size in [100, 60, 20, 3, 140] {
        let store = with_object(100).await;
        let cached = cached(&store);
        read(&cached, 0..30).await;
        write(&store, vec![b'n'; size]).await;
        store.reset();
        assert_eq!(read_all(&cached).await, vec![b'n'; size]);
        assert!(store.count() <= 3, "{:?}", store.requests());
        let stats = cached.stats();
        assert_eq!((stats.heads.errors, stats.restarts), (0, 0));
    }
}

/// Of 11: as many requests as without a cache.
#[tokio::test]
async fn what_the_store_refuses_is_one_request() {
    for range in [17..20, 18..19, 1000..1001] {
        let store = with_object(17).await;
        let cached = cached(&store);
        let answer = get(&cached, range).await;
        assert!(matches!(answer, Err(object_store::Error::Generic { .. })));
        assert_eq!(store.count(), 1, "cold");
        read_all(&cached).await;
        store.reset();
        assert!(get(&cached, 17..20).await.is_err());
        assert_eq!(store.count(), 1, "cached");
    }
    for is_cached in [false, true] {
        let store = with_object(17).await;
        let cached = cached(&store);
        if is_cached {
            read_all(&cached).await;
        }
        store.reset();
        let options = GetOptions::new().with_if_match(Some("\"foreign\""));
        let answer = cached.get_opts(&path(), options).await;
        assert!(matches!(answer, Err(object_store::Error::Precondition { .. })));
        assert_eq!((store.count(), store.body_bytes()), (1, 0), "cached: {is_cached}");
    }
    // An outage.
    for range in [None, Some(3..8)] {
        let store = with_object(17).await;
        let cached = cached(&store);
        store.fault(cache_testkit::Fault::error(cache_testkit::Failure::Unavailable));
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::new() };
        assert!(cached.get_opts(&path(), options).await.is_err());
        assert_eq!(store.count(), 1);
    }
}
