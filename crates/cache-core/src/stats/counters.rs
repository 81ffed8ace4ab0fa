//! The counters themselves.

use std::{
    array,
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use super::{
    AtomicErrorCounts, AtomicHistogram, Invalidated, OriginStats, Outcomes, Rejected, Stats,
};
use crate::{ErrorKind, Usage};

/// The counters behind [`Stats`]: striped, so that readers on different processors do not share a
/// cache line. What is not counted on a fresh hit, or seldom, is not.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
    age: AtomicHistogram,
    origin_times: [AtomicHistogram; OPS],
    wait_times: AtomicHistogram,
    queue_times: AtomicHistogram,
    /// Of gets, and of requests to the origin.
    errors: AtomicErrorCounts,
    origin_errors: AtomicErrorCounts,
}

/// What is counted, as an index. What a hit counts is on one cache line.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Fresh,
    Revalidated,
    Stale,
    BytesFromCache,
    Fetched,
    BytesFetchedServed,
    Refetched,
    NotFound,
    Errors,
    Coalesced,
    InvalidatedByApi,
    InvalidatedByWrite,
    InvalidatedModified,
    InvalidatedNotFound,
    Expirations,
    RejectedTooLarge,
    RejectedByPolicy,
    RejectedByBackend,
    NoValidator,
    BackendErrors,
    BytesFromOrigin,
    HitsFromDisk,
    BytesFromDisk,
    RevalidatedByList,
    OriginSent,
    OriginNotModified,
    OriginModified,
    OriginNotFound,
    OriginRefused,
    OriginFailed,
    OriginCancelled,
    PutSucceeded,
    PutRefused,
    PutFailed,
    PutCancelled,
    DeleteSucceeded,
    DeleteRefused,
    DeleteFailed,
    DeleteCancelled,
    ListSucceeded,
    ListRefused,
    ListFailed,
    ListCancelled,
}

/// What the origin is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Read,
    Put,
    Delete,
    List,
}

impl Op {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}

#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; COUNTS]);

impl Default for Stripe {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::default()))
    }
}

const COUNTS: usize = Count::ListCancelled as usize + 1;
const STRIPES: usize = 8;
const OPS: usize = Op::List as usize + 1;

/// One age in so many is kept.
const AGES_EVERY: u64 = 64;

impl Counters {
    pub(crate) fn add(&self, count: Count, n: u64) {
        self.stripes[stripe()].0[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// One of `count`, and `bytes` that the cache answered with, of a copy that was validated `age`
    /// ago.
    #[inline]
    pub(crate) fn add_hit(&self, count: Count, bytes: u64, age: Duration) {
        let stripe = &self.stripes[stripe()].0;
        let n_before = stripe[count as usize].fetch_add(1, Ordering::Relaxed);
        stripe[Count::BytesFromCache as usize].fetch_add(bytes, Ordering::Relaxed);
        if n_before.is_multiple_of(AGES_EVERY) {
            self.age.add(age, &Stats::AGE_BOUNDS);
        }
    }

    /// A request to the origin was answered, `span` after it was sent.
    pub(crate) fn add_answer(&self, op: Op, span: Duration) {
        self.origin_times[op as usize].add(span, &Stats::ORIGIN_BOUNDS);
    }

    /// A get failed, with anything but "not found".
    pub(crate) fn add_error(&self, kind: ErrorKind) {
        self.add(Count::Errors, 1);
        self.errors.add(kind);
    }

    /// A request to the origin was answered with an error, or failed with it.
    pub(crate) fn add_origin_error(&self, kind: ErrorKind) {
        self.origin_errors.add(kind);
    }

    /// A get waited for `span`.
    pub(crate) fn add_wait(&self, span: Duration) {
        self.wait_times.add(span, &Stats::ORIGIN_BOUNDS);
    }

    /// A request waited for a permit for `span`.
    pub(crate) fn add_queued(&self, span: Duration) {
        self.queue_times.add(span, &Stats::ORIGIN_BOUNDS);
    }

    pub(crate) fn snapshot(&self, usage: &Usage, negative_entries: u64) -> Stats {
        let sum = |count: Count| {
            let one = |stripe: &Stripe| stripe.0[count as usize].load(Ordering::Relaxed);
            self.stripes.iter().map(one).fold(0, u64::wrapping_add)
        };
        let times = |op: Op| self.origin_times[op as usize].snapshot();
        let mut origin = OriginStats {
            not_modified: sum(Count::OriginNotModified),
            modified: sum(Count::OriginModified),
            not_found: sum(Count::OriginNotFound),
            refused: sum(Count::OriginRefused),
            failed: sum(Count::OriginFailed),
            cancelled: sum(Count::OriginCancelled),
            puts: Outcomes {
                succeeded: sum(Count::PutSucceeded),
                refused: sum(Count::PutRefused),
                failed: sum(Count::PutFailed),
                cancelled: sum(Count::PutCancelled),
            },
            deletes: Outcomes {
                succeeded: sum(Count::DeleteSucceeded),
                refused: sum(Count::DeleteRefused),
                failed: sum(Count::DeleteFailed),
                cancelled: sum(Count::DeleteCancelled),
            },
            lists: Outcomes {
                succeeded: sum(Count::ListSucceeded),
                refused: sum(Count::ListRefused),
                failed: sum(Count::ListFailed),
                cancelled: sum(Count::ListCancelled),
            },
            errors_by_kind: self.origin_errors.snapshot(),
            in_flight: 0,
            read_times: times(Op::Read),
            put_times: times(Op::Put),
            delete_times: times(Op::Delete),
            list_times: times(Op::List),
        };
        // Last: what has ended was sent before.
        origin.in_flight = sum(Count::OriginSent).saturating_sub(origin.requests());
        Stats {
            fresh: sum(Count::Fresh),
            revalidated: sum(Count::Revalidated),
            revalidated_by_list: sum(Count::RevalidatedByList),
            stale: sum(Count::Stale),
            fetched: sum(Count::Fetched),
            refetched: sum(Count::Refetched),
            hits_from_disk: sum(Count::HitsFromDisk),
            not_found: sum(Count::NotFound),
            errors: sum(Count::Errors),
            errors_by_kind: self.errors.snapshot(),
            coalesced: sum(Count::Coalesced),
            invalidated: Invalidated {
                by_api: sum(Count::InvalidatedByApi),
                by_write: sum(Count::InvalidatedByWrite),
                modified: sum(Count::InvalidatedModified),
                not_found: sum(Count::InvalidatedNotFound),
            },
            evictions: usage.evicted,
            expirations: usage.expired + sum(Count::Expirations),
            rejected: Rejected {
                too_large: sum(Count::RejectedTooLarge),
                policy: sum(Count::RejectedByPolicy),
                backend: sum(Count::RejectedByBackend),
                no_validator: sum(Count::NoValidator),
            },
            backend_errors: sum(Count::BackendErrors),
            // The two were read one after the other.
            entries: usage.entries.saturating_sub(negative_entries),
            bytes: usage.bytes,
            capacity_bytes: usage.capacity_bytes,
            bytes_served: sum(Count::BytesFromCache) + sum(Count::BytesFetchedServed),
            bytes_from_cache: sum(Count::BytesFromCache),
            bytes_from_disk: sum(Count::BytesFromDisk),
            bytes_from_origin: sum(Count::BytesFromOrigin),
            age: self.age.snapshot(),
            wait_times: self.wait_times.snapshot(),
            queue_times: self.queue_times.snapshot(),
            origin,
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
        let earlier = counters.snapshot(&Usage { entries: 1, ..Usage::default() }, 0);
        counters.add(Count::Fresh, 1);
        counters.add(Count::Fetched, 1);
        let later = counters.snapshot(&Usage { entries: 7, ..Usage::default() }, 2);
        let between = later - earlier;
        assert_eq!(
            (between.hits(), between.misses(), between.gets(), between.entries),
            (1, 1, 2, 5)
        );
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
        assert_eq!(counters.snapshot(&Usage::default(), 0).stale, STRIPES as u64 * 2000);
    }

    /// The same share of all kinds of hits, whatever order they come in.
    #[test]
    fn one_age_in_64_is_kept() {
        let counters = Counters::default();
        for _ in 0..65 {
            counters.add_hit(Count::Fresh, 0, Duration::from_secs(3));
        }
        counters.add_hit(Count::Stale, 0, Duration::from_secs(400));
        let age = counters.snapshot(&Usage::default(), 0).age;
        let counts = age.buckets().map(|bucket| bucket.count);
        assert_eq!((counts[4], counts[10], age.count()), (2, 1, 3));
    }

    #[test]
    fn what_was_sent_and_has_not_ended_is_in_flight() {
        let counters = Counters::default();
        counters.add(Count::OriginSent, 3);
        counters.add(Count::OriginNotFound, 1);
        counters.add(Count::PutFailed, 1);
        assert_eq!(counters.snapshot(&Usage::default(), 0).origin.in_flight, 1);
    }
}
