//! The vocabulary. Names and units follow OpenTelemetry's conventions: dots between words, UCUM units.
//!
//! Attribute values come from small closed sets, which are written here: never a key, a prefix or a tag. Every
//! metric has the attribute [`CACHE_NAME`] besides its own; whoever exports a cache adds it.

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Unique, and begins with `object_cache.`.
    pub name: &'static str,
    /// How its values go on.
    pub kind: Kind,
    /// UCUM: `By` for bytes, a word in braces for what is counted.
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

/// Every metric.
pub const METRICS: [Metric; 11] = [
    REQUESTS,
    COALESCED,
    ORIGIN_REQUESTS,
    IO,
    ENTRY_COUNT,
    SIZE,
    CAPACITY,
    EVICTIONS,
    REFUSALS,
    INVALIDATIONS,
    BACKEND_ERRORS,
];

/// Finished gets. Its samples add up to all of them: each get is in exactly one.
pub const REQUESTS: Metric = Metric {
    name: "object_cache.requests",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Finished gets, by what they were served with",
    attributes: &[Attribute {
        name: "result",
        values: &["fresh", "revalidated", "stale", "fetched", "refetched", "not_found", "error"],
    }],
};

/// Gets that took the answer to another's question.
pub const COALESCED: Metric = Metric {
    name: "object_cache.coalesced",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Gets that took the answer to a question which another get had caused",
    attributes: &[],
};

/// Requests made to the origin. Writes are counted whatever came of them, under the outcome `any`.
pub const ORIGIN_REQUESTS: Metric = Metric {
    name: "object_cache.origin.requests",
    kind: Kind::Counter,
    unit: "{request}",
    help: "Requests made to the origin, by operation and by what came of them",
    attributes: &[
        Attribute { name: "op", values: &["read", "put", "delete"] },
        Attribute {
            name: "outcome",
            values: &["unchanged", "changed", "gone", "refused", "failed", "abandoned", "any"],
        },
    ],
};

/// Body bytes, by where they came from.
pub const IO: Metric = Metric {
    name: "object_cache.io",
    kind: Kind::Counter,
    unit: "By",
    help: "Body bytes served from held copies, and body bytes that came from the origin",
    attributes: &[Attribute { name: "source", values: &["cache", "origin"] }],
};

/// Copies held.
pub const ENTRY_COUNT: Metric = Metric {
    name: "object_cache.entry.count",
    kind: Kind::Gauge,
    unit: "{entry}",
    help: "Copies held",
    attributes: &[],
};

/// Bytes held.
pub const SIZE: Metric = Metric {
    name: "object_cache.size",
    kind: Kind::Gauge,
    unit: "By",
    help: "Bytes held: keys, bodies, tags and bookkeeping",
    attributes: &[],
};

/// The limit of [`SIZE`]. A cache without one has no sample of it.
pub const CAPACITY: Metric = Metric {
    name: "object_cache.capacity",
    kind: Kind::Gauge,
    unit: "By",
    help: "The most bytes that may be held",
    attributes: &[],
};

/// Copies that left by themselves.
pub const EVICTIONS: Metric = Metric {
    name: "object_cache.evictions",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Copies dropped to make room, or because their time to live had passed",
    attributes: &[Attribute { name: "reason", values: &["capacity", "expired"] }],
};

/// Bodies that were served but not kept.
pub const REFUSALS: Metric = Metric {
    name: "object_cache.refusals",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Bodies served but not kept: the backend did not take them, or the origin gave neither ETag nor date",
    attributes: &[Attribute { name: "reason", values: &["backend", "unvalidatable"] }],
};

/// Copies that were dropped because they were not to be served again.
pub const INVALIDATIONS: Metric = Metric {
    name: "object_cache.invalidations",
    kind: Kind::Counter,
    unit: "{entry}",
    help: "Copies dropped because the object changed, was gone, or was invalidated or written here",
    attributes: &[],
};

/// Failed calls of the backend. They cost requests, never an answer.
pub const BACKEND_ERRORS: Metric = Metric {
    name: "object_cache.backend.errors",
    kind: Kind::Counter,
    unit: "{error}",
    help: "Failed calls of the backend",
    attributes: &[],
};
