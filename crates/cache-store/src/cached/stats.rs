//! What happened, counted.

use std::{
    array, fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use cache_core::{Admission, ErrorCounts, Histogram, Outcomes, Rejected, Rejection, Stats};
use cache_metrics::{BlockStats, Snapshot};

use super::{
    read_counters::{ReadCounters, Reads},
    request_counters::{Op, Requests},
};

/// A snapshot of the counters of a [`CachedStore`](crate::CachedStore): running totals since it was
/// built, but for `entries`, `bytes`, `capacity_bytes` and `requests_in_flight`, which say how it
/// is now. Every count is a field, whatever is computed from counts is a method, and
/// [`Display`](fmt::Display) writes a short table. Read while others work, they may be a little
/// apart.
///
/// What callers read is in `reads`; `heads` is the cache of heads inside the store (which version
/// of an object is current), whose reads and hits are not those of callers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedStoreStats {
    /// Reads of callers, by result.
    pub reads: Reads,
    /// Counters of the heads alone: of lookups of which version of an object is current. A read
    /// that is not passed through counts here once for each time that it had to know it, and so do
    /// `warm` and readahead. The body of a head is an object's metadata, so its byte counts are not
    /// those of objects; its `entries`, `bytes`, evictions and expirations are of heads and blocks
    /// together.
    pub heads: Stats,
    /// Heads and blocks cached now.
    pub entries: u64,
    /// Bytes cached now: paths, blocks, ETags, attributes and bookkeeping.
    pub bytes: u64,
    /// The most bytes that may be cached; `None` without a limit.
    pub capacity_bytes: Option<u64>,
    /// Blocks that reads needed, and that were cached. Each block counts once for each read that
    /// got to it, as its bytes do in `bytes_from_cache`; `warm` and readahead are no reads.
    pub blocks_hit: u64,
    /// Blocks that the backend had to read from a tier below memory: part of `blocks_hit`.
    pub blocks_from_disk: u64,
    /// Blocks that reads needed, and that were not cached.
    pub blocks_missed: u64,
    /// Requests for blocks of a version that was known. Those that came with a head are among
    /// `heads`' requests. A request has ended when its body has: one whose body broke off has
    /// failed.
    pub block_requests: Outcomes,
    /// Reads that were handed to the store as they were.
    pub bypass_requests: Outcomes,
    /// Puts.
    pub puts: Outcomes,
    /// Deletes, by object: a store may be asked for many at once.
    pub deletes: Outcomes,
    /// Pages of lists, each of which has ended with its first item. Where a list waits after a
    /// thousand objects or more, it is taken to ask for its next page; one by folders is one page.
    pub lists: Outcomes,
    /// Copies.
    pub copies: Outcomes,
    /// Renames.
    pub renames: Outcomes,
    /// Requests of uploads in parts: their beginning, each part, and their end.
    pub multiparts: Outcomes,
    /// How long requests for blocks took, until the answer began, by [`Stats::ORIGIN_BOUNDS`];
    /// those that were given up are left out, here and below.
    pub block_times: Histogram,
    /// How long reads took that were handed on, until the answer began.
    pub bypass_times: Histogram,
    /// How long puts took.
    pub put_times: Histogram,
    /// How long deletes took, each from its being handed to the store to its being reported; those
    /// that failed together with others are left out, for an error does not say whose it is.
    pub delete_times: Histogram,
    /// How long pages of lists took, until their first item.
    pub list_times: Histogram,
    /// How long copies took.
    pub copy_times: Histogram,
    /// How long renames took.
    pub rename_times: Histogram,
    /// How long requests of uploads in parts took.
    pub multipart_times: Histogram,
    /// The errors of requests of these kinds, by kind. Those of heads are in
    /// [`heads.origin`](cache_core::OriginStats::errors_by_kind).
    pub request_errors: ErrorCounts,
    /// Requests of these kinds, sent and not yet answered, now. Those for heads are in `heads`.
    pub requests_in_flight: u64,
    /// Blocks that the backend did not keep; under `backend` also those that found no room in
    /// `max_in_flight_bytes`.
    pub blocks_refused: Rejected,
    /// Bytes of bodies given to callers, from the cache or not. A body that is a file on local disk
    /// counts in whole when it is given out.
    pub bytes_served: u64,
    /// Bytes given to callers from cached blocks: part of `bytes_served`.
    pub bytes_from_cache: u64,
    /// Bytes of blocks that the backend had to read from a tier below memory: part of
    /// `bytes_from_cache`.
    pub bytes_from_disk: u64,
    /// Bytes of bodies that came from the store, for reads, `warm` and readahead, and of those that
    /// were handed on.
    pub bytes_from_origin: u64,
    /// Requests that were handed to the store as they were (`bypass_requests`), and objects that
    /// could not be held: without a tag that names their bytes, or larger than `max_object_size`
    /// (these are among `heads`' requests).
    pub passed_through: u64,
    /// Reads that began anew because the object had been replaced since its head was asked for.
    pub restarts: u64,
    /// Failed calls of the backend for blocks.
    pub backend_errors: u64,
}

impl CachedStoreStats {
    /// All requests to the store that have ended.
    pub fn requests(&self) -> u64 {
        let of_reads = [self.block_requests, self.bypass_requests, self.lists];
        let writes = [self.puts, self.deletes, self.copies, self.renames, self.multiparts];
        let others = of_reads.iter().chain(&writes).map(Outcomes::requests).sum::<u64>();
        self.heads.origin.requests() + others
    }

    /// Returns the bytes of bodies fetched from the store for each byte given to a caller
    /// (`bytes_from_origin` / `bytes_served`). More than 1 tells of blocks, readahead or `warm`
    /// that fetched more than was read; zero, that nothing was fetched, or that no byte was read
    /// yet.
    pub fn read_amplification(&self) -> f64 {
        match self.bytes_served {
            0 => 0.0,
            served => self.bytes_from_origin as f64 / served as f64,
        }
    }
}

impl fmt::Display for CachedStoreStats {
    /// Writes a table of ten lines: the sums. The parts of each are fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, heads, bytes_served, bytes_from_origin, entries, bytes, .. } = self;
        writeln!(f, "reads      {reads}")?;
        writeln!(f, "hit ratio  {:.1} %", 100.0 * reads.hit_ratio())?;
        let (hit, missed) = (self.blocks_hit, self.blocks_missed);
        write!(f, "blocks     {hit} cached, ")?;
        if self.blocks_from_disk > 0 {
            write!(f, "{} of them on disk, ", self.blocks_from_disk)?;
        }
        writeln!(f, "{missed} not; {} not kept", refusals(self.blocks_refused))?;
        writeln!(f, "heads      {:.1} % hits of {}", 100.0 * heads.hit_ratio(), heads.gets())?;
        let in_flight = heads.origin.in_flight + self.requests_in_flight;
        writeln!(
            f,
            "requests   {}: {} heads, {} blocks, {} bypass, {} lists; {in_flight} in flight",
            self.requests(),
            heads.origin.reads(),
            self.block_requests,
            self.bypass_requests,
            self.lists,
        )?;
        writeln!(
            f,
            "writes     {} puts, {} deletes, {} copies, {} renames, {} of multipart uploads",
            self.puts, self.deletes, self.copies, self.renames, self.multiparts,
        )?;
        writeln!(
            f,
            "bytes      {bytes_served} read, {bytes_from_origin} fetched, read amplification {:.2}",
            self.read_amplification(),
        )?;
        write!(f, "cached     {entries} heads and blocks, {bytes} bytes")?;
        match self.capacity_bytes {
            Some(capacity) => writeln!(f, " of {capacity}")?,
            None => writeln!(f)?,
        }
        let (evictions, expirations) = (heads.evictions, heads.expirations);
        writeln!(f, "removed    {evictions} evicted, {expirations} expired")?;
        let (passed, restarts) = (self.passed_through, self.restarts);
        write!(
            f,
            "other      {passed} passed through, {restarts} restarts, {} backend errors",
            self.backend_errors
        )
    }
}

fn refusals(refused: Rejected) -> u64 {
    let Rejected { too_large, policy, backend, no_validator, .. } = refused;
    too_large + policy + backend + no_validator
}

impl From<CachedStoreStats> for Snapshot {
    fn from(store: CachedStoreStats) -> Self {
        let mut stats = store.heads;
        let reads = store.reads;
        (stats.fresh, stats.revalidated, stats.stale) =
            (reads.fresh, reads.revalidated, reads.stale);
        (stats.fetched, stats.refetched) = (reads.fetched, reads.refetched);
        (stats.not_found, stats.errors) = (reads.not_found, reads.errors);
        stats.errors_by_kind = reads.errors_by_kind;
        // The body of a head is the object's size.
        stats.bytes_served = store.bytes_served;
        stats.bytes_from_cache = store.bytes_from_cache;
        stats.bytes_from_disk = store.bytes_from_disk;
        stats.bytes_from_origin = store.bytes_from_origin;
        stats.backend_errors += store.backend_errors;
        stats.rejected.too_large += store.blocks_refused.too_large;
        stats.rejected.policy += store.blocks_refused.policy;
        stats.rejected.backend += store.blocks_refused.backend;
        stats.origin.in_flight += store.requests_in_flight;
        stats.origin.errors_by_kind = stats.origin.errors_by_kind + store.request_errors;
        (stats.origin.puts, stats.origin.put_times) = (store.puts, store.put_times);
        (stats.origin.deletes, stats.origin.delete_times) = (store.deletes, store.delete_times);
        (stats.origin.lists, stats.origin.list_times) = (store.lists, store.list_times);
        // A read finds a head that a list has renewed fresh.
        stats.revalidated_by_list = 0;
        let mut blocks = BlockStats::default();
        (blocks.bypass, blocks.not_cached) = (reads.bypass, reads.not_cached);
        (blocks.not_modified, blocks.precondition_failed) =
            (reads.not_modified, reads.precondition_failed);
        blocks.cancelled = reads.cancelled;
        blocks.hit = store.blocks_hit;
        blocks.from_disk = store.blocks_from_disk;
        blocks.missed = store.blocks_missed;
        (blocks.requests, blocks.request_times) = (store.block_requests, store.block_times);
        (blocks.bypass_requests, blocks.bypass_times) = (store.bypass_requests, store.bypass_times);
        (blocks.copies, blocks.copy_times) = (store.copies, store.copy_times);
        (blocks.renames, blocks.rename_times) = (store.renames, store.rename_times);
        (blocks.multiparts, blocks.multipart_times) = (store.multiparts, store.multipart_times);
        blocks.passed_through = store.passed_through;
        blocks.restarts = store.restarts;
        Self::from(stats).with_blocks(blocks)
    }
}

/// What is counted here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    BlocksHit,
    BlocksFromDisk,
    BlocksMissed,
    RefusedTooLarge,
    RefusedByPolicy,
    RefusedByBackend,
    BytesServed,
    BytesFromCache,
    BytesFromDisk,
    BytesFromOrigin,
    PassedThrough,
    Restarts,
    BackendErrors,
}

pub(super) struct Counters {
    counts: [AtomicU64; COUNTS],
    pub(super) reads: ReadCounters,
    pub(super) requests: Requests,
}

const COUNTS: usize = Count::BackendErrors as usize + 1;

impl Counters {
    pub(super) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Bytes of a cached block that were given out.
    pub(super) fn add_from_cache(&self, bytes: u64, are_from_disk: bool) {
        self.add(Count::BytesFromCache, bytes);
        if are_from_disk {
            self.add(Count::BytesFromDisk, bytes);
        }
    }

    /// A block that the backend did not keep; one that panicked as well.
    pub(super) fn add_refused<P>(&self, admission: &Result<cache_core::Result<Admission>, P>) {
        let count = match admission {
            Ok(Ok(Admission::Stored)) => return,
            Ok(Ok(Admission::Rejected(Rejection::TooLarge))) => Count::RefusedTooLarge,
            Ok(Ok(Admission::Rejected(Rejection::Policy))) => Count::RefusedByPolicy,
            Ok(_) | Err(_) => Count::RefusedByBackend,
        };
        self.add(count, 1);
    }

    pub(super) fn snapshot(&self, mut heads: Stats) -> CachedStoreStats {
        let of = |count: Count| self.counts[count as usize].load(Ordering::Relaxed);
        let requests = &self.requests;
        let (outcomes, times) = (|op| requests.of(op).outcomes(), |op| requests.of(op).times());
        heads.origin = requests.of_heads(heads.origin);
        let mut blocks_refused = Rejected::default();
        blocks_refused.too_large = of(Count::RefusedTooLarge);
        blocks_refused.policy = of(Count::RefusedByPolicy);
        blocks_refused.backend = of(Count::RefusedByBackend);
        CachedStoreStats {
            reads: self.reads.snapshot(),
            heads,
            entries: heads.entries,
            bytes: heads.bytes,
            capacity_bytes: heads.capacity_bytes,
            blocks_hit: of(Count::BlocksHit),
            blocks_from_disk: of(Count::BlocksFromDisk),
            blocks_missed: of(Count::BlocksMissed),
            block_requests: outcomes(Op::Blocks),
            bypass_requests: outcomes(Op::Bypass),
            puts: outcomes(Op::Put),
            deletes: outcomes(Op::Delete),
            lists: outcomes(Op::List),
            copies: outcomes(Op::Copy),
            renames: outcomes(Op::Rename),
            multiparts: outcomes(Op::Multipart),
            block_times: times(Op::Blocks),
            bypass_times: times(Op::Bypass),
            put_times: times(Op::Put),
            delete_times: times(Op::Delete),
            list_times: times(Op::List),
            copy_times: times(Op::Copy),
            rename_times: times(Op::Rename),
            multipart_times: times(Op::Multipart),
            request_errors: requests.errors(),
            requests_in_flight: requests.in_flight(),
            blocks_refused,
            bytes_served: of(Count::BytesServed),
            bytes_from_cache: of(Count::BytesFromCache),
            bytes_from_disk: of(Count::BytesFromDisk),
            bytes_from_origin: of(Count::BytesFromOrigin),
            passed_through: of(Count::PassedThrough),
            restarts: of(Count::Restarts),
            backend_errors: of(Count::BackendErrors),
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        let counts = array::from_fn(|_| AtomicU64::default());
        Self { counts, reads: ReadCounters::default(), requests: Requests::default() }
    }
}
