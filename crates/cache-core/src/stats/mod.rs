//! What happened, counted.

mod counters;
mod display;
mod errors;
mod histogram;

use std::{
    ops::{Add, Sub},
    time::Duration,
};

pub(crate) use self::counters::{Count, Counters, Op};
pub use self::{
    errors::{AtomicErrorCounts, ErrorCounts},
    histogram::{AtomicHistogram, Bounds, Bucket, Histogram},
};

/// A snapshot of a cache's counters. Every count is a field; whatever is computed from counts is a
/// method; [`Display`](std::fmt::Display) writes a short table of them. Running totals since the
/// cache was built, but for `entries`, `bytes`, `capacity_bytes` and `origin.in_flight`, which say
/// how it is now. `later - earlier` gives what happened between the two.
///
/// Every finished `get` is in exactly one of `fresh`, `revalidated`, `stale`, `fetched`,
/// `refetched`, `not_found` and `errors`; one whose future was dropped is in none. Read while
/// others work, the counters may be a little apart; at rest they are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gets served from a fresh entry, without asking.
    pub fresh: u64,
    /// Gets served from an entry that the origin confirmed for them.
    pub revalidated: u64,
    /// Gets served from an entry that a list validated for them, without a request of their own:
    /// part of `revalidated`.
    pub revalidated_by_list: u64,
    /// Gets served from an entry past its `max_age`: asked about behind, or the origin failed.
    pub stale: u64,
    /// Gets whose body was fetched, nothing being held.
    pub fetched: u64,
    /// Gets whose body was fetched in the place of a held one that was not confirmed.
    pub refetched: u64,
    /// Gets served from an entry of a lower tier, such as a disk ([`Tier::Disk`](crate::Tier)):
    /// part of `fresh`, `revalidated` and `stale`. Reads that share a revalidation of such an entry
    /// are among them.
    pub hits_from_disk: u64,
    /// Gets of objects that do not exist.
    pub not_found: u64,
    /// Gets that failed in another way.
    pub errors: u64,
    /// The errors of those gets, by kind. Of a get that failed once all are counted in one, so that
    /// the kinds add up to `errors`.
    pub errors_by_kind: ErrorCounts,
    /// Gets that took the answer to a question which another get had caused.
    pub coalesced: u64,
    /// Copies dropped because they were not to be served again.
    pub invalidated: Invalidated,
    /// Copies dropped to make room.
    pub evictions: u64,
    /// Copies dropped because their time to live had passed.
    pub expirations: u64,
    /// Bodies served or written but not kept.
    pub rejected: Rejected,
    /// Failed calls of the backend.
    pub backend_errors: u64,
    /// Copies held now. Negative entries, which remember that there is no object, are not counted,
    /// here and among those dropped, if the backend tells them apart.
    pub entries: u64,
    /// Bytes held now: keys, bodies, tags and bookkeeping, those of negative entries too.
    pub bytes: u64,
    /// The most bytes that may be cached; `None` without a limit.
    pub capacity_bytes: Option<u64>,
    /// Body bytes handed to readers, from the cache or not; a reader that shares another one's
    /// request counts too.
    pub bytes_served: u64,
    /// Body bytes served from cached entries: part of `bytes_served`.
    pub bytes_from_cache: u64,
    /// Body bytes served from entries of a lower tier: part of `bytes_from_cache`, and the bytes of
    /// `hits_from_disk`.
    pub bytes_from_disk: u64,
    /// Body bytes that came from the store, whatever they were requested for.
    pub bytes_from_origin: u64,
    /// How old held copies were when they were served: how long ago the origin had validated them.
    /// A sample: of each of `fresh`, `revalidated` and `stale`, on each of eight groups of threads,
    /// the first and every 64th after it.
    pub age: Histogram,
    /// How long gets waited whose answer needed the store: for an earlier request of the same key,
    /// for a permit, and for the answer. Gets served without it are not among these, dropped ones
    /// neither. Measured by the cheap clock
    /// ([`Clock::coarse_bounds`](crate::Clock::coarse_bounds)): a single wait may be some
    /// milliseconds off, their sum is not.
    pub wait_times: Histogram,
    /// How long requests waited for a permit that found none free (`max_in_flight`), also those
    /// that gave up (`queue_timeout`). A request that had a permit at once is not among these.
    pub queue_times: Histogram,
    /// Requests made to the origin.
    pub origin: OriginStats,
}

/// Copies dropped because they were not to be served again, by what was the cause. A call for a key
/// that is not held counts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalidated {
    /// `invalidate` or `clear` was called. (`invalidate_prefix` is told when the copies are next
    /// asked for.)
    pub by_api: u64,
    /// The object was written or deleted through this cache.
    pub by_write: u64,
    /// The origin had another version, or could not be held to the one that it gave.
    pub modified: u64,
    /// The origin had no such object, or refused it.
    pub not_found: u64,
}

/// Bodies served or written but not kept, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// More than the backend may hold at all.
    pub too_large: u64,
    /// The eviction policy would rather keep what is there.
    pub policy: u64,
    /// The backend did not take it for another reason, or failed.
    pub backend: u64,
    /// The origin gave neither ETag nor date.
    pub no_validator: u64,
}

/// Requests made to the origin, by operation and outcome. They are counted when they have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginStats {
    /// Reads answered "not modified": no body came.
    pub not_modified: u64,
    /// Reads answered with a body.
    pub modified: u64,
    /// Reads answered "no such object".
    pub not_found: u64,
    /// Reads answered with a refusal or another error that is an answer.
    pub refused: u64,
    /// Reads that the origin failed to answer.
    pub failed: u64,
    /// Reads given up before they were answered (`patience`, or the runtime was shut down).
    pub cancelled: u64,
    /// Puts.
    pub puts: Outcomes,
    /// Deletes.
    pub deletes: Outcomes,
    /// Pages of lists.
    pub lists: Outcomes,
    /// The errors that requests of all kinds were answered with or failed with, by kind: `refused`
    /// and `failed` of reads, puts and deletes together, and deletes of what did not exist.
    pub errors_by_kind: ErrorCounts,
    /// Requests sent and not yet answered, now.
    pub in_flight: u64,
    /// How long reads took, until their answer was there; those that were given up are left out.
    pub read_times: Histogram,
    /// How long puts took.
    pub put_times: Histogram,
    /// How long deletes took.
    pub delete_times: Histogram,
    /// How long pages of lists took.
    pub list_times: Histogram,
}

/// Requests of one kind that say nothing of what is held, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// The origin did what was asked.
    pub succeeded: u64,
    /// The origin answered with an error: a precondition, permissions, nothing to delete.
    pub refused: u64,
    /// The origin failed to answer. Whether a write took effect is open.
    pub failed: u64,
    /// The caller gave them up before they were answered. Whether a write took effect is open.
    pub cancelled: u64,
}

impl Stats {
    /// The bounds of the histograms in [`OriginStats`], of [`wait_times`](Self::wait_times) and of
    /// [`queue_times`](Self::queue_times): 0.5 ms to 30 s.
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

    /// Returns the body bytes fetched from the store for each byte handed to a reader
    /// (`bytes_from_origin` / `bytes_served`). 1 is what readers without a cache would cause; zero
    /// says that nothing was fetched, or that no byte was read yet.
    pub fn read_amplification(&self) -> f64 {
        amplification(self.bytes_from_origin, self.bytes_served)
    }

    /// Copies dropped because the object changed, was gone, or was invalidated or written here.
    pub fn invalidations(&self) -> u64 {
        let Invalidated { by_api, by_write, modified, not_found } = self.invalidated;
        by_api + by_write + modified + not_found
    }

    /// Bodies served or written but not kept.
    pub fn rejections(&self) -> u64 {
        let Rejected { too_large, policy, backend, no_validator } = self.rejected;
        too_large + policy + backend + no_validator
    }
}

impl OriginStats {
    /// Requests that asked for an object.
    pub fn reads(&self) -> u64 {
        self.not_modified
            + self.modified
            + self.not_found
            + self.refused
            + self.failed
            + self.cancelled
    }

    /// All requests that have ended.
    pub fn requests(&self) -> u64 {
        self.reads() + self.puts.requests() + self.deletes.requests() + self.lists.requests()
    }
}

impl Outcomes {
    /// All of them that have ended.
    pub fn requests(&self) -> u64 {
        self.succeeded + self.refused + self.failed + self.cancelled
    }
}

impl Stats {
    /// Each running total combined with that of `other`; how it is now is kept.
    fn zip(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            fresh: combine(self.fresh, other.fresh),
            revalidated: combine(self.revalidated, other.revalidated),
            revalidated_by_list: combine(self.revalidated_by_list, other.revalidated_by_list),
            stale: combine(self.stale, other.stale),
            fetched: combine(self.fetched, other.fetched),
            refetched: combine(self.refetched, other.refetched),
            hits_from_disk: combine(self.hits_from_disk, other.hits_from_disk),
            not_found: combine(self.not_found, other.not_found),
            errors: combine(self.errors, other.errors),
            errors_by_kind: self.errors_by_kind.zip(other.errors_by_kind, combine),
            coalesced: combine(self.coalesced, other.coalesced),
            invalidated: Invalidated {
                by_api: combine(self.invalidated.by_api, other.invalidated.by_api),
                by_write: combine(self.invalidated.by_write, other.invalidated.by_write),
                modified: combine(self.invalidated.modified, other.invalidated.modified),
                not_found: combine(self.invalidated.not_found, other.invalidated.not_found),
            },
            evictions: combine(self.evictions, other.evictions),
            expirations: combine(self.expirations, other.expirations),
            rejected: Rejected {
                too_large: combine(self.rejected.too_large, other.rejected.too_large),
                policy: combine(self.rejected.policy, other.rejected.policy),
                backend: combine(self.rejected.backend, other.rejected.backend),
                no_validator: combine(self.rejected.no_validator, other.rejected.no_validator),
            },
            backend_errors: combine(self.backend_errors, other.backend_errors),
            bytes_served: combine(self.bytes_served, other.bytes_served),
            bytes_from_cache: combine(self.bytes_from_cache, other.bytes_from_cache),
            bytes_from_disk: combine(self.bytes_from_disk, other.bytes_from_disk),
            bytes_from_origin: combine(self.bytes_from_origin, other.bytes_from_origin),
            age: self.age.zip(other.age, combine),
            wait_times: self.wait_times.zip(other.wait_times, combine),
            queue_times: self.queue_times.zip(other.queue_times, combine),
            origin: OriginStats {
                not_modified: combine(self.origin.not_modified, other.origin.not_modified),
                modified: combine(self.origin.modified, other.origin.modified),
                not_found: combine(self.origin.not_found, other.origin.not_found),
                refused: combine(self.origin.refused, other.origin.refused),
                failed: combine(self.origin.failed, other.origin.failed),
                cancelled: combine(self.origin.cancelled, other.origin.cancelled),
                puts: self.origin.puts.zip(other.origin.puts, combine),
                deletes: self.origin.deletes.zip(other.origin.deletes, combine),
                lists: self.origin.lists.zip(other.origin.lists, combine),
                errors_by_kind: self
                    .origin
                    .errors_by_kind
                    .zip(other.origin.errors_by_kind, combine),
                read_times: self.origin.read_times.zip(other.origin.read_times, combine),
                put_times: self.origin.put_times.zip(other.origin.put_times, combine),
                delete_times: self.origin.delete_times.zip(other.origin.delete_times, combine),
                list_times: self.origin.list_times.zip(other.origin.list_times, combine),
                ..self.origin
            },
            ..self
        }
    }

    /// The totals, none of them lower than in `earlier`: of two snapshots that were taken at the
    /// same time, and read in another order, none falls. How it is now is that of `self`.
    #[must_use]
    pub fn at_least(self, earlier: Self) -> Self {
        self.zip(earlier, u64::max)
    }
}

impl Sub for Stats {
    type Output = Self;

    /// What happened since `earlier`; how it is now is kept.
    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }
}

impl Add for Stats {
    type Output = Self;

    /// What happened in two intervals, or to two caches, together; how it is now is that of `self`.
    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

impl Outcomes {
    fn zip(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            succeeded: combine(self.succeeded, other.succeeded),
            refused: combine(self.refused, other.refused),
            failed: combine(self.failed, other.failed),
            cancelled: combine(self.cancelled, other.cancelled),
        }
    }

    /// The totals, none of them lower than in `earlier`.
    #[must_use]
    pub fn at_least(self, earlier: Self) -> Self {
        self.zip(earlier, u64::max)
    }
}

impl Add for Outcomes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

fn amplification(fetched: u64, served: u64) -> f64 {
    if served == 0 { 0.0 } else { fetched as f64 / served as f64 }
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
