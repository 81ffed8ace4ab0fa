//! The vocabulary. Names and units follow OpenTelemetry's conventions: dots between words, UCUM units. The names for
//! Prometheus are what OpenTelemetry makes of them there (underscores, the unit, `_total`), but for [`ENTRY_COUNT`].
//!
//! Attribute values come from small closed sets, which are written here: never a key, a prefix or a tag. Every
//! metric has the attribute [`CACHE_NAME`] besides its own; whoever exports a cache adds it.

use cache_core::{Bounds, ErrorKind, Stats};

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Unique, and begins with `object_cache.`.
    pub name: &'static str,
    /// The same for Prometheus, and for the `metrics` crate.
    pub prometheus_name: &'static str,
    /// How its values go on.
    pub kind: Kind,
    /// UCUM: `By` for bytes, `s` for seconds, a word in braces for what is counted.
    pub unit: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// What its samples are told apart by.
    pub attributes: &'static [Attribute],
}

/// How the values of a metric go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A running total since the cache was built: never falls.
    Counter,
    /// How it is now.
    Gauge,
    /// Running totals of values by size, in buckets with these upper bounds.
    Histogram(&'static Bounds),
}

/// What samples of one metric are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribute {
    /// Unique in its metric.
    pub name: &'static str,
    /// Every value that it can have.
    pub values: &'static [&'static str],
}

/// The attribute that every metric has: the name that the cache was built with.
pub const CACHE_NAME: &str = "cache.name";

/// [`CACHE_NAME`] for Prometheus, and for the `metrics` crate.
pub const CACHE_NAME_LABEL: &str = "cache_name";

/// Every metric, in the order in which they are exported.
pub const METRICS: [&Metric; 22] = [
    &BUILD_INFO,
    &REQUESTS,
    &ERRORS,
    &COALESCED,
    &WAIT_DURATION,
    &AGE,
    &IO,
    &ORIGIN_REQUESTS,
    &ORIGIN_ERRORS,
    &ORIGIN_DURATION,
    &QUEUE_DURATION,
    &INFLIGHT,
    &ENTRY_COUNT,
    &SIZE,
    &CAPACITY,
    &EVICTIONS,
    &REFUSALS,
    &INVALIDATIONS,
    &BACKEND_ERRORS,
    &BLOCKS,
    &PASSED_THROUGH,
    &RESTARTS,
];

/// Always 1: which version of this crate a cache is exported by. That it is there says that figures
/// are.
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

/// The gets of [`REQUESTS`] that failed, by what the caller can do about it: an
/// [`ErrorKind`].
pub static ERRORS: Metric = Metric {
    name: "object_cache.errors",
    prometheus_name: "object_cache_errors_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Gets that failed, by kind of error",
    attributes: &[KIND],
};

/// Requests of [`ORIGIN_REQUESTS`] that were refused or failed, of all operations together.
pub static ORIGIN_ERRORS: Metric = Metric {
    name: "object_cache.origin.errors",
    prometheus_name: "object_cache_origin_errors_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Requests to the store that were refused or failed, by kind of error",
    attributes: &[KIND],
};

/// How long gets waited that were not served at once.
pub static WAIT_DURATION: Metric = Metric {
    name: "object_cache.wait.duration",
    prometheus_name: "object_cache_wait_duration_seconds",
    kind: Kind::Histogram(&Stats::ORIGIN_BOUNDS),
    unit: "s",
    help: "Time that gets waited for an answer of the store, with the requests and the queue before it",
    attributes: &[],
};

/// How long requests waited that found no permit free.
pub static QUEUE_DURATION: Metric = Metric {
    name: "object_cache.queue.duration",
    prometheus_name: "object_cache_queue_duration_seconds",
    kind: Kind::Histogram(&Stats::ORIGIN_BOUNDS),
    unit: "s",
    help: "Time that requests waited for one of max_in_flight permits; one that is free is not waited for",
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

/// Reads that have ended. Its samples add up to all of them: each is in exactly one. The last five values are those of a
/// `CachedStore` alone, whose reads end with their bodies; of other caches a dropped read is in none.
pub static REQUESTS: Metric = Metric {
    name: "object_cache.requests",
    prometheus_name: "object_cache_requests_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Finished gets, by what they were served with",
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

/// Gets that took the answer to another's question.
pub static COALESCED: Metric = Metric {
    name: "object_cache.coalesced",
    prometheus_name: "object_cache_coalesced_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Gets that took the answer to a question which another get had caused",
    attributes: &[],
};

/// How old held copies were when they were served. A sample of them.
pub static AGE: Metric = Metric {
    name: "object_cache.age",
    prometheus_name: "object_cache_age_seconds",
    kind: Kind::Histogram(&Stats::AGE_BOUNDS),
    unit: "s",
    help: "Time since the origin had validated the copies that were served; one serve in 64 is measured",
    attributes: &[],
};

/// Body bytes, by where they came from.
pub static IO: Metric = Metric {
    name: "object_cache.io",
    prometheus_name: "object_cache_io_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Body bytes served from held copies, and body bytes that came from the origin",
    attributes: &[Attribute { name: "source", values: &["cache", "origin"] }],
};

/// What the origin is asked for.
const OPS: &[&str] = &["read", "put", "delete", "blocks", "bypass", "list", "copy", "rename", "multipart"];

/// Requests made to the origin that have ended. Those that ask for an object or its head (`read`) have the first three
/// outcomes in the place of `done`. The ops from `blocks` on are those of a `CachedStore` alone: for blocks of a version
/// that it knows; reads handed on as they were; pages of lists; copies, renames, and each request of uploads in parts.
pub static ORIGIN_REQUESTS: Metric = Metric {
    name: "object_cache.origin.requests",
    prometheus_name: "object_cache_origin_requests_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Requests made to the origin, by operation and by what came of them",
    attributes: &[
        Attribute { name: "op", values: OPS },
        Attribute {
            name: "outcome",
            values: &["unchanged", "changed", "gone", "done", "refused", "failed", "abandoned"],
        },
    ],
};

/// How long the origin took to answer; for a read of a whole object, with its body.
pub static ORIGIN_DURATION: Metric = Metric {
    name: "object_cache.origin.duration",
    prometheus_name: "object_cache_origin_duration_seconds",
    kind: Kind::Histogram(&Stats::ORIGIN_BOUNDS),
    unit: "s",
    help: "Time from the sending of a request to the origin to its answer",
    attributes: &[Attribute { name: "op", values: OPS }],
};

/// Requests that the origin has not answered yet.
pub static INFLIGHT: Metric = Metric {
    name: "object_cache.inflight",
    prometheus_name: "object_cache_inflight",
    kind: Kind::Gauge,
    unit: "{request}",
    help: "Requests sent to the origin and not answered yet",
    attributes: &[],
};

/// Copies held. Prometheus keeps `_count` for histograms, so there it has another name.
pub static ENTRY_COUNT: Metric = Metric {
    name: "object_cache.entry.count",
    prometheus_name: "object_cache_entries",
    kind: Kind::Gauge,
    unit: "{entry}",
    help: "Copies held",
    attributes: &[],
};

/// Bytes held.
pub static SIZE: Metric = Metric {
    name: "object_cache.size",
    prometheus_name: "object_cache_size_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "Bytes held: keys, bodies, tags and bookkeeping",
    attributes: &[],
};

/// The limit of [`SIZE`]. A cache without one has no sample of it.
pub static CAPACITY: Metric = Metric {
    name: "object_cache.capacity",
    prometheus_name: "object_cache_capacity_bytes",
    kind: Kind::Gauge,
    unit: "By",
    help: "The most bytes that may be held",
    attributes: &[],
};

/// Copies that left by themselves.
pub static EVICTIONS: Metric = Metric {
    name: "object_cache.evictions",
    prometheus_name: "object_cache_evictions_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Copies dropped to make room, or because their time to live had passed",
    attributes: &[Attribute { name: "reason", values: &["capacity", "expired"] }],
};

/// Bodies that were served but not kept.
pub static REFUSALS: Metric = Metric {
    name: "object_cache.refusals",
    prometheus_name: "object_cache_refusals_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Bodies not kept: too large, held to be worth less than others, not taken by the backend, or without ETag and date",
    attributes: &[Attribute { name: "reason", values: &["too_large", "policy", "backend", "unvalidatable"] }],
};

/// Copies that were dropped because they were not to be served again.
pub static INVALIDATIONS: Metric = Metric {
    name: "object_cache.invalidations",
    prometheus_name: "object_cache_invalidations_total",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Copies dropped because of a call, a write through the cache, another version at the origin, or none there",
    attributes: &[Attribute { name: "source", values: &["api", "write", "changed", "gone"] }],
};

/// Failed calls of the backend. They cost requests, never an answer.
pub static BACKEND_ERRORS: Metric = Metric {
    name: "object_cache.backend.errors",
    prometheus_name: "object_cache_backend_errors_total",
    kind: Kind::Counter,
    unit: "{error}",
    help: "Failed calls of the backend",
    attributes: &[],
};

/// Of a cache that holds objects by blocks: blocks that reads needed. Each block counts once for each read that got to it,
/// as its bytes do in [`IO`].
pub static BLOCKS: Metric = Metric {
    name: "object_cache.blocks",
    prometheus_name: "object_cache_blocks_total",
    kind: Kind::Counter,
    unit: "{block}",
    help: "Blocks that reads needed, by whether they were cached",
    attributes: &[Attribute { name: "result", values: &["hit", "miss"] }],
};

/// Of a cache that holds objects by blocks: what it has no part in.
pub static PASSED_THROUGH: Metric = Metric {
    name: "object_cache.passed_through",
    prometheus_name: "object_cache_passed_through_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that the cache had no part in: handed on as they were (counted as op bypass too), or of objects that cannot be held",
    attributes: &[],
};

/// Of a cache that holds objects by blocks.
pub static RESTARTS: Metric = Metric {
    name: "object_cache.restarts",
    prometheus_name: "object_cache_restarts_total",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Reads that began anew because the object had been replaced meanwhile",
    attributes: &[],
};
