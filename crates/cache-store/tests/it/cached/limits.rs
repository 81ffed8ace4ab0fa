//! `max_in_flight`, `queue_timeout` and `negative_ttl`.

use std::{error::Error as _, sync::Arc, time::Duration};

use cache_core::{Clock as _, Error, ErrorKind, Freshness};
use cache_store::{Bypass, CachedStore};
use cache_testkit::{Fault, FaultyStore, MapBackend, Operation, TagFault, TokioClock};
use futures_util::{StreamExt as _, future::join_all};
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt as _,
    memory::InMemory,
    path::Path,
    throttle::{ThrottleConfig, ThrottledStore},
};

use super::{HOUR, body, builder, get, lasting, part, read, read_all, with_object};
use crate::path;

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn numbered(n: usize) -> Path {
    Path::from(format!("objects/{n}"))
}

/// The error of the cache that is the source of `error`.
fn cause(error: &object_store::Error) -> &Error {
    error.source().and_then(|source| source.downcast_ref()).expect("an error of the cache")
}

/// Each answers after `wait`.
fn far(store: Arc<dyn ObjectStore>, wait: Duration) -> Arc<dyn ObjectStore> {
    let config = ThrottleConfig { wait_get_per_call: wait, ..ThrottleConfig::default() };
    Arc::new(ThrottledStore::new(store, config))
}

#[tokio::test]
async fn no_more_requests_of_reads_are_unanswered_at_once_than_max_in_flight() {
    let store = with_object(200).await;
    for n in 0..4 {
        store.put(&numbered(n), body(5).into()).await.unwrap();
    }
    let cached = builder(&store)
        .freshness(Freshness::immutable())
        .max_in_flight(3)
        .coalesce_gap(0)
        .build()
        .unwrap();
    read(&cached, 0..5).await;
    store.reset();
    store.fault(Fault::hold().on(Operation::Get));

    let spawn = |read: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| tokio::spawn(read);
    let (of_blocks, of_ranges, of_heads, of_warm) =
        (cached.clone(), cached.clone(), cached.clone(), cached.clone());
    let readers = [
        spawn(Box::pin(async move {
            let reads = (2..12).map(|n| read(&of_blocks, n * 10..n * 10 + 5));
            join_all(reads).await;
        })),
        spawn(Box::pin(async move {
            of_ranges.get_ranges(&path(), &[125..130, 135..140, 145..150, 155..160]).await.unwrap();
        })),
        spawn(Box::pin(async move {
            of_heads.get(&numbered(0)).await.unwrap().bytes().await.unwrap();
        })),
        spawn(Box::pin(async move {
            let warmed = of_warm.warm((1..4).map(numbered), 8).collect::<Vec<_>>().await;
            assert!(warmed.iter().all(|warmed| warmed.result.is_ok()));
        })),
    ];
    // 10 blocks, 4 ranges, one object, and 3 that are warmed.
    for n_released in 0..18 {
        settle().await;
        assert_eq!(store.count(), (n_released + 3).min(18), "after {n_released} answers");
        store.release(1);
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(cached.stats().requests_in_flight, 0);
    store.heal();
}

/// None of them waits for another while it counts itself.
#[tokio::test]
async fn one_request_at_a_time_suffices_for_every_kind_of_read() {
    let store = with_object(250).await;
    for n in 0..10 {
        store.put(&numbered(n), body(40).into()).await.unwrap();
    }
    for freshness in [Freshness::strong(), Freshness::max_age(HOUR)] {
        let cached = builder(&store)
            .freshness(freshness)
            .max_in_flight(1)
            .coalesce_gap(0)
            .readahead(20)
            .build()
            .unwrap();
        // Its body is not read, and keeps nobody waiting.
        let unread = cached.get(&numbered(9)).await.unwrap();
        for n in (0..25).step_by(3) {
            read(&cached, n * 10..n * 10 + 5).await;
        }
        let ranges: Vec<_> = (0..25).step_by(2).map(|n| n * 10 + 5..n * 10 + 10).collect();
        for (range, bytes) in ranges.iter().zip(cached.get_ranges(&path(), &ranges).await.unwrap())
        {
            let [from, to] =
                [range.start, range.end].map(|offset| usize::try_from(offset).unwrap());
            assert_eq!(bytes, part(from..to));
        }
        let whole = join_all((0..20).map(|_| read_all(&cached))).await;
        assert!(whole.iter().all(|bytes| *bytes == body(250)));
        let warmed = cached.warm_prefix(Some(&Path::from("objects")), 8).collect::<Vec<_>>().await;
        assert!(warmed.len() == 10 && warmed.iter().all(|warmed| warmed.result.is_ok()));
        for start in (0..240).step_by(5) {
            read(&cached, start..start + 5).await;
        }
        assert_eq!(unread.bytes().await.unwrap(), body(40));
    }
}

/// The limit of the queue is not the store's: it begins to count for a request when that is sent.
#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_is_not_the_stores_silence() {
    let store = with_object(50).await;
    let cached = |max_in_flight| {
        CachedStore::builder(
            far(Arc::new(store.clone()), Duration::from_millis(900)),
            Arc::new(MapBackend::new()),
        )
        .block_size(5)
        .freshness(Freshness::immutable())
        .origin_timeout(Duration::from_secs(1))
        .queue_timeout(Duration::from_secs(60))
        .max_in_flight(max_in_flight)
        .build()
        .unwrap()
    };
    let cached = cached(1);
    read(&cached, 0..5).await;
    let clock = TokioClock::new();
    let begun = clock.now();
    join_all((1..10).map(|n| read(&cached, n * 5..n * 5 + 5))).await;
    let took = clock.now().saturating_since(begun);
    assert!((8..9).contains(&took.as_secs()), "nine, one after the other: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_too_long_fails_with_an_error_that_names_the_settings() {
    let store = with_object(50).await;
    let cached = builder(&store)
        .freshness(Freshness::immutable())
        .origin_timeout(Duration::from_secs(600))
        .max_in_flight(1)
        .queue_timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    read(&cached, 0..5).await;
    store.fault(Fault::hold().on(Operation::Get).once());
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { read(&cached, 10..15).await }
    });
    store.wait_until_held(1).await;
    let (clock, n_requests) = (TokioClock::new(), store.count());
    for kind in ["block", "ranges", "head"] {
        let begun = clock.now();
        let error = match kind {
            "block" => get(&cached, 20..25).await.map(drop),
            "ranges" => cached.get_ranges(&path(), &[30..35, 40..45]).await.map(drop),
            _ => cached.get(&numbered(0)).await.map(drop),
        };
        let error = error.unwrap_err();
        assert!(matches!(error, object_store::Error::Generic { .. }), "{kind}: {error}");
        assert_eq!(cause(&error).kind(), ErrorKind::Timeout, "{kind}");
        assert!(error.to_string().contains("max_in_flight, queue_timeout"), "{kind}: {error}");
        let took = clock.now().saturating_since(begun).as_secs();
        assert_eq!(took, 5, "{kind}");
    }
    assert_eq!(store.count(), n_requests, "they were not sent");
    store.heal();
    assert_eq!(first.await.unwrap(), part(10..15));
    read(&cached, 20..25).await;
}

/// The store is a second away.
#[tokio::test(start_paused = true)]
async fn fifteen_thousand_reads_at_once_succeed_where_the_settings_allow_it() {
    const READS: usize = 15_000;
    let memory = InMemory::new();
    for n in 0..READS {
        memory.put(&numbered(n), "a".into()).await.unwrap();
    }
    let store = far(Arc::new(memory), Duration::from_secs(1));
    let builder = || CachedStore::builder(Arc::clone(&store), Arc::new(MapBackend::new()));
    let n_failed = async |cached: CachedStore| {
        let read = |n| {
            let cached = cached.clone();
            async move { cached.get(&numbered(n)).await?.bytes().await }
        };
        let read = join_all((0..READS).map(read)).await;
        let errors: Vec<_> = read.into_iter().filter_map(Result::err).collect();
        assert!(
            errors.iter().all(|error| error.to_string().contains("max_in_flight, queue_timeout"))
        );
        errors.len()
    };
    assert!(
        n_failed(builder().build().unwrap()).await > 0,
        "as many as by default can be made in 10 s"
    );
    assert_eq!(n_failed(builder().max_in_flight(4096).build().unwrap()).await, 0);
    assert_eq!(
        n_failed(builder().queue_timeout(Duration::from_secs(60)).build().unwrap()).await,
        0
    );
}

fn remembering(store: &FaultyStore, clock: Option<TokioClock>) -> CachedStore {
    let builder =
        builder(store).freshness(Freshness::max_age(HOUR)).negative_ttl(Duration::from_secs(60));
    let builder = if let Some(clock) = clock { builder.clock(Arc::new(clock)) } else { builder };
    builder.build().unwrap()
}

async fn is_missing(cached: &CachedStore, location: &Path) -> bool {
    match cached.get(location).await {
        Ok(_) => false,
        Err(object_store::Error::NotFound { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_object_is_remembered_for_negative_ttl() {
    let store = with_object(5).await;
    let cached = remembering(&store, Some(TokioClock::new()));
    let missing = numbered(0);
    store.reset();
    for _ in 0..3 {
        assert!(is_missing(&cached, &missing).await);
        cached.head(&missing).await.unwrap_err();
        cached.get_ranges(&missing, &[0..1, 3..4]).await.unwrap_err();
    }
    assert_eq!(store.count(), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(is_missing(&cached, &missing).await);
    assert_eq!(store.count(), 2);
    // A read of its own freshness that may rely on nothing asks.
    let mut strong = GetOptions::new();
    strong.extensions.insert(Freshness::strong());
    cached.get_opts(&missing, strong).await.unwrap_err();
    assert_eq!(store.count(), 3);
}

#[tokio::test]
async fn that_there_is_no_object_is_not_remembered_unless_that_is_set() {
    let store = with_object(5).await;
    let (off, strong) = (lasting(&store), builder(&store).negative_ttl(HOUR).build().unwrap());
    for cached in [off, strong] {
        store.reset();
        for _ in 0..2 {
            assert!(is_missing(&cached, &numbered(0)).await);
        }
        assert_eq!(store.count(), 2);
    }
}

/// By each kind of write, and whatever the store shows of the object: the next read is answered
/// with it.
#[tokio::test]
async fn a_write_and_what_the_store_shows_end_the_memory_that_there_is_no_object() {
    let missing = numbered(0);
    for way in [
        "put",
        "copy",
        "rename",
        "multipart",
        "list",
        "list with offset",
        "list with delimiter",
        "bypass",
        "bypass without a tag",
        "conditional",
        "invalidate",
        "clear",
    ] {
        let store = with_object(5).await;
        let cached = remembering(&store, None);
        assert!(is_missing(&cached, &missing).await);
        assert!(is_missing(&cached, &missing).await);
        // Another node writes it, where this one is to find out.
        let written = store.inner().put(&missing, "new".into());
        match way {
            "put" => drop(cached.put(&missing, "new".into()).await.unwrap()),
            "copy" => cached.copy(&path(), &missing).await.unwrap(),
            "rename" => cached.rename(&path(), &missing).await.unwrap(),
            "multipart" => {
                let mut upload = cached.put_multipart(&missing).await.unwrap();
                upload.put_part("new".into()).await.unwrap();
                upload.complete().await.unwrap();
            }
            "list" => {
                written.await.unwrap();
                assert_eq!(cached.list(None).count().await, 2);
            }
            "list with offset" => {
                written.await.unwrap();
                assert!(cached.list_with_offset(None, &Path::from("a")).count().await > 0);
            }
            "list with delimiter" => {
                written.await.unwrap();
                cached.list_with_delimiter(Some(&Path::from("objects"))).await.unwrap();
            }
            "bypass" | "bypass without a tag" => {
                written.await.unwrap();
                if way == "bypass without a tag" {
                    store.fault(Fault::tag(TagFault::Missing).once());
                }
                let mut options = GetOptions::new();
                options.extensions.insert(Bypass);
                cached.get_opts(&missing, options).await.unwrap();
            }
            "conditional" => {
                written.await.unwrap();
                // Without `Bypass`, a remembered absence answers it like any read.
                let mut options = GetOptions::new().with_if_none_match(Some("another"));
                options.extensions.insert(Bypass);
                cached.get_opts(&missing, options).await.unwrap();
            }
            "invalidate" => {
                written.await.unwrap();
                cached.invalidate(&missing).await.unwrap();
            }
            _ => {
                written.await.unwrap();
                cached.clear().await.unwrap();
            }
        }
        assert!(!is_missing(&cached, &missing).await, "{way}");
    }
}

#[tokio::test]
async fn a_limit_of_zero_requests_is_an_error_that_names_it() {
    let error = builder(&with_object(1).await).max_in_flight(0).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("max_in_flight"), "{error}");
    // These say that there is no queue, and no memory.
    builder(&with_object(1).await)
        .queue_timeout(Duration::ZERO)
        .negative_ttl(Duration::ZERO)
        .build()
        .unwrap();
}

#[tokio::test]
async fn absurd_limits_work() {
    let store = with_object(17).await;
    let cached = builder(&store)
        .freshness(Freshness::max_age(HOUR))
        .max_in_flight(usize::MAX)
        .queue_timeout(Duration::MAX)
        .negative_ttl(Duration::MAX)
        .build()
        .unwrap();
    assert_eq!(read_all(&cached).await, body(17));
    for _ in 0..2 {
        assert!(is_missing(&cached, &numbered(0)).await);
    }
    // The only one finds no queue.
    let cached = builder(&store).max_in_flight(1).queue_timeout(Duration::ZERO).build().unwrap();
    assert_eq!(read_all(&cached).await, body(17));
}
