//! The cache, as most users see it.

use std::{any::Any, error::Error as StdError, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Key, Origin, PutCondition, PutOptions, ReadThrough, Result, Stats, Version};
use cache_metrics::MetricsSource;
use object_store::ObjectStore;

use crate::{CachedObject, ObjectCacheBuilder, OverOrigin, ReadOptions, Watch, decode::decoded};

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
/// A clone is another handle to the same cache; when the last one goes, the cache does, with its
/// copies. The cache needs a tokio runtime, with time enabled, whenever the store is asked or
/// written to. A request runs on the runtime of one of those who wait for it: where several
/// runtimes share a cache, each must be driven until the requests of its callers are answered, or
/// be dropped.
///
/// Keys are the canonical paths of objects: relative, without empty, `.` or `..` segments. Another
/// spelling is an `InvalidKey` error that says what to write instead, so that one object never has
/// two copies.
#[derive(Clone)]
pub struct ObjectCache {
    inner: ReadThrough<dyn Origin>,
}

impl ObjectCache {
    /// Returns a builder of a cache in front of `store`.
    pub fn builder(store: Arc<dyn ObjectStore>) -> ObjectCacheBuilder {
        ObjectCacheBuilder::over_store(store)
    }

    /// Returns a builder of a cache in front of an origin of your own, without the settings that
    /// are about an object store.
    pub fn builder_with_origin(origin: Arc<dyn Origin>) -> ObjectCacheBuilder<OverOrigin> {
        ObjectCacheBuilder::over_origin(origin)
    }

    pub(crate) fn new(inner: ReadThrough<dyn Origin>) -> Self {
        Self { inner }
    }

    /// The object, as fresh as the cache's rule for `key` demands.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object; `PermissionDenied` and `Unauthenticated` if the store
    /// refuses; `Timeout` and `Unavailable` if it fails to answer and no copy may cover that (see
    /// [`Freshness::stale_if_error`](crate::Freshness::stale_if_error)); `TooLarge` above
    /// `max_object_size`; `InvalidKey`; `Closed`; `Config` outside of a tokio runtime.
    ///
    /// A dropped future leaves its question in the air, once it was sent: the answer is kept for
    /// the next reader.
    pub async fn get(&self, key: &str) -> Result<CachedObject> {
        match self.inner.get_if_fresh(key, None) {
            Some(served) => Ok(CachedObject::from(served)),
            None => self.inner.fetch(key, None).await.map(CachedObject::from),
        }
    }

    /// The object, as `options` say.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and `Config` for a freshness that contradicts itself.
    ///
    /// A dropped future leaves its question in the air, once it was sent: the answer is kept for
    /// the next reader.
    pub async fn get_with(&self, key: &str, options: ReadOptions) -> Result<CachedObject> {
        self.inner.get(key, options.rule()).await.map(CachedObject::from)
    }

    /// What `decode` makes of the object's bytes: made once for each version and each `T`, however
    /// many readers ask, and held as long as the copy is. The bytes are as fresh as for
    /// [`get`](Self::get), and the read is counted as one.
    ///
    /// One `T` of one object should always be made by the same `decode`: the first one to come
    /// makes it for all. While it runs, other readers of the same value wait; what is long should
    /// be made elsewhere. The memory of what was made does not count to the capacity.
    ///
    /// A `T` that holds a handle of the cache keeps the cache, which keeps the copy, which keeps
    /// the `T`: none of them is freed before the copy leaves the cache. Let it hold a weak one
    /// (`cache.read_through().downgrade()`), or nothing. A `T` that panics when the cache drops it
    /// is caught.
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
    /// As for [`get`](Self::get). `Decode`, with the decoder's error as source, if `decode` returns
    /// one, and `Panicked` if it panics. A failure is not held: each reader tries anew, one after
    /// the other. `Decode` without a source inside of a `decode` that makes the same `T` of the
    /// same object, also by way of another object's: it would wait for itself. Two decoders on two
    /// threads that ask for each other's values wait for ever.
    ///
    /// A dropped future leaves its question in the air, as for `get`.
    pub async fn get_decoded<T, E, F>(&self, key: &str, decode: F) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: FnOnce(&Bytes) -> Result<T, E>,
    {
        self.get_decoded_with(key, ReadOptions::new(), decode).await
    }

    /// What `decode` makes of the object's bytes, which are read as `options` say. See
    /// [`get_decoded`](Self::get_decoded).
    ///
    /// # Errors
    ///
    /// As for [`get_decoded`](Self::get_decoded) and [`get_with`](Self::get_with).
    ///
    /// A dropped future leaves its question in the air, as for `get`.
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

    /// The object now, and then each time it has changed: see [`Watch`]. Asks the store, strongly,
    /// at most once in `every`, and only while the stream is polled.
    pub fn watch(&self, key: &str, every: Duration) -> Watch {
        Watch::new(self.clone(), key, every)
    }

    /// Writes the object, and keeps the copy unless something else happens to the key meanwhile.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`, `Unauthenticated`, `InvalidKey`, `Closed`: nothing was written. After
    /// `Timeout`, `Unavailable`, `Panicked` and `Other` it is open whether the write took effect.
    /// In any case no copy is held.
    ///
    /// A dropped future gives the request up: it is open whether the write takes effect, and no
    /// copy is held.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<Version> {
        self.put_if(key, body, PutCondition::Always).await
    }

    /// Writes the object if `condition` holds: that there is none yet, or that it is at a version
    /// read or written before.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put). `PreconditionFailed` if the condition does not hold;
    /// `Unsupported` if the store cannot do it (local disk knows `Absent` only, HTTP neither).
    ///
    /// A dropped future gives the request up: it is open whether the write takes effect, and no
    /// copy is held.
    pub async fn put_if(
        &self,
        key: &str,
        body: impl Into<Bytes>,
        condition: PutCondition,
    ) -> Result<Version> {
        self.put_with(key, body, condition.into()).await
    }

    /// Writes the object with attributes, under a condition, or both, and caches it with those
    /// attributes unless something else happens to the key meanwhile.
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
    /// Dropping the future drops the request: it is open whether the write takes effect, and
    /// nothing of the key is cached.
    pub async fn put_with(
        &self,
        key: &str,
        body: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Version> {
        self.inner.put_with(key, body.into(), options).await
    }

    /// Deletes the object and forgets the copy.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put). For a missing object, `NotFound` or none: as the store answers
    /// (local disk and Azure say so, S3 does not).
    ///
    /// A dropped future gives the request up: it is open whether the object is deleted, and no copy
    /// is held.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    /// Forgets the copy. Reads that begin after this returned are answered by a question asked
    /// after the copy was gone.
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a tokio runtime.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn invalidate(&self, key: &str) -> Result<()> {
        self.inner.invalidate(key).await
    }

    /// Forgets the copies of all keys that begin with `prefix`, byte for byte; all of them if it is
    /// empty. Takes constant time: the memory is freed when the copies are next asked for, evicted
    /// or expired. At most 64 prefixes are told apart, and a prefix covers the longer ones that
    /// begin with it: one more, and the two that have most in common count as one, the part that
    /// they share.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn invalidate_prefix(&self, prefix: &str) -> Result<()> {
        self.inner.invalidate_prefix(prefix)
    }

    /// Keeps the copy, but asks the store before it is next served, in every mode.
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
    /// bytes stay: an unchanged object costs one request without a body. At most 64 prefixes are
    /// told apart, as for [`invalidate_prefix`](Self::invalidate_prefix).
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

    /// Forgets all copies.
    ///
    /// # Errors
    ///
    /// `Closed`; `Config` outside of a tokio runtime, and `Backend` if the backend fails to free
    /// the memory: the copies are not served all the same.
    ///
    /// A dropped future, once polled, has taken effect; it may leave memory to be freed later.
    pub async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    /// Stops the cache, for all its handles: new calls fail with `Closed`, and so do reads that
    /// have yet to ask; requests in flight come to their end, and all copies are dropped. Nothing
    /// is sent once this has returned. To drop the last handle is enough where nobody need wait for
    /// that. May be called again.
    ///
    /// # Errors
    ///
    /// `Config` outside of a tokio runtime, and `Backend` if the backend fails to free the memory:
    /// the cache is closed all the same.
    ///
    /// A dropped future, once polled, leaves the cache closed, and the calls in flight to end by
    /// themselves.
    pub async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    /// What happened so far, counted.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// The name that the cache was given.
    pub fn name(&self) -> &str {
        self.inner.name()
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
