//! What is exported: caches that are looked at, and not kept.

use std::{fmt, sync::Arc};

use cache_core::{Histogram, Outcomes, ReadThrough, Stats, Validator};

/// A cache whose figures can be exported: its name, and the way to a snapshot of its counters as long as it lives.
///
/// `From` a reference to a `ReadThrough`, an `ObjectCache` or a `CachedStore`; none of them is kept alive by it.
#[derive(Clone)]
pub struct Source {
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

/// What a cache that holds objects by blocks counts besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// Blocks that were held when a read wanted them.
    pub hit: u64,
    /// Blocks that were not held when a read wanted them.
    pub missed: u64,
    /// Requests for blocks of a version that was known.
    pub requests: Outcomes,
    /// How long they took, until the answer began.
    pub request_times: Histogram,
    /// Copies, renames, uploads in parts, lists, and what was handed on as it was.
    pub others: Outcomes,
    /// How long they took, until the answer began.
    pub other_times: Histogram,
    /// Requests that were handed to the store as they were, which are among `others`, and objects that could not be held.
    pub passed_through: u64,
    /// Reads that began anew because the object had been replaced.
    pub restarts: u64,
}

impl Source {
    /// A cache called `name`. `snapshot` is called for each export, and says `None` when the cache is gone. It should hold
    /// the cache weakly. Sources with the same `Arc` are taken for one cache.
    pub fn new(name: &Arc<str>, snapshot: impl Fn() -> Option<Snapshot> + Send + Sync + 'static) -> Self {
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

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<V: Validator + ?Sized> From<&ReadThrough<V>> for Source {
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
