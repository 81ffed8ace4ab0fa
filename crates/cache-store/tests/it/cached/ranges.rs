use std::{ops::Range, sync::Arc};

use cache_core::Freshness;
use cache_testkit::{BodyFault, Failure, Fault, FaultyStore, Operation, S3Server, TagFault};
use futures_util::TryStreamExt;
use object_store::{Error, ObjectStore, ObjectStoreExt, local::LocalFileSystem};

use super::{HOUR, asked, body, bounded, builder, cached, get, lasting, part, read, with_object};
use crate::{local_disk, path, write};

fn parts(ranges: &[Range<u64>]) -> Vec<bytes::Bytes> {
    let index = |at: u64| usize::try_from(at).unwrap();
    ranges.iter().map(|range| part(index(range.start)..index(range.end))).collect()
}

#[tokio::test]
async fn neighbours_are_fetched_by_one_request() {
    for (gap, ranges, sent) in [
        (0, vec![0..1, 6..7, 11..12], vec![(0..15, false)]),
        (0, vec![1..2, 10..11], vec![(0..5, false), (10..15, true)]),
        (4, vec![1..2, 10..11], vec![(0..5, false), (10..15, true)]),
        (5, vec![1..2, 10..11], vec![(0..15, false)]),
        (100, vec![90..91, 3..8, 30..31, 31..32, 4..5, 3..8], vec![(0..95, false)]),
        (0, vec![0..100], vec![(0..100, false)]),
    ] {
        let store = with_object(100).await;
        let cached =
            builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(gap).build().unwrap();
        for _ in 0..2 {
            assert_eq!(cached.get_ranges(&path(), &ranges).await.unwrap(), parts(&ranges));
        }
        let sent: Vec<_> =
            sent.into_iter().map(|(range, pinned)| (bounded(range), pinned)).collect();
        assert_eq!(asked(&store), sent, "{ranges:?} with gaps of {gap}");
    }
}

#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    let store = with_object(100).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(5).build().unwrap();
    for range in [10..20, 40..45] {
        read(&cached, range).await;
    }
    store.reset();
    // Missing are 5, 20, 30, 45 and 60; between 20 and 30, 30 and 45 lie 5 and 10 bytes.
    let ranges = [5..25, 30..35, 40..50, 60..61];
    assert_eq!(cached.get_ranges(&path(), &ranges).await.unwrap(), parts(&ranges));
    let mut asked = asked(&store);
    asked.sort_by_key(|(range, _)| format!("{range:?}"));
    assert_eq!(
        asked,
        [
            (bounded(20..35), true),
            (bounded(45..50), true),
            (bounded(5..10), true),
            (bounded(60..65), true)
        ]
    );
    let stats = cached.stats();
    assert_eq!((stats.blocks_hit, stats.bytes_from_cache), (3, 15));
}

#[tokio::test]
async fn what_is_cached_costs_one_head_request_however_many_ranges() {
    let store = with_object(100).await;
    let cached = cached(&store);
    super::read_all(&cached).await;
    store.reset();
    let ranges: Vec<_> = (0..20).rev().map(|n| n * 5 + 1..n * 5 + 4).collect();
    assert_eq!(cached.get_ranges(&path(), &ranges).await.unwrap(), parts(&ranges));
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    assert_eq!(store.requests()[0].operation, cache_testkit::Operation::Head);
}

#[tokio::test]
async fn so_many_requests_are_made_at_a_time() {
    for parallel in [1, 3] {
        let store = with_object(100).await;
        let cached = builder(&store)
            .freshness(Freshness::max_age(HOUR))
            .coalesce_gap(0)
            .parallel(parallel)
            .build()
            .unwrap();
        cached.head(&path()).await.unwrap();
        store.fault(Fault::hold());
        let ranges: Vec<_> = (0..6).map(|n| n * 15..n * 15 + 1).collect();
        let reader = tokio::spawn({
            let (cached, ranges) = (cached.clone(), ranges.clone());
            async move { cached.get_ranges(&path(), &ranges).await.unwrap() }
        });
        for n in 0..6 / parallel {
            store.wait_until_held(parallel).await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(store.gets(), (n + 1) * parallel);
            store.release(parallel);
        }
        assert_eq!(reader.await.unwrap(), parts(&ranges));
    }
}

#[tokio::test]
async fn readers_of_the_same_ranges_make_one_request() {
    let store = with_object(100).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    store.fault(Fault::hold().once());
    let ranges = [3..8, 20..30];
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let (cached, ranges) = (cached.clone(), ranges.clone());
            tokio::spawn(async move { cached.get_ranges(&path(), &ranges).await.unwrap() })
        })
        .collect();
    store.wait_until_held(1).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.release_all();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), parts(&ranges));
    }
    assert_eq!(asked(&store), [(bounded(0..30), true)]);
}

#[tokio::test]
async fn all_ranges_are_of_one_version() {
    let store = with_object(100).await;
    let cached = lasting(&store);
    cached.get_ranges(&path(), &[0..1]).await.unwrap();
    write(&store, vec![b'n'; 100]).await;
    let read = cached.get_ranges(&path(), &[0..5, 50..51]).await.unwrap();
    assert_eq!(read, [&b"nnnnn"[..], b"n"]);
}

#[tokio::test]
async fn what_cannot_be_held_is_one_request_for_what_is_near() {
    for tag in [Some(TagFault::Weak), Some(TagFault::Missing), None] {
        for chunk in [1, 7, 100] {
            let store = with_object(98).await;
            store.fault(Fault::body(BodyFault::Chunked(chunk)));
            let builder = builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(5);
            // Or else it is too large.
            let builder = match &tag {
                Some(tag) => {
                    store.fault(Fault::tag(tag.clone()));
                    builder
                }
                None => builder.max_object_size(97),
            };
            let cached = builder.build().unwrap();
            for (ranges, n_bytes) in [
                (&[3..8, 12..13][..], 13),
                (&[12..13, 3..8, 4..6, 4..6], 13),
                (&[0..1], 1),
                (&[90..93, 94..98], 8),
            ] {
                assert_eq!(cached.get_ranges(&path(), ranges).await.unwrap(), parts(ranges));
                // Not to the end of the block.
                assert!(store.body_bytes() < n_bytes + chunk as u64, "{ranges:?}");
                assert_eq!(asked(&store).len(), 1, "{ranges:?}");
            }
            assert_eq!((cached.stats().passed_through, cached.stats().blocks_hit), (4, 0));
        }
    }
}

#[tokio::test]
async fn of_what_cannot_be_held_the_far_ranges_are_left_to_the_store() {
    let store = with_object(100).await;
    store.fault(Fault::tag(TagFault::Weak));
    let cached = builder(&store).coalesce_gap(0).build().unwrap();
    store.reset();
    let ranges = [70..75, 3..8, 40..41, 4..12];
    assert_eq!(cached.get_ranges(&path(), &ranges).await.unwrap(), parts(&ranges));
    let requests = store.requests();
    let operations: Vec<_> = requests.iter().map(|request| request.operation).collect();
    assert_eq!(operations, [Operation::Get, Operation::GetRanges]);
    assert_eq!((&requests[0].range, store.body_bytes()), (&bounded(0..15), 15 + 5 + 1));
    let stats = cached.stats();
    assert_eq!(
        (stats.heads.origin.requests(), stats.bypass_requests.succeeded, stats.passed_through),
        (1, 1, 1)
    );
    for failing in [Operation::Get, Operation::GetRanges] {
        store.fault(Fault::error(Failure::PermissionDenied).on(failing).once());
        let error = cached.get_ranges(&path(), &ranges).await.unwrap_err();
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
    }
}

#[tokio::test]
async fn of_what_cannot_be_held_a_body_that_breaks_is_an_error() {
    for broken in [BodyFault::Truncated(6), BodyFault::Fails(6), BodyFault::Overlong(1)] {
        let store = with_object(100).await;
        store.fault(Fault::tag(TagFault::Missing));
        store.fault(Fault::body(broken));
        let error = cached(&store).get_ranges(&path(), &[3..8, 9..10]).await.unwrap_err();
        assert!(matches!(error, Error::Generic { .. }), "{error}");
    }
}

/// object_store panics, or allocates what nobody has.
#[tokio::test]
async fn a_range_that_ends_before_it_begins_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    for store in [FaultyStore::in_memory(), FaultyStore::new(Arc::new(local))] {
        let cached = cached(&store);
        write(&store, body(17)).await;
        #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
        for ranges in [&[5..3][..], &[0..4, 9..2], &[u64::MAX..0]] {
            store.reset();
            let error = cached.get_ranges(&path(), ranges).await.unwrap_err();
            assert!(matches!(error, Error::Generic { store: "CachedStore", .. }), "{error}");
            assert!(error.to_string().contains("started at"), "{error}");
            let last = ranges.last().unwrap().clone();
            cached.get_range(&path(), last).await.unwrap_err();
            assert_eq!(store.body_bytes(), 0);
        }
        assert_eq!(cached.get_range(&path(), 0..17).await.unwrap().len(), 17);
    }
}

/// Of which stores panic, or abort for want of memory, if they are given all of them as they are.
#[tokio::test]
async fn a_range_behind_the_end_is_the_stores_affair_and_breaks_nothing() {
    let server = S3Server::start().unwrap();
    let (_folder, disk) = local_disk();
    for store in [FaultyStore::in_memory(), disk, FaultyStore::new(Arc::new(server.client()))] {
        write(&store, body(17)).await;
        let cached = lasting(&store);
        for _ in 0..2 {
            for ranges in
                [&[0..4, 20..30][..], &[20..21, 18..18, 0..1], &[u64::MAX - 1..u64::MAX, 3..4]]
            {
                let error = cached.get_ranges(&path(), ranges).await.unwrap_err();
                assert!(matches!(error, Error::Generic { .. }), "{store}: {error}");
            }
            // As if they ended right behind the object.
            for range in [0..1 << 46, 3..u64::MAX, 17..1 << 46, 5..5, 17..17] {
                let short = range.start..range.end.min(18);
                let bare =
                    store.inner().get_ranges(&path(), &[1..2, short.clone(), 3..18, short]).await;
                let ours = cached
                    .get_ranges(&path(), &[1..2, range.clone(), 3..1 << 46, range.clone()])
                    .await;
                assert_eq!(ours.ok(), bare.ok(), "{store}: {range:?}");
            }
            super::read_all(&cached).await;
        }
    }
}

#[tokio::test]
async fn a_range_behind_the_end_of_an_object_that_has_grown_is_not_cut_short() {
    for ranges in [&[15..30][..], &[0..1, 17..30], &[2..4, 15..30, 19..21]] {
        let store = with_object(17).await;
        let cached = lasting(&store);
        super::read_all(&cached).await;
        write(&store, body(40)).await;
        assert_eq!(cached.get_ranges(&path(), ranges).await.unwrap(), parts(ranges));
        assert_eq!(cached.stats().restarts, 1, "{ranges:?}");
    }
}

#[tokio::test]
async fn no_range_is_the_stores_affair() {
    let store = FaultyStore::in_memory();
    let cached = cached(&store);
    let bare = store.inner().get_ranges(&path(), &[]).await.is_ok();
    assert_eq!(cached.get_ranges(&path(), &[]).await.is_ok(), bare);
    write(&store, body(17)).await;
    assert_eq!(cached.get_ranges(&path(), &[]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn far_ranges_take_one_round_trip_where_a_head_is_cached() {
    for parallel in [1, 2, 3, 10] {
        let store = with_object(100).await;
        let cached = builder(&store).coalesce_gap(0).parallel(parallel).build().unwrap();
        read(&cached, 20..25).await;
        store.reset();
        store.fault(Fault::hold());
        let ranges = [1..2, 21..22, 41..42, 61..62];
        let reader = tokio::spawn({
            let (cached, ranges) = (cached.clone(), ranges.clone());
            async move { cached.get_ranges(&path(), &ranges).await.unwrap() }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.count(), parallel.min(3), "none but those that may be sent at a time");
        store.release_all();
        assert_eq!(reader.await.unwrap(), parts(&ranges));
        assert_eq!(store.count(), 3, "each once");
    }
}

#[tokio::test]
async fn far_ranges_that_were_requested_early_are_of_the_version_that_is_current() {
    let store = with_object(100).await;
    let cached = builder(&store).coalesce_gap(0).build().unwrap();
    read(&cached, 20..25).await;
    write(&store, vec![b'n'; 100]).await;
    let read = cached.get_ranges(&path(), &[1..2, 41..42, 61..62]).await.unwrap();
    assert_eq!(read, ["n", "n", "n"]);
    assert_eq!(cached.stats().restarts, 0);
    // What is fresh is not validated, and all is requested at once.
    let lasting = lasting(&store);
    super::read(&lasting, 20..25).await;
    store.reset();
    assert_eq!(lasting.get_ranges(&path(), &[1..2, 41..42]).await.unwrap(), ["n", "n"]);
    assert!(store.requests().iter().all(|request| request.if_match.is_some()));
}

/// What came of it is not held as a whole meanwhile; so pieces of any length have to fit together.
#[tokio::test]
async fn ranges_are_cut_as_they_come() {
    for chunk in [1, 2, 3, 5, 7, 100] {
        for gap in [0, 7, 100] {
            let store = with_object(100).await;
            store.fault(Fault::body(BodyFault::Chunked(chunk)));
            let cached = builder(&store)
                .freshness(Freshness::max_age(HOUR))
                .coalesce_gap(gap)
                .build()
                .unwrap();
            read(&cached, 31..33).await;
            let ranges = [0..1, 3..17, 4..6, 16..16 + 20, 29..34, 60..100, 98..100, 0..100];
            assert_eq!(
                cached.get_ranges(&path(), &ranges).await.unwrap(),
                parts(&ranges),
                "{chunk}, {gap}"
            );
        }
    }
}

/// I-41, where the bytes have just come.
#[tokio::test]
async fn a_small_part_of_a_block_that_has_just_come_does_not_pin_it() {
    const MIB: u64 = 1 << 20;
    let store = with_object(2 << 20).await;
    for start in [0, 4096, MIB / 2, MIB - 4096, MIB - 100, 2 * MIB - 4096] {
        let cached = builder(&store).block_size(MIB).build().unwrap();
        let body = get(&cached, start..start + 4096).await.unwrap().into_stream();
        let pieces: Vec<_> = body.try_collect().await.unwrap();
        // The backend has the block, and would share a buffer with it.
        assert!(pieces.iter().all(bytes::Bytes::is_unique), "{start}");
    }
}
