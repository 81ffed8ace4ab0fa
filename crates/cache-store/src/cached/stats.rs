//! What happened, counted.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cache_core::{Admission, ErrorCounts, Histogram, Outcomes, Refusal, Refused, Stats};
use cache_metrics::{BlockStats, Snapshot, Source};

use super::{
    CachedStore,
    request::{Op, Requests},
};

/// A snapshot of the counters of a [`CachedStore`](crate::CachedStore): running totals since it was built. Read while
/// others work, they may be a little apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedStoreStats {
    /// What happened to heads: which version of an object is current. Each read that is not passed through counts here
    /// once for each time that it had to know that; `entries` and `bytes` are those of blocks too.
    pub heads: Stats,
    /// Blocks that were held when a read wanted them.
    pub blocks_hit: u64,
    /// Blocks that were not held when a read wanted them.
    pub blocks_missed: u64,
    /// Requests for blocks of a version that was known. Those that came with a head are among `heads`' requests.
    pub block_requests: Outcomes,
    /// Puts.
    pub puts: Outcomes,
    /// Deletes, by object: a store may be asked for many at once.
    pub deletes: Outcomes,
    /// Copies, renames, uploads in parts, lists (which have ended with their first item), and what was handed on as it was.
    pub others: Outcomes,
    /// How long requests for blocks took, until the answer began, by [`Stats::ORIGIN_BOUNDS`]; those that were given up are
    /// left out, here and below.
    pub block_times: Histogram,
    /// How long puts took.
    pub put_times: Histogram,
    /// How long deletes took, each from its being handed to the store to its being reported; those that failed together
    /// with others are left out, for an error does not say whose it is.
    pub delete_times: Histogram,
    /// How long the others took, until the answer began.
    pub other_times: Histogram,
    /// The errors of requests of these four kinds, by kind. Those of heads are in
    /// [`heads.origin`](cache_core::OriginStats::errors_by_kind).
    pub request_errors: ErrorCounts,
    /// Requests of these four kinds, sent and not yet answered, now.
    pub requests_in_flight: u64,
    /// Blocks that the backend did not keep; under `backend` also those that found no room in `max_in_flight_bytes`.
    pub blocks_refused: Refused,
    /// Bytes given to callers from held blocks.
    pub bytes_from_cache: u64,
    /// Bytes of bodies that came from the store, but for what was passed through.
    pub bytes_from_origin: u64,
    /// Requests that were handed to the store as they were (they are among `others`), and objects that could not be held:
    /// without a tag that names their bytes, or larger than `max_object_size` (these are among `heads`' requests).
    pub passed_through: u64,
    /// Reads that began anew because the object had been replaced since its head was asked for.
    pub restarts: u64,
    /// Failed calls of the backend for blocks.
    pub backend_errors: u64,
}

impl From<&CachedStore> for Source {
    /// The figures of a [`CachedStore`]: bytes are those of blocks, and `requests` are questions which version is current.
    fn from(store: &CachedStore) -> Self {
        let weak = Arc::downgrade(&store.shared);
        Self::new(store.shared.heads.name(), move || {
            let shared = weak.upgrade()?;
            Some(CachedStore { shared }.stats().into())
        })
    }
}

impl From<CachedStoreStats> for Snapshot {
    fn from(store: CachedStoreStats) -> Self {
        let mut stats = store.heads;
        // The body of a head is the object's size.
        stats.bytes_from_cache = store.bytes_from_cache;
        stats.bytes_from_origin = store.bytes_from_origin;
        stats.backend_errors += store.backend_errors;
        stats.refused.too_large += store.blocks_refused.too_large;
        stats.refused.policy += store.blocks_refused.policy;
        stats.refused.backend += store.blocks_refused.backend;
        stats.origin.in_flight += store.requests_in_flight;
        stats.origin.errors_by_kind = stats.origin.errors_by_kind + store.request_errors;
        (stats.origin.puts, stats.origin.put_times) = (store.puts, store.put_times);
        (stats.origin.deletes, stats.origin.delete_times) = (store.deletes, store.delete_times);
        let mut blocks = BlockStats::default();
        blocks.hit = store.blocks_hit;
        blocks.missed = store.blocks_missed;
        (blocks.requests, blocks.request_times) = (store.block_requests, store.block_times);
        (blocks.others, blocks.other_times) = (store.others, store.other_times);
        blocks.passed_through = store.passed_through;
        blocks.restarts = store.restarts;
        Self::from(stats).with_blocks(blocks)
    }
}

/// What is counted here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    BlocksHit,
    BlocksMissed,
    RefusedTooLarge,
    RefusedByPolicy,
    RefusedByBackend,
    BytesFromCache,
    BytesFromOrigin,
    PassedThrough,
    Restarts,
    BackendErrors,
}

pub(super) struct Counters {
    counts: [AtomicU64; COUNTS],
    pub(super) requests: Requests,
}

const COUNTS: usize = Count::BackendErrors as usize + 1;

impl Counters {
    pub(super) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// A block that the backend did not keep; one that panicked as well.
    pub(super) fn add_refused<P>(&self, admission: &Result<cache_core::Result<Admission>, P>) {
        let count = match admission {
            Ok(Ok(Admission::Stored)) => return,
            Ok(Ok(Admission::Refused(Refusal::TooLarge))) => Count::RefusedTooLarge,
            Ok(Ok(Admission::Refused(Refusal::Policy))) => Count::RefusedByPolicy,
            Ok(Ok(Admission::Refused(_)) | Err(_)) | Err(_) => Count::RefusedByBackend,
        };
        self.add(count, 1);
    }

    pub(super) fn snapshot(&self, heads: Stats) -> CachedStoreStats {
        let of = |count: Count| self.counts[count as usize].load(Ordering::Relaxed);
        let requests = &self.requests;
        let (outcomes, times) = (|op| requests.of(op).outcomes(), |op| requests.of(op).times());
        let mut blocks_refused = Refused::default();
        blocks_refused.too_large = of(Count::RefusedTooLarge);
        blocks_refused.policy = of(Count::RefusedByPolicy);
        blocks_refused.backend = of(Count::RefusedByBackend);
        CachedStoreStats {
            heads,
            blocks_hit: of(Count::BlocksHit),
            blocks_missed: of(Count::BlocksMissed),
            block_requests: outcomes(Op::Blocks),
            puts: outcomes(Op::Put),
            deletes: outcomes(Op::Delete),
            others: outcomes(Op::Other),
            block_times: times(Op::Blocks),
            put_times: times(Op::Put),
            delete_times: times(Op::Delete),
            other_times: times(Op::Other),
            request_errors: requests.errors(),
            requests_in_flight: requests.in_flight(),
            blocks_refused,
            bytes_from_cache: of(Count::BytesFromCache),
            bytes_from_origin: of(Count::BytesFromOrigin),
            passed_through: of(Count::PassedThrough),
            restarts: of(Count::Restarts),
            backend_errors: of(Count::BackendErrors),
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self { counts: array::from_fn(|_| AtomicU64::default()), requests: Requests::default() }
    }
}
