//! Caches that read through, each used as its documentation shows.

pub(crate) mod gated_origin;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use cache_core::{Error, ErrorKind};
use cache_facade::{
    ObjectCache,
    object_store::{ObjectStore, ObjectStoreExt, path::Path},
};
use foyer_memory::CacheProperties;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Where a cache gets its objects from. A clone is a handle.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// Gets an object, unconditionally.
    fn fetch(&self, key: &str) -> impl Future<Output = Result<Bytes>> + Send;
}

/// A cache in front of a source.
pub(crate) trait ReadThrough: Send + Sync + 'static {
    /// Returns the cached object, or gets it from the source and caches it.
    fn get(&self, key: &str) -> impl Future<Output = Result<Bytes>> + Send;
    /// Has the next `get` of the key make a request. By default for a cache whose every `get` does.
    fn invalidate(&self, _key: &str) -> impl Future<Output = ()> + Send {
        async {}
    }
    /// Removes all objects.
    fn clear(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// No cache: every read is a request.
pub(crate) struct Uncached<S>(pub(crate) S);
pub(crate) struct Moka<S>(moka::future::Cache<String, Bytes>, S);
pub(crate) struct QuickCache<S>(quick_cache::sync::Cache<String, Bytes>, S);
pub(crate) struct Foyer<S>(foyer_memory::Cache<String, Bytes>, S);

impl<S> Moka<S> {
    pub(crate) fn new(capacity: usize, source: S) -> Self {
        Self(moka::future::Cache::new(capacity as u64), source)
    }
}

impl<S> QuickCache<S> {
    pub(crate) fn new(capacity: usize, source: S) -> Self {
        Self(quick_cache::sync::Cache::new(capacity), source)
    }
}

impl<S> Foyer<S> {
    pub(crate) fn new(capacity: usize, source: S) -> Self {
        Self(foyer_memory::CacheBuilder::new(capacity).build::<CacheProperties>(), source)
    }
}

impl<S: Source> ReadThrough for Uncached<S> {
    async fn get(&self, key: &str) -> Result<Bytes> {
        self.0.fetch(key).await
    }
}

impl<S: Source> ReadThrough for Moka<S> {
    async fn get(&self, key: &str) -> Result<Bytes> {
        let body = self.0.try_get_with_by_ref(key, self.1.fetch(key)).await;
        body.map_err(|error| Error::clone(&error))
    }

    async fn invalidate(&self, key: &str) {
        self.0.invalidate(key).await;
    }

    async fn clear(&self) {
        self.0.invalidate_all();
        self.0.run_pending_tasks().await;
    }
}

impl<S: Source> ReadThrough for QuickCache<S> {
    async fn get(&self, key: &str) -> Result<Bytes> {
        self.0.get_or_insert_async(key, self.1.fetch(key)).await
    }

    async fn invalidate(&self, key: &str) {
        self.0.remove(key);
    }

    async fn clear(&self) {
        self.0.clear();
    }
}

impl<S: Source> ReadThrough for Foyer<S> {
    async fn get(&self, key: &str) -> Result<Bytes> {
        let (source, owned) = (self.1.clone(), key.to_owned());
        let fetch = move || async move { source.fetch(&owned).await };
        let entry = self.0.get_or_fetch(key, fetch).await;
        let entry = entry.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        Ok(entry.value().clone())
    }

    async fn invalidate(&self, key: &str) {
        self.0.remove(key);
    }

    async fn clear(&self) {
        self.0.clear();
    }
}

impl ReadThrough for ObjectCache {
    async fn get(&self, key: &str) -> Result<Bytes> {
        Ok(Self::get(self, key).await?.into_bytes())
    }

    async fn invalidate(&self, key: &str) {
        Self::invalidate(self, key).await.expect("the cache is open");
    }

    async fn clear(&self) {
        Self::clear(self).await.expect("the cache is open");
    }
}

impl Source for Arc<dyn ObjectStore> {
    async fn fetch(&self, key: &str) -> Result<Bytes> {
        let path = Path::parse(key).expect("keys are canonical");
        let response = self.get(&path).await.expect("the object exists");
        Ok(response.bytes().await.expect("the body is whole"))
    }
}
