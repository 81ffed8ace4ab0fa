//! Exported caches and their snapshots.

use std::{fmt, sync::Arc};

use cache_core::{BusStats, Histogram, Outcomes, ReadThrough, Stats, TierStats, Validator};

/// A cache that can be exported: its name, and a function that takes a snapshot of its counters.
///
/// Implements `From` for references to a `ReadThrough`, an `ObjectCache` and a `CachedStore`, and
/// keeps none of them alive.
#[derive(Clone)]
pub struct MetricsSource {
    name: Arc<str>,
    snapshot: Arc<dyn Fn() -> Option<Snapshot> + Send + Sync>,
}

/// The counters of a cache at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The counters that every cache has.
    pub stats: Stats,
    /// The counters of a `CachedStore`, which caches objects in blocks.
    pub blocks: Option<BlockStats>,
    /// The counters of the tier below memory, if the cache has one.
    pub tier: Option<TierStats>,
    /// The counters of the change bus, if the cache has one.
    pub bus: Option<BusStats>,
}

/// The counters of one cache at one moment, under the name that it is exported by.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CacheSnapshot {
    /// The value of [`CACHE_NAME`](crate::names::CACHE_NAME), unique among the exported caches.
    pub name: Arc<str>,
    /// The counters, including those of earlier caches with the name.
    pub snapshot: Snapshot,
}

/// The additional counters of a `CachedStore`, which caches objects in blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// Reads that bypassed the cache.
    pub bypass: u64,
    /// Reads whose caller's own condition was answered "not modified".
    pub not_modified: u64,
    /// Reads whose caller's own precondition failed.
    pub precondition_failed: u64,
    /// Reads that allowed only cached objects and found none.
    pub not_cached: u64,
    /// Reads that were dropped before their end.
    pub cancelled: u64,
    /// Needed blocks that were cached.
    pub hit: u64,
    /// Needed blocks that were on disk: part of `hit`.
    pub from_disk: u64,
    /// Needed blocks that were not cached.
    pub missed: u64,
    /// Requests for blocks of a known version.
    pub requests: Outcomes,
    /// Their durations until the response began, as in all fields below.
    pub request_times: Histogram,
    /// Requests of reads that bypassed the cache.
    pub bypass_requests: Outcomes,
    /// Their durations.
    pub bypass_times: Histogram,
    /// Copies.
    pub copies: Outcomes,
    /// Their durations.
    pub copy_times: Histogram,
    /// Renames.
    pub renames: Outcomes,
    /// Their durations.
    pub rename_times: Histogram,
    /// Requests of multipart uploads: the start, each part, and the end.
    pub multiparts: Outcomes,
    /// Their durations.
    pub multipart_times: Histogram,
    /// Reads that bypassed the cache, which are also in `bypass_requests`, and reads of objects
    /// that cannot be cached.
    pub passed_through: u64,
    /// Reads that started again because the object had been replaced.
    pub restarts: u64,
}

impl MetricsSource {
    /// Returns a source for a cache called `name`. `snapshot` is called for each export and returns
    /// `None` once the cache was dropped, so it should keep a weak handle. Sources with the same
    /// `Arc` are treated as one cache.
    pub fn new(
        name: &Arc<str>,
        snapshot: impl Fn() -> Option<Snapshot> + Send + Sync + 'static,
    ) -> Self {
        Self { name: Arc::clone(name), snapshot: Arc::new(snapshot) }
    }

    /// Returns the name that the cache was built with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the current counters; `None` once the cache was dropped.
    pub fn snapshot(&self) -> Option<Snapshot> {
        (self.snapshot)()
    }

    /// Returns the address of the name, which identifies a cache as long as a source is kept.
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
        Self::new(cache.name(), move || {
            let cache = weak.upgrade()?;
            let snapshot = Snapshot::from(cache.stats()).with_tier(cache.backend().lower_tier());
            Some(snapshot.with_bus(cache.bus_stats()))
        })
    }
}

impl From<Stats> for Snapshot {
    fn from(stats: Stats) -> Self {
        Self { stats, blocks: None, tier: None, bus: None }
    }
}

impl Snapshot {
    /// Returns the snapshot with the additional counters of a `CachedStore`.
    #[must_use]
    pub fn with_blocks(mut self, blocks: BlockStats) -> Self {
        self.blocks = Some(blocks);
        self
    }

    /// Returns the snapshot with the counters of the tier below memory
    /// ([`Backend::lower_tier`](cache_core::Backend::lower_tier)).
    ///
    /// ```
    /// use cache_core::{Stats, TierStats};
    /// use cache_metrics::{Snapshot, names::DISK_LOOKUPS, samples};
    ///
    /// let mut tier = TierStats::default();
    /// tier.hits = 3;
    /// let snapshot = Snapshot::from(Stats::default()).with_tier(Some(tier));
    /// assert!(samples(&snapshot).any(|sample| sample.metric == &DISK_LOOKUPS));
    /// ```
    #[must_use]
    pub fn with_tier(mut self, tier: Option<TierStats>) -> Self {
        self.tier = tier;
        self
    }

    /// Returns the snapshot with the counters of the cache's change bus
    /// ([`ReadThrough::bus_stats`]).
    #[must_use]
    pub fn with_bus(mut self, bus: Option<BusStats>) -> Self {
        self.bus = bus;
        self
    }
}
