//! A store that holds what was read of another one.
//!
//! Two kinds of entries lie in one backend. A *head* says of an object which version is current,
//! how large it is and which attributes it has: the one thing that changes, so it is held and
//! validated by `cache_core`'s [`ReadThrough`], with the rules that hold for whole objects
//! (`head.rs`). A *block* has bytes of one version, and never goes stale (`blocks.rs`). What is not
//! held is *filled* from one answer of the store for all who want it (`fetch.rs`, `fetches.rs`).
//! `budget.rs` bounds what that holds in memory.
//!
//! One read: `read.rs` or `ranges.rs` finds out which version is current, `plan.rs` where its bytes
//! come from, `reader.rs` reads them; `readahead.rs` and `warm.rs` read before anybody asks.
//! `write.rs` is the other direction. `list.rs` and `observe.rs` hear what the store says beside;
//! `conditions.rs` judges a caller's conditions.

mod blocks;
mod budget;
mod builder;
mod conditions;
mod error;
mod fetch;
mod fetch_table;
mod fetches;
mod head;
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
use cache_core::{Error, ErrorKind};
use cache_metrics::MetricsSource;
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
    request_counters::Op,
    shared::Shared,
    upstream::Request,
    version::{key_of, prefix_of},
};

/// An [`ObjectStore`] over another one that holds what was read, in blocks, and serves it as long
/// as the store vouches for it.
///
/// What it returns is what the wrapped store would: bytes, metadata, attributes and errors. How
/// long it may be relied upon that an object has not changed says
/// [`Freshness`](cache_core::Freshness); by default the store is asked on every read. What is read
/// is always of one version: if the object is replaced meanwhile, the read begins anew, or fails
/// with `Precondition` if something has been given out already.
///
/// | read | requests |
/// | --- | --- |
/// | not fresh, or not held, and none of the blocks is held | one, for the bytes wanted, widened to whole blocks |
/// | fresh, and the blocks are held | none |
/// | not fresh, and all blocks wanted are held | one HEAD; one more if the object has changed |
/// | not fresh, and some of them are held | one, for all from the first missing to the last; as above |
/// | fresh, and some blocks are missing | one for each run of missing blocks, with `If-Match` |
/// | with a condition (`If-None-Match` …), and a head that is fresh | none, or what the bytes cost |
/// | with a condition, and no such head | one: that is the validation |
///
/// Objects without a tag that names their bytes ([`ValidatorStrength`](crate::ValidatorStrength)
/// tells which those are), or larger than `max_object_size`, are read from the store each time, by
/// one request; of several ranges, those that are not near to the first one by the store's own
/// `get_ranges`. Whatever was asked for with a version is read from the store too. Conditions are
/// judged by RFC 9110 section 13.2.2; under a `max_age`, an `If-Match` that the cached version does
/// not meet is revalidated before it fails.
///
/// Lists pass through. Whatever the store says is heard, whichever request it answers: an object
/// that a list, a [`Bypass`] read or an error shows to have changed is revalidated before it is
/// next served, however fresh an answer is asked for, and one that is gone or forbidden is dropped.
/// Of equal tags, another date tells of changed metadata: the blocks stay.
///
/// A single read may say otherwise: its `GetOptions::extensions` may have a
/// [`Freshness`](cache_core::Freshness), [`OnlyIfCached`] or [`Bypass`]; those of the answer have a
/// [`CacheStatus`]. Where the cache itself finds that a condition does not hold, the source of the
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
/// // From now on the store is asked whether the object has changed, and not for its bytes.
/// assert_eq!(cached.get_range(&path, 0..4).await?, "some");
/// assert_eq!((store.count(), store.body_bytes()), (2, 10));
/// let answer = cached.get(&path).await?;
/// let status: &CacheStatus = answer.extensions.get().unwrap();
/// assert_eq!(status.status(), Status::Revalidated);
/// # Ok(())
/// # }
/// ```
///
/// A write is one of the wrapped store, with its answer. Before it is sent, what is held of the
/// object is forgotten, and nothing of it is kept before the write has ended, whether it succeeded,
/// failed or was dropped. So this cache's reads that begin after a write has returned see it,
/// however fresh an answer they ask for.
///
/// A clone is another handle to the same cache. Needs a tokio runtime with its timer; a body may be
/// read on another one. The request for a body is driven by those who read it, and only as far as
/// they need it.
///
/// # Dropped futures
///
/// A dropped read leaves its question in the air, but not its body: of that, whole blocks are kept.
/// A body of which the last byte was given out is read to the end of its block by a task. A dropped
/// write drops the request, and leaves nothing of the object held; whether it took effect is open.
#[derive(Clone)]
pub struct CachedStore {
    shared: Arc<Shared>,
}

impl CachedStore {
    /// Forgets the object: which version is current, and its blocks. Reads that begin after this
    /// returned are answered by requests sent after it. Bodies that were begun go on. Takes time in
    /// proportion to the number of blocks; if nothing is cached that tells the object's size,
    /// blocks may stay behind a gap of 16 that are missing.
    ///
    /// # Errors
    ///
    /// Of kind `Closed`; `InvalidKey`, if nothing can be held under such a path; `Config` outside
    /// of a runtime.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn invalidate(&self, location: &Path) -> Result<(), Error> {
        let (shared, location) = (Arc::clone(&self.shared), location.clone());
        let invalidate = async move {
            let key = key_of(&location);
            let cached =
                shared.blocks().shown(&key).await.filter(|head| shared.blocks().is_own(head));
            shared.fills.invalidate(&location, cached).await;
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

    /// Forgets which version is current of all objects whose paths begin with `prefix`, byte for
    /// byte. Their blocks stay, for the version that they are of. Takes constant time. At most 64
    /// prefixes are told apart, and a prefix covers the longer ones that begin with it: one more,
    /// and the two that have most in common count as one, the part that they share.
    ///
    /// # Errors
    ///
    /// Of kind `Closed`.
    pub fn invalidate_prefix(&self, prefix: &str) -> Result<(), Error> {
        self.shared.heads.invalidate_prefix(&prefix_of(prefix))
    }

    /// Forgets everything, and frees its memory. What is on its way while this runs may be kept; it
    /// is asked about before use.
    ///
    /// # Errors
    ///
    /// Of kind `Closed`; `Config` outside of a runtime; `Backend` if the backend fails to free the
    /// memory: it is asked about before use all the same.
    ///
    /// A dropped future may leave the memory to be freed later.
    pub async fn clear(&self) -> Result<(), Error> {
        self.shared.fills.forget_seen(None);
        self.shared.heads.clear().await
    }

    /// Stops the cache, for all its handles: new reads fail with a `Generic` error, bodies that
    /// were begun come to their end, all that is held is dropped. The wrapped store is not touched;
    /// writes go to it as before.
    ///
    /// # Errors
    ///
    /// Of kind `Backend` if the backend fails to free the memory; `Config` outside of a runtime: it
    /// is closed all the same.
    ///
    /// A dropped future leaves the cache closed.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.blocks().close();
        self.shared.fills.forget_seen(None);
        self.shared.heads.close().await
    }

    /// What it is called, in metrics and traces.
    pub fn name(&self) -> &str {
        self.shared.heads.name()
    }

    /// The counters.
    pub fn stats(&self) -> CachedStoreStats {
        self.shared.upstream.counters.snapshot(self.shared.heads.stats())
    }

    /// The wrapped store.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.upstream.store
    }
}

impl From<&CachedStore> for MetricsSource {
    /// The figures of a [`CachedStore`]: its reads, and the bytes of bodies.
    fn from(store: &CachedStore) -> Self {
        let weak = Arc::downgrade(&store.shared);
        Self::new(store.shared.heads.name(), move || {
            let shared = weak.upgrade()?;
            Some(CachedStore { shared }.stats().into())
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
            .field("objects_on_their_way", &self.shared.fills.fetches.n_objects())
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
        list::heard(&self.shared, self.shared.upstream.store.list(prefix), prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::heard(
            &self.shared,
            self.shared.upstream.store.list_with_offset(prefix, offset),
            prefix,
        )
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let request = Request::send(&self.shared.upstream, Op::List, prefix.unwrap_or(&Path::ROOT));
        let listed = request.answer(self.shared.upstream.store.list_with_delimiter(prefix)).await?;
        for object in &listed.objects {
            self.shared.hear_listed(object).await;
        }
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        write::copy(&self.shared, from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        write::rename(&self.shared, from, to, options).await
    }
}
