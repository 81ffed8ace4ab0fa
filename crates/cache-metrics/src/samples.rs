//! The conversion of counters to samples.

use cache_core::{
    BusStats, ErrorCounts, ErrorKind, Histogram, Outcomes, Stats, TierDrops, TierState, TierStats,
};

use crate::{
    BlockStats, Snapshot,
    names::{
        AGE, BACKEND_ERRORS, BLOCKS, BUILD_INFO, BUS_GAPS, BUS_LISTENING, BUS_LISTENING_FOR,
        BUS_LISTENS, BUS_MESSAGES, BUS_NOT_LISTENING, BUS_OVERFLOWS, BUS_QUEUED, BUS_SAME_NODE,
        CAPACITY, COALESCED, DISK_BAD_RECORDS, DISK_BLOCKS, DISK_CAPACITY, DISK_DROPS,
        DISK_ENTRIES, DISK_ERRORS, DISK_HIT, DISK_LOOKUPS, DISK_PAYLOAD, DISK_PINNED,
        DISK_PINS_LOST, DISK_QUEUE_ENTRIES, DISK_QUEUE_SIZE, DISK_READS, DISK_RECOVERED,
        DISK_REWRITES, DISK_SERVED, DISK_SIZE, DISK_STATE, DISK_WRITES, DISK_WRITTEN, ENTRY_COUNT,
        ERRORS, EVICTIONS, INFLIGHT, INVALIDATIONS, IO, Metric, ORIGIN_DURATION, ORIGIN_ERRORS,
        ORIGIN_REQUESTS, PASSED_THROUGH, QUEUE_DURATION, REJECTIONS, REQUESTS, RESTARTS,
        REVALIDATED_BY_LIST, SERVED, SIZE, VERSION, WAIT_DURATION,
    },
};

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample<'a> {
    /// The metric.
    pub metric: &'static Metric,
    /// The name and value of each attribute, in the order of the metric.
    pub attributes: Attributes,
    /// The value, in the metric's unit.
    pub value: Value<'a>,
}

/// Names and values of attributes.
pub type Attributes = &'static [(&'static str, &'static str)];

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// The value of a counter or a gauge.
    Number(u64),
    /// The value of a histogram.
    Histogram(&'a Histogram),
}

/// The attributes of requests other than reads of objects or heads.
macro_rules! outcomes_of {
    ($op:literal) => {
        [
            &[("op", $op), ("outcome", "succeeded")],
            &[("op", $op), ("outcome", "refused")],
            &[("op", $op), ("outcome", "failed")],
            &[("op", $op), ("outcome", "cancelled")],
        ]
    };
}

/// Returns all values of `snapshot`, one sample each, in the order of
/// [`METRICS`](crate::names::METRICS). Zeros are included, since a counter that exists from the
/// start has a rate.
pub fn samples(snapshot: &Snapshot) -> impl Iterator<Item = Sample<'_>> {
    let Snapshot { stats, blocks, tier, bus } = snapshot;
    let (origin, refused, invalidated) = (&stats.origin, &stats.rejected, &stats.invalidated);
    let begin = [
        one(&BUILD_INFO, &[("version", VERSION)], 1),
        one(&REQUESTS, &[("result", "fresh")], stats.fresh),
        one(&REQUESTS, &[("result", "revalidated")], stats.revalidated),
        one(&REQUESTS, &[("result", "stale")], stats.stale),
        one(&REQUESTS, &[("result", "fetched")], stats.fetched),
        one(&REQUESTS, &[("result", "refetched")], stats.refetched),
        one(&REQUESTS, &[("result", "not_found")], stats.not_found),
        one(&REQUESTS, &[("result", "error")], stats.errors),
    ];
    let of_a_store = blocks.iter().flat_map(|blocks| {
        [
            one(&REQUESTS, &[("result", "bypass")], blocks.bypass),
            one(&REQUESTS, &[("result", "not_modified")], blocks.not_modified),
            one(&REQUESTS, &[("result", "precondition_failed")], blocks.precondition_failed),
            one(&REQUESTS, &[("result", "not_cached")], blocks.not_cached),
            one(&REQUESTS, &[("result", "cancelled")], blocks.cancelled),
        ]
    });
    let any = [
        one(&REVALIDATED_BY_LIST, &[], stats.revalidated_by_list),
        one(&COALESCED, &[], stats.coalesced),
        times(&WAIT_DURATION, &[], &stats.wait_times),
        Sample { metric: &AGE, attributes: &[], value: Value::Histogram(&stats.age) },
        one(&IO, &[("source", "cache")], stats.bytes_from_cache),
        one(&IO, &[("source", "origin")], stats.bytes_from_origin),
        one(&SERVED, &[], stats.bytes_served),
        one(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "not_modified")], origin.not_modified),
        one(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "modified")], origin.modified),
        one(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "not_found")], origin.not_found),
        one(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "refused")], origin.refused),
        one(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "failed")], origin.failed),
        one(&ORIGIN_REQUESTS, &[("op", "read"), ("outcome", "cancelled")], origin.cancelled),
    ];
    let writes_and_lists = [
        outcomes(outcomes_of!("put"), &origin.puts),
        outcomes(outcomes_of!("delete"), &origin.deletes),
        outcomes(outcomes_of!("list"), &origin.lists),
    ];
    let others = blocks.iter().flat_map(|blocks| {
        [
            outcomes(outcomes_of!("blocks"), &blocks.requests),
            outcomes(outcomes_of!("bypass"), &blocks.bypass_requests),
            outcomes(outcomes_of!("copy"), &blocks.copies),
            outcomes(outcomes_of!("rename"), &blocks.renames),
            outcomes(outcomes_of!("multipart"), &blocks.multiparts),
        ]
    });
    let of_origin = [
        times(&ORIGIN_DURATION, &[("op", "read")], &origin.read_times),
        times(&ORIGIN_DURATION, &[("op", "put")], &origin.put_times),
        times(&ORIGIN_DURATION, &[("op", "delete")], &origin.delete_times),
        times(&ORIGIN_DURATION, &[("op", "list")], &origin.list_times),
    ];
    let of_blocks = blocks.iter().flat_map(|blocks| {
        [
            times(&ORIGIN_DURATION, &[("op", "blocks")], &blocks.request_times),
            times(&ORIGIN_DURATION, &[("op", "bypass")], &blocks.bypass_times),
            times(&ORIGIN_DURATION, &[("op", "copy")], &blocks.copy_times),
            times(&ORIGIN_DURATION, &[("op", "rename")], &blocks.rename_times),
            times(&ORIGIN_DURATION, &[("op", "multipart")], &blocks.multipart_times),
        ]
    });
    let held = [
        times(&QUEUE_DURATION, &[], &stats.queue_times),
        one(&INFLIGHT, &[], origin.in_flight),
        one(&ENTRY_COUNT, &[], stats.entries),
        one(&SIZE, &[], stats.bytes),
    ];
    let left = [
        one(&EVICTIONS, &[("reason", "capacity")], stats.evictions),
        one(&EVICTIONS, &[("reason", "expired")], stats.expirations),
        one(&REJECTIONS, &[("reason", "too_large")], refused.too_large),
        one(&REJECTIONS, &[("reason", "policy")], refused.policy),
        one(&REJECTIONS, &[("reason", "backend")], refused.backend),
        one(&REJECTIONS, &[("reason", "no_validator")], refused.no_validator),
        one(&INVALIDATIONS, &[("source", "api")], invalidated.by_api),
        one(&INVALIDATIONS, &[("source", "write")], invalidated.by_write),
        one(&INVALIDATIONS, &[("source", "modified")], invalidated.modified),
        one(&INVALIDATIONS, &[("source", "not_found")], invalidated.not_found),
        one(&BACKEND_ERRORS, &[], stats.backend_errors),
    ];
    let by_blocks = blocks.iter().flat_map(|blocks| {
        [
            one(&BLOCKS, &[("result", "hit")], blocks.hit),
            one(&BLOCKS, &[("result", "miss")], blocks.missed),
            one(&PASSED_THROUGH, &[], blocks.passed_through),
            one(&RESTARTS, &[], blocks.restarts),
        ]
    });
    let capacity = stats.capacity_bytes.map(|bytes| one(&CAPACITY, &[], bytes));
    let errors = by_kind(&ERRORS, stats.errors_by_kind);
    let gets = begin.into_iter().chain(of_a_store).chain(errors).chain(any);
    let requests = gets.chain(writes_and_lists.into_iter().chain(others).flatten());
    let origin_errors = by_kind(&ORIGIN_ERRORS, origin.errors_by_kind);
    let times = of_origin.into_iter().chain(of_blocks);
    requests
        .chain(origin_errors)
        .chain(times)
        .chain(held)
        .chain(capacity)
        .chain(left)
        .chain(by_blocks)
        .chain(bus.iter().flat_map(of_bus))
        .chain(tier.iter().flat_map(move |tier| of_tier(tier, stats, blocks.as_ref())))
}

/// [`BusStats`] can grow: a test finds the fields that have no sample. `received` is the sum of the
/// messages that were received.
fn of_bus<'a>(bus: &BusStats) -> [Sample<'a>; 20] {
    let messages = |attributes, n| one(&BUS_MESSAGES, attributes, n);
    [
        one(&BUS_LISTENING, &[], u64::from(bus.is_listening)),
        one(&BUS_LISTENING_FOR, &[], bus.listening_for.as_secs()),
        one(&BUS_NOT_LISTENING, &[], bus.disconnected_for.as_secs()),
        one(&BUS_LISTENS, &[], bus.listens),
        messages(&[("direction", "sent"), ("outcome", "announced")], bus.announced),
        messages(&[("direction", "sent"), ("outcome", "failed")], bus.announce_errors),
        messages(&[("direction", "sent"), ("outcome", "heartbeat")], bus.heartbeats_sent),
        messages(&[("direction", "received"), ("outcome", "marked")], bus.marked),
        messages(&[("direction", "received"), ("outcome", "unmarked")], bus.unmarked),
        messages(&[("direction", "received"), ("outcome", "own")], bus.own),
        messages(&[("direction", "received"), ("outcome", "heartbeat")], bus.heartbeats),
        messages(&[("direction", "received"), ("outcome", "other_namespace")], bus.other_namespace),
        messages(&[("direction", "received"), ("outcome", "unreadable")], bus.unreadable),
        one(&BUS_GAPS, &[("reason", "sequence")], bus.sequence_gaps),
        one(&BUS_GAPS, &[("reason", "slow_listener")], bus.slow_listener_gaps),
        one(&BUS_GAPS, &[("reason", "newer_format")], bus.format_gaps),
        one(&BUS_GAPS, &[("reason", "disconnected")], bus.disconnects),
        one(&BUS_QUEUED, &[], bus.queued),
        one(&BUS_OVERFLOWS, &[], bus.overflows),
        one(&BUS_SAME_NODE, &[], bus.same_node),
    ]
}

/// [`TierStats`] can grow: a test finds the fields that have no sample.
fn of_tier<'a>(
    tier: &TierStats,
    stats: &Stats,
    blocks: Option<&BlockStats>,
) -> impl Iterator<Item = Sample<'a>> {
    let now = tier.state;
    let states = STATES
        .iter()
        .zip(TierState::ALL)
        .map(move |(attributes, state)| one(&DISK_STATE, attributes, u64::from(state == now)));
    let served = [
        one(&DISK_READS, &[], stats.hits_from_disk),
        one(&DISK_SERVED, &[], stats.bytes_from_disk),
    ];
    let blocks = blocks.map(|blocks| one(&DISK_BLOCKS, &[], blocks.from_disk));
    let numbers = [
        one(&DISK_LOOKUPS, &[("result", "hit")], tier.hits),
        one(&DISK_LOOKUPS, &[("result", "miss")], tier.misses),
        one(&DISK_HIT, &[], tier.hit_bytes),
        one(&DISK_ENTRIES, &[], tier.entries),
        one(&DISK_SIZE, &[], tier.bytes),
        one(&DISK_CAPACITY, &[], tier.capacity_bytes),
        one(&DISK_PINNED, &[], tier.pinned_bytes),
        one(&DISK_QUEUE_ENTRIES, &[], tier.queue_entries),
        one(&DISK_QUEUE_SIZE, &[], tier.queue_bytes),
        one(&DISK_RECOVERED, &[], tier.recovered),
        one(&DISK_WRITES, &[], tier.written),
        one(&DISK_REWRITES, &[], tier.rewritten),
        one(&DISK_PAYLOAD, &[], tier.payload_bytes),
        one(&DISK_WRITTEN, &[], tier.written_bytes),
    ];
    let failures = [
        one(&DISK_BAD_RECORDS, &[("reason", "corrupt")], tier.corrupt),
        one(&DISK_BAD_RECORDS, &[("reason", "foreign")], tier.foreign),
        one(&DISK_ERRORS, &[("op", "read")], tier.read_errors),
        one(&DISK_ERRORS, &[("op", "write")], tier.write_errors),
    ];
    let drops = by_cause(&DISK_DROPS, tier.dropped);
    let pins = by_cause(&DISK_PINS_LOST, tier.pins_lost);
    states.chain(served).chain(blocks).chain(numbers).chain(drops).chain(pins).chain(failures)
}

fn by_cause<'a>(metric: &'static Metric, drops: TierDrops) -> impl Iterator<Item = Sample<'a>> {
    CAUSES
        .iter()
        .zip(drops.by_cause())
        .map(move |(attributes, entries)| one(metric, attributes, entries))
}

/// The attributes for each state of a tier.
static STATES: [[(&str, &str); 1]; TierState::ALL.len()] = {
    let mut states = [[("state", "")]; TierState::ALL.len()];
    let mut i = 0;
    while i < states.len() {
        states[i][0].1 = TierState::ALL[i].as_str();
        i += 1;
    }
    states
};

/// The attributes for each cause of drops.
static CAUSES: [[(&str, &str); 1]; TierDrops::CAUSES.len()] = {
    let mut causes = [[("cause", "")]; TierDrops::CAUSES.len()];
    let mut i = 0;
    while i < causes.len() {
        causes[i][0].1 = TierDrops::CAUSES[i];
        i += 1;
    }
    causes
};

pub(crate) fn one<'a>(metric: &'static Metric, attributes: Attributes, value: u64) -> Sample<'a> {
    Sample { metric, attributes, value: Value::Number(value) }
}

fn times<'a>(metric: &'static Metric, attributes: Attributes, times: &'a Histogram) -> Sample<'a> {
    Sample { metric, attributes, value: Value::Histogram(times) }
}

fn by_kind<'a>(metric: &'static Metric, errors: ErrorCounts) -> impl Iterator<Item = Sample<'a>> {
    KINDS
        .iter()
        .zip(ErrorKind::ALL)
        .map(move |(attributes, kind)| one(metric, attributes, errors.of(kind)))
}

/// The attributes for each kind of error.
static KINDS: [[(&str, &str); 1]; ErrorKind::ALL.len()] = {
    let mut kinds = [[("kind", "")]; ErrorKind::ALL.len()];
    let mut i = 0;
    while i < kinds.len() {
        kinds[i][0].1 = ErrorKind::ALL[i].name();
        i += 1;
    }
    kinds
};

fn outcomes<'a>(attributes: [Attributes; 4], outcomes: &Outcomes) -> [Sample<'a>; 4] {
    let [done, refused, failed, cancelled] = attributes;
    [
        one(&ORIGIN_REQUESTS, done, outcomes.succeeded),
        one(&ORIGIN_REQUESTS, refused, outcomes.refused),
        one(&ORIGIN_REQUESTS, failed, outcomes.failed),
        one(&ORIGIN_REQUESTS, cancelled, outcomes.cancelled),
    ]
}
