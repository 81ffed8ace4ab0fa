//! Reads by result: each counts once, when it ends; and what is counted is what the store was asked
//! for and gave.

use std::{sync::Arc, time::Duration};

use cache_core::{ErrorCounts, Freshness};
use cache_metrics::{Snapshot, Value, names::REQUESTS, samples};
use cache_store::{Bypass, CachedStore, OnlyIfCached, Reads};
use cache_testkit::{
    BodyFault, Failure, Fault, FaultyStore, MapBackend, Operation, S3Server, TagFault,
};
use futures_util::{StreamExt as _, future::join_all};
use object_store::{
    GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _,
    local::LocalFileSystem,
    path::Path,
    throttle::{ThrottleConfig, ThrottledStore},
};

use super::{HOUR, body, builder, cached, get, lasting, part, read, read_all, with_object};
use crate::path;

/// The reads that ended since `before`, by result.
fn since(cached: &CachedStore, before: Reads) -> Vec<(&'static str, u64)> {
    let now = cached.stats().reads;
    let all = [
        ("fresh", now.fresh - before.fresh),
        ("revalidated", now.revalidated - before.revalidated),
        ("stale", now.stale - before.stale),
        ("fetched", now.fetched - before.fetched),
        ("refetched", now.refetched - before.refetched),
        ("bypass", now.bypass - before.bypass),
        ("not_found", now.not_found - before.not_found),
        ("not_modified", now.not_modified - before.not_modified),
        ("precondition_failed", now.precondition_failed - before.precondition_failed),
        ("not_cached", now.not_cached - before.not_cached),
        ("error", now.errors - before.errors),
        ("cancelled", now.cancelled - before.cancelled),
    ];
    assert_eq!(all.iter().map(|(_, n)| n).sum::<u64>(), now.total() - before.total());
    all.into_iter().filter(|(_, n)| *n > 0).collect()
}

/// What `read` counts as.
async fn result(cached: &CachedStore, read: impl Future) -> Vec<(&'static str, u64)> {
    let before = cached.stats().reads;
    read.await;
    since(cached, before)
}

async fn read_with(
    cached: &CachedStore,
    options: GetOptions,
) -> object_store::Result<bytes::Bytes> {
    cached.get_opts(&path(), options).await?.bytes().await
}

#[tokio::test]
async fn each_read_has_one_result() {
    let store = with_object(40).await;
    let cached = lasting(&store);
    let count =
        async |read: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>| result(&cached, read).await;
    let once = |result| vec![(result, 1)];

    assert_eq!(count(Box::pin(async { drop(read(&cached, 0..5).await) })).await, once("fetched"));
    assert_eq!(count(Box::pin(async { drop(read(&cached, 0..5).await) })).await, once("fresh"));
    assert_eq!(count(Box::pin(async { drop(cached.head(&path()).await) })).await, once("fresh"));
    // What is known of the object is fresh, and its bytes are not there.
    assert_eq!(count(Box::pin(async { drop(read(&cached, 3..12).await) })).await, once("fetched"));
    let ranges = [0..2, 21..22];
    let of_ranges = async || drop(cached.get_ranges(&path(), &ranges).await.unwrap());
    assert_eq!(count(Box::pin(of_ranges())).await, once("fetched"));
    assert_eq!(count(Box::pin(of_ranges())).await, once("fresh"));

    let with = |edit: fn(&mut GetOptions)| {
        let mut options = GetOptions::new().with_range(Some(GetRange::Bounded(0..5)));
        edit(&mut options);
        let cached = &cached;
        Box::pin(async move { drop(read_with(cached, options).await) })
    };
    let strong = |options: &mut GetOptions| {
        options.extensions.insert(Freshness::strong());
    };
    assert_eq!(count(with(strong)).await, once("revalidated"));
    let bypass = |options: &mut GetOptions| {
        options.extensions.insert(Bypass);
    };
    assert_eq!(count(with(bypass)).await, once("bypass"));
    let cached_only = |options: &mut GetOptions| {
        options.extensions.insert(OnlyIfCached);
    };
    assert_eq!(count(with(cached_only)).await, once("fresh"));
    let far = |options: &mut GetOptions| {
        options.extensions.insert(OnlyIfCached);
        options.range = Some(GetRange::Bounded(30..35));
    };
    assert_eq!(count(with(far)).await, once("not_cached"));
    assert_eq!(
        count(with(|options| options.if_match = Some("x".into()))).await,
        once("precondition_failed")
    );
    let same = |options: &mut GetOptions| options.if_none_match = Some("*".into());
    assert_eq!(count(with(same)).await, once("not_modified"));
    let missing = Path::from("missing");
    assert_eq!(
        count(Box::pin(async { drop(cached.head(&missing).await) })).await,
        once("not_found")
    );
    let of_missing = async { drop(cached.get_ranges(&missing, &[0..1, 9..10]).await) };
    assert_eq!(count(Box::pin(of_missing)).await, once("not_found"));

    store.inner().put(&path(), body(30).into()).await.unwrap();
    assert_eq!(count(with(strong)).await, once("refetched"));
    #[expect(clippy::reversed_empty_ranges, reason = "it is an error")]
    let wrong = [5..3];
    let of_wrong = async { drop(cached.get_ranges(&path(), &wrong).await) };
    assert_eq!(count(Box::pin(of_wrong)).await, once("error"));
    let of_none = async { drop(cached.get_ranges(&path(), &[]).await) };
    assert_eq!(count(Box::pin(of_none)).await, once("bypass"));
}

#[tokio::test(start_paused = true)]
async fn what_is_served_past_its_age_is_stale() {
    let store = with_object(5).await;
    let rule = Freshness::max_age(Duration::from_secs(1)).stale_if_error(HOUR);
    let clock = cache_testkit::TokioClock::new();
    let cached = builder(&store).freshness(rule).clock(Arc::new(clock)).build().unwrap();
    read_all(&cached).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    store.fault(Fault::error(Failure::Unavailable));
    assert_eq!(result(&cached, read_all(&cached)).await, [("stale", 1)]);
}

/// The first floor of the issue: heads are known, and the store fails.
#[tokio::test]
async fn a_read_that_fails_after_its_head_is_an_error_and_no_hit() {
    let store = with_object(500).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    let before = cached.stats().reads;
    store.fault(Fault::error(Failure::Unavailable));
    for n in 0..90 {
        get(&cached, n * 5..n * 5 + 5).await.unwrap_err();
    }
    assert_eq!(since(&cached, before), [("error", 90)]);
    assert_eq!(cached.stats().reads.hit_ratio(), 0.0);
    let snapshot = Snapshot::from(cached.stats());
    let errors = samples(&snapshot).find(|sample| {
        sample.metric == &REQUESTS && sample.attributes.contains(&("result", "error"))
    });
    assert_eq!(errors.unwrap().value, Value::Number(90));
    assert_eq!((snapshot.stats.fresh, snapshot.stats.hit_ratio()), (0, 0.0));
    let stats = cached.stats();
    assert_eq!((stats.blocks_hit, stats.blocks_missed), (0, 90));
}

/// Each way in which a body may end before its end, after the head or for blocks, or handed on.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_an_error_and_its_request_has_failed() {
    let faults = [
        BodyFault::Truncated(7),
        BodyFault::Fails(7),
        BodyFault::Fails(0),
        BodyFault::Overlong(3),
        BodyFault::Hangs(7),
        BodyFault::Stalls(7),
    ];
    for fault in faults {
        for kind in ["head", "blocks", "bypass"] {
            let handed_on = kind == "bypass";
            // What is handed on has no time limit, and ends when its caller gives up.
            if handed_on && matches!(fault, BodyFault::Hangs(_) | BodyFault::Stalls(_)) {
                continue;
            }
            let store = with_object(20).await;
            let cached = lasting(&store);
            if kind == "blocks" {
                cached.head(&path()).await.unwrap();
            }
            store.reset();
            let before = cached.stats();
            store.fault(Fault::body(fault).once());
            let mut options = GetOptions::new();
            if handed_on {
                options.extensions.insert(Bypass);
            }
            let answer = cached.get_opts(&path(), options).await.unwrap();
            let mut body = answer.into_stream();
            while let Some(Ok(_)) = body.next().await {}
            drop(body);
            let after = cached.stats();
            let what = format!("{fault:?} of {kind}");
            // A caller who reads on gets more than was announced: those are all his bytes.
            let is_whole = handed_on && matches!(fault, BodyFault::Overlong(_));
            let expected = if is_whole { vec![("bypass", 1)] } else { vec![("error", 1)] };
            assert_eq!(since(&cached, before.reads), expected, "{what}");
            let failed = |stats: &cache_store::CachedStoreStats| match kind {
                "head" => stats.heads.origin.failed,
                "blocks" => stats.block_requests.failed,
                _ => stats.bypass_requests.failed,
            };
            assert_eq!(failed(&after) - failed(&before), 1, "{what}");
            assert_eq!(after.requests() - before.requests(), store.count() as u64, "{what}");
            assert_eq!(after.bytes_from_origin, store.body_bytes(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_body_that_its_reader_drops_is_cancelled_and_its_request_is_done() {
    let store = with_object(40).await;
    let cached = cached(&store);
    store.fault(Fault::body(BodyFault::Chunked(5)));
    let mut bypass = GetOptions::new();
    bypass.extensions.insert(Bypass);
    for (n_chunks, options, expected) in [
        (0, GetOptions::new(), "cancelled"),
        (3, GetOptions::new(), "cancelled"),
        (2, bypass.clone(), "cancelled"),
        (8, bypass, "bypass"),
    ] {
        let before = cached.stats().reads;
        let mut body = cached.get_opts(&path(), options).await.unwrap().into_stream();
        for _ in 0..n_chunks {
            body.next().await.unwrap().unwrap();
        }
        assert_eq!(since(&cached, before), [], "it goes on");
        drop(body);
        assert_eq!(since(&cached, before), [(expected, 1)], "after {n_chunks}");
        cached.invalidate(&path()).await.unwrap();
    }
    let stats = cached.stats();
    assert_eq!((stats.heads.origin.failed, stats.bypass_requests.failed), (0, 0));
    assert_eq!(stats.requests(), store.count() as u64);

    // One whose answer is not there yet is given up.
    store.fault(Fault::hold().once());
    let before = cached.stats().reads;
    let reader = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get(&path()).await.map(drop) }
    });
    store.wait_until_held(1).await;
    reader.abort();
    let _ = reader.await;
    assert_eq!(since(&cached, before), [("cancelled", 1)]);
    store.heal();
}

/// However often it began anew, and however many blocks it looked at before.
#[tokio::test]
async fn a_read_that_begins_anew_is_one_read_and_needs_its_blocks_once() {
    let store = with_object(40).await;
    for ranges in [false, true] {
        let cached = lasting(&store);
        store.inner().put(&path(), body(40).into()).await.unwrap();
        read(&cached, 0..10).await;
        store.inner().put(&path(), body(41).into()).await.unwrap();
        let before = cached.stats();
        if ranges {
            cached.get_ranges(&path(), &[0..10, 30..35]).await.unwrap();
        } else {
            assert_eq!(read(&cached, 0..20).await, part(0..20));
        }
        let after = cached.stats();
        assert_eq!(after.restarts - before.restarts, 1);
        assert_eq!(since(&cached, before.reads), [("refetched", 1)]);
        let n_blocks = if ranges { 3 } else { 4 };
        assert_eq!(
            after.blocks_hit - before.blocks_hit + after.blocks_missed - before.blocks_missed,
            n_blocks
        );
    }
}

#[tokio::test]
async fn each_block_that_a_read_needs_counts_once_as_its_bytes_do() {
    let store = with_object(98 * 5).await;
    let cached = lasting(&store);
    let counted = || {
        let stats = cached.stats();
        (stats.blocks_hit, stats.blocks_missed, stats.bytes_from_cache)
    };
    read_all(&cached).await;
    assert_eq!(counted(), (0, 98, 0));
    read_all(&cached).await;
    assert_eq!(counted(), (98, 98, 490));
    // In chunks that are no blocks, two readers at a time, each of which needs them.
    let cached = lasting(&store);
    store.fault(Fault::body(BodyFault::Chunked(3)));
    join_all([read_all(&cached), read_all(&cached)]).await;
    let stats = cached.stats();
    assert_eq!(stats.blocks_hit + stats.blocks_missed, 2 * 98);
    let hit = stats.blocks_hit;
    // Several ranges of one block.
    cached.get_ranges(&path(), &[0..1, 2..3, 3..7]).await.unwrap();
    assert_eq!(cached.stats().blocks_hit - hit, 2);
    store.heal();
    // One after the other, some there and some not, each run by a request of its own.
    let cached =
        builder(&store).freshness(Freshness::max_age(HOUR)).coalesce_gap(0).build().unwrap();
    for n in (0..20).step_by(2) {
        read(&cached, n * 5..n * 5 + 5).await;
    }
    read(&cached, 2..98).await;
    let stats = cached.stats();
    assert_eq!((stats.blocks_hit, stats.blocks_missed), (10, 10 + 10));
    assert_eq!(stats.bytes_from_cache, 50 - 2);
}

/// Nobody has read it.
#[tokio::test]
async fn what_is_read_ahead_of_time_is_no_read_and_counts_no_blocks() {
    let store = with_object(100).await;
    let cached = lasting(&store);
    for _ in 0..2 {
        assert_eq!(cached.warm([path()], 1).count().await, 1);
    }
    let stats = cached.stats();
    assert_eq!((stats.reads.total(), stats.blocks_hit, stats.blocks_missed), (0, 0, 0));
    assert_eq!((stats.bytes_from_cache, stats.bytes_from_origin), (0, 100));
    read_all(&cached).await;
    assert_eq!((cached.stats().reads.fresh, cached.stats().blocks_hit), (1, 20));
}

/// A file is the caller's to read: it counts as read.
#[tokio::test]
async fn a_file_that_is_handed_on_counts_as_read() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    local.put(&path(), body(40).into()).await.unwrap();
    let store = FaultyStore::new(Arc::new(local));
    let cached =
        CachedStore::builder(Arc::new(store.clone()), Arc::new(MapBackend::new())).build().unwrap();
    let mut options = GetOptions::new();
    options.extensions.insert(Bypass);
    let answer = cached.get_opts(&path(), options).await.unwrap();
    assert!(matches!(answer.payload, object_store::GetResultPayload::File(..)));
    assert_eq!(answer.bytes().await.unwrap(), body(40));
    let stats = cached.stats();
    assert_eq!(
        (stats.reads.bypass, stats.bytes_from_origin, stats.bypass_requests.succeeded),
        (1, 40, 1)
    );
    // One that cannot be held, and one that can.
    for _ in 0..3 {
        read_all(&cached).await;
    }
    assert_eq!(cached.stats().bytes_from_origin, store.body_bytes());
    assert_eq!(cached.stats().requests(), store.count() as u64);
}

/// Over S3's own protocol and object_store's client, which asks for the next page when the last one
/// has been read.
#[tokio::test]
async fn a_list_counts_by_the_page() {
    let server = S3Server::start().unwrap();
    for n in 0..2500 {
        server.put(&format!("many/{n:04}"), "a");
    }
    let cached = CachedStore::builder(Arc::new(server.client()), Arc::new(MapBackend::new()))
        .build()
        .unwrap();
    let n_lists = || server.count_of(Operation::List);
    assert_eq!(cached.list(None).count().await, 2500);
    assert_eq!(
        (n_lists(), cached.stats().lists.succeeded, cached.stats().requests_in_flight),
        (3, 3, 0)
    );
    // No more pages than somebody wanted.
    assert_eq!(cached.list(None).take(1500).count().await, 1500);
    assert_eq!((n_lists(), cached.stats().lists.succeeded), (5, 5));
    assert_eq!(cached.stats().list_times.count(), 5);
}

#[tokio::test]
async fn a_list_that_waits_with_every_object_is_one_request() {
    let store = with_object(5).await;
    for n in 0..50 {
        store.put(&Path::from(format!("many/{n}")), "a".into()).await.unwrap();
    }
    let config = ThrottleConfig {
        wait_list_per_entry: Duration::from_micros(1),
        ..ThrottleConfig::default()
    };
    let cached = CachedStore::builder(
        Arc::new(ThrottledStore::new(store.clone(), config)),
        Arc::new(MapBackend::new()),
    )
    .build()
    .unwrap();
    assert_eq!(cached.list(None).count().await, 51);
    assert_eq!(cached.stats().lists.requests(), 1);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 16) % n
    }

    fn index(&mut self, n: u64) -> usize {
        usize::try_from(self.below(n)).unwrap()
    }
}

/// A fault for one of the next requests.
fn some_fault(random: &mut Random) -> Option<Fault> {
    let at = random.below(60);
    let fault = match random.below(16) {
        0 => Fault::error(Failure::Unavailable),
        1 => Fault::error(Failure::PermissionDenied),
        2 => Fault::error(Failure::NotFound),
        3 => Fault::error(Failure::Precondition),
        4 => Fault::error(Failure::NotSupported),
        5 => Fault::body(BodyFault::Truncated(at)),
        6 => Fault::body(BodyFault::Fails(at)),
        7 => Fault::body(BodyFault::Overlong(1)),
        8 => Fault::body(BodyFault::Hangs(at)),
        9 => Fault::body(BodyFault::Stalls(at)),
        10 => Fault::body(BodyFault::Chunked(3)),
        11 => Fault::hang(),
        12 => Fault::tag(TagFault::Missing),
        _ => return None,
    };
    Some(fault.once())
}

/// One read, to its end or not; whatever comes of it.
async fn some_read(cached: CachedStore, seed: u64) {
    let mut random = Random(seed);
    let location = if random.below(8) == 0 { Path::from("missing") } else { path() };
    let (start, len) = (random.below(70), 1 + random.below(40));
    if random.below(4) == 0 {
        let ranges: Vec<_> = (0..random.below(4))
            .map(|n| start / 2 + n * 20..start / 2 + n * 20 + len / 4)
            .collect();
        let _ = cached.get_ranges(&location, &ranges).await;
        return;
    }
    let mut options = GetOptions::new();
    options.range = match random.below(4) {
        0 => None,
        1 => Some(GetRange::Suffix(len)),
        _ => Some(GetRange::Bounded(start..start + len)),
    };
    match random.below(12) {
        0 => {
            options.extensions.insert(Bypass);
        }
        1 => {
            options.extensions.insert(OnlyIfCached);
        }
        2 => options.if_match = Some("x".into()),
        3 => options.if_none_match = Some("*".into()),
        4 => (options.head, options.range) = (true, None),
        _ => {}
    }
    let Ok(answer) = cached.get_opts(&location, options).await else { return };
    let mut body = answer.into_stream();
    let n_chunks = if random.below(4) == 0 { random.below(4) } else { 1000 };
    for _ in 0..n_chunks {
        match body.next().await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
}

/// Whatever fails, and whoever goes: each read has one result, each request one outcome, and each
/// byte is counted.
#[tokio::test(start_paused = true)]
async fn reads_requests_and_bytes_add_up_under_faults() {
    for seed in 0..60 {
        let mut random = Random(seed * 1_000_003);
        let store = with_object(97).await;
        let rule = if seed % 2 == 0 { Freshness::strong() } else { Freshness::max_age(HOUR) };
        let cached = builder(&store)
            .freshness(rule)
            .coalesce_gap(random.below(8))
            .readahead(random.below(2) * 10)
            .max_in_flight(1 + random.index(4))
            .build()
            .unwrap();
        store.reset();
        let mut n_reads = 0;
        for _ in 0..30 {
            if random.below(5) == 0 {
                store.inner().put(&path(), body(90 + random.index(10)).into()).await.unwrap();
            }
            if random.below(9) == 0 {
                // From now on blocks are missing of a head that is there.
                cached.clear().await.unwrap();
                let _ = tokio::time::timeout(HOUR, cached.head(&path())).await;
                n_reads += 1;
            }
            if let Some(fault) = some_fault(&mut random) {
                store.fault(fault);
            }
            let reads = (0..1 + random.below(3))
                .map(|_| some_read(cached.clone(), random.below(u64::MAX >> 16)));
            let reads: Vec<_> = reads.collect();
            n_reads += reads.len() as u64;
            // What hangs and has no limit is given up.
            let _ = tokio::time::timeout(HOUR, join_all(reads)).await;
        }
        store.heal();
        // Tasks that read a block to its end.
        tokio::time::sleep(HOUR).await;
        let stats = cached.stats();
        assert_eq!(stats.reads.total(), n_reads, "seed {seed}: {:?}", stats.reads);
        assert_eq!(stats.requests(), store.count() as u64, "seed {seed}");
        assert_eq!(stats.bytes_from_origin, store.body_bytes(), "seed {seed}");
        assert_eq!((stats.requests_in_flight, stats.heads.origin.in_flight), (0, 0), "seed {seed}");
        let by_kind = |errors: ErrorCounts| errors.iter().map(|(_, n)| n).sum::<u64>();
        assert_eq!(by_kind(stats.reads.errors_by_kind), stats.reads.errors, "seed {seed}");
        let of_heads = &stats.heads.origin;
        assert_eq!(
            by_kind(of_heads.errors_by_kind),
            of_heads.refused + of_heads.failed,
            "seed {seed}"
        );
        let others =
            [stats.block_requests, stats.bypass_requests].map(|of_op| of_op.refused + of_op.failed);
        assert_eq!(by_kind(stats.request_errors), others.iter().sum::<u64>(), "seed {seed}");
        let exported = Snapshot::from(stats);
        let results = samples(&exported).filter(|sample| sample.metric == &REQUESTS);
        let results =
            results.map(|sample| if let Value::Number(number) = sample.value { number } else { 0 });
        assert_eq!(results.sum::<u64>(), n_reads, "seed {seed}");
    }
}
