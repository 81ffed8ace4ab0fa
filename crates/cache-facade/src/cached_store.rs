//! The settings of a cached store.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{Backend, Clock, Freshness, Namespace, Result};
use cache_policy::Objective;
use cache_store::{CachedStore, ValidatorStrength};
use object_store::{Attributes, ObjectMeta, ObjectStore};

use crate::{builder::Memory, eviction::Eviction};

/// Sets up a [`CachedStore`]: a store to be used in the place of another one, whose objects it holds in memory. A setting
/// that is wrong is a `Config` error of [`build`](Self::build).
///
/// ```
/// use std::sync::Arc;
/// use cache_facade::{CacheOutcome, CacheStatus, CachedStoreBuilder};
/// use cache_facade::object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bucket = Arc::new(InMemory::new()); // Or AmazonS3, LocalFileSystem, …
/// let store: Arc<dyn ObjectStore> = Arc::new(CachedStoreBuilder::new(bucket).build()?);
///
/// let path = Path::from("table/part-0.parquet");
/// store.put(&path, "PAR1 … PAR1".into()).await?;
/// assert_eq!(store.get_range(&path, 0..4).await?, "PAR1");
///
/// // The second time the bucket confirms that the object is as it was, and sends no bytes.
/// let answer = store.get(&path).await?;
/// let status: CacheStatus = answer.extensions.get().cloned().unwrap();
/// assert_eq!(answer.bytes().await?, "PAR1 … PAR1");
/// assert_eq!(status.outcome(), CacheOutcome::Revalidated);
/// assert_eq!(status.bytes_from_origin(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `build`"]
pub struct CachedStoreBuilder {
    inner: cache_store::CachedStoreBuilder,
    memory: Memory,
    backend: Option<Arc<dyn Backend>>,
}

impl CachedStoreBuilder {
    /// Starts a cached store over `store`.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { inner: CachedStore::builder(store), memory: Memory::default(), backend: None }
    }

    /// What the store is called, in metrics and traces. Empty is an error. Default: `"default"`.
    pub fn name(mut self, name: &str) -> Self {
        self.inner = self.inner.name(name);
        self
    }

    /// How long it may be relied upon that an object has not changed, without asking, where no prefix says otherwise.
    /// Default: [`Freshness::strong`], which asks on every read.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.inner = self.inner.freshness(freshness);
        self
    }

    /// The same for paths that begin with `prefix`, byte for byte: `"static/"` rather than `"static"`. The longest
    /// prefix wins; a second rule for one prefix replaces the first.
    pub fn freshness_for(mut self, prefix: &str, freshness: Freshness) -> Self {
        self.inner = self.inner.freshness_for(prefix, freshness);
        self
    }

    /// How long what is known of an object is held that nobody asks about; each confirmation starts the span anew. Its
    /// blocks do not expire, they are only evicted. `Duration::MAX`: none expires. Zero is an error. Default: 300 s.
    pub fn time_to_live(mut self, span: Duration) -> Self {
        self.inner = self.inner.time_to_live(Some(span));
        self
    }

    /// How many bytes a block has, the last one of an object aside. Bytes are fetched and held by whole blocks. Zero is
    /// an error, and so is more than may be held. Default: 1 MiB.
    pub fn block_size(mut self, bytes: u64) -> Self {
        self.inner = self.inner.block_size(bytes);
        self
    }

    /// The largest object that is held, in bytes; a larger one is read from the store each time. Zero holds only empty
    /// ones. Default: no limit.
    pub fn max_object_size(mut self, bytes: u64) -> Self {
        self.inner = self.inner.max_object_size(bytes);
        self
    }

    /// Caches only the objects for which `predicate` returns true, such as those whose attributes do
    /// not forbid it; others are read from the store each time. It is called with each response of the
    /// store that describes an object's current version. A panic fails the read. Default: all objects.
    pub fn cache_if(
        mut self,
        predicate: impl Fn(&ObjectMeta, &Attributes) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.inner = self.inner.cache_if(predicate);
        self
    }

    /// For `get_ranges`: blocks that are missing are fetched by one request if there are at most so many bytes between
    /// them, which are fetched too. Zero joins what is adjacent. Default: 1 MiB.
    pub fn coalesce_gap(mut self, bytes: u64) -> Self {
        self.inner = self.inner.coalesce_gap(bytes);
        self
    }

    /// For `get_ranges`: how many requests one call makes at a time. Zero is an error. Default: 10.
    pub fn parallel(mut self, requests: usize) -> Self {
        self.inner = self.inner.parallel(requests);
        self
    }

    /// For ranges of one object that follow each other: how many bytes behind the last one are read before they are asked
    /// for, in whole blocks. More than may be held is an error. Default: zero, which reads none.
    pub fn readahead(mut self, bytes: u64) -> Self {
        self.inner = self.inner.readahead(bytes);
        self
    }

    /// The most bytes that may be held: paths, blocks, tags, attributes and bookkeeping. Zero is an error. Default:
    /// 256 MiB.
    pub fn max_capacity(mut self, bytes: u64) -> Self {
        self.memory.limits.max_capacity = Some(bytes);
        self
    }

    /// The most that may be held, in number: a block is one, and what is known of an object is one. Zero is an error.
    /// Default: no limit.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.memory.limits.max_entries = Some(entries);
        self
    }

    /// Who leaves when the cache is full: an [`Eviction`], or any [`EvictionPolicy`](crate::EvictionPolicy). Default:
    /// [`Eviction::Adaptive`].
    pub fn eviction(mut self, eviction: impl Into<Eviction>) -> Self {
        self.memory.eviction = Some(eviction.into());
        self
    }

    /// What eviction is to save where blocks differ in size: requests to the store, or bytes from it. Under
    /// [`Eviction::Adaptive`] and [`Eviction::Gdsf`]; an error under any other. Default: [`Objective::HitRatio`].
    pub fn optimize_for(mut self, saving: Objective) -> Self {
        self.memory.saving = Some(saving);
        self
    }

    /// Whose copies they are: a name for the store *and* the rights that it is asked with, such as `"s3://bucket as
    /// reader"`. Copies of another identity are never served. To be given with a backend whose medium outlives the
    /// process; else it is better left out. Default: one that no other cache has.
    pub fn namespace(mut self, name: &str) -> Self {
        self.inner = self.inner.namespace(Namespace::named(name));
        self
    }

    /// Where blocks live: a backend of your own, or one that is set up in another way. It has limits and eviction of its
    /// own, so `max_capacity`, `max_entries`, `eviction` and `saving` are errors beside it. Default: memory.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// How long the store may be silent: until it says which version is current, and between two parts of a body, while
    /// somebody waits for the next one. Then the request is dropped, and the error is `Generic`. Writes, and what passes
    /// through, may take as long as the store lets them. Zero is an error. Default: 30 s.
    pub fn origin_timeout(mut self, span: Duration) -> Self {
        self.inner = self.inner.origin_timeout(span);
        self
    }

    /// How long it may be remembered that an object does not exist, within what its freshness allows; never under
    /// [`Freshness::strong`]. A write through this cache ends that memory, and so does any answer of the store that shows
    /// the object. Such memories take at most a sixteenth of the capacity. Default: zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.inner = self.inner.negative_ttl(span);
        self
    }

    /// How many requests that reads cause, for heads and for blocks, may be unanswered by the store at once; more wait, in
    /// the order of arrival. Writes, lists and what passes through are not limited. `usize::MAX` is no limit, zero an
    /// error. Default: 1024.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.inner = self.inner.max_in_flight(requests);
        self
    }

    /// How long a request may wait to be sent. Then the reads that need it fail with a `Generic` error, or serve a stale
    /// copy where `stale_if_error` allows it. Zero lets none wait. Default: 10 s.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.inner = self.inner.queue_timeout(span);
        self
    }

    /// How many bytes of blocks the reads in flight may hold beside what is cached: blocks that are
    /// being fetched, blocks on their way to a slow backend, and blocks retained for a slower
    /// reader. A paused stream holds up to two. Beyond it reads go on, and their blocks are passed
    /// on without being cached (`blocks_refused`). Each block counts in whole KiB, so less than one
    /// block caches nothing. `u64::MAX` is no limit, zero an error. Default: 1 GiB.
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.inner = self.inner.max_in_flight_bytes(bytes);
        self
    }

    /// What a "not modified" of the store is worth. Default: [`ValidatorStrength::of`] the store.
    pub fn validator_strength(mut self, strength: ValidatorStrength) -> Self {
        self.inner = self.inner.strength(strength);
        self
    }

    /// Where time comes from. Default: the machine's clocks.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inner = self.inner.clock(clock);
        self
    }

    /// The store. Asks nothing of the one it is over.
    ///
    /// # Errors
    ///
    /// `Config`, naming the setting: a value that is zero where that makes no sense, a block that is larger than the
    /// capacity, a freshness that contradicts itself, or two settings that exclude each other.
    pub fn build(self) -> Result<CachedStore> {
        self.inner.backend(self.memory.or(self.backend)?).build()
    }
}

impl fmt::Debug for CachedStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStoreBuilder")
            .field("inner", &self.inner)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
