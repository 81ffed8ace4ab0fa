//! What happened, counted.

mod counters;
mod histogram;

use std::{ops::Sub, time::Duration};

pub(crate) use self::counters::{Count, Counters, Op};
pub use self::histogram::{AtomicHistogram, Bounds, Bucket, Histogram};

/// A snapshot of a cache's counters. Running totals since the cache was built, but for `entries`, `bytes`,
/// `capacity_bytes` and `origin.in_flight`, which say how it is now. `later - earlier` gives what happened between the
/// two.
///
/// Every finished `get` is in exactly one of `fresh`, `revalidated`, `stale`, `fetched`, `refetched`, `not_found`
/// and `errors`; one whose future was dropped is in none. Read while others work, the counters may be a little
/// apart; at rest they are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gets served from a fresh entry, without asking.
    pub fresh: u64,
    /// Gets served from an entry that the origin confirmed for them.
    pub revalidated: u64,
    /// Gets served from an entry past its `max_age`: asked about behind, or the origin failed.
    pub stale: u64,
    /// Gets whose body was fetched, nothing being held.
    pub fetched: u64,
    /// Gets whose body was fetched in the place of a held one that was not confirmed.
    pub refetched: u64,
    /// Gets of objects that do not exist.
    pub not_found: u64,
    /// Gets that failed in another way.
    pub errors: u64,
    /// Gets that took the answer to a question which another get had caused.
    pub coalesced: u64,
    /// Copies dropped because they were not to be served again.
    pub invalidated: Invalidated,
    /// Copies dropped to make room.
    pub evictions: u64,
    /// Copies dropped because their time to live had passed.
    pub expirations: u64,
    /// Bodies served or written but not kept.
    pub refused: Refused,
    /// Failed calls of the backend.
    pub backend_errors: u64,
    /// Copies held now.
    pub entries: u64,
    /// Bytes held now: keys, bodies, tags and bookkeeping.
    pub bytes: u64,
    /// The most bytes that may be held; `u64::MAX` without a limit.
    pub capacity_bytes: u64,
    /// Body bytes served from held copies.
    pub bytes_from_cache: u64,
    /// Body bytes that came from the origin.
    pub bytes_from_origin: u64,
    /// How old held copies were when they were served: how long ago the origin had vouched for them. A sample: of each of
    /// `fresh`, `revalidated` and `stale`, on each of eight groups of threads, the first and every 64th after it.
    pub age: Histogram,
    /// Requests made to the origin.
    pub origin: OriginStats,
}

/// Copies dropped because they were not to be served again, by what was the cause. A call for a key that is not held
/// counts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalidated {
    /// `invalidate` or `clear` was called. (`invalidate_prefix` is told when the copies are next asked for.)
    pub by_api: u64,
    /// The object was written or deleted through this cache.
    pub by_write: u64,
    /// The origin had another version, or could not be held to the one that it gave.
    pub changed: u64,
    /// The origin had no such object, or refused it.
    pub gone: u64,
}

/// Bodies served or written but not kept, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// More than the backend may hold at all.
    pub too_large: u64,
    /// The eviction policy would rather keep what is there.
    pub policy: u64,
    /// The backend did not take it for another reason, or failed.
    pub backend: u64,
    /// The origin gave neither ETag nor date.
    pub unvalidatable: u64,
}

/// Requests made to the origin, by operation and outcome. They are counted when they have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginStats {
    /// Reads answered "not modified": no body came.
    pub unchanged: u64,
    /// Reads answered with a body.
    pub changed: u64,
    /// Reads answered "no such object".
    pub gone: u64,
    /// Reads answered with a refusal or another error that is an answer.
    pub refused: u64,
    /// Reads that the origin failed to answer.
    pub failed: u64,
    /// Reads given up before they were answered (`patience`, or the runtime was shut down).
    pub abandoned: u64,
    /// Puts.
    pub puts: Outcomes,
    /// Deletes.
    pub deletes: Outcomes,
    /// Requests sent and not yet answered, now.
    pub in_flight: u64,
    /// How long reads took, until their answer was there; those that were given up are left out.
    pub read_times: Histogram,
    /// How long puts took.
    pub put_times: Histogram,
    /// How long deletes took.
    pub delete_times: Histogram,
}

/// Requests of one kind that say nothing of what is held, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// The origin did what was asked.
    pub done: u64,
    /// The origin answered with an error: a precondition, permissions, nothing to delete.
    pub refused: u64,
    /// The origin failed to answer. Whether a write took effect is open.
    pub failed: u64,
    /// The caller gave them up before they were answered. Whether a write took effect is open.
    pub abandoned: u64,
}

impl Stats {
    /// The bounds of the histograms in [`OriginStats`]: 0.5 ms to 30 s.
    pub const ORIGIN_BOUNDS: Bounds = micros([
        500,
        1000,
        2500,
        5000,
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        SECOND,
        2_500_000,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
    ]);

    /// The bounds of [`age`](Self::age): 10 ms to a day.
    pub const AGE_BOUNDS: Bounds = micros([
        10_000,
        100_000,
        SECOND,
        2 * SECOND,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
        60 * SECOND,
        120 * SECOND,
        300 * SECOND,
        600 * SECOND,
        1800 * SECOND,
        3600 * SECOND,
        21_600 * SECOND,
        86_400 * SECOND,
    ]);

    /// Gets served from a held copy.
    pub fn hits(&self) -> u64 {
        self.fresh + self.revalidated + self.stale
    }

    /// Gets whose body had to be fetched.
    pub fn misses(&self) -> u64 {
        self.fetched + self.refetched
    }

    /// Finished gets.
    pub fn gets(&self) -> u64 {
        self.hits() + self.misses() + self.not_found + self.errors
    }

    /// Hits among hits and misses, from 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        match self.hits() + self.misses() {
            0 => 0.0,
            all => self.hits() as f64 / all as f64,
        }
    }

    /// Copies dropped because the object changed, was gone, or was invalidated or written here.
    pub fn invalidations(&self) -> u64 {
        let Invalidated { by_api, by_write, changed, gone } = self.invalidated;
        by_api + by_write + changed + gone
    }

    /// Bodies served or written but not kept.
    pub fn refusals(&self) -> u64 {
        let Refused { too_large, policy, backend, unvalidatable } = self.refused;
        too_large + policy + backend + unvalidatable
    }
}

impl OriginStats {
    /// Requests that asked for an object.
    pub fn reads(&self) -> u64 {
        self.unchanged + self.changed + self.gone + self.refused + self.failed + self.abandoned
    }

    /// All requests that have ended.
    pub fn requests(&self) -> u64 {
        self.reads() + self.puts.requests() + self.deletes.requests()
    }
}

impl Outcomes {
    /// All of them that have ended.
    pub fn requests(&self) -> u64 {
        self.done + self.refused + self.failed + self.abandoned
    }
}

impl Sub for Stats {
    type Output = Self;

    /// What happened since `earlier`; how it is now is kept.
    fn sub(self, earlier: Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let (invalidated, refused) = (earlier.invalidated, earlier.refused);
        Self {
            fresh: since(self.fresh, earlier.fresh),
            revalidated: since(self.revalidated, earlier.revalidated),
            stale: since(self.stale, earlier.stale),
            fetched: since(self.fetched, earlier.fetched),
            refetched: since(self.refetched, earlier.refetched),
            not_found: since(self.not_found, earlier.not_found),
            errors: since(self.errors, earlier.errors),
            coalesced: since(self.coalesced, earlier.coalesced),
            invalidated: Invalidated {
                by_api: since(self.invalidated.by_api, invalidated.by_api),
                by_write: since(self.invalidated.by_write, invalidated.by_write),
                changed: since(self.invalidated.changed, invalidated.changed),
                gone: since(self.invalidated.gone, invalidated.gone),
            },
            evictions: since(self.evictions, earlier.evictions),
            expirations: since(self.expirations, earlier.expirations),
            refused: Refused {
                too_large: since(self.refused.too_large, refused.too_large),
                policy: since(self.refused.policy, refused.policy),
                backend: since(self.refused.backend, refused.backend),
                unvalidatable: since(self.refused.unvalidatable, refused.unvalidatable),
            },
            backend_errors: since(self.backend_errors, earlier.backend_errors),
            bytes_from_cache: since(self.bytes_from_cache, earlier.bytes_from_cache),
            bytes_from_origin: since(self.bytes_from_origin, earlier.bytes_from_origin),
            age: self.age - earlier.age,
            origin: self.origin - earlier.origin,
            ..self
        }
    }
}

impl Sub for OriginStats {
    type Output = Self;

    /// What happened since `earlier`; how it is now is kept.
    fn sub(self, earlier: Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            unchanged: since(self.unchanged, earlier.unchanged),
            changed: since(self.changed, earlier.changed),
            gone: since(self.gone, earlier.gone),
            refused: since(self.refused, earlier.refused),
            failed: since(self.failed, earlier.failed),
            abandoned: since(self.abandoned, earlier.abandoned),
            puts: self.puts - earlier.puts,
            deletes: self.deletes - earlier.deletes,
            in_flight: self.in_flight,
            read_times: self.read_times - earlier.read_times,
            put_times: self.put_times - earlier.put_times,
            delete_times: self.delete_times - earlier.delete_times,
        }
    }
}

impl Sub for Outcomes {
    type Output = Self;

    /// What happened since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            done: self.done.saturating_sub(earlier.done),
            refused: self.refused.saturating_sub(earlier.refused),
            failed: self.failed.saturating_sub(earlier.failed),
            abandoned: self.abandoned.saturating_sub(earlier.abandoned),
        }
    }
}

const fn micros(bounds: [u64; 15]) -> Bounds {
    let mut spans = [Duration::ZERO; 15];
    let mut i = 0;
    while i < spans.len() {
        spans[i] = Duration::from_micros(bounds[i]);
        i += 1;
    }
    spans
}

const SECOND: u64 = 1_000_000;
