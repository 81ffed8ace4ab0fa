//! The tier below memory, in all three exporters.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, Moment, Result, Stats, TierDrops, TierState, TierStats, Usage,
};
use cache_facade::{CachedStore, CachedStoreStats, ObjectCache, object_store::memory::InMemory};
use cache_metrics::{MetricsSource, Registry, Snapshot};
use cache_testkit::MapBackend;

use crate::{
    readings::{Readings, by_all},
    table::tier_fields,
};

/// A memory with a tier that tells whatever it was given.
struct Tiered(MapBackend, TierStats);

#[async_trait]
impl Backend for Tiered {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.0.get_now(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.0.peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.0.get(key).await
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        self.0.insert(entry).await
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.0.remove(key).await
    }

    fn lower_tier(&self) -> Option<TierStats> {
        Some(self.1)
    }

    async fn clear(&self) -> Result<()> {
        self.0.clear().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.0.sweep(now).await
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}

/// A tier in which every number is different, from 1001 on in the order of [`tier_fields`].
fn tier(state: TierState) -> TierStats {
    let mut tier = TierStats::default();
    for (field, number) in tier_fields(&mut tier).into_iter().zip(1001..) {
        *field = number;
    }
    tier.state = state;
    tier
}

/// The series of the tier of the cache called `name`.
fn of_tier(readings: &Readings, name: &str) -> Readings {
    let label = format!("{{cache_name=\"{name}\"");
    let is_of_it =
        |series: &str| series.starts_with("object_cache_disk_") && series.contains(&label);
    readings
        .iter()
        .filter(|(series, _)| is_of_it(series))
        .map(|(series, value)| {
            let rest = series.strip_prefix("object_cache_disk_").unwrap().replacen(&label, "{", 1);
            (rest.replace("{,", "{"), *value)
        })
        .collect()
}

#[test]
fn each_number_is_under_its_name_in_all_exporters() {
    let cache = |name: &str, builder: cache_facade::ObjectCacheBuilder| {
        builder.name(name).backend(backend(TierState::Off)).build().unwrap()
    };
    let objects = cache("objects", ObjectCache::builder(Arc::new(InMemory::new())));
    let blocks = CachedStore::builder(Arc::new(InMemory::new()), backend(TierState::Off));
    let blocks = blocks.name("blocks").build().unwrap();
    let of_objects = Some(tier(TierState::Off));
    assert_eq!((objects.lower_tier(), blocks.lower_tier()), (of_objects, of_objects));

    let registry = Registry::new();
    registry.add(&objects);
    registry.add(&blocks);
    let mut expected: Readings = [
        ("state{state=\"off\"}", 1.0),
        ("entries{}", 1001.0),
        ("size_bytes{}", 1002.0),
        ("capacity_bytes{}", 1003.0),
        ("pinned_bytes{}", 1004.0),
        ("queue_entries{}", 1005.0),
        ("queue_size_bytes{}", 1006.0),
        ("lookups_total{result=\"hit\"}", 1007.0),
        ("hit_bytes_total{}", 1008.0),
        ("lookups_total{result=\"miss\"}", 1009.0),
        ("recovered_total{}", 1010.0),
        ("writes_total{}", 1011.0),
        ("payload_bytes_total{}", 1012.0),
        ("written_bytes_total{}", 1013.0),
        ("rewrites_total{}", 1014.0),
        ("bad_records_total{reason=\"corrupt\"}", 1015.0),
        ("bad_records_total{reason=\"foreign\"}", 1016.0),
        ("errors_total{op=\"read\"}", 1017.0),
        ("errors_total{op=\"write\"}", 1018.0),
    ]
    .map(|(series, value)| (series.to_owned(), value))
    .into();
    let causes = [
        "queue_full",
        "not_admitted",
        "too_large",
        "unavailable",
        "write_error",
        "recycled",
        "corrupt",
        "pin_limit",
    ];
    for (cause, number) in causes.into_iter().zip(1019_u32..) {
        expected.insert(format!("drops_total{{cause=\"{cause}\"}}"), number.into());
        let lost = format!("pins_lost_total{{cause=\"{cause}\"}}");
        expected.insert(lost, f64::from(number) + 8.0);
    }
    let readings = by_all(&registry);
    assert_eq!(of_tier(&readings, "objects"), expected);
    assert_eq!(of_tier(&readings, "blocks"), expected);
}

fn backend(state: TierState) -> Arc<dyn Backend> {
    Arc::new(Tiered(MapBackend::new(), tier(state)))
}

#[test]
fn a_cache_without_a_tier_has_none_of_its_series() {
    let registry = Registry::new();
    let plain = ObjectCache::builder(Arc::new(InMemory::new())).name("plain").build().unwrap();
    registry.add(&plain);
    assert!(!registry.render_prometheus().contains("object_cache_disk_"));
    // Beside one that has a tier.
    let tiered = ObjectCache::builder(Arc::new(InMemory::new())).name("tiered");
    let tiered = tiered.backend(backend(TierState::On)).build().unwrap();
    registry.add(&tiered);
    let readings = by_all(&registry);
    assert!(of_tier(&readings, "plain").is_empty());
    assert!(!of_tier(&readings, "tiered").is_empty());
}

#[test]
fn reads_and_blocks_from_disk_are_parts_of_the_hits() {
    let mut store = CachedStoreStats::default();
    (store.heads.hits_from_disk, store.bytes_from_disk, store.blocks_from_disk) = (5, 6, 7);
    let snapshot = Snapshot::from(store);
    let tiers = [None, Some(TierStats::default())].map(|tier| {
        let registry = Registry::new();
        registry.add(MetricsSource::new(&"a".into(), move || Some(snapshot.with_tier(tier))));
        of_tier(&by_all(&registry), "a")
    });
    let expected = [
        ("blocks_total{}", 7.0),
        ("reads_total{}", 5.0),
        ("served_bytes_total{}", 6.0),
        ("state{state=\"starting\"}", 1.0),
    ]
    .map(|(series, value)| (series.to_owned(), value));
    assert_eq!(tiers, [Readings::new(), expected.into()]);
}

/// Exactly one series of a state is 1, and the others are there to be 0.
#[test]
fn each_state_is_a_series() {
    let label =
        |state: &str| format!("object_cache_disk_state{{cache_name=\"a\",state=\"{state}\"}}");
    let mut seen = BTreeSet::new();
    for now in TierState::ALL {
        let registry = Registry::new();
        registry.add(MetricsSource::new(&"a".into(), move || {
            Some(Snapshot::from(Stats::default()).with_tier(Some(tier(now))))
        }));
        let text = registry.render_prometheus();
        for state in ["starting", "on", "off", "closed"] {
            let value = u8::from(state == now.as_str());
            let line = format!("{} {value}\n", label(state));
            assert!(text.contains(&line), "{line}");
        }
        assert_eq!(text.matches("object_cache_disk_state{").count(), 4);
        assert!(by_all(&registry).contains_key(&label(now.as_str())));
        seen.insert(now.as_str());
    }
    assert_eq!(seen.len(), 4);
}

/// A tier that is opened again counts from zero.
#[test]
fn totals_go_on_when_a_cache_is_built_again_and_never_fall() {
    let registry = Registry::new();
    for times in 1..=3 {
        let (now, alive) = (Mutex::new(tier(TierState::On)), Arc::new(()));
        let weak = Arc::downgrade(&alive);
        registry.add(MetricsSource::new(&"a".into(), move || {
            weak.upgrade()?;
            let mut now = now.lock().ok()?;
            let tier = *now;
            // A snapshot that was taken earlier and comes later.
            tier_fields(&mut now).into_iter().for_each(|field| *field -= 1);
            Some(Snapshot::from(Stats::default()).with_tier(Some(tier)))
        }));
        for round in 0..2 {
            let mut expected = tier(TierState::On);
            for field in tier_fields(&mut expected) {
                *field *= times;
            }
            let mut gauges = tier(TierState::On);
            tier_fields(&mut gauges).into_iter().for_each(|field| *field -= round);
            expected.entries = gauges.entries;
            expected.bytes = gauges.bytes;
            expected.capacity_bytes = gauges.capacity_bytes;
            expected.pinned_bytes = gauges.pinned_bytes;
            expected.queue_entries = gauges.queue_entries;
            expected.queue_bytes = gauges.queue_bytes;
            assert_eq!(registry.collect()[0].snapshot.tier, Some(expected), "{times} {round}");
        }
        drop(alive);
        assert!(registry.collect().is_empty());
    }
}

#[test]
fn causes_are_named_in_the_order_of_their_numbers() {
    let mut drops = TierDrops::default();
    drops.pin_limit = 2;
    drops.recycled = 3;
    let by_cause: Vec<_> = TierDrops::CAUSES.into_iter().zip(drops.by_cause()).collect();
    assert_eq!((by_cause[5], by_cause[7], drops.total()), (("recycled", 3), ("pin_limit", 2), 5));
}
