//! The cache of whole objects.

use std::{any::Any, error::Error as StdError, fmt, sync::Arc};

use bytes::Bytes;
use cache_core::{
    BusStats, Change, Key, Origin, PutCondition, PutOptions, ReadThrough, Result, Stats, TierStats,
    Version,
};
use cache_metrics::MetricsSource;

use crate::{CachedObject, ReadOptions, decode::decoded};

/// A validated cache in front of an object store.
///
/// ```
/// use std::sync::Arc;
/// use cache_facade::{ObjectCache, Status, object_store::memory::InMemory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cache_facade::Result<()> {
/// let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
/// cache.put("config.json", "{}").await?;
/// let object = cache.get("config.json").await?;
/// assert_eq!(object.bytes(), "{}");
/// assert_eq!(object.status(), Status::Revalidated);
/// # Ok(())
/// # }
/// ```
///
/// A clone is another handle to the same cache. Dropping the last handle drops the cache and its
/// entries. The cache needs a tokio runtime with time enabled for every request to the store. A
/// request runs on the runtime of one of its callers: if several runtimes share a cache, drive each
/// of them until the requests of its callers are finished, or drop it.
///
/// Keys are the canonical paths of objects: relative, without empty, `.` or `..` segments. Any
/// other form is an `InvalidKey` error with the correct form, so that no object is cached twice.
#[derive(Clone)]
pub struct ObjectCache {
    inner: ReadThrough<dyn Origin>,
}

impl ObjectCache {
    pub(crate) fn new(inner: ReadThrough<dyn Origin>) -> Self {
        Self { inner }
    }

    /// Returns the object, as fresh as the cache's rule for `key` requires.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object; `PermissionDenied` and `Unauthenticated` if the store
    /// denies access; `Timeout` and `Unavailable` if the store fails and no stale entry may be
    /// served (see [`Freshness::stale_if_error`](crate::Freshness::stale_if_error)); `TooLarge`
    /// above `max_object_size`; `InvalidKey`; `Closed`; `Config` outside of a tokio runtime.
    ///
    /// Dropping the future does not cancel a request that was already sent; its response is still
    /// cached.
    pub async fn get(&self, key: &str) -> Result<CachedObject> {
        match self.inner.get_if_fresh(key, None) {
            Some(served) => Ok(CachedObject::from(served)),
            None => self.inner.fetch(key, None).await.map(CachedObject::from),
        }
    }

    /// Returns the object, read with `options`.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and `Config` for contradictory settings of a freshness.
    ///
    /// Dropping the future does not cancel a request that was already sent; its response is still
    /// cached.
    pub async fn get_with(&self, key: &str, options: ReadOptions) -> Result<CachedObject> {
        self.inner.get(key, options.rule()).await.map(CachedObject::from)
    }

    /// Returns the object decoded by `decode`. Decodes once for each version and each `T`, for all
    /// readers, and caches the value with the entry. The bytes are as fresh as for
    /// [`get`](Self::get), and the read counts as one.
    ///
    /// Use the same `decode` for each `T` of an object: the first call decodes for all. Other
    /// readers of the same value wait meanwhile, so decode large objects elsewhere. The memory of
    /// decoded values does not count towards the capacity.
    ///
    /// A `T` that owns a handle of the cache forms a reference cycle with it, which ends only when
    /// the entry leaves the cache. Give it a weak handle (`cache.read_through().downgrade()`). A
    /// panic in the drop of `T` is caught.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_facade::{ObjectCache, object_store::memory::InMemory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cache_facade::Result<()> {
    /// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
    /// cache.put("limit.txt", "42").await?;
    /// let limit: Arc<u32> = cache.get_decoded("limit.txt", |bytes| std::str::from_utf8(bytes)?.parse()
    ///     .map_err(Box::<dyn std::error::Error + Send + Sync>::from)).await?;
    /// assert_eq!(*limit, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get). `Decode` if `decode` returns an error, which is the source, and
    /// `Panicked` if it panics. Failures are not cached: each reader decodes again, one after the
    /// other. `Decode` without a source if `decode` itself reads the same `T` of the same object,
    /// directly or through another object, because it would wait for itself. Two decoders on two
    /// threads that read each other's values deadlock.
    ///
    /// Dropping the future does not cancel a request, as for `get`.
    pub async fn get_decoded<T, E, F>(&self, key: &str, decode: F) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: FnOnce(&Bytes) -> Result<T, E>,
    {
        self.get_decoded_with(key, ReadOptions::new(), decode).await
    }

    /// Returns the object, read with `options` and decoded by `decode`. See
    /// [`get_decoded`](Self::get_decoded).
    ///
    /// # Errors
    ///
    /// As for [`get_decoded`](Self::get_decoded) and [`get_with`](Self::get_with).
    ///
    /// Dropping the future does not cancel a request, as for `get`.
    pub async fn get_decoded_with<T, E, F>(
        &self,
        key: &str,
        options: ReadOptions,
        decode: F,
    ) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: FnOnce(&Bytes) -> Result<T, E>,
    {
        let object = self.get_with(key, options).await?;
        let made = object.entry().decoded(|body| decoded(body, decode)).await;
        made.map_err(|error| match Key::parse(key) {
            Ok(key) => error.with_key(&key),
            Err(_) => error,
        })
    }

    /// Writes the object, and caches it unless another read or write of the key overlaps.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`, `Unauthenticated`, `InvalidKey`, `Closed`: nothing was written. After
    /// `Timeout`, `Unavailable`, `Panicked` and `Other` the write may have taken effect. After any
    /// error the key is not cached.
    ///
    /// Dropping the future cancels the request: the write may still take effect, and the key is not
    /// cached.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<Version> {
        self.put_if(key, body, PutCondition::Always).await
    }

    /// Writes the object if `condition` holds: that it does not exist yet, or that it still has a
    /// version that was read or written before.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put). `PreconditionFailed` if the condition does not hold;
    /// `Unsupported` if the store does not support it (local disk supports only `Absent`, HTTP
    /// neither).
    ///
    /// Dropping the future cancels the request: the write may still take effect, and the key is not
    /// cached.
    pub async fn put_if(
        &self,
        key: &str,
        body: impl Into<Bytes>,
        condition: PutCondition,
    ) -> Result<Version> {
        self.put_with(key, body, condition.into()).await
    }

    /// Writes the object with attributes, under a condition, or both, and caches it with those
    /// attributes unless another read or write of the key overlaps.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_facade::{ObjectCache, PutOptions, object_store::memory::InMemory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cache_facade::Result<()> {
    /// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
    /// let options = PutOptions::new().attributes([("content-type", "text/css")]);
    /// cache.put_with("site.css", "a {}", options).await?;
    /// let object = cache.get("site.css").await?;
    /// assert_eq!(object.attributes().get("content-type"), Some("text/css"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`put_if`](Self::put_if). Also `Unsupported` if the store keeps no attributes (local
    /// disk), or none of such a name (see [`Attributes`](crate::Attributes)): nothing was written.
    ///
    /// Dropping the future cancels the request: the write may still take effect, and the key is not
    /// cached.
    pub async fn put_with(
        &self,
        key: &str,
        body: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Version> {
        self.inner.put_with(key, body.into(), options).await
    }

    /// Deletes the object and removes its entry.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put). A missing object is `NotFound` or no error, depending on the
    /// store (local disk and Azure report it, S3 does not).
    ///
    /// Dropping the future cancels the request: the object may still be deleted, and the key is not
    /// cached.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    /// Removes the entry. Reads that begin after this returned are served by a request that was
    /// sent after the entry was removed.
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a tokio runtime.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn invalidate(&self, key: &str) -> Result<()> {
        self.inner.invalidate(key).await
    }

    /// Invalidates the entries of all keys that begin with `prefix`, byte for byte; all entries if
    /// it is empty. Takes constant time: the memory is freed when an entry is next read, evicted or
    /// expired. At most 64 prefixes are kept apart; a prefix covers the longer ones that begin with
    /// it. Beyond 64, the two with the longest common prefix are replaced by that prefix.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn invalidate_prefix(&self, prefix: &str) -> Result<()> {
        self.inner.invalidate_prefix(prefix)
    }

    /// Marks the entry stale: it is revalidated before it is next served, under every freshness.
    /// The bytes stay, so an unchanged object costs one request without a body.
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a tokio runtime.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn mark_stale(&self, key: &str) -> Result<()> {
        self.inner.mark_stale(key).await
    }

    /// Marks the cached objects of all keys that begin with `prefix`, byte for byte, as stale: each
    /// is revalidated before it is next served, under every freshness. Takes constant time, and the
    /// bytes stay: an unchanged object costs one request without a body. Limited to 64 prefixes, as
    /// [`invalidate_prefix`](Self::invalidate_prefix) is.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn mark_stale_prefix(&self, prefix: &str) -> Result<()> {
        self.inner.mark_stale_prefix(prefix)
    }

    /// Marks all cached objects as stale, in constant time: see
    /// [`mark_stale_prefix`](Self::mark_stale_prefix).
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn mark_all_stale(&self) -> Result<()> {
        self.inner.mark_all_stale()
    }

    /// Applies a change that another program made to the store, as a message on the bus is applied:
    /// a cached object of another version is revalidated before it is next served. For
    /// notifications of a store, such as S3 event notifications. They carry no proof that none was
    /// missed: use them under a `max_age`.
    ///
    /// A dropped future, once polled, still takes effect; at worst the entry is removed.
    pub async fn hear_change(&self, change: &Change) {
        self.inner.hear_change(change).await;
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
    pub async fn announce(&self, change: Change) -> Result<()> {
        self.inner.announce(change).await
    }

    /// Returns the counters of the bus; `None` without one.
    pub fn bus_stats(&self) -> Option<BusStats> {
        self.inner.bus_stats()
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// `Closed`; `Config` outside of a tokio runtime; `Backend` if the backend fails to free the
    /// memory. The entries are not served again in any case.
    ///
    /// A dropped future, once polled, has taken effect; the memory may be freed later.
    pub async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    /// Closes the cache for all its handles and waits for the requests in flight. New calls fail
    /// with `Closed`, and so do reads whose requests were not sent yet. No request is sent after
    /// this has returned. Closes the backend: one in memory is cleared, a persistent one keeps its
    /// entries. Dropping the last handle is enough if nothing has to wait. Can be called again.
    ///
    /// # Errors
    ///
    /// `Config` outside of a tokio runtime, `Backend` if the backend fails. The cache is closed in
    /// any case.
    ///
    /// A dropped future, once polled, leaves the cache closed; requests in flight end on their own.
    pub async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    /// Returns a snapshot of the counters.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// The name that the cache was given.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Returns the counters of the tier below memory, if the backend has one.
    pub fn lower_tier(&self) -> Option<TierStats> {
        self.inner.backend().lower_tier()
    }

    /// The protocol under this cache: its backend, its origin, and how many keys are in flight.
    pub fn read_through(&self) -> &ReadThrough<dyn Origin> {
        &self.inner
    }
}

impl From<&ObjectCache> for MetricsSource {
    fn from(cache: &ObjectCache) -> Self {
        Self::from(&cache.inner)
    }
}

impl fmt::Debug for ObjectCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCache")
            .field("name", &self.name())
            .field("inner", &self.inner)
            .finish()
    }
}

const _: fn() = || {
    fn is_shareable<T: Clone + Send + Sync + 'static>() {}
    is_shareable::<ObjectCache>();
};
