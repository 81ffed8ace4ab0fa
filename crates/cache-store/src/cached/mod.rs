//! A store that holds what was read of another one.
//!
//! The backend has two kinds of entries. A *head* describes the current version of an object: its
//! size, ETag, date and attributes. Heads change, so `cache_core`'s
//! [`ReadThrough`](cache_core::ReadThrough) caches and validates them like whole objects
//! (`head.rs`, `version.rs`). A *block* has bytes of one version and never goes stale
//! (`blocks.rs`). Missing blocks come from a *fetch*, one response that all readers of its bytes
//! share (`fetch.rs`, `fetch_table.rs`, `by_path.rs`); `budget.rs` bounds the memory it takes.
//!
//! A read: `read.rs` or `ranges.rs` resolves the head, `plan.rs` decides where each byte comes
//! from, `reader.rs` reads them. `readahead.rs` and `warm.rs` load blocks ahead of time. `write.rs`
//! has the writes, `list.rs` the lists; `observe.rs` takes note of the versions that any other
//! response shows, and `conditions.rs` evaluates a caller's conditions. All requests are sent
//! through `upstream.rs`.

mod blocks;
mod budget;
mod builder;
mod by_path;
mod conditions;
mod error;
mod fetch;
mod fetch_table;
mod head;
mod landings;
mod list;
mod observe;
mod plan;
mod ranges;
mod read;
mod read_counters;
mod read_meter;
mod readahead;
mod reader;
mod request_counters;
mod shared;
mod stats;
mod status;
mod trace;
mod upstream;
mod version;
mod warm;
mod write;

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{BusStats, Change, Changes, Error, ErrorKind, TierStats};
use cache_metrics::{MetricsSource, Snapshot};
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};
use tokio::runtime::Handle;

pub use self::{
    builder::CachedStoreBuilder,
    read_counters::Reads,
    stats::CachedStoreStats,
    status::{AnsweredFromCache, Bypass, CacheStatus, NotCached, OnlyIfCached},
    warm::WarmResult,
};
use self::{
    read_meter::ReadMeter,
    shared::Shared,
    version::{key_of, prefix_of},
};

/// An [`ObjectStore`] that caches the objects of another one in blocks.
///
/// It returns the bytes, metadata, attributes and errors that the wrapped store would return.
/// [`Freshness`](cache_core::Freshness) sets how long an object may be served without revalidation;
/// by default every read revalidates. A read returns bytes of one version: if the object is
/// replaced in the middle of it, the read starts again, or fails with `Precondition` if it has
/// already returned some bytes.
///
/// | read | requests |
/// | --- | --- |
/// | not fresh or not cached, and no block cached | one, for the range, widened to whole blocks |
/// | fresh, and all blocks cached | none |
/// | not fresh, and all blocks cached | one HEAD; one more if the object has changed |
/// | not fresh, and some blocks cached | one, from the first missing to the last; as above |
/// | fresh, and some blocks missing | one for each run of missing blocks, with `If-Match` |
/// | conditional (`If-None-Match`), with a fresh head | none, or those for the bytes |
/// | conditional, without one | one, which is the validation |
///
/// Objects without a strong ETag (see [`ValidatorStrength`](crate::ValidatorStrength)), and objects
/// larger than `max_object_size`, are not cached: each read is one request, plus one `get_ranges`
/// of the store for ranges far from the first. Reads of a named version also go to the store.
/// Conditions follow RFC 9110 section 13.2.2; under a `max_age`, an `If-Match` that the cached
/// version does not meet is revalidated before it fails.
///
/// Lists pass through, and revalidate what they show: a page of a list renews the heads of all
/// objects on it that have the cached ETag and date, as one HEAD each would. A list and a hundred
/// reads after it cost one request under a `max_age` that has just run out. Objects that the list
/// leaves out, or whose ETag is weak, are revalidated before they are next served. The first list
/// of a prefix has each cached object below it revalidated once, unless it shows that object.
///
/// The cache takes note of every response of the store: an object that a list, a [`Bypass`] read or
/// an error shows to have changed is revalidated before it is next served, whatever the freshness
/// of the read, and one that is not found or forbidden is dropped. If only the date differs, the
/// metadata have changed, and the blocks stay.
///
/// A read can override the settings: its `GetOptions::extensions` may have a
/// [`Freshness`](cache_core::Freshness), [`OnlyIfCached`] or [`Bypass`]. The extensions of the
/// result have a [`CacheStatus`]. If the cache itself finds a condition not met, the source of the
/// error is an [`AnsweredFromCache`].
///
/// ```
/// use std::sync::Arc;
/// use cache_core::Status;
/// use cache_store::{CacheStatus, CachedStore};
/// use cache_testkit::{FaultyStore, MapBackend};
/// use object_store::{ObjectStore, ObjectStoreExt, path::Path};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A store in memory that counts its requests. Backends with limits are in cache-policy.
/// let store = FaultyStore::in_memory();
/// let backend = Arc::new(MapBackend::new());
/// let cached = CachedStore::builder(Arc::new(store.clone()), backend).build()?;
/// let path = Path::from("a");
/// cached.put(&path, "some bytes".into()).await?;
///
/// store.reset();
/// assert_eq!(cached.get_range(&path, 5..10).await?, "bytes");
/// assert_eq!((store.count(), store.body_bytes()), (1, 10));
///
/// // Later reads only revalidate: they fetch no bytes.
/// assert_eq!(cached.get_range(&path, 0..4).await?, "some");
/// assert_eq!((store.count(), store.body_bytes()), (2, 10));
/// let answer = cached.get(&path).await?;
/// let status: &CacheStatus = answer.extensions.get().unwrap();
/// assert_eq!(status.status(), Status::Revalidated);
/// # Ok(())
/// # }
/// ```
///
/// Writes go to the wrapped store. The cached head is removed before the request is sent, and none
/// is cached until the write has succeeded, failed or been dropped. Reads that begin after a write
/// has returned therefore see it, whatever their freshness.
///
/// A clone is another handle to the same cache. Needs a tokio runtime with its timer; a body may be
/// read on another runtime. A body is fetched by its readers, and only as far as they read.
///
/// # Dropped futures
///
/// Dropping a read does not cancel a request for a head that was already sent. It does cancel the
/// body, of which whole blocks stay cached; a body that was read to the last byte asked for is read
/// to the end of its block by a task. Dropping a write drops the request and leaves no head cached;
/// the write may or may not have taken effect.
#[derive(Clone)]
pub struct CachedStore {
    shared: Arc<Shared>,
}

impl CachedStore {
    /// Removes the head and the blocks of an object. Reads that begin after this returns are served
    /// by requests sent after it; bodies already returned are read to their end. Takes time in
    /// proportion to the number of blocks. If no head is cached, the size is unknown, and blocks
    /// after a gap of 16 missing ones may stay.
    ///
    /// # Errors
    ///
    /// `Closed`; `InvalidKey` if the path cannot be cached; `Config` outside of a runtime.
    ///
    /// Once polled, dropping the future does not cancel the invalidation.
    pub async fn invalidate(&self, location: &Path) -> Result<(), Error> {
        let (shared, location) = (Arc::clone(&self.shared), location.clone());
        let invalidate = async move {
            let key = key_of(&location);
            let cached =
                shared.blocks().shown(&key).await.filter(|head| shared.blocks().is_own(head));
            shared.fetch_table.invalidate(&location, cached).await;
            // Last, since it fences at its end: what is requested while the blocks are dropped is
            // not served to reads that begin after this has returned.
            shared.heads.invalidate(&key).await
        };
        match Handle::try_current() {
            // So that it ends, once begun.
            Ok(runtime) => runtime.spawn(invalidate).await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Panicked, "the invalidation was cut off")
                    .with_source(error))
            }),
            Err(_) => invalidate.await,
        }
    }

    /// Removes the heads of all objects whose paths begin with `prefix`, byte for byte. Blocks
    /// stay, and are served again if the store still has their version. Takes constant time. At
    /// most 64 prefixes are kept apart; a prefix covers the longer ones that begin with it. Beyond
    /// 64, the two with the longest common prefix are replaced by that prefix.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn invalidate_prefix(&self, prefix: &str) -> Result<(), Error> {
        self.shared.heads.invalidate_prefix(&prefix_of(prefix))
    }

    /// Marks the object stale: it is revalidated before it is next served, whatever its freshness
    /// rule. Its blocks stay, and are served again if the store still has their version. Does
    /// nothing for an object that is not cached.
    ///
    /// # Errors
    ///
    /// `InvalidKey` for a path that cannot be cached; `Closed`; `Config` outside of a runtime.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn mark_stale(&self, location: &Path) -> Result<(), Error> {
        self.shared.heads.mark_stale(&key_of(location)).await
    }

    /// Marks all objects stale whose paths begin with `prefix`, byte for byte, as
    /// [`mark_stale`](Self::mark_stale) does. Takes constant time; limited like
    /// [`invalidate_prefix`](Self::invalidate_prefix).
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn mark_stale_prefix(&self, prefix: &str) -> Result<(), Error> {
        self.shared.heads.mark_stale_prefix(&prefix_of(prefix))
    }

    /// Marks all objects stale, as [`mark_stale`](Self::mark_stale) does. Takes constant time.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn mark_all_stale(&self) -> Result<(), Error> {
        self.shared.heads.mark_all_stale()
    }

    /// Applies a change that another program made to the store, as a message on the bus is applied:
    /// a cached object of another version is revalidated before it is next served. For
    /// notifications of a store, such as S3 event notifications. They carry no proof that none was
    /// missed: use them under a `max_age`.
    ///
    /// A dropped future, once polled, still takes effect; at worst the entry is removed.
    pub async fn hear_change(&self, change: &Change) {
        self.shared.heads.hear_change(change).await;
    }

    /// Announces a change on the bus: one that was made by other means than this cache, or to have
    /// all caches revalidate. `invalidate`, `mark_stale` and `clear` tell no other cache. This
    /// cache applies it too, also after an error. Waits until it was sent.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the bus did not take it; `Config` without a bus, or for a heartbeat;
    /// `Closed`.
    ///
    /// A dropped future, once polled, still announces it.
    pub async fn announce(&self, change: Change) -> Result<(), Error> {
        self.shared.heads.announce(change).await
    }

    /// Returns the counters of the bus; `None` without one.
    pub fn bus_stats(&self) -> Option<BusStats> {
        self.shared.heads.bus_stats()
    }

    /// Returns a signal that tells of changes of an object: of writes through this cache, and of
    /// messages on its bus. It is a hint.
    pub fn changes(&self, location: &Path) -> Changes {
        self.shared.heads.changes(location.as_ref())
    }

    /// Returns a signal that tells of changes of objects whose paths begin with `prefix`, byte for
    /// byte: see [`changes`](Self::changes).
    pub fn changes_below(&self, prefix: &str) -> Changes {
        self.shared.heads.changes_below(prefix)
    }

    /// Removes all entries and frees their memory. Blocks in flight meanwhile may be cached; they
    /// are not served before a request has shown that their version is current.
    ///
    /// # Errors
    ///
    /// `Closed`; `Config` outside of a runtime; `Backend` if the backend fails to free the memory:
    /// its entries are not served without revalidation all the same.
    ///
    /// Dropping the future may leave the memory to be freed later.
    pub async fn clear(&self) -> Result<(), Error> {
        self.shared.fetch_table.forget_seen(None);
        self.shared.heads.clear().await
    }

    /// Closes the cache, for all its handles: new reads fail with a `Generic` error, bodies already
    /// returned are read to their end, and all entries are removed. Writes still go to the wrapped
    /// store.
    ///
    /// # Errors
    ///
    /// `Backend` if the backend fails to free the memory, `Config` outside of a runtime. The cache
    /// is closed in both cases.
    ///
    /// Dropping the future leaves the cache closed.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.blocks().close();
        self.shared.fetch_table.forget_seen(None);
        self.shared.heads.close().await
    }

    /// Returns the name used in metrics and traces.
    pub fn name(&self) -> &str {
        self.shared.heads.name()
    }

    /// Returns a snapshot of the counters.
    pub fn stats(&self) -> CachedStoreStats {
        self.shared.upstream.counters.snapshot(self.shared.heads.stats())
    }

    /// Returns the counters of the tier below memory, if the backend has one.
    pub fn lower_tier(&self) -> Option<TierStats> {
        self.shared.heads.backend().lower_tier()
    }

    /// Returns the wrapped store.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.upstream.store
    }
}

impl From<&CachedStore> for MetricsSource {
    /// The figures of a [`CachedStore`]: its reads, and the bytes of bodies.
    fn from(store: &CachedStore) -> Self {
        let weak = Arc::downgrade(&store.shared);
        Self::new(store.shared.heads.name(), move || {
            let store = CachedStore { shared: weak.upgrade()? };
            let snapshot = Snapshot::from(store.stats()).with_tier(store.lower_tier());
            Some(snapshot.with_bus(store.bus_stats()))
        })
    }
}

impl fmt::Display for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedStore({})", self.shared.upstream.store)
    }
}

impl fmt::Debug for CachedStore {
    /// Shows the store by name: its own `Debug` may show credentials, or every object of a store in
    /// memory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("store", &format_args!("{}", self.shared.upstream.store))
            .field("heads", &self.shared.heads)
            .field("objects_on_their_way", &self.shared.fetch_table.context.n_objects())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for CachedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        write::put(&self.shared, location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        write::start_multipart(&self.shared, location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (meter, is_head) =
            (ReadMeter::of(&self.shared.upstream.counters, &options), options.head);
        meter.end_with_body(is_head, read::get(&self.shared, location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let meter = ReadMeter::of_ranges(&self.shared.upstream.counters);
        meter.end(ranges::get(&self.shared, location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        write::delete_stream(&self.shared, locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(&self.shared, prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(&self.shared, prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        list::list_with_delimiter(&self.shared, prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        write::copy(&self.shared, from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        write::rename(&self.shared, from, to, options).await
    }
}
