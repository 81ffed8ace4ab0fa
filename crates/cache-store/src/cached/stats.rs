//! What happened, counted.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
};

use cache_core::Stats;

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

/// What is counted here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    BlocksHit,
    BlocksMissed,
    BytesFromCache,
    BytesFromOrigin,
    PassedThrough,
    Restarts,
    BackendErrors,
}

pub(super) struct Counters([AtomicU64; 7]);

impl Counters {
    pub(super) fn add(&self, count: Count, n: u64) {
        self.0[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, heads: Stats) -> CachedStoreStats {
        let of = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        CachedStoreStats {
            heads,
            blocks_hit: of(Count::BlocksHit),
            blocks_missed: of(Count::BlocksMissed),
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
        Self(array::from_fn(|_| AtomicU64::default()))
    }
}
