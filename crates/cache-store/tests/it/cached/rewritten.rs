//! Objects that are rewritten while they are read.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::Freshness;
use cache_testkit::{FaultyStore, MapBackend, WaitingBackend};
use futures_util::StreamExt;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};

use super::{HOUR, asked, body, bounded, builder, builder_over, read, with_object};
use crate::{path, write};

/// `version` of an object of 8 blocks.
fn version(version: u8) -> Bytes {
    Bytes::from(vec![version; 40])
}

/// Of each version that a whole read may meet it returns one, for the bare store does: whichever
/// blocks are cached, and wherever the object is rewritten meanwhile.
#[tokio::test]
async fn a_whole_read_fails_no_more_often_than_over_the_bare_store() {
    for waits in [false, true] {
        for cached_blocks in (0..1_u32 << 8).step_by(3) {
            for gap in if waits { &[5][..] } else { &[0, 5] } {
                let rewrite_after = u8::try_from(cached_blocks % 9).unwrap();
                let store = FaultyStore::in_memory();
                write(&store, version(0)).await;
                let builder = if waits {
                    let backend = WaitingBackend::new(MapBackend::new(), 0, 1);
                    builder_over(&store, Arc::new(backend))
                } else {
                    builder(&store)
                };
                let builder = builder.freshness(Freshness::max_age(HOUR)).coalesce_gap(*gap);
                let cached = builder.build().unwrap();
                cached.head(&path()).await.unwrap();
                for block in (0..8).filter(|block| cached_blocks >> block & 1 == 1) {
                    read(&cached, block * 5..block * 5 + 5).await;
                }
                store.reset();
                let mut chunks = cached.get(&path()).await.unwrap().into_stream();
                let (mut got, mut n) = (Vec::new(), 0_u8);
                while let Some(chunk) = chunks.next().await {
                    got.extend_from_slice(&chunk.unwrap());
                    n += 1;
                    if n >= rewrite_after {
                        // Readers beside replace the blocks by those of the new version.
                        write(&store, version(n)).await;
                        cached.invalidate(&path()).await.unwrap();
                        for block in [0, 3, 6, 7] {
                            read(&cached, block * 5..block * 5 + 5).await;
                        }
                    }
                }
                assert_eq!(got, version(0), "{cached_blocks:b}, a gap of {gap}");
            }
        }
    }
}

#[tokio::test]
async fn every_fourth_block_cached_the_rest_is_one_request() {
    let store = with_object(64 * 5).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(5).build().unwrap();
    for block in (0..64).step_by(4) {
        read(&cached, block * 5..block * 5 + 1).await;
    }
    store.reset();
    assert_eq!(super::read_all(&cached).await, body(64 * 5));
    assert_eq!(asked(&store), [(bounded(5..320), true)]);
}

#[tokio::test]
async fn a_large_hole_is_not_fetched_over() {
    let store = with_object(300).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(10).build().unwrap();
    for range in [10..20, 100..250] {
        read(&cached, range).await;
    }
    store.reset();
    assert_eq!(super::read_all(&cached).await, body(300));
    assert_eq!(asked(&store), [(bounded(0..100), true), (bounded(250..300), true)]);
}

/// It reads what it began with, or begins anew before anything was given out.
#[tokio::test]
async fn the_requests_are_answered_before_anything_is_given_out() {
    let store = with_object(300).await;
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(0).build().unwrap();
    read(&cached, 0..100).await;
    let location = path();
    let mut answer = Box::pin(cached.get_opts(&location, GetOptions::new()));
    store.fault(cache_testkit::Fault::hold().once());
    assert!(futures_util::future::poll_immediate(&mut answer).await.is_none());
    store.release_all();
    write(&store, vec![b'n'; 300]).await;
    assert_eq!(answer.await.unwrap().bytes().await.unwrap(), vec![b'n'; 300]);
    assert_eq!(cached.stats().restarts, 1);
}

/// Whichever of the two reads first, and however far.
#[tokio::test]
async fn a_reader_that_shares_a_request_and_falls_behind_gets_the_version_that_it_began() {
    for n_chunks in 0..8 {
        for is_first_slow in [false, true] {
            let store = FaultyStore::in_memory();
            write(&store, version(0)).await;
            let cached = builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap();
            cached.head(&path()).await.unwrap();
            store.reset();
            let first = cached.get(&path()).await.unwrap().into_stream();
            let second = cached.get(&path()).await.unwrap().into_stream();
            let (mut slow, fast) = if is_first_slow { (first, second) } else { (second, first) };
            let mut got = Vec::new();
            for _ in 0..n_chunks {
                got.extend_from_slice(&slow.next().await.unwrap().unwrap());
            }
            assert_eq!(fast.map(Result::unwrap).collect::<Vec<_>>().await.concat(), version(0));
            assert_eq!(store.count(), 1);
            write(&store, version(1)).await;
            cached.invalidate(&path()).await.unwrap();
            assert_eq!(super::read_all(&cached).await, version(1));
            while let Some(chunk) = slow.next().await {
                got.extend_from_slice(&chunk.unwrap());
            }
            assert_eq!(got, version(0), "after {n_chunks} chunks");
        }
    }
}
