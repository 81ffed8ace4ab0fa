//! A store that holds what was read of another one.
//!
//! Two kinds of entries lie in one backend. A *head* says of an object which version is current, how large it is and
//! which attributes it has: the one thing that changes, so it is held and validated by `cache_core`'s [`ReadThrough`],
//! with the rules that hold for whole objects (`head.rs`).

mod builder;
mod head;
mod read;
mod write;

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Error, ReadThrough};
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};

pub use self::builder::CachedStoreBuilder;
use self::head::Heads;

/// An [`ObjectStore`] over another one that holds what was read, and serves it as long as the store vouches for it.
///
/// A clone is another handle to the same cache. Needs a tokio runtime with its timer.
#[derive(Clone)]
pub struct CachedStore {
    shared: Arc<Shared>,
}

/// What all handles and bodies share.
pub(super) struct Shared {
    /// The wrapped store.
    store: Arc<dyn ObjectStore>,
    /// The current version of each object that was asked about. Its keys are those of [`head::key_of`].
    heads: ReadThrough<Heads>,
}

impl CachedStore {
    /// Starts a cache over `store`.
    pub fn builder(store: Arc<dyn ObjectStore>) -> CachedStoreBuilder {
        CachedStoreBuilder::new(store)
    }

    /// Forgets which version of the object is current. Reads that begin after this returned are answered by a question
    /// asked after it.
    ///
    /// # Errors
    ///
    /// Of kind `Closed`; `InvalidKey`, if nothing can be held under such a path; `Config` outside of a runtime.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn invalidate(&self, location: &Path) -> Result<(), Error> {
        self.shared.heads.invalidate(&head::key_of(location)).await
    }

    /// The wrapped store.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.store
    }
}

impl fmt::Display for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedStore({})", self.shared.store)
    }
}

impl fmt::Debug for CachedStore {
    /// Shows the store by name: its own `Debug` may show credentials, or every object of a store in memory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("store", &format_args!("{}", self.shared.store))
            .field("heads", &self.shared.heads)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for CachedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
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
        read::get(&self.shared, location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.shared.store.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        write::delete_stream(&self.shared, locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.store.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.shared.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        write::copy(&self.shared, from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        write::rename(&self.shared, from, to, options).await
    }
}
