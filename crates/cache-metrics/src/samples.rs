//! From counters to metrics.

use cache_core::Stats;

use crate::names::{
    BACKEND_ERRORS, CAPACITY, COALESCED, ENTRY_COUNT, EVICTIONS, INVALIDATIONS, IO, Metric, ORIGIN_REQUESTS,
    REFUSALS, REQUESTS, SIZE,
};

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// What is measured.
    pub metric: &'static Metric,
    /// Name and value of each of the metric's attributes, in the metric's order.
    pub attributes: &'static [(&'static str, &'static str)],
    /// The value, in the metric's unit.
    pub value: u64,
}

/// Everything that `stats` says, one sample for each value, zeros too: a counter that is there from the begin has
/// a rate. Grouped by metric, in the order of [`METRICS`](crate::names::METRICS).
///
/// Of a difference of two snapshots (`later - earlier`) the counters are what happened between them.
pub fn samples(stats: &Stats) -> Vec<Sample> {
    let origin = &stats.origin;
    let mut samples = vec![
        sample(&REQUESTS, &[("result", "fresh")], stats.fresh),
        sample(&REQUESTS, &[("result", "revalidated")], stats.revalidated),
        sample(&REQUESTS, &[("result", "stale")], stats.stale),
        sample(&REQUESTS, &[("result", "fetched")], stats.fetched),
        sample(&REQUESTS, &[("result", "refetched")], stats.refetched),
        sample(&REQUESTS, &[("result", "not_found")], stats.not_found),
        sample(&REQUESTS, &[("result", "error")], stats.errors),
        sample(&COALESCED, &[], stats.coalesced),
        sample(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "unchanged")], origin.unchanged),
        sample(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "changed")], origin.changed),
        sample(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "gone")], origin.gone),
        sample(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "refused")], origin.refused),
        sample(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "failed")], origin.failed),
        sample(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "abandoned")], origin.abandoned),
        sample(&ORIGIN_REQUESTS, &[("op", "put"), ("outcome", "any")], origin.puts),
        sample(&ORIGIN_REQUESTS, &[("op", "delete"), ("outcome", "any")], origin.deletes),
        sample(&IO, &[("source", "cache")], stats.bytes_from_cache),
        sample(&IO, &[("source", "origin")], stats.bytes_from_origin),
        sample(&ENTRY_COUNT, &[], stats.entries),
        sample(&SIZE, &[], stats.bytes),
    ];
    if stats.capacity_bytes != NO_LIMIT {
        samples.push(sample(&CAPACITY, &[], stats.capacity_bytes));
    }
    samples.extend([
        sample(&EVICTIONS, &[("reason", "capacity")], stats.evictions),
        sample(&EVICTIONS, &[("reason", "expired")], stats.expirations),
        sample(&REFUSALS, &[("reason", "backend")], stats.refusals),
        sample(&REFUSALS, &[("reason", "unvalidatable")], stats.unvalidatable),
        sample(&INVALIDATIONS, &[], stats.invalidations),
        sample(&BACKEND_ERRORS, &[], stats.backend_errors),
    ]);
    samples
}

fn sample(
    metric: &'static Metric,
    attributes: &'static [(&'static str, &'static str)],
    value: u64,
) -> Sample {
    Sample { metric, attributes, value }
}

/// How [`Stats::capacity_bytes`] says that there is no limit.
const NO_LIMIT: u64 = u64::MAX;
