//! What happened, counted.

use std::{
    array,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cache_core::{AtomicHistogram, Clock, Histogram, Moment, Outcomes, Stats};
use cache_metrics::{BlockStats, Snapshot, Source};

use object_store::{Result, path::Path};

use super::{CachedStore, blocks::Blocks, fills::Fills, trace::Span};
use crate::error::is_outage;

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
    /// How long they took, until the answer began, by [`Stats::ORIGIN_BOUNDS`]; those that were given up are left out.
    pub block_request_times: Histogram,
    /// Requests for blocks, sent and not yet answered, now.
    pub block_requests_in_flight: u64,
    /// Bytes given to callers from held blocks.
    pub bytes_from_cache: u64,
    /// Bytes of bodies that came from the store, but for what was passed through.
    pub bytes_from_origin: u64,
    /// Requests that were handed to the store as they were, and objects that could not be held: without a tag that
    /// names their bytes, or larger than `max_object_size`.
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
        stats.origin.in_flight += store.block_requests_in_flight;
        let mut blocks = BlockStats::default();
        blocks.hit = store.blocks_hit;
        blocks.missed = store.blocks_missed;
        blocks.requests = store.block_requests;
        blocks.request_times = store.block_request_times;
        blocks.passed_through = store.passed_through;
        blocks.restarts = store.restarts;
        Self::from(stats).with_blocks(blocks)
    }
}

/// A request for blocks, from its sending on. Dropped before it was answered, it was abandoned.
pub(super) struct BlockRequest {
    blocks: Arc<Blocks>,
    clock: Arc<dyn Clock>,
    sent_at: Moment,
    span: Span,
    outcome: (Count, &'static str),
}

impl BlockRequest {
    pub(super) fn send(fills: &Fills, location: &Path, range: &Range<u64>) -> Self {
        let (blocks, clock) = (Arc::clone(&fills.blocks), Arc::clone(&fills.clock));
        blocks.counters.add(Count::BlockRequestsSent, 1);
        let (span, sent_at) = (Span::of_request(&fills.cache, location, range), clock.now());
        Self { blocks, clock, sent_at, span, outcome: (Count::BlockRequestsAbandoned, "abandoned") }
    }

    /// The store's answer; of the body nothing need be there yet.
    pub(super) async fn answer<T>(mut self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.span.around(request).await;
        let took = self.clock.now().saturating_since(self.sent_at);
        self.blocks.counters.times.add(took, &Stats::ORIGIN_BOUNDS);
        self.outcome = match &answer {
            Ok(_) => (Count::BlockRequestsDone, "done"),
            Err(error) if is_outage(error) => (Count::BlockRequestsFailed, "failed"),
            Err(_) => (Count::BlockRequestsRefused, "refused"),
        };
        answer
    }
}

impl Drop for BlockRequest {
    fn drop(&mut self) {
        let (count, outcome) = self.outcome;
        self.blocks.counters.add(count, 1);
        self.span.end(outcome);
    }
}

/// What is counted here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    BlocksHit,
    BlocksMissed,
    BlockRequestsSent,
    BlockRequestsDone,
    BlockRequestsRefused,
    BlockRequestsFailed,
    BlockRequestsAbandoned,
    BytesFromCache,
    BytesFromOrigin,
    PassedThrough,
    Restarts,
    BackendErrors,
}

pub(super) struct Counters {
    counts: [AtomicU64; COUNTS],
    times: AtomicHistogram,
}

const COUNTS: usize = Count::BackendErrors as usize + 1;

impl Counters {
    pub(super) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, heads: Stats) -> CachedStoreStats {
        let of = |count: Count| self.counts[count as usize].load(Ordering::Relaxed);
        let mut block_requests = Outcomes::default();
        block_requests.done = of(Count::BlockRequestsDone);
        block_requests.refused = of(Count::BlockRequestsRefused);
        block_requests.failed = of(Count::BlockRequestsFailed);
        block_requests.abandoned = of(Count::BlockRequestsAbandoned);
        CachedStoreStats {
            heads,
            blocks_hit: of(Count::BlocksHit),
            blocks_missed: of(Count::BlocksMissed),
            block_requests,
            block_request_times: self.times.snapshot(),
            // After those that have ended: they were sent before.
            block_requests_in_flight: of(Count::BlockRequestsSent).saturating_sub(block_requests.requests()),
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
        Self { counts: array::from_fn(|_| AtomicU64::default()), times: AtomicHistogram::default() }
    }
}
