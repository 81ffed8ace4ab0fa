//! What happened, counted.

use std::{
    cell::Cell,
    ops::Sub,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::Usage;

/// A snapshot of a cache's counters. Running totals since the cache was built, but for `entries`, `bytes` and
/// `capacity_bytes`, which say how it is now. `later - earlier` gives what happened between the two.
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
    /// Copies dropped because the object changed, was gone, or was invalidated or written here. A call for a key
    /// that is not held counts nothing.
    pub invalidations: u64,
    /// Copies dropped to make room.
    pub evictions: u64,
    /// Copies dropped because their time to live had passed.
    pub expirations: u64,
    /// Bodies served but not kept because the backend refused or failed to take them.
    pub refusals: u64,
    /// Bodies served or written but not kept because the origin gave neither ETag nor date.
    pub unvalidatable: u64,
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
    /// Requests made to the origin.
    pub origin: OriginStats,
}

/// Requests made to the origin, by outcome.
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
    /// Writes: puts.
    pub puts: u64,
    /// Writes: deletes.
    pub deletes: u64,
}

impl Stats {
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
}

impl OriginStats {
    /// Requests that asked for an object.
    pub fn reads(&self) -> u64 {
        self.unchanged + self.changed + self.gone + self.refused + self.failed + self.abandoned
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.reads() + self.puts + self.deletes
    }
}

impl Sub for Stats {
    type Output = Self;

    /// What happened since `earlier`; how it is now is kept.
    fn sub(self, earlier: Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            fresh: since(self.fresh, earlier.fresh),
            revalidated: since(self.revalidated, earlier.revalidated),
            stale: since(self.stale, earlier.stale),
            fetched: since(self.fetched, earlier.fetched),
            refetched: since(self.refetched, earlier.refetched),
            not_found: since(self.not_found, earlier.not_found),
            errors: since(self.errors, earlier.errors),
            coalesced: since(self.coalesced, earlier.coalesced),
            invalidations: since(self.invalidations, earlier.invalidations),
            evictions: since(self.evictions, earlier.evictions),
            expirations: since(self.expirations, earlier.expirations),
            refusals: since(self.refusals, earlier.refusals),
            unvalidatable: since(self.unvalidatable, earlier.unvalidatable),
            backend_errors: since(self.backend_errors, earlier.backend_errors),
            bytes_from_cache: since(self.bytes_from_cache, earlier.bytes_from_cache),
            bytes_from_origin: since(self.bytes_from_origin, earlier.bytes_from_origin),
            origin: OriginStats {
                unchanged: since(self.origin.unchanged, earlier.origin.unchanged),
                changed: since(self.origin.changed, earlier.origin.changed),
                gone: since(self.origin.gone, earlier.origin.gone),
                refused: since(self.origin.refused, earlier.origin.refused),
                failed: since(self.origin.failed, earlier.origin.failed),
                abandoned: since(self.origin.abandoned, earlier.origin.abandoned),
                puts: since(self.origin.puts, earlier.origin.puts),
                deletes: since(self.origin.deletes, earlier.origin.deletes),
            },
            ..self
        }
    }
}

/// The counters behind [`Stats`]: striped, so that readers on different processors do not share a cache line.
#[derive(Debug, Default)]
pub(crate) struct Counters([Stripe; STRIPES]);

/// What is counted, as an index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Fresh,
    Revalidated,
    Stale,
    Fetched,
    Refetched,
    NotFound,
    Errors,
    Coalesced,
    Invalidations,
    Expirations,
    Refusals,
    Unvalidatable,
    BackendErrors,
    BytesFromCache,
    BytesFromOrigin,
    OriginUnchanged,
    OriginChanged,
    OriginGone,
    OriginRefused,
    OriginFailed,
    OriginAbandoned,
    OriginPuts,
    OriginDeletes,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; COUNTS]);

const COUNTS: usize = Count::OriginDeletes as usize + 1;
const STRIPES: usize = 8;

impl Counters {
    pub(crate) fn add(&self, count: Count, n: u64) {
        self.0[stripe()].0[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// One of `count`, and `bytes` that the cache answered with.
    pub(crate) fn add_hit(&self, count: Count, bytes: u64) {
        let stripe = &self.0[stripe()].0;
        stripe[count as usize].fetch_add(1, Ordering::Relaxed);
        stripe[Count::BytesFromCache as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, usage: &Usage) -> Stats {
        let sum = |count: Count| {
            let one = |stripe: &Stripe| stripe.0[count as usize].load(Ordering::Relaxed);
            self.0.iter().map(one).fold(0, u64::wrapping_add)
        };
        Stats {
            fresh: sum(Count::Fresh),
            revalidated: sum(Count::Revalidated),
            stale: sum(Count::Stale),
            fetched: sum(Count::Fetched),
            refetched: sum(Count::Refetched),
            not_found: sum(Count::NotFound),
            errors: sum(Count::Errors),
            coalesced: sum(Count::Coalesced),
            invalidations: sum(Count::Invalidations),
            evictions: usage.evicted,
            expirations: usage.expired + sum(Count::Expirations),
            refusals: sum(Count::Refusals),
            unvalidatable: sum(Count::Unvalidatable),
            backend_errors: sum(Count::BackendErrors),
            entries: usage.entries,
            bytes: usage.bytes,
            capacity_bytes: usage.capacity_bytes.unwrap_or(u64::MAX),
            bytes_from_cache: sum(Count::BytesFromCache),
            bytes_from_origin: sum(Count::BytesFromOrigin),
            origin: OriginStats {
                unchanged: sum(Count::OriginUnchanged),
                changed: sum(Count::OriginChanged),
                gone: sum(Count::OriginGone),
                refused: sum(Count::OriginRefused),
                failed: sum(Count::OriginFailed),
                abandoned: sum(Count::OriginAbandoned),
                puts: sum(Count::OriginPuts),
                deletes: sum(Count::OriginDeletes),
            },
        }
    }
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_difference() {
        let counters = Counters::default();
        counters.add(Count::Fresh, 2);
        let earlier = counters.snapshot(&Usage { entries: 1, ..Usage::default() });
        counters.add(Count::Fresh, 1);
        counters.add(Count::Fetched, 1);
        let later = counters.snapshot(&Usage { entries: 5, ..Usage::default() });
        let between = later - earlier;
        assert_eq!((between.hits(), between.misses(), between.gets(), between.entries), (1, 1, 2, 5));
        assert!((between.hit_ratio() - 0.5).abs() < f64::EPSILON);
        assert!(Stats::default().hit_ratio().abs() < f64::EPSILON);
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..STRIPES * 2 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(Count::Stale, 1)));
            }
        });
        assert_eq!(counters.snapshot(&Usage::default()).stale, STRIPES as u64 * 2000);
    }
}
