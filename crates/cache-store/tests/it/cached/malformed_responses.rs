//! A store whose lengths and tags are not what it says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Backend, Freshness};
use cache_store::ValidatorStrength;
use cache_testkit::{BodyFault, Failure, Fault, FaultyStore, Gate, MapBackend, TagFault};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};

use super::{
    HOUR, asked, body, bounded, builder, builder_over, cached, get, lasting, part, read, read_all,
    scripted_store::{ScriptedStore, with_body},
    with_object,
};
use crate::{
    SECONDS,
    clock::{SetClock, date},
    path, write,
};

/// A store whose bodies come in chunks of so many bytes.
async fn in_chunks(chunk: usize) -> FaultyStore {
    let store = ScriptedStore::gated(&Arc::new(Gate::new()), chunk);
    write(&store, body(17)).await;
    store
}

/// What of the body was given out before it ended, and how it did.
async fn drain(answer: GetResult) -> (Vec<u8>, Option<Failure>) {
    let mut chunks = answer.into_stream();
    let mut got = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => got.extend_from_slice(&chunk),
            Err(error) => return (got, Some(Failure::of(&error))),
        }
    }
    (got, None)
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
async fn a_body_that_hangs_is_an_error_for_all_who_wait() {
    let limit = Duration::from_secs(3);
    for hung in
        [Fault::body(BodyFault::Hangs(7)), Fault::hang().when(|request| request.if_match.is_some())]
    {
        let store = with_object(100).await;
        let cached = builder(&store)
            .freshness(Freshness::max_age(HOUR))
            .origin_timeout(limit)
            .build()
            .unwrap();
        cached.head(&path()).await.unwrap();
        store.fault(hung.times(1));
        store.reset();
        let start = tokio::time::Instant::now();
        let read = || async {
            let path = path();
            tokio::time::timeout(2 * limit, cached.get_range(&path, 3..20))
                .await
                .expect("they wait for ever")
        };
        let (one, other) = tokio::join!(read(), read());
        for error in [one.unwrap_err(), other.unwrap_err()] {
            assert!(error.to_string().contains("origin_timeout"), "{error}");
        }
        assert_eq!((start.elapsed(), store.count()), (limit, 1));
        // The next one asks anew.
        assert_eq!(cached.get_range(&path(), 3..20).await.unwrap(), part(3..20));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_not_the_stores_silence() {
    let limit = Duration::from_secs(3);
    let store = ScriptedStore::gated(&Arc::new(Gate::new()), 7);
    write(&store, body(100)).await;
    let cached = builder(&store).origin_timeout(limit).build().unwrap();
    let mut chunks = cached.get(&path()).await.unwrap().into_stream();
    let mut got = Vec::new();
    while let Some(chunk) = chunks.next().await {
        got.extend_from_slice(&chunk.unwrap());
        tokio::time::sleep(2 * limit).await;
    }
    assert_eq!(got, body(100));
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_and_whole_blocks_of_it_are_kept() {
    for chunk in [1, 3, 5, 7, 100] {
        for len in 0..17 {
            for fault in [BodyFault::Truncated(len), BodyFault::Stalls(len), BodyFault::Fails(len)]
            {
                let store = in_chunks(chunk).await;
                store.fault(Fault::body(fault).once());
                let cached = lasting(&store);
                let (got, failed) = drain(cached.get(&path()).await.unwrap()).await;
                assert_eq!(failed, Some(Failure::Unavailable), "{fault:?}");
                assert_eq!(got, part(0..got.len()), "{fault:?}");
                store.reset();
                assert_eq!(read_all(&cached).await, body(17));
                assert_eq!(store.body_bytes(), 17 - (len - len % 5), "{fault:?} by {chunk}");
            }
        }
    }
}

#[tokio::test]
async fn what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out() {
    for chunk in [1, 3, 5, 7, 17, 100] {
        let store = in_chunks(chunk).await;
        store.fault(Fault::body(BodyFault::Overlong(1)).once());
        let cached = lasting(&store);
        let (got, failed) = drain(cached.get(&path()).await.unwrap()).await;
        assert_eq!(failed, Some(Failure::Unavailable));
        assert_eq!(got, part(0..got.len()));
        assert!(got.len() < 17, "by {chunk}");
        assert_eq!(read_all(&cached).await, body(17));
        // Whether it is a fetch of missing blocks, too.
        let store = in_chunks(chunk).await;
        let cached = lasting(&store);
        cached.head(&path()).await.unwrap();
        store.fault(Fault::body(BodyFault::Overlong(1)));
        let (got, failed) = drain(get(&cached, 3..15).await.unwrap()).await;
        assert_eq!((got.len() < 12, failed), (true, Some(Failure::Unavailable)));
        let ranges = cached.get_ranges(&path(), &[3..12]).await.unwrap_err();
        assert!(matches!(ranges, object_store::Error::Generic { .. }));
    }
}

#[tokio::test]
async fn empty_chunks_are_passed_over() {
    let store = ScriptedStore::answers(|answer| {
        super::scripted_store::with_body(answer, |body| {
            let chunks = body.flat_map(|chunk| {
                let chunk = chunk.unwrap();
                let empty = || Ok(bytes::Bytes::new());
                let pieces = chunk.chunks(3).map(bytes::Bytes::copy_from_slice).collect::<Vec<_>>();
                futures_util::stream::iter(pieces).flat_map(move |piece| {
                    futures_util::stream::iter([empty(), empty(), Ok(piece), empty()])
                })
            });
            chunks.boxed()
        })
    });
    write(&store, body(170)).await;
    let cached = lasting(&store);
    for _ in 0..2 {
        assert_eq!(read_all(&cached).await, body(170));
    }
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn an_answer_of_another_range_is_an_error() {
    let store = ScriptedStore::answers(|answer| GetResult {
        range: answer.range.start..answer.range.end + 1,
        ..answer
    });
    write(&store, body(17)).await;
    let cached = builder(&store).build().unwrap();
    for range in [None, bounded(3..8), Some(GetRange::Suffix(3))] {
        let options = GetOptions { range, ..GetOptions::new() };
        let error = cached.get_opts(&path(), options).await;
        assert!(matches!(error, Err(object_store::Error::Generic { .. })));
    }
}

#[tokio::test]
async fn what_has_no_tag_that_names_its_bytes_is_read_from_the_store_each_time() {
    let weak = || Fault::tag(TagFault::Weak);
    let none = || Fault::tag(TagFault::Missing);
    let list = || Fault::tag(TagFault::Replaced("\"a\", \"b\"".into()));
    let same = || Fault::tag(TagFault::Replaced("\"x\"".into()));
    for (fault, strength) in [
        (weak(), ValidatorStrength::Strong),
        (none(), ValidatorStrength::Strong),
        (list(), ValidatorStrength::Strong),
        (same(), ValidatorStrength::Weak),
        (same(), ValidatorStrength::None),
        (same(), ValidatorStrength::Timestamp(HOUR)),
    ] {
        let store = with_object(17).await;
        store.fault(fault);
        store.fault(Fault::last_modified(Some(date(100.0))));
        let backend = Arc::new(MapBackend::new());
        let cached = builder_over(&store, Arc::<MapBackend>::clone(&backend))
            .validator_strength(strength)
            .freshness(Freshness::max_age(HOUR))
            .clock(SetClock::at(200.0))
            .build()
            .unwrap();
        for _ in 0..2 {
            assert_eq!(read_all(&cached).await, body(17));
            assert_eq!(asked(&store), [(None, false)]);
            assert_eq!(read(&cached, 6..8).await, part(6..8));
            assert_eq!(asked(&store), [(bounded(5..10), false)]);
            let parts = cached.get_ranges(&path(), &[1..2, 12..17]).await.unwrap();
            assert_eq!(parts, [part(1..2), part(12..17)]);
            assert_eq!(cached.head(&path()).await.unwrap().size, 17);
            store.reset();
        }
        write(&store, "new, with the same tag").await;
        assert_eq!(read_all(&cached).await, "new, with the same tag");
        assert!(cached.stats().passed_through > 0);
        assert_eq!((cached.stats().blocks_hit, backend.usage().entries), (0, 0));
    }
}

#[tokio::test]
async fn a_timestamp_that_is_old_enough_names_the_bytes() {
    let store = with_object(17).await;
    store.fault(Fault::last_modified(Some(date(100.0))));
    let clock = SetClock::at(101.0);
    let cached = builder(&store)
        .validator_strength(SECONDS)
        .clock(Arc::<SetClock>::clone(&clock))
        .freshness(Freshness::max_age(HOUR))
        .build()
        .unwrap();
    for _ in 0..2 {
        read_all(&cached).await;
    }
    assert_eq!(store.count(), 2);
    clock.set(103.0);
    for _ in 0..2 {
        read_all(&cached).await;
    }
    assert_eq!(store.count(), 3);
}

#[tokio::test]
async fn many_readers_of_what_cannot_be_held_get_their_own_answers() {
    let store = with_object(17).await;
    store.fault(Fault::tag(TagFault::Missing));
    store.fault(Fault::hold().once());
    let cached = lasting(&store);
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { read(&cached, 3..12).await })
        })
        .collect();
    store.wait_until_held(1).await;
    store.release_all();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), part(3..12));
    }
}

#[tokio::test]
async fn an_object_that_is_too_large_is_read_from_the_store_each_time() {
    let store = with_object(17).await;
    for (max, n_requests) in [(16, 3), (17, 1)] {
        store.reset();
        let cached = builder(&store)
            .freshness(Freshness::max_age(HOUR))
            .max_object_size(max)
            .build()
            .unwrap();
        for _ in 0..3 {
            assert_eq!(read_all(&cached).await, body(17));
        }
        assert_eq!(store.count(), n_requests);
    }
}

#[tokio::test]
async fn a_store_that_panics_breaks_the_read_and_not_the_cache() {
    use std::panic::AssertUnwindSafe;

    let store = with_object(17).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.fault(Fault::panic().once());
    AssertUnwindSafe(get(&cached, 3..8)).catch_unwind().await.unwrap_err();
    assert_eq!(read(&cached, 3..8).await, part(3..8));
}

/// A store that refuses the form of each request for the second block and those behind it.
async fn refusing() -> (FaultyStore, cache_store::CachedStore) {
    let store = with_object(17).await;
    store
        .fault(Fault::error(Failure::NotSupported).when(|request| request.range == bounded(5..15)));
    let limit = Duration::from_secs(3);
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).origin_timeout(limit).build().unwrap();
    read(&cached, 0..5).await;
    (store, cached)
}

/// The last request of such a read, whose bounds nothing else says.
fn is_last(request: &cache_testkit::Request) -> bool {
    request.range == bounded(0..12)
}

#[tokio::test]
async fn what_is_passed_through_after_a_refusal_is_as_long_as_announced() {
    for broken in [BodyFault::Truncated(6), BodyFault::Overlong(1), BodyFault::Stalls(6)] {
        let (store, cached) = refusing().await;
        assert_eq!(read(&cached, 0..12).await, part(0..12));
        store.fault(Fault::body(broken).when(is_last));
        let (got, failed) = drain(get(&cached, 0..12).await.unwrap()).await;
        assert_eq!(failed, Some(Failure::Unavailable), "{broken:?}");
        assert!(got.len() < 12 && got == part(0..got.len()), "{broken:?}");
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
async fn what_is_passed_through_after_a_refusal_hangs_no_longer_than_origin_timeout() {
    for hung in [Fault::body(BodyFault::Hangs(7)), Fault::hang()] {
        let (store, cached) = refusing().await;
        store.fault(hung.when(is_last));
        let start = tokio::time::Instant::now();
        let path = path();
        let read = tokio::time::timeout(4 * Duration::from_secs(3), cached.get_range(&path, 0..12));
        let error = read.await.expect("it waits for ever").unwrap_err();
        assert!(error.to_string().contains("origin_timeout"), "{error}");
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}

/// Whatever it is cached by, and what is on its way meanwhile.
#[tokio::test]
async fn an_invalidation_drops_blocks_that_came_damaged() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_damaged = Arc::new(AtomicBool::new(true));
    let store = ScriptedStore::answers({
        let is_damaged = Arc::clone(&is_damaged);
        move |answer| {
            let is_damaged = is_damaged.load(Ordering::Relaxed);
            super::scripted_store::with_body(answer, |body| {
                body.map(
                    move |chunk| if is_damaged { Ok(vec![0; chunk?.len()].into()) } else { chunk },
                )
                .boxed()
            })
        }
    });
    write(&store, body(17)).await;
    let (slow, slow_backend) = super::slow::slow();
    for backend in [Arc::new(MapBackend::new()) as Arc<dyn Backend>, slow_backend] {
        for head_is_known in [true, false] {
            is_damaged.store(true, Ordering::Relaxed);
            slow.blocks.close();
            let cached = builder_over(&store, Arc::clone(&backend))
                .freshness(Freshness::max_age(HOUR))
                .build()
                .unwrap();
            assert_eq!(read_all(&cached).await, vec![0; 17]);
            let begun = cached.get(&path()).await.unwrap();
            is_damaged.store(false, Ordering::Relaxed);
            if !head_is_known {
                cached.invalidate_prefix("").unwrap();
            }
            cached.invalidate(&path()).await.unwrap();
            drop(begun);
            assert_eq!(read_all(&cached).await, body(17));
            slow.blocks.open();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(read_all(&cached).await, body(17));
        }
    }
}

/// A body that is on its way is of what was there before.
#[tokio::test]
async fn what_comes_of_a_request_before_an_invalidation_is_not_kept() {
    let store = with_object(50).await;
    let cached = lasting(&store);
    let mut begun = cached.get(&path()).await.unwrap().into_stream();
    let mut got = begun.next().await.unwrap().unwrap().to_vec();
    cached.invalidate(&path()).await.unwrap();
    cached.head(&path()).await.unwrap();
    store.reset();
    let other = cached.get(&path()).await.unwrap();
    while let Some(chunk) = begun.next().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(got, body(50));
    assert_eq!(asked(&store), [(bounded(0..50), true)], "nobody joins it");
    assert_eq!(other.bytes().await.unwrap(), body(50));
}

/// The tag is the version's own but for its `W/`, as of a server that packs some of its answers.
#[tokio::test]
async fn bytes_that_come_with_a_weak_tag_are_not_mixed_with_others() {
    let is_weak = Arc::new(AtomicBool::new(false));
    let answers_weakly = Arc::clone(&is_weak);
    let store = ScriptedStore::answers(move |mut answer| {
        if !answers_weakly.load(Ordering::Relaxed) {
            return answer;
        }
        answer.meta.e_tag = answer.meta.e_tag.map(|e_tag| format!("W/{e_tag}"));
        with_body(answer, |body| body.map_ok(|chunk| Bytes::from(vec![b'w'; chunk.len()])).boxed())
    });
    write(&store, body(17)).await;
    let cached = lasting(&store);
    read(&cached, 0..5).await;
    is_weak.store(true, Ordering::Relaxed);
    assert_eq!(read_all(&cached).await, vec![b'w'; 17]);
    let cached = lasting(&store);
    is_weak.store(false, Ordering::Relaxed);
    read(&cached, 0..5).await;
    is_weak.store(true, Ordering::Relaxed);
    // The store's own answer to several ranges.
    assert_eq!(
        cached.get_ranges(&path(), &[0..2, 8..10]).await.unwrap(),
        [part(0..2), part(8..10)]
    );
}

/// As of servers that say `Content-Length: 0` where no body follows.
#[tokio::test]
async fn a_head_that_says_that_the_object_is_empty_does_not_make_it_so() {
    let store = ScriptedStore::heads(|mut answer| {
        (answer.meta.size, answer.range) = (0, 0..0);
        answer
    });
    write(&store, body(17)).await;
    let cached = cached(&store);
    for _ in 0..3 {
        assert_eq!(read_all(&cached).await, body(17));
        assert_eq!(read(&cached, 3..8).await, part(3..8));
        let ranges = cached.get_ranges(&path(), &[1..3, 9..12]).await.unwrap();
        assert_eq!(ranges, [part(1..3), part(9..12)]);
    }
}
