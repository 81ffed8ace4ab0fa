//! Every figure is one sample, under a name in the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cache_core::{BusStats, ErrorKind, Outcomes, Stats, TierDrops, TierStats};
use cache_metrics::{
    BlockStats, Sample, Snapshot, Value,
    names::{
        self, BUILD_INFO, BUS_LISTENING, BUS_MESSAGES, CACHE_NAME, CAPACITY, DISK_STATE, Kind,
        METRICS, Metric, ORIGIN_REQUESTS, REQUESTS,
    },
    samples,
};

/// A snapshot in which every number is different.
fn snapshot() -> Snapshot {
    let (mut stats, mut blocks) = (Stats::default(), BlockStats::default());
    let (mut tier, mut bus) = (TierStats::default(), BusStats::default());
    let fields = stats_fields(&mut stats).into_iter().chain(block_fields(&mut blocks));
    let fields = fields.chain(tier_fields(&mut tier)).chain(bus_fields(&mut bus));
    for (i, field) in fields.enumerate() {
        *field = 1000 + 2 * i as u64;
    }
    for (i, field) in (0..).zip(bus_times(&mut bus)) {
        *field = Duration::from_millis(10_900 + 2000 * i);
    }
    bus.is_listening = true;
    for (i, kind) in (0..).zip(ErrorKind::ALL) {
        stats.errors_by_kind.add_of(kind, 3 + 2 * i);
        stats.origin.errors_by_kind.add_of(kind, 103 + 2 * i);
    }
    Snapshot::from(stats).with_blocks(blocks).with_tier(Some(tier)).with_bus(Some(bus))
}

fn stats_fields(stats: &mut Stats) -> Vec<&mut u64> {
    let (origin, refused, invalidated) =
        (&mut stats.origin, &mut stats.rejected, &mut stats.invalidated);
    let mut fields = vec![
        &mut stats.fresh,
        &mut stats.revalidated,
        &mut stats.revalidated_by_list,
        &mut stats.stale,
        &mut stats.fetched,
        &mut stats.refetched,
        &mut stats.hits_from_disk,
        &mut stats.not_found,
        &mut stats.errors,
        &mut stats.coalesced,
        &mut invalidated.by_api,
        &mut invalidated.by_write,
        &mut invalidated.modified,
        &mut invalidated.not_found,
        &mut stats.evictions,
        &mut stats.expirations,
        &mut refused.too_large,
        &mut refused.policy,
        &mut refused.backend,
        &mut refused.no_validator,
        &mut stats.backend_errors,
        &mut stats.entries,
        &mut stats.bytes,
        stats.capacity_bytes.get_or_insert(0),
        &mut stats.bytes_served,
        &mut stats.bytes_from_cache,
        &mut stats.bytes_from_disk,
        &mut stats.bytes_from_origin,
        &mut origin.not_modified,
        &mut origin.modified,
        &mut origin.not_found,
        &mut origin.refused,
        &mut origin.failed,
        &mut origin.cancelled,
        &mut origin.in_flight,
    ];
    fields.extend(outcome_fields(&mut origin.puts));
    fields.extend(outcome_fields(&mut origin.deletes));
    fields.extend(outcome_fields(&mut origin.lists));
    fields
}

fn block_fields(blocks: &mut BlockStats) -> Vec<&mut u64> {
    let mut fields = vec![
        &mut blocks.bypass,
        &mut blocks.not_modified,
        &mut blocks.precondition_failed,
        &mut blocks.not_cached,
        &mut blocks.cancelled,
        &mut blocks.hit,
        &mut blocks.from_disk,
        &mut blocks.missed,
        &mut blocks.passed_through,
        &mut blocks.restarts,
    ];
    let requests = [
        &mut blocks.requests,
        &mut blocks.bypass_requests,
        &mut blocks.copies,
        &mut blocks.renames,
        &mut blocks.multiparts,
    ];
    fields.extend(requests.into_iter().flat_map(outcome_fields));
    fields
}

pub(crate) fn tier_fields(tier: &mut TierStats) -> Vec<&mut u64> {
    let mut fields = vec![
        &mut tier.entries,
        &mut tier.bytes,
        &mut tier.capacity_bytes,
        &mut tier.pinned_bytes,
        &mut tier.queue_entries,
        &mut tier.queue_bytes,
        &mut tier.hits,
        &mut tier.hit_bytes,
        &mut tier.misses,
        &mut tier.recovered,
        &mut tier.written,
        &mut tier.payload_bytes,
        &mut tier.written_bytes,
        &mut tier.rewritten,
        &mut tier.corrupt,
        &mut tier.foreign,
        &mut tier.read_errors,
        &mut tier.write_errors,
    ];
    fields.extend(drop_fields(&mut tier.dropped));
    fields.extend(drop_fields(&mut tier.pins_lost));
    fields
}

/// All numbers but `received`, which is the sum of five of them and the own changes.
pub(crate) fn bus_fields(bus: &mut BusStats) -> Vec<&mut u64> {
    vec![
        &mut bus.announced,
        &mut bus.announce_errors,
        &mut bus.overflows,
        &mut bus.queued,
        &mut bus.heartbeats_sent,
        &mut bus.heartbeats,
        &mut bus.own,
        &mut bus.marked,
        &mut bus.unmarked,
        &mut bus.other_namespace,
        &mut bus.unreadable,
        &mut bus.same_node,
        &mut bus.sequence_gaps,
        &mut bus.slow_listener_gaps,
        &mut bus.format_gaps,
        &mut bus.disconnects,
        &mut bus.listens,
    ]
}

fn bus_times(bus: &mut BusStats) -> [&mut Duration; 2] {
    [&mut bus.listening_for, &mut bus.disconnected_for]
}

fn drop_fields(drops: &mut TierDrops) -> [&mut u64; 8] {
    [
        &mut drops.queue_full,
        &mut drops.not_admitted,
        &mut drops.too_large,
        &mut drops.unavailable,
        &mut drops.write_error,
        &mut drops.recycled,
        &mut drops.corrupt,
        &mut drops.pin_limit,
    ]
}

fn outcome_fields(outcomes: &mut Outcomes) -> [&mut u64; 4] {
    [&mut outcomes.succeeded, &mut outcomes.refused, &mut outcomes.failed, &mut outcomes.cancelled]
}

fn numbers(snapshot: &Snapshot) -> Vec<(&'static Metric, u64)> {
    samples(snapshot).filter_map(|sample| Some((sample.metric, number(&sample)?))).collect()
}

fn number(sample: &Sample<'_>) -> Option<u64> {
    if let Value::Number(number) = sample.value { Some(number) } else { None }
}

fn sum(snapshot: &Snapshot, name: &str) -> u64 {
    numbers(snapshot)
        .iter()
        .filter(|(metric, _)| metric.name == name)
        .map(|(_, number)| number)
        .sum()
}

#[test]
fn requests_add_up_to_all_reads() {
    let snapshot = snapshot();
    let blocks = snapshot.blocks.unwrap();
    let of_a_store = blocks.bypass
        + blocks.not_modified
        + blocks.precondition_failed
        + blocks.not_cached
        + blocks.cancelled;
    assert_eq!(sum(&snapshot, REQUESTS.name), snapshot.stats.gets() + of_a_store);
    let of_any = snapshot.stats.into();
    assert_eq!(sum(&of_any, REQUESTS.name), of_any.stats.gets());
}

#[test]
fn origin_requests_add_up_to_all_of_them() {
    let snapshot = snapshot();
    let blocks = snapshot.blocks.unwrap();
    let of_blocks =
        [blocks.requests, blocks.bypass_requests, blocks.copies, blocks.renames, blocks.multiparts];
    let of_blocks = of_blocks.iter().map(Outcomes::requests).sum::<u64>();
    assert_eq!(sum(&snapshot, ORIGIN_REQUESTS.name), snapshot.stats.origin.requests() + of_blocks);
}

#[test]
fn received_messages_add_up() {
    let snapshot = snapshot();
    let received = samples(&snapshot).filter(|sample| {
        sample.metric == &BUS_MESSAGES && sample.attributes[0] == ("direction", "received")
    });
    let bus = snapshot.bus.unwrap();
    let changes = bus.marked + bus.unmarked + bus.own;
    assert_eq!(
        received.filter_map(|sample| number(&sample)).sum::<u64>(),
        changes + bus.heartbeats + bus.other_namespace + bus.unreadable
    );
}

/// Errors by kind are odd numbers, all others even, so a value identifies its field.
#[test]
fn every_number_is_exactly_one_sample() {
    let mut snapshot = snapshot();
    // States are no numbers: they are in tests of their own.
    let is_state = |metric: &Metric| metric == &DISK_STATE || metric == &BUS_LISTENING;
    let told = numbers(&snapshot).into_iter().filter(|(metric, _)| !is_state(metric));
    let told: Vec<_> = told.map(|(_, number)| number).collect();
    let unique: BTreeSet<_> = told.iter().copied().collect();
    assert_eq!(unique.len(), told.len());
    let (mut blocks, mut tier) = (snapshot.blocks.unwrap(), snapshot.tier.unwrap());
    let mut bus = snapshot.bus.unwrap();
    let fields = stats_fields(&mut snapshot.stats).into_iter().chain(block_fields(&mut blocks));
    let fields = fields.chain(tier_fields(&mut tier)).chain(bus_fields(&mut bus));
    let mut all: BTreeSet<_> = fields.map(|field| *field).collect();
    all.extend(bus_times(&mut bus).map(|time| time.as_secs()));
    let errors = [snapshot.stats.errors_by_kind, snapshot.stats.origin.errors_by_kind];
    all.extend(errors.iter().flat_map(|counts| counts.iter()).map(|(_, n)| n));
    // `build_info`.
    all.insert(1);
    assert_eq!(unique, all);
}

/// A new field of `Stats`, `TierStats` or `BusStats` shows in its `Debug` output, and needs a
/// metric.
#[test]
fn every_field_is_exported() {
    let mut snapshot = snapshot();
    let (mut blocks, mut tier) = (snapshot.blocks.unwrap(), snapshot.tier.unwrap());
    let mut bus = snapshot.bus.unwrap();
    stats_fields(&mut snapshot.stats)
        .into_iter()
        .chain(block_fields(&mut blocks))
        .chain(tier_fields(&mut tier))
        .chain(bus_fields(&mut bus))
        .for_each(|field| *field = 7);
    bus.received = 7;
    let snapshot = snapshot.with_blocks(blocks).with_tier(Some(tier)).with_bus(Some(bus));
    let shown = format!("{snapshot:?}");
    assert!(!shown.contains(": 0") && !shown.contains("false"), "not exported: {shown}");
    assert_eq!(shown.matches("Histogram { 0, buckets: [] }").count(), 12, "{shown}");
    let histograms =
        samples(&snapshot).filter(|sample| matches!(sample.value, Value::Histogram(_)));
    assert_eq!(histograms.count(), 12);
}

#[test]
fn a_value_is_under_its_own_name() {
    let mut stats = Stats::default();
    stats.not_found = 3;
    stats.origin.puts.failed = 2;
    stats.expirations = 5;
    let snapshot = stats.into();
    let is_told =
        |sample: &Sample<'_>| number(sample).is_some_and(|n| n > 0) && sample.metric != &BUILD_INFO;
    let told: Vec<_> = samples(&snapshot).filter(is_told).collect();
    let told: Vec<_> =
        told.iter().map(|s| (s.metric.name, s.attributes, number(s).unwrap())).collect();
    assert_eq!(told[0], ("object_cache.requests", &[("result", "not_found")][..], 3));
    assert_eq!(
        told[1],
        ("object_cache.origin.requests", &[("op", "put"), ("outcome", "failed")][..], 2)
    );
    assert_eq!(told[2], ("object_cache.evictions", &[("reason", "expired")][..], 5));
    assert_eq!(told.len(), 3);
}

#[test]
fn a_cache_without_a_limit_has_no_capacity() {
    let mut stats = Stats::default();
    let capacities = |stats: Stats| {
        let snapshot = stats.into();
        samples(&snapshot).filter(|sample| sample.metric.name == CAPACITY.name).count()
    };
    stats.capacity_bytes = None;
    assert_eq!(capacities(stats), 0);
    stats.capacity_bytes = Some(0);
    assert_eq!(capacities(stats), 1);
}

#[test]
fn names_are_unique_and_have_the_prefix() {
    let all: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(all.len(), METRICS.len());
    for metric in METRICS {
        let rest = metric.name.strip_prefix("object_cache.").expect(metric.name);
        assert!(
            rest.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_')),
            "{rest}"
        );
        check(metric);
        assert!(
            metric.attributes.iter().all(|attribute| attribute.name != CACHE_NAME),
            "{}",
            metric.name
        );
    }
    assert_eq!(names::CACHE_NAME_LABEL, CACHE_NAME.replace('.', "_"));
}

fn check(metric: &Metric) {
    assert!(!metric.help.is_empty() && !metric.help.contains(['\n', '\\']), "{}", metric.name);
    let attributes: BTreeSet<_> =
        metric.attributes.iter().map(|attribute| attribute.name).collect();
    assert_eq!(attributes.len(), metric.attributes.len(), "{}", metric.name);
    // Prometheus reserves the suffix `_count` for histograms.
    let name = prometheus_name(metric).replace("entry_count", "entries");
    assert_eq!(metric.prometheus_name, name);
}

/// Derives a name as OpenTelemetry specifies it ("Prometheus and OpenMetrics Compatibility").
fn prometheus_name(metric: &Metric) -> String {
    let unit = match metric.unit {
        "By" => "_bytes",
        "s" => "_seconds",
        counted => {
            assert!(counted.starts_with('{') && counted.ends_with('}'), "{counted}");
            ""
        }
    };
    let total = if metric.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{unit}{total}", metric.name.replace('.', "_"))
}

#[test]
fn samples_follow_the_table_and_fill_it() {
    let snapshot = snapshot();
    follow_and_fill(&METRICS, &samples(&snapshot).collect::<Vec<_>>());
}

fn follow_and_fill(metrics: &[&'static Metric], samples: &[Sample<'_>]) {
    let mut seen = BTreeMap::<_, BTreeSet<_>>::new();
    for sample in samples {
        assert!(metrics.contains(&sample.metric));
        let names: Vec<_> =
            sample.metric.attributes.iter().map(|attribute| attribute.name).collect();
        assert_eq!(sample.attributes.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        for (name, value) in sample.attributes {
            seen.entry((sample.metric.name, *name)).or_default().insert(*value);
        }
        assert_eq!(
            matches!(sample.metric.kind, Kind::Histogram(_)),
            matches!(sample.value, Value::Histogram(_))
        );
    }
    for metric in metrics {
        for attribute in metric.attributes {
            let values = attribute.values.iter().copied().collect();
            assert_eq!(seen[&(metric.name, attribute.name)], values, "{}", metric.name);
        }
    }
    let unique: BTreeSet<_> =
        samples.iter().map(|sample| (sample.metric.name, sample.attributes)).collect();
    assert_eq!(unique.len(), samples.len());
    let mut order: Vec<_> = samples.iter().map(|sample| sample.metric.name).collect();
    order.dedup();
    assert_eq!(order, metrics.iter().map(|metric| metric.name).collect::<Vec<_>>());
}

#[test]
fn only_totals_are_counters() {
    let gauges: Vec<_> =
        METRICS.iter().filter(|metric| metric.kind == Kind::Gauge).map(|m| m.name).collect();
    let can_fall = [
        "build_info",
        "inflight",
        "entry.count",
        "size",
        "capacity",
        "bus.listening",
        "bus.listening_for",
        "bus.queued",
        "disk.state",
        "disk.entries",
        "disk.size",
        "disk.capacity",
        "disk.pinned",
        "disk.queue.entries",
        "disk.queue.size",
    ]
    .map(|name| format!("object_cache.{name}"));
    assert_eq!(gauges, can_fall);
}

#[test]
fn errors_are_counted_by_kind() {
    let mut stats = Stats::default();
    stats.errors_by_kind.add_of(ErrorKind::Timeout, 2);
    stats.origin.errors_by_kind.add_of(ErrorKind::PermissionDenied, 3);
    stats.origin.errors_by_kind.add_of(ErrorKind::PreconditionFailed, 4);
    let snapshot = stats.into();
    let told: Vec<_> = samples(&snapshot)
        .filter(|sample| number(sample).is_some_and(|n| n > 1))
        .map(|sample| (sample.metric.prometheus_name, sample.attributes, number(&sample).unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("object_cache_errors_total", &[("kind", "timeout")][..], 2),
            ("object_cache_origin_errors_total", &[("kind", "precondition_failed")][..], 4),
            ("object_cache_origin_errors_total", &[("kind", "permission_denied")][..], 3),
        ]
    );
}
