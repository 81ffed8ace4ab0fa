//! `CachedStoreBuilder`: what it sets, and the defaults.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    CacheStatus, CachedStore, CachedStoreBuilder, ErrorKind, Eviction, Freshness, Memory,
    Namespace, Objective, Status, ValidatorStrength,
    cache_policy::Lru,
    object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path},
};
use cache_testkit::{Fault, FaultyStore, ManualClock, MapBackend, Operation};

use crate::support::failed;

fn over_store() -> CachedStoreBuilder {
    CachedStore::builder(Arc::new(InMemory::new()), Memory::new())
}

/// Checks that `set` is a `Config` error that says each of `words`.
#[track_caller]
fn wrong(set: impl FnOnce(CachedStoreBuilder) -> CachedStoreBuilder, words: &[&str]) {
    let error = failed(set(over_store()).build(), ErrorKind::Config).to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn a_bad_setting_is_an_error_that_names_it() {
    let contradiction = Freshness::strong().stale_while_revalidate(ONE);
    wrong(|builder| builder.time_to_live(Duration::ZERO), &["time_to_live", "zero"]);
    wrong(|builder| builder.origin_timeout(Duration::ZERO), &["origin_timeout", "zero"]);
    wrong(|builder| builder.block_size(0), &["block_size", "zero"]);
    wrong(|builder| builder.parallel(0), &["parallel", "zero"]);
    wrong(|builder| builder.max_in_flight(0), &["max_in_flight", "zero"]);
    wrong(|builder| builder.max_in_flight_bytes(0), &["max_in_flight_bytes", "zero"]);
    wrong(|builder| builder.freshness(contradiction), &["stale_while_revalidate"]);
    wrong(|builder| builder.freshness_for("a/", contradiction), &["stale_while_revalidate"]);
    let no_grain = ValidatorStrength::Timestamp(Duration::ZERO);
    wrong(|builder| builder.validator_strength(no_grain), &["grain"]);
    wrong(|builder| builder.block_size(CAPACITY + 1), &["block_size"]);
    over_store().block_size(CAPACITY).build().unwrap();
    wrong(|builder| builder.readahead(CAPACITY + 1), &["readahead"]);
    over_store().readahead(CAPACITY).build().unwrap();
    for (memory, word) in [
        (Memory::new().max_capacity(0), "max_capacity"),
        (Memory::new().max_entries(0), "max_entries"),
        (Memory::new().max_capacity(1000), "block_size"),
        (Memory::new().eviction(Lru::new()).optimize_for(Objective::HitRatio), "saving"),
    ] {
        let builder = CachedStore::builder(Arc::new(InMemory::new()), memory).block_size(1001);
        let error = failed(builder.build(), ErrorKind::Config).to_string();
        assert!(error.contains(word), "{error}");
    }
}

async fn status(store: &CachedStore, path: &Path) -> Status {
    let answer = store.get(path).await.unwrap();
    let status = answer.extensions.get::<CacheStatus>().unwrap().clone();
    answer.bytes().await.unwrap();
    status.status()
}

#[tokio::test]
async fn by_default_it_asks_on_every_read_and_keeps_the_bytes() {
    let store = FaultyStore::in_memory();
    let cached = CachedStore::builder(Arc::new(store.clone()), Memory::new()).build().unwrap();
    let path = Path::from("a");
    // Larger than a block.
    cached.put(&path, vec![7; (1 << 20) + 1].into()).await.unwrap();
    assert_eq!(status(&cached, &path).await, Status::Fetched);
    store.reset();
    assert_eq!(status(&cached, &path).await, Status::Revalidated);
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    assert_eq!((cached.stats().entries, cached.stats().capacity_bytes), (3, Some(CAPACITY)));
}

#[tokio::test]
async fn settings_reach_what_they_are_about() {
    let store = FaultyStore::in_memory();
    let clock = Arc::new(ManualClock::new());
    let cached = CachedStore::builder(
        Arc::new(store.clone()),
        Memory::new()
            .max_entries(7)
            .max_capacity(1 << 20)
            .eviction(Eviction::Gdsf)
            .optimize_for(Objective::ByteHitRatio),
    )
    .freshness(Freshness::max_age(ONE))
    .freshness_for("static/", Freshness::immutable())
    .time_to_live(None)
    .validator_strength(ValidatorStrength::Strong)
    .clock(clock.clone())
    .block_size(10)
    .max_object_size(30)
    .coalesce_gap(9)
    .parallel(1)
    .build()
    .unwrap();
    let (changing, fixed, large) = (Path::from("a"), Path::from("static/a"), Path::from("large"));
    for (path, size) in [(&changing, 30), (&fixed, 10), (&large, 31)] {
        cached.put(path, vec![7; size].into()).await.unwrap();
        assert_eq!(status(&cached, path).await, Status::Fetched);
    }
    // Two heads, three blocks and one.
    assert_eq!(cached.stats().heads.entries, 6);
    assert_eq!(status(&cached, &changing).await, Status::Fresh);
    clock.advance(ONE);
    assert_eq!(status(&cached, &changing).await, Status::Revalidated);
    assert_eq!(status(&cached, &fixed).await, Status::Fresh);
    assert_eq!(status(&cached, &large).await, Status::Fetched);
    store.reset();
    cached.invalidate(&changing).await.unwrap();
    cached.put(&changing, vec![8; 30].into()).await.unwrap();
    let parts = cached.get_ranges(&changing, &[0..1, 25..26]).await.unwrap();
    assert_eq!(parts, [&[8][..], &[8]]);
    let gets = store.requests().into_iter().filter(|request| request.operation == Operation::Get);
    assert_eq!(gets.count(), 2, "there is a block of 10 between them");
    for n in 0..9 {
        let path = Path::from(format!("static/{n}"));
        cached.put(&path, vec![7; 10].into()).await.unwrap();
        status(&cached, &path).await;
    }
    assert_eq!(cached.stats().heads.entries, 7);
}

#[tokio::test]
async fn what_is_read_in_order_is_read_ahead_if_that_is_asked_for() {
    for (ahead, bytes) in [(0, 20), (30, 50)] {
        let store = FaultyStore::in_memory();
        let path = Path::from("a");
        store.inner().put(&path, vec![7; 100].into()).await.unwrap();
        let builder = CachedStore::builder(Arc::new(store.clone()), Memory::new())
            .block_size(10)
            .readahead(ahead);
        let cached = builder.freshness(Freshness::immutable()).build().unwrap();
        for range in [0..10, 10..20] {
            cached.get_range(&path, range).await.unwrap();
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.body_bytes(), bytes);
    }
}

#[tokio::test]
async fn only_copies_of_the_same_identity_are_used() {
    let (store, backend) = (FaultyStore::in_memory(), Arc::new(MapBackend::new()));
    let path = Path::from("a");
    store.inner().put(&path, "body".into()).await.unwrap();
    for (name, bytes) in
        [(Some("reader"), 4), (Some("reader"), 0), (Some("writer"), 4), (None, 4), (None, 4)]
    {
        let mut builder = CachedStore::builder(Arc::new(store.clone()), backend.clone());
        if let Some(name) = name {
            builder = builder.namespace(Namespace::named(name));
        }
        let cached = builder.build().unwrap();
        // Which version is current, each finds out for itself.
        cached.head(&path).await.unwrap();
        store.reset();
        cached.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(store.body_bytes(), bytes, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_given_up() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::hang());
    let cached =
        CachedStore::builder(Arc::new(store), Memory::new()).origin_timeout(ONE).build().unwrap();
    let path = Path::from("a");
    let answer = tokio::time::timeout(ONE + NANO, cached.get(&path)).await.unwrap();
    assert!(answer.unwrap_err().to_string().contains("origin_timeout"));
}

#[test]
fn a_builder_shows_its_store_by_name_and_its_settings() {
    let shown = format!(
        "{:?}",
        CachedStore::builder(Arc::new(InMemory::new()), Memory::new().max_capacity(12_345))
            .block_size(678)
    );
    assert!(
        shown.contains("InMemory") && shown.contains("12345") && shown.contains("678"),
        "{shown}"
    );
}

const CAPACITY: u64 = 256 << 20;
const ONE: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

#[tokio::test(start_paused = true)]
async fn the_limits_of_requests_reach_what_they_are_about() {
    let store = FaultyStore::in_memory();
    let cached = CachedStore::builder(Arc::new(store.clone()), Memory::new())
        .freshness(Freshness::max_age(ONE))
        .negative_ttl(ONE)
        .max_in_flight(1)
        .queue_timeout(Duration::from_millis(1))
        .build()
        .unwrap();
    for _ in 0..2 {
        cached.head(&Path::from("missing")).await.unwrap_err();
    }
    assert_eq!(store.count(), 1);
    store.fault(Fault::hold().once());
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { cached.head(&Path::from("a")).await.is_err() }
    });
    store.wait_until_held(1).await;
    let error = cached.head(&Path::from("b")).await.unwrap_err();
    assert!(error.to_string().contains("max_in_flight, queue_timeout"), "{error}");
    store.release_all();
    assert!(first.await.unwrap());
}

#[tokio::test]
async fn blocks_beyond_max_in_flight_bytes_are_not_cached() {
    let store = FaultyStore::in_memory();
    let path = Path::from("a");
    store.inner().put(&path, vec![7; 8000].into()).await.unwrap();
    for (bytes, requests) in [(1024, 2), (u64::MAX, 1)] {
        let cached = CachedStore::builder(Arc::new(store.clone()), Memory::new())
            .freshness(Freshness::immutable())
            .block_size(4096)
            .max_in_flight_bytes(bytes)
            .build()
            .unwrap();
        store.reset();
        for _ in 0..2 {
            assert_eq!(cached.get(&path).await.unwrap().bytes().await.unwrap(), vec![7; 8000]);
        }
        assert_eq!(store.count(), requests, "{bytes}");
        assert_eq!(cached.stats().blocks_refused.backend > 0, requests == 2, "{bytes}");
    }
}

/// Strangers may choose the paths that are asked for.
#[tokio::test]
async fn memories_of_missing_objects_take_at_most_a_sixteenth() {
    let store = FaultyStore::in_memory();
    let cached = CachedStore::builder(Arc::new(store.clone()), Memory::new().max_capacity(1 << 20))
        .freshness(Freshness::immutable())
        .negative_ttl(Duration::MAX)
        .block_size(1000)
        .build()
        .unwrap();
    let kept: Vec<_> = (0..100).map(|n| Path::from(format!("kept/{n}"))).collect();
    for path in &kept {
        cached.put(path, vec![7; 1000].into()).await.unwrap();
        cached.get(path).await.unwrap().bytes().await.unwrap();
    }
    let before = cached.stats().heads.bytes;
    for n in 0..10_000 {
        cached.head(&Path::from(format!("missing/{n}"))).await.unwrap_err();
    }
    let remembered = cached.stats().heads.bytes.saturating_sub(before);
    assert!((1..=(1 << 20) / 16).contains(&remembered), "{remembered} bytes");
    store.reset();
    for path in &kept {
        assert_eq!(cached.get(path).await.unwrap().bytes().await.unwrap().len(), 1000);
    }
    assert_eq!(store.count(), 0, "what was held is held");
}
