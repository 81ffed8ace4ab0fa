//! The settings of a cache in memory.

use std::sync::Arc;

use cache_core::{Backend, IntoBackend, Result};
use cache_policy::Objective;

use crate::eviction::{Eviction, Limits};

/// Settings of a backend in memory: how much it holds, and what it evicts.
///
/// A value of its own, and not settings of each builder, so that they cannot be combined with a
/// backend that has limits of its own. [`ObjectCacheBuilder::backend`] and [`CachedStore::builder`]
/// take it; a wrong setting is a `Config` error of their `build`.
///
/// ```
/// use std::sync::Arc;
/// use cache_facade::{CachedStore, Eviction, Memory, ObjectCache, object_store::memory::InMemory};
///
/// let bucket = Arc::new(InMemory::new()); // Or AmazonS3, LocalFileSystem, …
/// let memory = Memory::new().max_capacity(1 << 30).eviction(Eviction::Lru);
/// let store = CachedStore::builder(bucket.clone(), memory).block_size(4 << 20).build()?;
///
/// // Without `max_capacity` it is 256 MiB.
/// let cache = ObjectCache::builder(bucket).backend(Memory::new().max_entries(10_000)).build()?;
/// # Ok::<(), cache_facade::Error>(())
/// ```
///
/// [`CachedStore`]: crate::CachedStore
/// [`CachedStore::builder`]: crate::CachedStore::builder
/// [`ObjectCacheBuilder::backend`]: crate::ObjectCacheBuilder::backend
#[derive(Debug, Default)]
#[must_use]
pub struct Memory {
    limits: Limits,
    eviction: Eviction,
    saving: Option<Objective>,
}

impl Memory {
    /// Returns the default settings: 256 MiB, any number of entries, [`Eviction::Adaptive`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most bytes that are cached: keys, bodies, ETags, attributes and bookkeeping. What
    /// does not fit by itself is served and not cached. `u64::MAX` is no limit; zero is an error.
    /// Default: 256 MiB.
    pub fn max_capacity(mut self, bytes: u64) -> Self {
        self.limits.max_capacity = Some(bytes);
        self
    }

    /// Sets the most entries that are cached: objects of an `ObjectCache`; heads and blocks of a
    /// `CachedStore`. Zero is an error. Default: `None`, no limit.
    pub fn max_entries(mut self, entries: impl Into<Option<u64>>) -> Self {
        self.limits.max_entries = entries.into();
        self
    }

    /// Sets what is evicted when the cache is full: an [`Eviction`], or any
    /// [`EvictionPolicy`](crate::EvictionPolicy). Default: [`Eviction::Adaptive`].
    pub fn eviction(mut self, eviction: impl Into<Eviction>) -> Self {
        self.eviction = eviction.into();
        self
    }

    /// Sets what eviction minimizes where entries differ in size: requests to the store, or bytes
    /// from it. Only [`Eviction::Adaptive`] and [`Eviction::Gdsf`] weigh sizes; with any other it
    /// is an error. Default: [`Objective::HitRatio`], because stores bill requests and a reader
    /// waits for each.
    ///
    /// ```
    /// use cache_facade::{Memory, Objective};
    ///
    /// let memory = Memory::new().optimize_for(Objective::ByteHitRatio);
    /// ```
    pub fn optimize_for(mut self, saving: Objective) -> Self {
        self.saving = Some(saving);
        self
    }
}

impl IntoBackend for Memory {
    fn into_backend(self) -> Result<Arc<dyn Backend>> {
        self.eviction.backend(self.limits, self.saving)
    }
}
