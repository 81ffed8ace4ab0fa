//! What is exported: caches that are looked at, and not kept.

use std::{fmt, sync::Arc};

use cache_core::{Histogram, Outcomes, ReadThrough, Stats, Validator};

/// A cache whose figures can be exported: its name, and the way to a snapshot of its counters as
/// long as it lives.
///
/// `From` a reference to a `ReadThrough`, an `ObjectCache` or a `CachedStore`; none of them is kept
/// alive by it.
#[derive(Clone)]
pub struct MetricsSource {
    name: Arc<str>,
    snapshot: Arc<dyn Fn() -> Option<Snapshot> + Send + Sync>,
}

/// The counters of a cache at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Of any cache.
    pub stats: Stats,
    /// Of one that holds objects by blocks.
    pub blocks: Option<BlockStats>,
}

/// The counters of one cache at one moment, under the name that it is exported by.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CacheSnapshot {
    /// The value of [`CACHE_NAME`](crate::names::CACHE_NAME). No other cache that lives has it.
    pub name: Arc<str>,
    /// The counters, with those of the caches before it that had the name.
    pub snapshot: Snapshot,
}

/// What a cache that holds objects by blocks counts besides: a `CachedStore`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// Reads that the store answered alone.
    pub bypass: u64,
    /// Reads answered "not modified", by a condition of the caller's own.
    pub not_modified: u64,
    /// Reads whose own condition did not hold.
    pub precondition_failed: u64,
    /// Reads of cached objects alone that found none.
    pub not_cached: u64,
    /// Reads that were dropped before their end.
    pub cancelled: u64,
    /// Blocks that reads needed, and that were cached.
    pub hit: u64,
    /// Blocks that reads needed, and that were not cached.
    pub missed: u64,
    /// Requests for blocks of a version that was known.
    pub requests: Outcomes,
    /// How long they took, until the answer began; so for all below.
    pub request_times: Histogram,
    /// Reads that were handed to the store as they were.
    pub bypass_requests: Outcomes,
    /// How long they took.
    pub bypass_times: Histogram,
    /// Pages of lists.
    pub lists: Outcomes,
    /// How long they took.
    pub list_times: Histogram,
    /// Copies.
    pub copies: Outcomes,
    /// How long they took.
    pub copy_times: Histogram,
    /// Renames.
    pub renames: Outcomes,
    /// How long they took.
    pub rename_times: Histogram,
    /// Requests of uploads in parts: their beginning, each part, and their end.
    pub multiparts: Outcomes,
    /// How long they took.
    pub multipart_times: Histogram,
    /// Requests that were handed to the store as they were, which are among `bypass_requests`, and
    /// objects that could not be cached.
    pub passed_through: u64,
    /// Reads that began anew because the object had been replaced.
    pub restarts: u64,
}

impl MetricsSource {
    /// A cache called `name`. `snapshot` is called for each export, and says `None` when the cache
    /// is gone. It should hold the cache weakly. Sources with the same `Arc` are taken for one
    /// cache.
    pub fn new(
        name: &Arc<str>,
        snapshot: impl Fn() -> Option<Snapshot> + Send + Sync + 'static,
    ) -> Self {
        Self { name: Arc::clone(name), snapshot: Arc::new(snapshot) }
    }

    /// The name that the cache was built with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The counters now; `None` when the cache is gone.
    pub fn snapshot(&self) -> Option<Snapshot> {
        (self.snapshot)()
    }

    /// Where the name is: what tells caches apart, as long as a source of either is kept.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.name).addr()
    }
}

impl fmt::Debug for MetricsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<V: Validator + ?Sized> From<&ReadThrough<V>> for MetricsSource {
    fn from(cache: &ReadThrough<V>) -> Self {
        let weak = cache.downgrade();
        Self::new(cache.name(), move || weak.upgrade().map(|cache| cache.stats().into()))
    }
}

impl From<Stats> for Snapshot {
    fn from(stats: Stats) -> Self {
        Self { stats, blocks: None }
    }
}

impl Snapshot {
    /// The same, with the counters of a cache that holds objects by blocks.
    #[must_use]
    pub fn with_blocks(mut self, blocks: BlockStats) -> Self {
        self.blocks = Some(blocks);
        self
    }
}
