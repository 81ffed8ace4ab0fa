//! The counters of reads, by result.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use cache_core::{AtomicErrorCounts, ErrorCounts, ErrorKind};

/// Reads of a [`CachedStore`](crate::CachedStore) that have ended, by result. Every `get`, `head`,
/// `get_range` and `get_ranges` is in exactly one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reads {
    /// Served from cached bytes, without a request.
    pub fresh: u64,
    /// Served from cached bytes; the store confirmed for this read that they are current.
    pub revalidated: u64,
    /// Served from cached bytes past their `max_age`.
    pub stale: u64,
    /// Some bytes had to be fetched, of the version that was cached or of an object of which none
    /// was. A `head` of an object that was not cached.
    pub fetched: u64,
    /// Fetched, because the cached version was not the current one.
    pub refetched: u64,
    /// Answered by the store alone: asked for with [`Bypass`](crate::Bypass), or something that the
    /// cache does not answer.
    pub bypass: u64,
    /// There is no such object.
    pub not_found: u64,
    /// The object is as the caller's own condition says that he has it (304).
    pub not_modified: u64,
    /// The caller's own condition does not hold (412).
    pub precondition_failed: u64,
    /// Asked for with [`OnlyIfCached`](crate::OnlyIfCached), and not cached, or not fresh.
    pub not_cached: u64,
    /// Failed in any other way, before the body or in the middle of it.
    pub errors: u64,
    /// The caller dropped the read, or its body, before its end.
    pub cancelled: u64,
    /// `errors` by kind.
    pub errors_by_kind: ErrorCounts,
}

impl Reads {
    /// Reads served from cached bytes.
    pub fn hits(&self) -> u64 {
        self.fresh + self.revalidated + self.stale
    }

    /// Reads for which bytes had to be fetched.
    pub fn misses(&self) -> u64 {
        self.fetched + self.refetched
    }

    /// Returns the number of all reads that have ended.
    pub fn total(&self) -> u64 {
        let Self {
            bypass,
            not_found,
            not_modified,
            precondition_failed,
            not_cached,
            errors,
            cancelled,
            ..
        } = self;
        let others = bypass + not_found + not_modified + precondition_failed + not_cached;
        self.hits() + self.misses() + others + errors + cancelled
    }

    /// Hits among hits and misses, from 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        match self.hits() + self.misses() {
            0 => 0.0,
            all => self.hits() as f64 / all as f64,
        }
    }
}

impl fmt::Display for Reads {
    /// Writes one line: all reads, then those of each result that is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        let by_result = [
            ("fresh", self.fresh),
            ("revalidated", self.revalidated),
            ("stale", self.stale),
            ("fetched", self.fetched),
            ("refetched", self.refetched),
            ("bypass", self.bypass),
            ("not found", self.not_found),
            ("not modified", self.not_modified),
            ("precondition failed", self.precondition_failed),
            ("not cached", self.not_cached),
            ("errors", self.errors),
            ("cancelled", self.cancelled),
        ];
        let mut separator = ": ";
        for (name, count) in by_result.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{count} {name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadResult {
    Fresh,
    Revalidated,
    Stale,
    Fetched,
    Refetched,
    Bypass,
    NotFound,
    NotModified,
    PreconditionFailed,
    NotCached,
    Error(ErrorKind),
    Cancelled,
}

impl ReadResult {
    const PLACES: usize = 12;

    const fn place(self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Revalidated => 1,
            Self::Stale => 2,
            Self::Fetched => 3,
            Self::Refetched => 4,
            Self::Bypass => 5,
            Self::NotFound => 6,
            Self::NotModified => 7,
            Self::PreconditionFailed => 8,
            Self::NotCached => 9,
            Self::Error(_) => 10,
            Self::Cancelled => 11,
        }
    }
}

/// A number for each [`ReadResult`].
#[derive(Default)]
pub(super) struct ReadCounters {
    results: [AtomicU64; ReadResult::PLACES],
    errors: AtomicErrorCounts,
}

impl ReadCounters {
    pub(super) fn add(&self, result: ReadResult) {
        self.results[result.place()].fetch_add(1, Ordering::Relaxed);
        if let ReadResult::Error(kind) = result {
            self.errors.add(kind);
        }
    }

    pub(super) fn snapshot(&self) -> Reads {
        let of = |result: ReadResult| self.results[result.place()].load(Ordering::Relaxed);
        Reads {
            fresh: of(ReadResult::Fresh),
            revalidated: of(ReadResult::Revalidated),
            stale: of(ReadResult::Stale),
            fetched: of(ReadResult::Fetched),
            refetched: of(ReadResult::Refetched),
            bypass: of(ReadResult::Bypass),
            not_found: of(ReadResult::NotFound),
            not_modified: of(ReadResult::NotModified),
            precondition_failed: of(ReadResult::PreconditionFailed),
            not_cached: of(ReadResult::NotCached),
            errors: of(ReadResult::Error(ErrorKind::Other)),
            cancelled: of(ReadResult::Cancelled),
            errors_by_kind: self.errors.snapshot(),
        }
    }
}
