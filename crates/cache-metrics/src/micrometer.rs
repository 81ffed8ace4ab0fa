//! The names that [Micrometer](https://docs.micrometer.io) gives to caches, for dashboards that are there already.
//!
//! | Micrometer | what it is here |
//! | --- | --- |
//! | `cache.gets{result = hit}` | gets served from a held copy: `requests{fresh, revalidated, stale}` |
//! | `cache.gets{result = miss}` | all other gets: `requests{fetched, refetched, not_found, error}` |
//! | `cache.puts` | bodies that came from the origin, also runs of blocks, and those that were written to it |
//! | `cache.load{result = success, failure}` | reads of the origin, of blocks too, that it answered, with "not modified" too; those that it refused or failed to answer, and that were given up |
//! | `cache.evictions` | `evictions{capacity, expired}`, as for Caffeine |
//! | `cache.size` | `entry.count` |
//!
//! Their attribute is `cache`, where ours have [`cache.name`](crate::names::CACHE_NAME). They are exported beside our own by a
//! [`Registry::with_micrometer_names`](crate::Registry::with_micrometer_names).

use crate::{
    Sample, Snapshot,
    names::{Attribute, Kind, Metric},
    samples::one,
};

/// The attribute with the name of the cache.
pub const CACHE: &str = "cache";

/// Every metric, in the order in which they are exported.
pub const METRICS: [&Metric; 5] = [&GETS, &PUTS, &LOADS, &EVICTIONS, &SIZE];

static GETS: Metric = Metric {
    name: "cache.gets",
    prometheus_name: "cache_gets_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Gets, by whether they were served from a held copy",
    attributes: &[Attribute { name: "result", values: &["hit", "miss"] }],
};

static PUTS: Metric = Metric {
    name: "cache.puts",
    prometheus_name: "cache_puts_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Bodies that came from the origin, and those that were written to it",
    attributes: &[],
};

static LOADS: Metric = Metric {
    name: "cache.load",
    prometheus_name: "cache_load_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads of the origin, by whether it answered",
    attributes: &[Attribute { name: "result", values: &["success", "failure"] }],
};

static EVICTIONS: Metric = Metric {
    name: "cache.evictions",
    prometheus_name: "cache_evictions_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Copies dropped to make room, or because their time to live had passed",
    attributes: &[],
};

static SIZE: Metric = Metric {
    name: "cache.size",
    prometheus_name: "cache_size",
    kind: Kind::Gauge,
    unit: "{entry}",
    help: "Copies held",
    attributes: &[],
};

/// What `snapshot` says under these names, grouped by metric, in the order of [`METRICS`].
pub fn samples(snapshot: &Snapshot) -> [Sample<'_>; 7] {
    let stats = &snapshot.stats;
    let blocks = snapshot.blocks.map(|blocks| blocks.requests).unwrap_or_default();
    let answered = stats.origin.unchanged + stats.origin.changed + stats.origin.gone + blocks.succeeded;
    [
        one(&GETS, &[("result", "hit")], stats.hits()),
        one(&GETS, &[("result", "miss")], stats.gets() - stats.hits()),
        one(&PUTS, &[], stats.origin.changed + blocks.succeeded + stats.origin.puts.succeeded),
        one(&LOADS, &[("result", "success")], answered),
        one(&LOADS, &[("result", "failure")], stats.origin.reads() + blocks.requests() - answered),
        one(&EVICTIONS, &[], stats.evictions + stats.expirations),
        one(&SIZE, &[], stats.entries),
    ]
}
