//! A backend of two tiers: what a read costs after a restart, and while memory has no room.

use std::{sync::Arc, task::Poll};

use bytes::Bytes;
use cache_core::{Backend as _, Freshness, Namespace, Status};
use cache_store::{CachedStore, CachedStoreBuilder, OnlyIfCached};
use cache_testkit::{FaultyStore, Operation};
use futures_util::{FutureExt as _, StreamExt as _, poll};
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _};

use super::{
    HOUR, body, bounded, builder_over, get, part, read, read_all, status,
    tiers::{Tiers, key},
    with_object,
};
use crate::path;

/// Under this freshness, or strong.
const RULES: [Option<Freshness>; 2] = [None, Some(Freshness::max_age(HOUR))];

fn over(store: &FaultyStore, tiers: &Tiers) -> CachedStoreBuilder {
    builder_over(store, Arc::new(tiers.clone())).namespace(Namespace::named("a"))
}

/// A new process over the same disk.
fn restarted(store: &FaultyStore, tiers: &Tiers, rule: Option<Freshness>) -> CachedStore {
    tiers.lose_memory();
    store.reset();
    tiers.gets();
    let builder = over(store, tiers);
    rule.map_or_else(|| over(store, tiers), |rule| builder.freshness(rule)).build().unwrap()
}

/// A store with an object of `len` bytes, all of which are on the disk.
async fn warm(len: usize) -> (FaultyStore, Tiers) {
    let (store, tiers) = (with_object(len).await, Tiers::default());
    let cached = over(&store, &tiers).build().unwrap();
    assert_eq!(read_all(&cached).await, body(len));
    cached.close().await.unwrap();
    assert_eq!(tiers.blocks(), len.div_ceil(5));
    (store, tiers)
}

#[track_caller]
fn cost_one_head(store: &FaultyStore) {
    let asked: Vec<_> = store.requests().iter().map(|request| request.operation).collect();
    assert_eq!((asked, store.body_bytes()), (vec![Operation::Head], 0));
}

#[tokio::test]
async fn after_a_restart_an_object_of_any_size_costs_one_request_and_no_bytes() {
    for rule in RULES {
        for len in [0, 1, 5, 17, 5 * 300, 5 * 1100 + 2] {
            let (store, tiers) = warm(len).await;
            let cached = restarted(&store, &tiers, rule);
            let answer = cached.get(&path()).await.unwrap();
            let status = status(&answer);
            assert_eq!(answer.bytes().await.unwrap(), body(len));
            cost_one_head(&store);
            assert_eq!(status.status(), Status::Revalidated);
            let from_disk = (status.bytes_from_cache(), status.bytes_from_disk());
            assert_eq!(from_disk, (len as u64, len as u64));
            // Each block was read once.
            assert_eq!(tiers.blocks_read(), len.div_ceil(5));
            let stats = cached.stats();
            let blocks = len.div_ceil(5) as u64;
            assert_eq!((stats.blocks_hit, stats.blocks_from_disk), (blocks, blocks));
            assert_eq!((stats.bytes_from_cache, stats.bytes_from_disk), (len as u64, len as u64));

            // From now on it is in memory.
            store.reset();
            let answer = cached.get(&path()).await.unwrap();
            let status = super::status(&answer);
            assert_eq!(answer.bytes().await.unwrap(), body(len));
            assert_eq!((status.bytes_from_disk(), tiers.blocks_read()), (0, 0));
            assert_eq!((store.count(), store.body_bytes()), (usize::from(rule.is_none()), 0));
        }
    }
}

#[tokio::test]
async fn after_a_restart_every_kind_of_read_costs_one_request_and_no_bytes() {
    for rule in RULES {
        let len = 5 * 300 + 2;
        let (store, tiers) = warm(len).await;
        let cached = restarted(&store, &tiers, rule);
        assert_eq!(cached.head(&path()).await.unwrap().size, len as u64);
        cost_one_head(&store);
        assert_eq!(tiers.blocks_read(), 0);

        for range in [0..1_usize, 3..12, 700..1400, 1400..1502, 1501..1502] {
            let cached = restarted(&store, &tiers, rule);
            let blocks = range.end.div_ceil(5) - range.start / 5;
            assert_eq!(read(&cached, range.start as u64..range.end as u64).await, part(range));
            cost_one_head(&store);
            assert_eq!(tiers.blocks_read(), blocks);
        }
        let cached = restarted(&store, &tiers, rule);
        assert_eq!(read(&cached, object_store::GetRange::Suffix(8)).await, part(1494..1502));
        cost_one_head(&store);

        let cached = restarted(&store, &tiers, rule);
        let ranges: Vec<_> = (0..100).map(|n| n * 15..n * 15 + 7).collect();
        let expected: Vec<_> = (0..100).map(|n| part(n * 15..n * 15 + 7)).collect();
        let parts = cached.get_ranges(&path(), &ranges).await.unwrap();
        assert_eq!(parts, expected);
        cost_one_head(&store);
        assert_eq!(tiers.blocks_read(), 200);
        let stats = cached.stats();
        assert_eq!((stats.blocks_hit, stats.blocks_from_disk, stats.blocks_missed), (200, 200, 0));
        assert_eq!((stats.bytes_from_cache, stats.bytes_from_disk), (700, 700));
    }
}

/// Not one of the object's blocks is read before the caller gets to it, but for the next one.
#[tokio::test]
async fn a_body_is_read_from_disk_one_block_ahead_of_its_reader() {
    let (store, tiers) = warm(5 * 300).await;
    let cached = restarted(&store, &tiers, None);
    let mut chunks = cached.get(&path()).await.unwrap().into_stream();
    assert_eq!(tiers.blocks_read(), 1, "the first, so that the read can begin again without it");
    for n in 0..300 {
        assert_eq!(chunks.next().await.unwrap().unwrap(), part(n * 5..n * 5 + 5));
        let gets = tiers.gets();
        // At the end of a plan, of 256 blocks, there is none.
        let ahead = if n == 299 || n == 255 { vec![] } else { vec![key(n as u64 * 5 + 5)] };
        let expected = if n == 256 { [vec![key(256 * 5)], ahead].concat() } else { ahead };
        assert_eq!(gets, expected, "{n}");
    }
    assert!(chunks.next().await.is_none());
    cost_one_head(&store);
}

/// The look-up of the next block has begun when a block is returned, and is no task: it goes with
/// the body.
#[tokio::test]
async fn a_body_that_is_dropped_leaves_no_read_behind() {
    let (store, tiers) = warm(5 * 10).await;
    let cached = restarted(&store, &tiers, None);
    let mut chunks = cached.get(&path()).await.unwrap().into_stream();
    tiers.reads().close();
    chunks.next().await.unwrap().unwrap();
    tiers.reads().wait_held(1).await;
    assert_eq!(tiers.gets().len(), 1 + 1 + 1, "the head, the first block and the next");
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    drop(chunks);
    tiers.reads().open();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tiers.gets(), Vec::<String>::new());
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before);
    // The block of a dropped look-up is not in memory.
    assert!(tiers.peek(&key(5)).is_none());
}

/// A future that polls a body once, and is dropped, leaves the read of the next block where it was.
#[tokio::test]
async fn a_read_of_a_body_may_be_dropped_and_begun_again() {
    let (store, tiers) = warm(5 * 10).await;
    let cached = restarted(&store, &tiers, None);
    let mut chunks = cached.get(&path()).await.unwrap().into_stream();
    tiers.reads().close();
    let mut got = chunks.next().await.unwrap().unwrap().to_vec();
    for _ in 0..3 {
        assert!(chunks.next().now_or_never().is_none());
    }
    tiers.reads().open();
    while let Some(chunk) = chunks.next().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(got, body(50));
    assert_eq!(tiers.blocks_read(), 10);
}

/// Paused bodies take the room of `max_in_flight_bytes`; without room they read no block ahead.
#[tokio::test]
async fn blocks_that_are_read_ahead_are_within_max_in_flight_bytes() {
    let tiers = Tiers::of_disk_alone();
    let store = with_object(5 * 1024 * 8).await;
    // Each block takes 5 KiB of it, and those for readers to come a quarter: room for three.
    let open = || over(&store, &tiers).block_size(5 * 1024).max_in_flight_bytes(4 * 15 * 1024);
    let cached = open().build().unwrap();
    for _ in 0..2 {
        assert_eq!(read_all(&cached).await, body(5 * 1024 * 8));
    }
    tiers.gets();
    let mut bodies = Vec::new();
    for n in 0..6 {
        let mut chunks = cached.get(&path()).await.unwrap().into_stream();
        assert_eq!(chunks.next().await.unwrap().unwrap(), part(0..5 * 1024));
        bodies.push(chunks);
        // The first one, and the next one of those that find room; the others had no room to keep
        // the first one until they were polled.
        let second = if n < 3 { key(5 * 1024) } else { key(0) };
        let blocks: Vec<_> = tiers.gets().into_iter().filter(|key| key.starts_with("b/")).collect();
        assert_eq!(blocks, [key(0), second], "{n}");
    }
    for mut chunks in bodies {
        let mut got = part(0..5 * 1024).to_vec();
        while let Some(chunk) = chunks.next().await {
            got.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(got, body(5 * 1024 * 8));
    }
}

/// The index shows a block that is not to be read: one request, with `If-Match`, for that block.
#[tokio::test]
async fn a_block_that_turns_out_unreadable_is_fetched_alone() {
    for is_forgetful in [false, true] {
        for spoiled in [0, 3, 19] {
            let (store, tiers) = warm(5 * 20).await;
            let cached = restarted(&store, &tiers, Some(Freshness::max_age(HOUR)));
            tiers.spoil(&key(spoiled * 5));
            if is_forgetful {
                tiers.forget_failures();
            }
            let answer = cached.get(&path()).await.unwrap();
            let status = status(&answer);
            assert_eq!(answer.bytes().await.unwrap(), body(100));
            assert_eq!(tiers.blocks_read(), 20);
            let asked = store.requests();
            assert_eq!((asked.len(), store.body_bytes()), (2, 5), "{asked:?}");
            assert_eq!(asked[1].range, bounded(spoiled * 5..spoiled * 5 + 5));
            assert!(asked[1].if_match.is_some());
            assert_eq!((status.bytes_from_disk(), status.bytes_from_origin()), (95, 5));
            let stats = cached.stats();
            assert_eq!(
                (stats.blocks_hit, stats.blocks_missed, stats.blocks_from_disk),
                (19, 1, 19)
            );
        }
    }
}

/// Two that do not follow one another say nothing about the blocks between them.
#[tokio::test]
async fn unreadable_blocks_here_and_there_are_fetched_alone() {
    let (store, tiers) = warm(5 * 20).await;
    let cached = restarted(&store, &tiers, Some(Freshness::max_age(HOUR)));
    [3, 7, 11].iter().for_each(|block| tiers.spoil(&key(block * 5)));
    assert_eq!(read_all(&cached).await, body(100));
    assert_eq!((tiers.blocks_read(), store.count(), store.body_bytes()), (20, 4, 15));
}

/// A disk that fails altogether costs a few requests, not one for each block.
#[tokio::test]
async fn a_disk_that_cannot_be_read_costs_two_looks() {
    let (store, tiers) = warm(5 * 400).await;
    let cached = restarted(&store, &tiers, Some(Freshness::max_age(HOUR)));
    cached.head(&path()).await.unwrap();
    (0..400).for_each(|block| tiers.spoil(&key(block * 5)));
    tiers.forget_failures();
    store.reset();
    assert_eq!(read_all(&cached).await, body(2000));
    assert_eq!((tiers.blocks_read(), store.count(), store.body_bytes()), (2, 2, 2000));
}

/// The disk is full of blocks of the version before: one of them is read to see it, and one request
/// brings the object.
#[tokio::test]
async fn blocks_of_a_replaced_version_cost_one_look() {
    for rule in RULES {
        let (store, tiers) = warm(5 * 400).await;
        let cached = restarted(&store, &tiers, rule);
        let new: Bytes = body(5 * 400 + 7).slice(7..);
        store.inner().put(&path(), new.clone().into()).await.unwrap();
        assert_eq!(read_all(&cached).await, new);
        assert_eq!(tiers.blocks_read(), 1);
        assert_eq!((store.count(), store.body_bytes()), (2, 2000), "{:?}", store.requests());
        // Now they are of this one.
        let cached = restarted(&store, &tiers, rule);
        assert_eq!(read_all(&cached).await, new);
        cost_one_head(&store);
    }
}

#[tokio::test]
async fn ranges_of_a_replaced_version_cost_few_looks() {
    let (store, tiers) = warm(5 * 400).await;
    let cached = restarted(&store, &tiers, None);
    let new: Bytes = body(5 * 400 + 7).slice(7..);
    store.inner().put(&path(), new.clone().into()).await.unwrap();
    let ranges: Vec<_> = (0..400).map(|n| n * 5..n * 5 + 2).collect();
    let parts = cached.get_ranges(&path(), &ranges).await.unwrap();
    let expected = (0..400).map(|n| new.slice(n * 5..n * 5 + 2)).collect::<Vec<_>>();
    assert_eq!(parts, expected);
    assert!(tiers.blocks_read() <= 4, "as many as are read at a time");
    assert_eq!((store.count(), store.body_bytes()), (2, 2000));
}

/// While nothing was given out, a read can begin again.
#[tokio::test]
async fn an_object_that_is_replaced_while_its_first_block_is_missing_is_read_anew() {
    let (store, tiers) = warm(5 * 20).await;
    let cached = restarted(&store, &tiers, Some(Freshness::max_age(HOUR)));
    cached.head(&path()).await.unwrap();
    tiers.spoil(&key(0));
    let new: Bytes = body(5 * 20 + 7).slice(7..);
    store.inner().put(&path(), new.clone().into()).await.unwrap();
    assert_eq!(read_all(&cached).await, new);
    assert_eq!(cached.stats().restarts, 1);
}

#[tokio::test]
async fn a_read_only_if_cached_is_served_from_disk() {
    let mut options = GetOptions::new();
    options.extensions.insert(OnlyIfCached);
    let (store, tiers) = warm(5 * 20).await;
    let cached = restarted(&store, &tiers, Some(Freshness::max_age(HOUR)));
    cached.head(&path()).await.unwrap();
    store.reset();
    let answer = cached.get_opts(&path(), options.clone()).await.unwrap();
    assert_eq!(tiers.blocks_read(), 1);
    assert_eq!(answer.bytes().await.unwrap(), body(100));
    assert_eq!((tiers.blocks_read(), store.count()), (19, 0));
    // One that the index does not have is told before the body.
    tiers.remove(&key(95)).await.unwrap();
    cached.get_opts(&path(), options).await.unwrap_err();
}

/// Without memory every read is one of the disk, and each block is looked up once for each.
#[tokio::test]
async fn a_strong_read_looks_each_block_up_once() {
    let tiers = Tiers::of_disk_alone();
    let store = with_object(5 * 40).await;
    let cached = over(&store, &tiers).build().unwrap();
    read_all(&cached).await;
    for _ in 0..3 {
        store.reset();
        tiers.gets();
        assert_eq!(read_all(&cached).await, body(200));
        cost_one_head(&store);
        assert_eq!(tiers.blocks_read(), 40);
        assert_eq!(read(&cached, 12..13).await, part(12..13));
        assert_eq!(tiers.blocks_read(), 1);
    }
}

/// Missing blocks between those on disk are requested before the first byte is returned.
#[tokio::test]
async fn missing_blocks_among_those_on_disk_are_requested_up_front() {
    let (store, tiers) = warm(5 * 40).await;
    let builder = || over(&store, &tiers).coalesce_gap(0).freshness(Freshness::max_age(HOUR));
    tiers.remove(&key(50)).await.unwrap();
    tiers.remove(&key(150)).await.unwrap();
    tiers.lose_memory();
    store.reset();
    let cached = builder().build().unwrap();
    cached.head(&path()).await.unwrap();
    store.reset();
    tiers.gets();
    let answer = get(&cached, 0..200).await.unwrap();
    let asked: Vec<_> = store.requests().into_iter().map(|request| request.range).collect();
    assert_eq!(asked, [bounded(50..55), bounded(150..155)]);
    assert_eq!(tiers.blocks_read(), 1);
    assert_eq!(answer.bytes().await.unwrap(), body(200));
    assert_eq!((tiers.blocks_read(), store.count()), (37, 2));
}

/// The look-up ahead wakes the reader that waits for it.
#[tokio::test]
async fn a_reader_that_waits_for_a_block_is_woken() {
    let (store, tiers) = warm(5 * 4).await;
    let cached = restarted(&store, &tiers, None);
    let mut chunks = cached.get(&path()).await.unwrap().into_stream();
    tiers.reads().close();
    chunks.next().await.unwrap().unwrap();
    let mut next = chunks.next();
    assert!(matches!(poll!(&mut next), Poll::Pending));
    let (next, ()) = tokio::join!(next, async { tiers.reads().open() });
    assert_eq!(next.unwrap().unwrap(), part(5..10));
}
