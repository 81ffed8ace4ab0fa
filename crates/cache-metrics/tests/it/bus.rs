//! The change bus, in all three exporters.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cache_core::{BusStats, Freshness, Namespace, Stats};
use cache_facade::{CachedStore, Memory, ObjectCache, object_store::memory::InMemory};
use cache_metrics::{MetricsSource, Registry, Snapshot};
use cache_testkit::LocalBus;

use crate::{
    readings::{Readings, by_all},
    table::bus_fields,
};

/// Statistics in which every number is different, from 1001 on in the order of [`bus_fields`].
fn bus() -> BusStats {
    let mut bus = BusStats::default();
    for (field, number) in bus_fields(&mut bus).into_iter().zip(1001..) {
        *field = number;
    }
    bus.listening_for = Duration::from_millis(2999);
    bus.disconnected_for = Duration::from_millis(3999);
    bus.is_listening = true;
    bus
}

/// The series of the bus of the cache called `name`.
fn of_bus(readings: &Readings, name: &str) -> Readings {
    let label = format!("{{cache_name=\"{name}\"");
    let is_of_it =
        |series: &str| series.starts_with("object_cache_bus_") && series.contains(&label);
    readings
        .iter()
        .filter(|(series, _)| is_of_it(series))
        .map(|(series, value)| {
            let rest = series.strip_prefix("object_cache_bus_").unwrap().replacen(&label, "{", 1);
            (rest.replace("{,", "{"), *value)
        })
        .collect()
}

#[test]
fn each_number_is_under_its_name_in_all_exporters() {
    let registry = Registry::new();
    registry.add(MetricsSource::new(&"a".into(), || {
        Some(Snapshot::from(Stats::default()).with_bus(Some(bus())))
    }));
    let expected: Readings = [
        ("listening{}", 1.0),
        ("listening_for_seconds{}", 2.0),
        ("not_listening_seconds_total{}", 3.0),
        ("messages_total{direction=\"sent\",outcome=\"announced\"}", 1001.0),
        ("messages_total{direction=\"sent\",outcome=\"failed\"}", 1002.0),
        ("overflows_total{}", 1003.0),
        ("queued{}", 1004.0),
        ("messages_total{direction=\"sent\",outcome=\"heartbeat\"}", 1005.0),
        ("messages_total{direction=\"received\",outcome=\"heartbeat\"}", 1006.0),
        ("messages_total{direction=\"received\",outcome=\"own\"}", 1007.0),
        ("messages_total{direction=\"received\",outcome=\"marked\"}", 1008.0),
        ("messages_total{direction=\"received\",outcome=\"unmarked\"}", 1009.0),
        ("messages_total{direction=\"received\",outcome=\"other_namespace\"}", 1010.0),
        ("messages_total{direction=\"received\",outcome=\"unreadable\"}", 1011.0),
        ("same_node_total{}", 1012.0),
        ("gaps_total{reason=\"sequence\"}", 1013.0),
        ("gaps_total{reason=\"slow_listener\"}", 1014.0),
        ("gaps_total{reason=\"newer_format\"}", 1015.0),
        ("gaps_total{reason=\"disconnected\"}", 1016.0),
        ("listens_total{}", 1017.0),
    ]
    .map(|(series, value)| (series.to_owned(), value))
    .into();
    assert_eq!(of_bus(&by_all(&registry), "a"), expected);
}

/// A gauge that is zero is there, so that an alert finds it.
#[test]
fn a_cache_that_does_not_listen_says_so_and_one_without_a_bus_says_nothing() {
    let registry = Registry::new();
    let store = || Arc::new(InMemory::new());
    let namespace = || Namespace::named("shop");
    let plain = ObjectCache::builder(store()).name("plain").build().unwrap();
    let objects = ObjectCache::builder(store()).name("objects").namespace(namespace());
    let objects = objects.bus(Arc::new(LocalBus::new())).build().unwrap();
    let blocks = CachedStore::builder(store(), Memory::new()).name("blocks");
    let blocks = blocks.namespace(namespace()).bus(Arc::new(LocalBus::new()));
    let rule = Freshness::until_notified(Duration::from_secs(60));
    let blocks = blocks.freshness(rule).build().unwrap();
    registry.add(&plain);
    registry.add(&objects);
    registry.add(&blocks);
    let text = registry.render_prometheus();
    for (name, count) in [("plain", 0), ("objects", 1), ("blocks", 1)] {
        let line = format!("object_cache_bus_listening{{cache_name=\"{name}\"}} 0\n");
        assert_eq!(text.matches(&line).count(), count, "{name}");
        let any = format!("{{cache_name=\"{name}\"");
        let of_bus = text.lines().filter(|line| line.starts_with("object_cache_bus_"));
        assert_eq!(of_bus.filter(|line| line.contains(&any)).count(), 20 * count, "{name}");
    }
}

/// A cache that is built again counts from zero.
#[test]
fn totals_go_on_when_a_cache_is_built_again_and_never_fall() {
    let registry = Registry::new();
    for times in 1..=3_u32 {
        let (now, alive) = (Mutex::new(bus()), Arc::new(()));
        let weak = Arc::downgrade(&alive);
        registry.add(MetricsSource::new(&"a".into(), move || {
            weak.upgrade()?;
            let mut now = now.lock().ok()?;
            let told = *now;
            // A snapshot that was taken earlier and comes later.
            bus_fields(&mut now).into_iter().for_each(|field| *field -= 1);
            now.received = 0;
            now.is_listening = false;
            now.listening_for -= Duration::from_millis(1);
            now.disconnected_for -= Duration::from_millis(1);
            Some(Snapshot::from(Stats::default()).with_bus(Some(told)))
        }));
        for round in 0..2_u32 {
            let mut expected = bus();
            for field in bus_fields(&mut expected) {
                *field *= u64::from(times);
            }
            expected.disconnected_for *= times;
            let first = bus();
            expected.is_listening = round == 0;
            expected.queued = first.queued - u64::from(round);
            expected.listening_for = first.listening_for - Duration::from_millis(round.into());
            assert_eq!(registry.collect()[0].snapshot.bus, Some(expected), "{times} {round}");
        }
        drop(alive);
        assert!(registry.collect().is_empty());
    }
}
