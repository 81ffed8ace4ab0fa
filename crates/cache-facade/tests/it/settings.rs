//! Settings: good, absurd and bad.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_facade::{
    Bytes, Clock, ErrorKind, Eviction, Freshness, ObjectCache, ObjectCacheBuilder, Origin, PutCondition,
    Result, Status, ValidatorStrength, Version,
    cache_core::{Entry, Key, SystemClock, Validation, Validator},
    cache_policy::{Lru, MemoryBackend},
    object_store::memory::InMemory,
};
use futures_util::FutureExt as _;

use crate::world::{failed, got};

/// Checks that `set` is a `Config` error that says each of `words`.
#[track_caller]
fn wrong(set: impl FnOnce(ObjectCacheBuilder) -> ObjectCacheBuilder, words: &[&str]) {
    let error = failed(set(over_store()).build(), ErrorKind::Config).to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn a_bad_setting_is_an_error_that_names_it() {
    let contradiction = Freshness::strong().stale_while_revalidate(ONE);
    wrong(|builder| builder.name(""), &["name", "empty"]);
    wrong(|builder| builder.max_capacity(0), &["max_capacity", "zero"]);
    wrong(|builder| builder.max_entries(0), &["max_entries", "zero"]);
    wrong(|builder| builder.time_to_live(Duration::ZERO), &["time_to_live", "zero"]);
    wrong(|builder| builder.patience(Duration::ZERO), &["patience", "zero"]);
    wrong(|builder| builder.origin_timeout(Duration::ZERO), &["origin_timeout", "zero"]);
    wrong(|builder| builder.max_object_size(0), &["max_object_size", "zero"]);
    wrong(|builder| builder.freshness(contradiction), &["stale_while_revalidate"]);
    wrong(|builder| builder.freshness_for("a/", contradiction), &["stale_while_revalidate"]);
    let no_grain = ValidatorStrength::Timestamp(Duration::ZERO);
    wrong(|builder| builder.validator_strength(no_grain), &["grain"]);
}

#[test]
fn a_backend_of_ones_own_excludes_the_settings_of_the_built_in_one() {
    let over_backend = |builder: ObjectCacheBuilder| {
        let backend = MemoryBackend::builder(Lru::new()).build().unwrap();
        builder.backend(Arc::new(backend))
    };
    over_backend(over_store()).build().unwrap();
    wrong(|builder| over_backend(builder).max_capacity(1), &["max_capacity", "backend"]);
    wrong(|builder| over_backend(builder.max_entries(1)), &["max_entries", "backend"]);
    wrong(|builder| over_backend(builder).eviction(Eviction::Lru), &["eviction", "backend"]);
    wrong(|builder| over_backend(builder.eviction(Lru::new())), &["eviction", "backend"]);
}

#[test]
fn an_origin_of_ones_own_excludes_the_settings_of_the_built_in_one() {
    #[track_caller]
    fn wrong(set: impl FnOnce(ObjectCacheBuilder) -> ObjectCacheBuilder, setting: &str) {
        let builder = ObjectCache::builder_with_origin(Arc::new(Nowhere));
        let error = failed(set(builder).build(), ErrorKind::Config).to_string();
        assert!(error.contains(setting) && error.contains("origin of your own"), "{error}");
    }
    ObjectCache::builder_with_origin(Arc::new(Nowhere)).max_entries(1).build().unwrap();
    wrong(|builder| builder.origin_timeout(ONE), "origin_timeout");
    wrong(|builder| builder.validator_strength(ValidatorStrength::Strong), "validator_strength");
    wrong(|builder| builder.accept_weak_validators(false), "accept_weak_validators");
    wrong(|builder| builder.max_object_size(1), "max_object_size");
}

#[tokio::test]
async fn absurd_settings_work() {
    let cache = over_store()
        .max_capacity(u64::MAX)
        .max_entries(u64::MAX)
        .max_object_size(u64::MAX)
        .time_to_live(Duration::MAX)
        .negative_ttl(Duration::MAX)
        .patience(Duration::MAX)
        .origin_timeout(Duration::MAX)
        .freshness(Freshness::max_age(FOREVER).stale_while_revalidate(FOREVER).stale_if_error(FOREVER))
        .freshness_for("", Freshness::max_age(FOREVER).stale_if_error(FOREVER))
        .name("n".repeat(1000))
        .build()
        .unwrap();
    failed(cache.get("a").await, ErrorKind::NotFound);
    cache.put("a", "body").await.unwrap();
    got(&cache.get("a").await, "body", Status::Fresh);
    cache.watch("a", FOREVER).next().await.unwrap().unwrap();

    let least = over_store().max_capacity(1).max_entries(1).max_object_size(1).time_to_live(NANO);
    let cache = least.patience(ONE).build().unwrap();
    cache.put("a", "b").await.unwrap();
    got(&cache.get("a").await, "b", Status::Fetched);
}

#[tokio::test]
async fn any_policy_is_an_eviction_and_expires() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    for builder in [over_store().eviction(Eviction::Lru), over_store().eviction(Lru::new())] {
        let cache = builder.max_entries(1).clock(Arc::clone(&clock)).time_to_live(ONE).build().unwrap();
        cache.put("a", "body").await.unwrap();
        cache.put("b", "body").await.unwrap();
        assert_eq!((cache.stats().entries, cache.stats().evictions), (1, 1));
        let later = clock.now().saturating_add(ONE * 2);
        cache.read_through().backend().sweep(later).await.unwrap();
        assert_eq!((cache.stats().entries, cache.stats().expirations), (0, 1));
    }
}

#[tokio::test]
async fn an_origin_of_ones_own_is_asked() {
    let cache = ObjectCache::builder_with_origin(Arc::new(Nowhere)).build().unwrap();
    failed(cache.get("a").await, ErrorKind::NotFound);
    failed(cache.put("a", "body").await, ErrorKind::Unsupported);
    assert_eq!((cache.stats().origin.gone, cache.stats().origin.puts), (1, 1));
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let cache = over_store().freshness(Freshness::immutable()).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(cache.put("a", "body")).unwrap();
    drop(runtime);
    got(&cache.get("a").now_or_never().unwrap(), "body", Status::Fresh);
    failed(cache.get("b").now_or_never().unwrap(), ErrorKind::Config);
    failed(cache.put("b", "body").now_or_never().unwrap(), ErrorKind::Config);
    failed(cache.invalidate("a").now_or_never().unwrap(), ErrorKind::Config);
    let mut watch = cache.watch("a", ONE);
    failed(watch.next().now_or_never().unwrap().unwrap(), ErrorKind::Config);
    assert!(watch.next().now_or_never().unwrap().is_none());

    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut watch = cache.watch("a", ONE);
    failed(timeless.block_on(watch.next()).unwrap(), ErrorKind::Config);
}

/// An origin with no objects, which takes none.
struct Nowhere;

#[async_trait]
impl Validator for Nowhere {
    async fn validate(&self, _key: &Key, _held: Option<&Entry>) -> Result<Validation> {
        Ok(Validation::Gone)
    }
}

#[async_trait]
impl Origin for Nowhere {
    async fn put(&self, _key: &Key, _body: Bytes, _condition: PutCondition) -> Result<Version> {
        Err(cache_facade::Error::new(ErrorKind::Unsupported, "nothing is taken here"))
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        Err(cache_facade::Error::new(ErrorKind::Unsupported, "nothing is deleted here"))
    }
}

fn over_store() -> ObjectCacheBuilder {
    ObjectCache::builder(Arc::new(InMemory::new()))
}

const ONE: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);
const FOREVER: Duration = Duration::MAX;
