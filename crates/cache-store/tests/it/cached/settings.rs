use std::{sync::Arc, time::Duration};

use cache_core::{Backend, ErrorKind, Freshness, Namespace, Rejection};
use cache_store::{CachedStore, CachedStoreBuilder, OnlyIfCached, ValidatorStrength};
use cache_testkit::{BackendAction, BackendCall, FaultyStore, HookBackend, MapBackend};
use object_store::{Attribute, Error, GetOptions, ObjectStore, PutOptions};

use super::{
    HOUR, body, builder, builder_over, part, read, read_all,
    tiers::{Tiers, Wrong},
    with_object,
};
use crate::path;

#[tokio::test]
async fn a_setting_that_cannot_be_is_an_error() {
    let store = with_object(17).await;
    let settings: [fn(CachedStoreBuilder) -> CachedStoreBuilder; 8] = [
        |builder| builder.block_size(0),
        |builder| builder.max_in_flight_bytes(0),
        |builder| builder.parallel(0),
        |builder| builder.origin_timeout(Duration::ZERO),
        |builder| builder.time_to_live(Some(Duration::ZERO)),
        |builder| builder.validator_strength(ValidatorStrength::Timestamp(Duration::ZERO)),
        |builder| builder.freshness(Freshness::strong().stale_while_revalidate(HOUR)),
        |builder| builder.freshness_for("a", Freshness::strong().stale_while_revalidate(HOUR)),
    ];
    for set in settings {
        assert_eq!(set(builder(&store)).build().unwrap_err().kind(), ErrorKind::Config);
    }
    let over_small = || builder_over(&store, small());
    for too_large in [over_small().block_size(101), over_small().readahead(101)] {
        assert_eq!(too_large.build().unwrap_err().kind(), ErrorKind::Config);
    }
    over_small().block_size(100).readahead(100).build().unwrap();
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn a_lower_tier_is_put_under_the_backend_when_the_store_is_built() {
    let store = with_object(17).await;
    let (tiers, namespace) = (Tiers::default(), Namespace::named("a"));
    let builder = builder(&store).disk(tiers.clone()).namespace(namespace);
    assert!(format!("{builder:?}").contains("disk: true"), "{builder:?}");
    assert!(tiers.context().is_none());
    let cached = builder.freshness(Freshness::max_age(HOUR)).build().unwrap();
    let context = tiers.context().unwrap();
    assert_eq!(context.namespace, namespace);
    assert_eq!((context.path_of)("b/5/models/a"), "models/a");
    read_all(&cached).await;
    assert_eq!(tiers.blocks(), 4);
    let error = self::builder(&store).disk(Wrong).build().unwrap_err();
    assert_eq!((error.kind(), store.count()), (ErrorKind::Config, 1));
    assert!(error.to_string().contains("the disk's setting"), "{error}");
    // Blocks that are too large for memory are read from the tier.
    let small = || builder_over(&store, small()).disk(Tiers::default());
    small().block_size(101).readahead(101).build().unwrap();
}

#[tokio::test]
async fn with_a_lower_tier_heads_do_not_expire_unless_it_is_said() {
    let expires_at = async |set: fn(CachedStoreBuilder) -> CachedStoreBuilder| {
        let tiers = Tiers::default();
        let cached = set(builder(&with_object(5).await).disk(tiers.clone())).build().unwrap();
        read_all(&cached).await;
        tiers.peek("h/a/b").unwrap().expires_at()
    };
    assert!(expires_at(|builder| builder).await.is_none());
    assert!(expires_at(|builder| builder.time_to_live(HOUR)).await.is_some());
    assert!(expires_at(|builder| builder.time_to_live(None)).await.is_none());
    let without = Arc::new(MapBackend::new());
    let cached = builder_over(&with_object(5).await, Arc::clone(&without)).build().unwrap();
    read_all(&cached).await;
    assert!(without.peek("h/a/b").unwrap().expires_at().is_some());
}

#[tokio::test]
async fn absurd_settings_work() {
    let store = with_object(17).await;
    let cached = builder(&store)
        .block_size(u64::MAX)
        .max_object_size(u64::MAX)
        .coalesce_gap(u64::MAX)
        .parallel(usize::MAX)
        .readahead(u64::MAX)
        .origin_timeout(Duration::MAX)
        .time_to_live(Some(Duration::MAX))
        .freshness(Freshness::max_age(HOUR))
        .build()
        .unwrap();
    use object_store::ObjectStore;
    let parts = cached.get_ranges(&crate::path(), &[3..8, 15..u64::MAX]).await.unwrap();
    assert_eq!(parts, [super::part(3..8), super::part(15..17)]);
    for range in [0..1, 3..u64::MAX, u64::MAX - 1..u64::MAX] {
        let _ = super::get(&cached, range).await;
    }
    for _ in 0..2 {
        assert_eq!(read_all(&cached).await, body(17));
    }
}

/// Returns a backend with a capacity of 100 bytes that rejects every entry.
pub(super) fn small() -> Arc<HookBackend> {
    let backend = HookBackend::new(MapBackend::new(), |call| match call {
        BackendCall::Insert(_) => BackendAction::Reject(Rejection::TooLarge),
        _ => BackendAction::Proceed,
    });
    Arc::new(backend.map_usage(|usage| usage.with_capacity_bytes(Some(100))))
}

#[tokio::test]
async fn where_nothing_is_kept_every_read_is_right_all_the_same() {
    let store: FaultyStore = with_object(100).await;
    let cached = builder_over(&store, small()).freshness(Freshness::immutable()).build().unwrap();
    for _ in 0..2 {
        assert_eq!(read_all(&cached).await, body(100));
        assert_eq!(super::read(&cached, 3..88).await, super::part(3..88));
    }
    assert_eq!(store.count(), 4);
}

#[tokio::test]
async fn what_the_predicate_refuses_is_read_each_time_and_not_kept() {
    let store = FaultyStore::in_memory();
    let backend = Arc::new(MapBackend::new());
    let cached = CachedStore::builder(Arc::new(store.clone()), backend.clone())
        .block_size(5)
        .freshness(Freshness::max_age(HOUR))
        .cache_if(|_, attributes| attributes.get(&Attribute::CacheControl).is_none());
    let cached = cached.build().unwrap();
    let put = async |attributes: &[(Attribute, &'static str)]| {
        let attributes = attributes.iter().cloned().collect();
        let options = PutOptions { attributes, ..PutOptions::default() };
        store.inner().put_opts(&path(), body(20).into(), options).await.unwrap();
    };
    put(&[(Attribute::CacheControl, "no-store")]).await;
    for _ in 0..3 {
        assert_eq!(read(&cached, 3..9).await, part(3..9));
        assert_eq!(read_all(&cached).await, body(20));
    }
    assert_eq!((store.count(), backend.usage().entries), (6, 0));
    // Another version may be cached, and the next one not.
    put(&[]).await;
    read_all(&cached).await;
    store.reset();
    read_all(&cached).await;
    assert_eq!(store.count(), 0);
    put(&[(Attribute::CacheControl, "no-store")]).await;
    cached.invalidate(&path()).await.unwrap();
    assert_eq!((read_all(&cached).await, read_all(&cached).await), (body(20), body(20)));
    assert_eq!(store.count(), 2);
    assert!(matches!(cached.get_opts(&path(), only_if_cached()).await, Err(Error::Generic { .. })));
}

fn only_if_cached() -> GetOptions {
    let mut options = GetOptions::new();
    options.extensions.insert(OnlyIfCached);
    options.extensions.insert(Freshness::max_age(HOUR));
    options
}
