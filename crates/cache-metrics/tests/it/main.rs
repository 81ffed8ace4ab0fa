//! The vocabulary, and the mapping to it.

use std::collections::{BTreeMap, BTreeSet};

use cache_core::Stats;
use cache_metrics::{
    Sample,
    names::{CACHE_NAME, CAPACITY, Kind, METRICS, ORIGIN_REQUESTS, REQUESTS},
    samples,
};

/// Every field has a value of its own.
fn stats() -> Stats {
    let mut stats = Stats::default();
    let mut last = 0;
    for field in fields(&mut stats) {
        last += 1;
        *field = 1 << last;
    }
    stats
}

fn fields(stats: &mut Stats) -> [&mut u64; 27] {
    let origin = &mut stats.origin;
    [
        &mut stats.fresh,
        &mut stats.revalidated,
        &mut stats.stale,
        &mut stats.fetched,
        &mut stats.refetched,
        &mut stats.not_found,
        &mut stats.errors,
        &mut stats.coalesced,
        &mut stats.invalidations,
        &mut stats.evictions,
        &mut stats.expirations,
        &mut stats.refusals,
        &mut stats.unvalidatable,
        &mut stats.backend_errors,
        &mut stats.entries,
        &mut stats.bytes,
        &mut stats.capacity_bytes,
        &mut stats.bytes_from_cache,
        &mut stats.bytes_from_origin,
        &mut origin.unchanged,
        &mut origin.changed,
        &mut origin.gone,
        &mut origin.refused,
        &mut origin.failed,
        &mut origin.abandoned,
        &mut origin.puts,
        &mut origin.deletes,
    ]
}

fn sum(samples: &[Sample], name: &str) -> u64 {
    samples.iter().filter(|sample| sample.metric.name == name).map(|sample| sample.value).sum()
}

#[test]
fn requests_add_up_to_all_gets() {
    let stats = stats();
    assert_eq!(sum(&samples(&stats), REQUESTS.name), stats.gets());
}

#[test]
fn origin_requests_add_up_to_all_of_them() {
    let stats = stats();
    assert_eq!(sum(&samples(&stats), ORIGIN_REQUESTS.name), stats.origin.requests());
}

/// Each field is a power of two, so a value names its field.
#[test]
fn every_field_is_exactly_one_sample() {
    let mut stats = stats();
    let values: BTreeSet<u64> = samples(&stats).iter().map(|sample| sample.value).collect();
    assert_eq!(values.len(), samples(&stats).len());
    assert_eq!(values, fields(&mut stats).into_iter().map(|field| *field).collect());
}

/// `Stats` may grow; its `Debug` tells. Then a metric is missing here.
#[test]
fn stats_has_no_field_that_is_not_exported() {
    let mut stats = Stats::default();
    for field in fields(&mut stats) {
        *field = 7;
    }
    let shown = format!("{stats:?}");
    assert_eq!(shown.matches(": 7").count(), fields(&mut stats).len());
    assert!(!shown.contains(": 0"), "not exported: {shown}");
}

#[test]
fn a_value_is_under_its_own_name() {
    let mut stats = Stats::default();
    stats.not_found = 3;
    stats.origin.gone = 2;
    stats.expirations = 5;
    let told: Vec<_> = samples(&stats).into_iter().filter(|sample| sample.value > 0).collect();
    let told: Vec<_> = told.iter().map(|s| (s.metric.name, s.attributes, s.value)).collect();
    assert_eq!(told[0], ("object_cache.requests", &[("result", "not_found")][..], 3));
    assert_eq!(told[1], ("object_cache.origin.requests", &[("op", "read"), ("outcome", "gone")][..], 2));
    assert_eq!(told[2], ("object_cache.evictions", &[("reason", "expired")][..], 5));
    assert_eq!(told.len(), 3);
}

#[test]
fn a_cache_without_a_limit_has_no_capacity() {
    let mut stats = Stats::default();
    stats.capacity_bytes = u64::MAX;
    assert!(samples(&stats).iter().all(|sample| sample.metric.name != CAPACITY.name));
    stats.capacity_bytes = 0;
    assert_eq!(samples(&stats).iter().filter(|sample| sample.metric.name == CAPACITY.name).count(), 1);
}

#[test]
fn names_are_unique_and_have_the_prefix() {
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for metric in METRICS {
        let rest = metric.name.strip_prefix("object_cache.").expect(metric.name);
        assert!(rest.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_')), "{rest}");
        assert!(!metric.help.is_empty() && !metric.unit.is_empty(), "{}", metric.name);
        let attributes: BTreeSet<_> = metric.attributes.iter().map(|attribute| attribute.name).collect();
        assert_eq!(attributes.len(), metric.attributes.len(), "{}", metric.name);
        assert!(!attributes.contains(CACHE_NAME), "{}", metric.name);
    }
}

#[test]
fn samples_follow_the_table_and_fill_it() {
    let mut seen = BTreeMap::<_, BTreeSet<_>>::new();
    let samples = samples(&stats());
    for sample in &samples {
        let metric = METRICS.iter().find(|metric| metric.name == sample.metric.name).expect("in the table");
        assert_eq!(metric, sample.metric);
        let names: Vec<_> = metric.attributes.iter().map(|attribute| attribute.name).collect();
        assert_eq!(sample.attributes.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        for (name, value) in sample.attributes {
            seen.entry((metric.name, *name)).or_default().insert(*value);
        }
    }
    for metric in METRICS {
        assert!(samples.iter().any(|sample| sample.metric.name == metric.name), "{} is empty", metric.name);
        for attribute in metric.attributes {
            assert_eq!(seen[&(metric.name, attribute.name)], attribute.values.iter().copied().collect());
        }
    }
    let mut order: Vec<_> = samples.iter().map(|sample| sample.metric.name).collect();
    order.dedup();
    assert_eq!(order, METRICS.map(|metric| metric.name));
}

#[test]
fn samples_of_one_metric_differ_in_their_attributes() {
    let samples = samples(&stats());
    let unique: BTreeSet<_> = samples.iter().map(|sample| (sample.metric.name, sample.attributes)).collect();
    assert_eq!(unique.len(), samples.len());
}

#[test]
fn what_can_fall_is_a_gauge() {
    let gauges: Vec<_> = METRICS.iter().filter(|metric| metric.kind == Kind::Gauge).map(|m| m.name).collect();
    assert_eq!(gauges, ["object_cache.entry.count", "object_cache.size", "object_cache.capacity"]);
}
