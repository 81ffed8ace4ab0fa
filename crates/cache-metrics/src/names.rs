//! All metrics as data: names, kinds, units, attributes and help texts.
//!
//! Names and units follow OpenTelemetry's [semantic conventions]: words separated by dots, UCUM
//! units. The Prometheus names are the ones that the [OpenTelemetry specification] derives from
//! them (underscores, the unit, `_total`), except for [`ENTRY_COUNT`].
//!
//! Attribute values come from the small closed sets below: never a key, a prefix or an ETag.
//! Exporters add the attribute [`CACHE_NAME`] to every metric.
//!
//! [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/general/metrics/
//! [OpenTelemetry specification]:
//! https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/

use cache_core::{Bounds, ErrorKind, Stats, TierDrops, TierState};

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The unique name, which starts with `object_cache.`.
    pub name: &'static str,
    /// The name for Prometheus and for the `metrics` crate.
    pub prometheus_name: &'static str,
    /// How the values behave over time.
    pub kind: Kind,
    /// The UCUM unit: `By` for bytes, `s` for seconds, a word in braces for counts.
    pub unit: &'static str,
    /// A description in one sentence, without a full stop.
    pub help: &'static str,
    /// The attributes of each sample, besides [`CACHE_NAME`].
    pub attributes: &'static [Attribute],
}

/// How the values of a metric behave over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A total since the cache was built. Never decreases.
    Counter,
    /// The current value.
    Gauge,
    /// Total counts of measurements in buckets with these upper bounds.
    Histogram(&'static Bounds),
}

/// An attribute of the samples of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribute {
    /// The name, unique within its metric.
    pub name: &'static str,
    /// All values that it can have.
    pub values: &'static [&'static str],
}

/// The attribute of every metric with the name that the cache was built with.
pub const CACHE_NAME: &str = "cache.name";

/// [`CACHE_NAME`] as a label for Prometheus and the `metrics` crate.
pub const CACHE_NAME_LABEL: &str = "cache_name";

/// All metrics, in the order in which they are exported.
pub const METRICS: [&Metric; 54] = [
    &BUILD_INFO,
    &REQUESTS,
    &ERRORS,
    &REVALIDATED_BY_LIST,
    &COALESCED,
    &WAIT_DURATION,
    &AGE,
    &IO,
    &SERVED,
    &ORIGIN_REQUESTS,
    &ORIGIN_ERRORS,
    &ORIGIN_DURATION,
    &QUEUE_DURATION,
    &INFLIGHT,
    &ENTRY_COUNT,
    &SIZE,
    &CAPACITY,
    &EVICTIONS,
    &REJECTIONS,
    &INVALIDATIONS,
    &BACKEND_ERRORS,
    &BLOCKS,
    &PASSED_THROUGH,
    &RESTARTS,
    &BUS_LISTENING,
    &BUS_LISTENING_FOR,
    &BUS_NOT_LISTENING,
    &BUS_LISTENS,
    &BUS_MESSAGES,
    &BUS_GAPS,
    &BUS_QUEUED,
    &BUS_OVERFLOWS,
    &BUS_SAME_NODE,
    &DISK_STATE,
    &DISK_READS,
    &DISK_SERVED,
    &DISK_BLOCKS,
    &DISK_LOOKUPS,
    &DISK_HIT,
    &DISK_ENTRIES,
    &DISK_SIZE,
    &DISK_CAPACITY,
    &DISK_PINNED,
    &DISK_QUEUE_ENTRIES,
    &DISK_QUEUE_SIZE,
    &DISK_RECOVERED,
    &DISK_WRITES,
    &DISK_REWRITES,
    &DISK_PAYLOAD,
    &DISK_WRITTEN,
    &DISK_DROPS,
    &DISK_PINS_LOST,
    &DISK_BAD_RECORDS,
    &DISK_ERRORS,
];

/// Always 1, with the version of this crate as a label. A missing sample means a missing exporter.
pub static BUILD_INFO: Metric = Metric {
    name: "object_cache.build_info",
    prometheus_name: "object_cache_build_info",
    kind: Kind::Gauge,
    unit: "{build}",
    help: "Always 1; the version of object-cache is a label",
    attributes: &[Attribute { name: "version", values: &[VERSION] }],
};

/// The version of this crate.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Reads of [`REQUESTS`] that failed, by [`ErrorKind`].
pub static ERRORS: Metric = Metric {
    name: "object_cache.errors",
    prometheus_name: "object_cache_errors_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that failed, by kind of error, such as timeout or permission_denied",
    attributes: &[KIND],
};

/// Requests of [`ORIGIN_REQUESTS`] that were refused or failed, over all operations.
pub static ORIGIN_ERRORS: Metric = Metric {
    name: "object_cache.origin.errors",
    prometheus_name: "object_cache_origin_errors_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Requests to the store that were refused or failed, by kind of error, such as timeout \
           or permission_denied",
    attributes: &[KIND],
};

/// How long reads waited that were not served from a fresh entry.
pub static WAIT_DURATION: Metric = Metric {
    name: "object_cache.wait.duration",
    prometheus_name: "object_cache_wait_duration_seconds",
    kind: Kind::Histogram(&Stats::ORIGIN_BOUNDS),
    unit: "s",
    help: "Time that reads waited for a response of the store, including the queue",
    attributes: &[],
};

/// How long requests waited that found no free permit.
pub static QUEUE_DURATION: Metric = Metric {
    name: "object_cache.queue.duration",
    prometheus_name: "object_cache_queue_duration_seconds",
    kind: Kind::Histogram(&Stats::ORIGIN_BOUNDS),
    unit: "s",
    help: "Time that requests waited for one of the max_in_flight permits; requests that found \
           one free are not measured",
    attributes: &[],
};

const KIND: Attribute = Attribute { name: "kind", values: &ERROR_KINDS };

/// The names of all kinds of errors.
const ERROR_KINDS: [&str; ErrorKind::ALL.len()] = {
    let mut names = [""; ErrorKind::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = ErrorKind::ALL[i].name();
        i += 1;
    }
    names
};

/// Finished reads; each is in exactly one sample. The last five values are only those of a
/// `CachedStore`, whose reads end with their bodies. Other caches do not count a dropped read.
pub static REQUESTS: Metric = Metric {
    name: "object_cache.requests",
    prometheus_name: "object_cache_requests_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Finished reads, by result",
    attributes: &[Attribute {
        name: "result",
        values: &[
            "fresh",
            "revalidated",
            "stale",
            "fetched",
            "refetched",
            "not_found",
            "error",
            "bypass",
            "not_modified",
            "precondition_failed",
            "not_cached",
            "cancelled",
        ],
    }],
};

/// Part of [`REQUESTS`] with the result `revalidated`.
pub static REVALIDATED_BY_LIST: Metric = Metric {
    name: "object_cache.revalidated_by_list",
    prometheus_name: "object_cache_revalidated_by_list_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads whose entry a list validated, without a request of their own; part of the \
           result revalidated",
    attributes: &[],
};

/// Reads that shared another read's request.
pub static COALESCED: Metric = Metric {
    name: "object_cache.coalesced",
    prometheus_name: "object_cache_coalesced_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that shared another read's request",
    attributes: &[],
};

/// The age of entries when they were served (RFC 9111, section 4.2.3): a sample of one in 64.
pub static AGE: Metric = Metric {
    name: "object_cache.age",
    prometheus_name: "object_cache_age_seconds",
    kind: Kind::Histogram(&Stats::AGE_BOUNDS),
    unit: "s",
    help: "Age of the entries that were served; one read in 64 is measured",
    attributes: &[],
};

/// Body bytes, by source.
pub static IO: Metric = Metric {
    name: "object_cache.io",
    prometheus_name: "object_cache_io_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Body bytes that were served from the cache, and body bytes that were fetched from the \
           store",
    attributes: &[Attribute { name: "source", values: &["cache", "origin"] }],
};

/// Body bytes that readers got, cached or not. Read amplification is the rate of [`IO`] with the
/// source `origin`, divided by the rate of this.
pub static SERVED: Metric = Metric {
    name: "object_cache.served",
    prometheus_name: "object_cache_served_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Body bytes handed to readers",
    attributes: &[],
};

/// Operations of requests to the store.
const OPS: &[&str] =
    &["read", "put", "delete", "list", "blocks", "bypass", "copy", "rename", "multipart"];

/// Finished requests to the store. Requests for an object or its head (`read`) have the first three
/// outcomes instead of `succeeded`. `list` counts pages. Only a `CachedStore` has the operations
/// from `blocks` on: blocks of a known version, reads that bypass the cache, copies, renames, and
/// each request of a multipart upload.
pub static ORIGIN_REQUESTS: Metric = Metric {
    name: "object_cache.origin.requests",
    prometheus_name: "object_cache_origin_requests_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Finished requests to the store, by operation and outcome",
    attributes: &[
        Attribute { name: "op", values: OPS },
        Attribute {
            name: "outcome",
            values: &[
                "not_modified",
                "modified",
                "not_found",
                "succeeded",
                "refused",
                "failed",
                "cancelled",
            ],
        },
    ],
};

/// How long the store took to respond; for a read of a whole object, with its body.
pub static ORIGIN_DURATION: Metric = Metric {
    name: "object_cache.origin.duration",
    prometheus_name: "object_cache_origin_duration_seconds",
    kind: Kind::Histogram(&Stats::ORIGIN_BOUNDS),
    unit: "s",
    help: "Time from sending a request to the store to its response",
    attributes: &[Attribute { name: "op", values: OPS }],
};

/// Requests that the store has not responded to yet.
pub static INFLIGHT: Metric = Metric {
    name: "object_cache.inflight",
    prometheus_name: "object_cache_inflight",
    kind: Kind::Gauge,
    unit: "{request}",
    help: "Requests in flight to the store",
    attributes: &[],
};

/// Cached entries. Prometheus reserves the suffix `_count` for histograms, so the name differs
/// there.
pub static ENTRY_COUNT: Metric = Metric {
    name: "object_cache.entry.count",
    prometheus_name: "object_cache_entries",
    kind: Kind::Gauge,
    unit: "{entry}",
    help: "Cached entries",
    attributes: &[],
};

/// Bytes in use.
pub static SIZE: Metric = Metric {
    name: "object_cache.size",
    prometheus_name: "object_cache_size_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Bytes in use: keys, bodies, ETags and bookkeeping",
    attributes: &[],
};

/// The limit of [`SIZE`]. A cache without one has no sample.
pub static CAPACITY: Metric = Metric {
    name: "object_cache.capacity",
    prometheus_name: "object_cache_capacity_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Maximum of the bytes in use",
    attributes: &[],
};

/// Entries that were evicted.
pub static EVICTIONS: Metric = Metric {
    name: "object_cache.evictions",
    prometheus_name: "object_cache_evictions_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries removed to make room, or because their time to live had passed",
    attributes: &[Attribute { name: "reason", values: &["capacity", "expired"] }],
};

/// Bodies that were served but not cached, by reason. A validator is an ETag or a date.
pub static REJECTIONS: Metric = Metric {
    name: "object_cache.rejections",
    prometheus_name: "object_cache_rejections_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Bodies that were served but not cached: too large, rejected by the eviction policy, \
           not stored by the backend, or without a validator",
    attributes: &[Attribute {
        name: "reason",
        values: &["too_large", "policy", "backend", "no_validator"],
    }],
};

/// Entries that were removed because they were out of date.
pub static INVALIDATIONS: Metric = Metric {
    name: "object_cache.invalidations",
    prometheus_name: "object_cache_invalidations_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries removed by a call, by a write through the cache, because the object was \
           modified, or because it was not found",
    attributes: &[Attribute { name: "source", values: &["api", "write", "modified", "not_found"] }],
};

/// Failed calls of the backend.
pub static BACKEND_ERRORS: Metric = Metric {
    name: "object_cache.backend.errors",
    prometheus_name: "object_cache_backend_errors_total",
    kind: Kind::Counter,
    unit: "{error}",
    help: "Failed calls of the backend; each may cost a request, none changes a response",
    attributes: &[],
};

/// Blocks that reads of a `CachedStore` needed. A block counts once for each read that reached it,
/// as its bytes do in [`IO`].
pub static BLOCKS: Metric = Metric {
    name: "object_cache.blocks",
    prometheus_name: "object_cache_blocks_total",
    kind: Kind::Counter,
    unit: "{block}",
    help: "Blocks that reads needed, by whether they were cached",
    attributes: &[Attribute { name: "result", values: &["hit", "miss"] }],
};

/// Reads of a `CachedStore` that the cache took no part in.
pub static PASSED_THROUGH: Metric = Metric {
    name: "object_cache.passed_through",
    prometheus_name: "object_cache_passed_through_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that bypassed the cache (also op bypass), or of objects that cannot be cached",
    attributes: &[],
};

/// Reads of a `CachedStore` that started again.
pub static RESTARTS: Metric = Metric {
    name: "object_cache.restarts",
    prometheus_name: "object_cache_restarts_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that started again because the object was replaced meanwhile",
    attributes: &[],
};

/// Whether the cache listens to its change bus. All `BUS_` metrics are only those of a cache with a
/// bus.
pub static BUS_LISTENING: Metric = Metric {
    name: "object_cache.bus.listening",
    prometheus_name: "object_cache_bus_listening",
    kind: Kind::Gauge,
    unit: "{cache}",
    help: "1 if the cache listens to its change bus, else 0: then entries under until_notified \
           are served by the rule when_disconnected",
    attributes: &[],
};

/// An entry that was validated less than this long ago is fresh under `until_notified`. Zero while
/// the cache does not listen.
pub static BUS_LISTENING_FOR: Metric = Metric {
    name: "object_cache.bus.listening_for",
    prometheus_name: "object_cache_bus_listening_for_seconds",
    kind: Kind::Gauge,
    unit: "s",
    help: "Time since which the cache has listened to its change bus without a gap, in whole \
           seconds",
    attributes: &[],
};

/// The time in which [`BUS_LISTENING`] was 0.
pub static BUS_NOT_LISTENING: Metric = Metric {
    name: "object_cache.bus.not_listening",
    prometheus_name: "object_cache_bus_not_listening_seconds_total",
    kind: Kind::Counter,
    unit: "s",
    help: "Time for which the cache did not listen to its change bus, in whole seconds",
    attributes: &[],
};

/// How often [`BUS_LISTENING`] changed from 0 to 1.
pub static BUS_LISTENS: Metric = Metric {
    name: "object_cache.bus.listens",
    prometheus_name: "object_cache_bus_listens_total",
    kind: Kind::Counter,
    unit: "{event}",
    help: "How often the cache began to listen to its change bus",
    attributes: &[],
};

/// Messages on the bus. Sent: changes that were `announced`, changes whose announcement `failed`,
/// and heartbeats. Received, each in exactly one: changes that `marked` entries, changes that did
/// not (`unmarked`), the cache's `own` changes, heartbeats of all caches, and dropped messages.
pub static BUS_MESSAGES: Metric = Metric {
    name: "object_cache.bus.messages",
    prometheus_name: "object_cache_bus_messages_total",
    kind: Kind::Counter,
    unit: "{message}",
    help: "Messages that the cache sent to and received from its change bus, by outcome",
    attributes: &[
        Attribute { name: "direction", values: &["sent", "received"] },
        Attribute {
            name: "outcome",
            values: &[
                "announced",
                "failed",
                "heartbeat",
                "marked",
                "unmarked",
                "own",
                "other_namespace",
                "unreadable",
            ],
        },
    ],
};

/// Gaps: changes may have been missed. After each, an entry is revalidated before it is next served
/// under `until_notified`.
pub static BUS_GAPS: Metric = Metric {
    name: "object_cache.bus.gaps",
    prometheus_name: "object_cache_bus_gaps_total",
    kind: Kind::Counter,
    unit: "{event}",
    help: "Events after which messages of the change bus may have been missed: a missing number \
           (sequence), a listener that was too slow, a message in a newer format, or a lost \
           connection",
    attributes: &[Attribute {
        name: "reason",
        values: &["sequence", "slow_listener", "newer_format", "disconnected"],
    }],
};

/// Announcements that are not sent yet.
pub static BUS_QUEUED: Metric = Metric {
    name: "object_cache.bus.queued",
    prometheus_name: "object_cache_bus_queued",
    kind: Kind::Gauge,
    unit: "{message}",
    help: "Announcements that wait to be sent to the change bus",
    attributes: &[],
};

/// How often [`BUS_QUEUED`] was at its limit.
pub static BUS_OVERFLOWS: Metric = Metric {
    name: "object_cache.bus.overflows",
    prometheus_name: "object_cache_bus_overflows_total",
    kind: Kind::Counter,
    unit: "{event}",
    help: "How often the queue of announcements was full and was replaced by one announcement \
           that any object may have changed",
    attributes: &[],
};

/// Part of the received [`BUS_MESSAGES`]. More than zero only if two caches drew the same number,
/// or if old messages are sent again.
pub static BUS_SAME_NODE: Metric = Metric {
    name: "object_cache.bus.same_node",
    prometheus_name: "object_cache_bus_same_node_total",
    kind: Kind::Counter,
    unit: "{message}",
    help: "Received changes that have the number of this cache as their sender, but were not \
           sent by it",
    attributes: &[],
};

/// Whether the tier below memory works. All `DISK_` metrics are only those of a cache with such a
/// tier.
pub static DISK_STATE: Metric = Metric {
    name: "object_cache.disk.state",
    prometheus_name: "object_cache_disk_state",
    kind: Kind::Gauge,
    unit: "{tier}",
    help: "1 for the state of the disk tier, 0 for the others; starting: it reads what earlier \
           processes have written; off: it failed and is left alone for a while",
    attributes: &[Attribute { name: "state", values: &TIER_STATES }],
};

/// The names of all states of a tier.
const TIER_STATES: [&str; TierState::ALL.len()] = {
    let mut names = [""; TierState::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = TierState::ALL[i].as_str();
        i += 1;
    }
    names
};

/// Part of the hits of [`REQUESTS`].
pub static DISK_READS: Metric = Metric {
    name: "object_cache.disk.reads",
    prometheus_name: "object_cache_disk_reads_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that were served from an entry on disk; of a CachedStore, look-ups of heads",
    attributes: &[],
};

/// Part of [`IO`] with the source `cache`; the rest of that is memory's.
pub static DISK_SERVED: Metric = Metric {
    name: "object_cache.disk.served",
    prometheus_name: "object_cache_disk_served_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Body bytes that were served from entries on disk",
    attributes: &[],
};

/// Part of the hits of [`BLOCKS`].
pub static DISK_BLOCKS: Metric = Metric {
    name: "object_cache.disk.blocks",
    prometheus_name: "object_cache_disk_blocks_total",
    kind: Kind::Counter,
    unit: "{block}",
    help: "Blocks that reads of a CachedStore needed and that were on disk",
    attributes: &[],
};

/// Look-ups that memory did not answer. The hit ratio of the disk tier is the hits divided by all
/// of them.
pub static DISK_LOOKUPS: Metric = Metric {
    name: "object_cache.disk.lookups",
    prometheus_name: "object_cache_disk_lookups_total",
    kind: Kind::Counter,
    unit: "{lookup}",
    help: "Look-ups that memory did not answer, by whether the disk tier did",
    attributes: &[Attribute { name: "result", values: &["hit", "miss"] }],
};

/// Body bytes of the hits of [`DISK_LOOKUPS`], whether or not they were served.
pub static DISK_HIT: Metric = Metric {
    name: "object_cache.disk.hit",
    prometheus_name: "object_cache_disk_hit_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Body bytes of the look-ups that the disk tier answered",
    attributes: &[],
};

/// Entries on disk.
pub static DISK_ENTRIES: Metric = Metric {
    name: "object_cache.disk.entries",
    prometheus_name: "object_cache_disk_entries",
    kind: Kind::Gauge,
    unit: "{entry}",
    help: "Entries on disk",
    attributes: &[],
};

/// Bytes of files.
pub static DISK_SIZE: Metric = Metric {
    name: "object_cache.disk.size",
    prometheus_name: "object_cache_disk_size_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Bytes of the files on disk, including dropped entries whose space is not yet reused",
    attributes: &[],
};

/// The limit of [`DISK_SIZE`].
pub static DISK_CAPACITY: Metric = Metric {
    name: "object_cache.disk.capacity",
    prometheus_name: "object_cache_disk_capacity_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Maximum of the bytes of the files on disk",
    attributes: &[],
};

/// Part of [`DISK_SIZE`].
pub static DISK_PINNED: Metric = Metric {
    name: "object_cache.disk.pinned",
    prometheus_name: "object_cache_disk_pinned_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Bytes of the entries on disk under a pinned prefix",
    attributes: &[],
};

/// Entries that wait to be written.
pub static DISK_QUEUE_ENTRIES: Metric = Metric {
    name: "object_cache.disk.queue.entries",
    prometheus_name: "object_cache_disk_queue_entries",
    kind: Kind::Gauge,
    unit: "{entry}",
    help: "Entries that wait to be written to disk",
    attributes: &[],
};

/// Bytes that wait to be written.
pub static DISK_QUEUE_SIZE: Metric = Metric {
    name: "object_cache.disk.queue.size",
    prometheus_name: "object_cache_disk_queue_size_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Bytes of the entries that wait to be written to disk, including the batch that is \
           being written",
    attributes: &[],
};

/// Entries of earlier processes.
pub static DISK_RECOVERED: Metric = Metric {
    name: "object_cache.disk.recovered",
    prometheus_name: "object_cache_disk_recovered_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries of earlier processes that were found when the disk tier was opened",
    attributes: &[],
};

/// Entries written.
pub static DISK_WRITES: Metric = Metric {
    name: "object_cache.disk.writes",
    prometheus_name: "object_cache_disk_writes_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries written to disk, including those written again",
    attributes: &[],
};

/// Part of [`DISK_WRITES`].
pub static DISK_REWRITES: Metric = Metric {
    name: "object_cache.disk.rewrites",
    prometheus_name: "object_cache_disk_rewrites_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries written again because they were used or pinned when their space was reused",
    attributes: &[],
};

/// Bytes of entries written for the first time.
pub static DISK_PAYLOAD: Metric = Metric {
    name: "object_cache.disk.payload",
    prometheus_name: "object_cache_disk_payload_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Bytes of the entries that were written to disk for the first time: bodies, keys, \
           versions and attributes",
    attributes: &[],
};

/// Bytes written to files. Write amplification is the rate of this divided by the rate of
/// [`DISK_PAYLOAD`].
pub static DISK_WRITTEN: Metric = Metric {
    name: "object_cache.disk.written",
    prometheus_name: "object_cache_disk_written_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Bytes written to files on disk",
    attributes: &[],
};

const CAUSE: Attribute = Attribute { name: "cause", values: &TierDrops::CAUSES };

/// Entries that the disk tier dropped, by cause ([`TierDrops`]).
pub static DISK_DROPS: Metric = Metric {
    name: "object_cache.disk.drops",
    prometheus_name: "object_cache_disk_drops_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries that the disk tier dropped instead of writing or keeping them, by cause",
    attributes: &[CAUSE],
};

/// Entries under a pinned prefix that were not kept, by cause ([`TierDrops`]).
pub static DISK_PINS_LOST: Metric = Metric {
    name: "object_cache.disk.pins_lost",
    prometheus_name: "object_cache_disk_pins_lost_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Entries under a pinned prefix that the disk tier did not keep, by cause",
    attributes: &[CAUSE],
};

/// Records on disk that could not be used. Each is a miss.
pub static DISK_BAD_RECORDS: Metric = Metric {
    name: "object_cache.disk.bad_records",
    prometheus_name: "object_cache_disk_bad_records_total",
    kind: Kind::Counter,
    unit: "{record}",
    help: "Records on disk that were not used: corrupt, or foreign, of another key or namespace \
           than was looked up",
    attributes: &[Attribute { name: "reason", values: &["corrupt", "foreign"] }],
};

/// Failed operations on files. None fails a read of the cache.
pub static DISK_ERRORS: Metric = Metric {
    name: "object_cache.disk.errors",
    prometheus_name: "object_cache_disk_errors_total",
    kind: Kind::Counter,
    unit: "{error}",
    help: "Failed operations on files: reads, and writes with all others; none fails a read of \
           the cache",
    attributes: &[Attribute { name: "op", values: &["read", "write"] }],
};
