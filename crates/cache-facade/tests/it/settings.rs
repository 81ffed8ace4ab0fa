//! Settings: good, absurd and bad.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cache_facade::{
    Backend, Bytes, Clock as _, Error, ErrorKind, Eviction, EvictionPolicy, Freshness, Memory,
    Namespace, ObjectCache, ObjectCacheBuilder, Objective, Origin, PutCondition, Result, Status,
    ValidatorStrength, Version,
    cache_core::{
        Deadlines, Entry, EntryInfo, EvictionReason, Key, Limits, LowerTier, Moment, RemovalCause,
        Slot, TierContext, Validation, Validator,
    },
    cache_policy::{Lru, MemoryBackend},
    object_store::memory::InMemory,
};
use cache_testkit::{Fault, FaultyStore, ManualClock};
use futures_util::FutureExt as _;

use crate::support::{failed, got};

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
    wrong(|builder| builder.backend(Memory::new().max_capacity(0)), &["max_capacity", "zero"]);
    wrong(|builder| builder.backend(Memory::new().max_entries(0)), &["max_entries", "zero"]);
    wrong(|builder| builder.time_to_live(Duration::ZERO), &["time_to_live", "zero"]);
    wrong(|builder| builder.patience(Duration::ZERO), &["patience", "zero"]);
    wrong(|builder| builder.origin_timeout(Duration::ZERO), &["origin_timeout", "zero"]);
    wrong(|builder| builder.max_object_size(0), &["max_object_size", "zero"]);
    wrong(|builder| builder.max_in_flight(0), &["max_in_flight", "zero"]);
    wrong(|builder| builder.max_in_flight_bytes(0), &["max_in_flight_bytes", "zero"]);
    wrong(|builder| builder.freshness(contradiction), &["stale_while_revalidate"]);
    wrong(|builder| builder.freshness_for("a/", contradiction), &["stale_while_revalidate"]);
    let no_grain = ValidatorStrength::Timestamp(Duration::ZERO);
    wrong(|builder| builder.validator_strength(no_grain), &["grain"]);
}

#[test]
fn a_backend_of_ones_own_needs_no_other_setting() {
    let backend = Arc::new(MemoryBackend::builder(Lru::new()).build().unwrap());
    let cache = over_store().backend(Arc::clone(&backend)).build().unwrap();
    let used: Arc<dyn Backend> = backend;
    assert!(Arc::ptr_eq(cache.read_through().backend(), &used));
}

#[tokio::test]
async fn a_lower_tier_is_put_under_memory_and_objects_do_not_expire() {
    let (given, namespace) = (Arc::new(Mutex::new(None)), Namespace::named("a"));
    let tier = || Below(Arc::clone(&given));
    let builder = over_store().disk(tier()).namespace(namespace);
    assert!(format!("{builder:?}").contains("disk: true"), "{builder:?}");
    let expires_at = async |builder: ObjectCacheBuilder| {
        let cache = builder.build().unwrap();
        cache.put("a", "body").await.unwrap();
        let shown = cache.read_through().backend().peek("a").unwrap();
        shown.expires_at()
    };
    assert!(expires_at(builder).await.is_none());
    let (memory, context): Given = given.lock().unwrap().take().unwrap();
    assert_eq!((memory.usage().entries, context.namespace), (1, namespace));
    assert_eq!((context.path_of)("h/a"), "h/a");
    assert!(expires_at(over_store().disk(tier()).time_to_live(ONE)).await.is_some());
    assert!(expires_at(over_store()).await.is_some());

    let builder = ObjectCache::builder_with_origin(Arc::new(Nowhere)).disk(tier());
    builder.backend(Memory::new().max_entries(1)).build().unwrap();
    let (memory, _) = given.lock().unwrap().take().unwrap();
    assert_eq!(memory.usage().capacity_entries, Some(1));
    wrong(|builder| builder.disk(WrongTier), &["segment_bytes"]);
}

/// Says what it was put under.
struct Below(Arc<Mutex<Option<Given>>>);

type Given = (Arc<dyn Backend>, TierContext);

impl LowerTier for Below {
    fn under(
        self: Box<Self>,
        memory: Arc<dyn Backend>,
        context: TierContext,
    ) -> Result<Arc<dyn Backend>> {
        *self.0.lock().unwrap() = Some((Arc::clone(&memory), context));
        Ok(memory)
    }
}

struct WrongTier;

impl LowerTier for WrongTier {
    fn under(self: Box<Self>, _: Arc<dyn Backend>, _: TierContext) -> Result<Arc<dyn Backend>> {
        Err(Error::new(ErrorKind::Config, "segment_bytes is zero"))
    }
}

#[test]
fn an_origin_of_ones_own_has_the_settings_of_the_cache() {
    let builder = ObjectCache::builder_with_origin(Arc::new(Nowhere));
    let cache = builder.backend(Memory::new().max_entries(1)).name("own").build().unwrap();
    assert_eq!(cache.name(), "own");
    let builder = ObjectCache::builder_with_origin(Arc::new(Nowhere));
    failed(builder.name("").build(), ErrorKind::Config);
}

#[tokio::test]
async fn absurd_settings_work() {
    let cache = over_store()
        .backend(Memory::new().max_capacity(u64::MAX).max_entries(u64::MAX))
        .max_object_size(u64::MAX)
        .max_in_flight(usize::MAX)
        .queue_timeout(Duration::MAX)
        .max_in_flight_bytes(u64::MAX)
        .time_to_live(Duration::MAX)
        .negative_ttl(Duration::MAX)
        .patience(Duration::MAX)
        .origin_timeout(Duration::MAX)
        .freshness(
            Freshness::max_age(FOREVER).stale_while_revalidate(FOREVER).stale_if_error(FOREVER),
        )
        .freshness_for("", Freshness::max_age(FOREVER).stale_if_error(FOREVER))
        .name("n".repeat(1000))
        .build()
        .unwrap();
    failed(cache.get("a").await, ErrorKind::NotFound);
    cache.put("a", "body").await.unwrap();
    got(&cache.get("a").await, "body", Status::Fresh);
    cache.watch("a", FOREVER).next().await.unwrap().unwrap();

    let least = over_store().backend(Memory::new().max_capacity(1).max_entries(1));
    let least = least
        .max_object_size(1)
        .time_to_live(NANO)
        .max_in_flight(1)
        .max_in_flight_bytes(1)
        .queue_timeout(Duration::ZERO);
    let cache = least.patience(ONE).build().unwrap();
    cache.put("a", "b").await.unwrap();
    got(&cache.get("a").await, "b", Status::Fetched);
}

#[tokio::test]
async fn any_policy_is_an_eviction_and_expires() {
    for (policy, evictions, refusals) in
        [(Eviction::Lru, 1, 0), (Eviction::from(Fixed::default()), 0, 1)]
    {
        let clock = Arc::new(ManualClock::new());
        let builder = over_store()
            .backend(Memory::new().eviction(policy).max_entries(1))
            .clock(clock.clone());
        let cache = builder.time_to_live(ONE).build().unwrap();
        cache.put("a", "body").await.unwrap();
        cache.put("b", "body").await.unwrap();
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.evictions, stats.rejections()), (1, evictions, refusals));
        clock.advance(ONE);
        cache.read_through().backend().sweep(clock.now()).await.unwrap();
        assert_eq!((cache.stats().entries, cache.stats().expirations), (0, 1));
    }
}

#[tokio::test]
async fn each_named_eviction_keeps_to_the_limit_and_expires() {
    let named = || {
        use Eviction::*;
        [Adaptive, Lru, Sieve, S3Fifo, WTinyLfu, Gdsf]
    };
    for eviction in named() {
        let name = format!("{eviction:?}");
        let clock = Arc::new(ManualClock::new());
        let builder = over_store()
            .backend(Memory::new().eviction(eviction).max_entries(3))
            .clock(clock.clone());
        let cache = builder.time_to_live(ONE).build().unwrap();
        for n in 0..9 {
            cache.put(&format!("key/{n}"), "body").await.unwrap();
        }
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.evictions + stats.rejections()), (3, 6), "{name}");
        clock.advance(ONE);
        cache.read_through().backend().sweep(clock.now()).await.unwrap();
        assert_eq!((cache.stats().entries, cache.stats().expirations), (0, 3), "{name}");
    }
}

#[tokio::test]
async fn what_is_to_be_saved_says_whether_a_large_copy_may_stay() {
    for eviction in [|| Eviction::Adaptive, || Eviction::Gdsf] {
        for (saving, is_kept) in [
            (None, false),
            (Some(Objective::HitRatio), false),
            (Some(Objective::ByteHitRatio), true),
        ] {
            let mut memory = Memory::new().eviction(eviction()).max_capacity(200_000);
            if let Some(saving) = saving {
                memory = memory.optimize_for(saving);
            }
            let builder = over_store().backend(memory).freshness(Freshness::immutable());
            let cache = builder.build().unwrap();
            let fill = async |from: usize, to: usize| {
                for n in from..to {
                    cache.put(&format!("small/{n}"), vec![0; 900]).await.unwrap();
                }
            };
            fill(0, 90).await;
            cache.put("large", vec![0; 100_000]).await.unwrap();
            cache.get("large").await.unwrap();
            fill(90, 120).await;
            let is_held = cache.get("large").await.unwrap().status() == Status::Fresh;
            assert_eq!(is_held, is_kept, "{:?} {saving:?}", eviction());
        }
    }
}

#[test]
fn an_eviction_that_weighs_no_sizes_cannot_save() {
    wrong(
        |builder| {
            builder.backend(
                Memory::new().eviction(Eviction::Lru).optimize_for(Objective::ByteHitRatio),
            )
        },
        &["saving"],
    );
    wrong(
        |builder| {
            builder.backend(Memory::new().eviction(Lru::new()).optimize_for(Objective::HitRatio))
        },
        &["saving"],
    );
}

#[tokio::test]
async fn the_clock_also_tells_whether_a_timestamp_is_old_enough() {
    let clock = Arc::new(ManualClock::new());
    let store = FaultyStore::in_memory();
    for (age, status) in [(1, Status::Refetched), (3, Status::Revalidated)] {
        let strength = ValidatorStrength::Timestamp(ONE * 2);
        let builder = ObjectCache::builder(Arc::new(store.clone())).clock(clock.clone());
        let cache = builder.validator_strength(strength).build().unwrap();
        store.heal();
        cache.put("a", "body").await.unwrap();
        store.fault(Fault::last_modified(Some(clock.wall_time() - ONE * age)));
        cache.get("a").await.unwrap();
        got(&cache.get("a").await, "body", status);
    }
}

#[tokio::test]
async fn an_origin_of_ones_own_is_asked() {
    let cache = ObjectCache::builder_with_origin(Arc::new(Nowhere)).build().unwrap();
    failed(cache.get("a").await, ErrorKind::NotFound);
    failed(cache.put("a", "body").await, ErrorKind::Unsupported);
    assert_eq!((cache.stats().origin.not_found, cache.stats().origin.puts.requests()), (1, 1));
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

/// A policy under which the first to come stay.
#[derive(Default)]
struct Fixed(Vec<Slot>);

impl EvictionPolicy for Fixed {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::default()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        self.0.push(slot);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}

    fn on_hit(&self, _slot: Slot) {}

    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        self.0.retain(|held| *held != slot);
    }

    fn victim(
        &mut self,
        _now: Moment,
        pressure: EvictionReason,
        _held: &dyn Deadlines,
    ) -> Option<Slot> {
        self.0.last().copied().filter(|_| pressure == EvictionReason::Capacity)
    }
}

/// An origin with no objects, which takes none.
struct Nowhere;

#[async_trait]
impl Validator for Nowhere {
    async fn validate(&self, _key: &Key, _held: Option<&Entry>) -> Result<Validation> {
        Ok(Validation::NotFound)
    }
}

#[async_trait]
impl Origin for Nowhere {
    async fn put(&self, _key: &Key, _body: Bytes, _condition: PutCondition) -> Result<Version> {
        Err(Error::new(ErrorKind::Unsupported, "nothing is taken here"))
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "nothing is deleted here"))
    }
}

fn over_store() -> ObjectCacheBuilder {
    ObjectCache::builder(Arc::new(InMemory::new()))
}

const ONE: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);
const FOREVER: Duration = Duration::MAX;
