//! Reads of many objects for few requests.

use std::{
    any::Any,
    error::Error as StdError,
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Key, ListRefresh, Result, Served};
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;

use crate::{CachedObject, ObjectCache, decode::decoded};

/// A stream of objects in the order of their keys: the result of [`ObjectCache::get_prefix`] and
/// [`ObjectCache::get_many`]. Nothing is requested before it is polled.
///
/// An object that cannot be read is an item of its own, an error with its key, and the others
/// follow. Dropping the stream does not cancel requests for objects that were already sent; their
/// responses are still cached.
#[must_use = "nothing is read before it is polled"]
pub struct PrefixRead(State);

enum State {
    New { cache: ObjectCache, objects: Objects, parallel: usize },
    Running(BoxStream<'static, Result<Served>>),
}

enum Objects {
    Below(String),
    Of(Vec<String>),
}

impl ObjectCache {
    /// Reads all objects whose keys begin with `prefix`, byte for byte: `"config/"` rather than
    /// `"config"`, and all objects if it is empty. A strong read of each, for one list and a
    /// request for each object that is not cached or has changed. A list is a request for each page
    /// (of S3: 1,000 objects). The objects come in the order of their keys, each as of a moment
    /// between the first poll and its item. An object that is deleted meanwhile may be left out.
    ///
    /// The list needs the right to list the prefix. It also tells of objects that were removed, and
    /// renews or marks all cached objects below the prefix. An object whose ETag is weak, or that
    /// the store lists without one, costs a request each time. On local disk and on Azure all pages
    /// are listed before the first item.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_facade::{ObjectCache, Status, object_store::memory::InMemory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cache_facade::Result<()> {
    /// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
    /// cache.put("config/a", "1").await?;
    /// cache.put("config/b", "2").await?;
    /// let mut objects = cache.get_prefix("config/").parallel(50);
    /// while let Some(object) = objects.next().await {
    ///     let object = object?;
    ///     println!("{}: {:?}", object.key(), object.bytes());
    ///     assert_eq!(object.status(), Status::RevalidatedByList);
    /// }
    /// assert_eq!(cache.stats().origin.requests(), 3, "two puts and a list");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An item for each object that cannot be read, as for [`get`](Self::get). An error of the list
    /// is the last item: those of the store, `Unsupported` if it has no lists, `InvalidKey` for a
    /// prefix that no key begins with, and `Closed`.
    pub fn get_prefix(&self, prefix: &str) -> PrefixRead {
        PrefixRead::new(self, Objects::Below(prefix.to_owned()))
    }

    /// Reads the objects of these keys, in the order of their keys and each once. A strong read of
    /// each: by a conditional request, or by a page of a list for several that are cached, where
    /// that is fewer requests. There are never more than twice as many requests as conditional
    /// requests alone. On S3 a page costs as much as about 12 reads, so for a few keys of a large
    /// folder it may be dearer. See
    /// [`ReadThrough::get_many`](cache_core::ReadThrough::get_many).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_facade::{ErrorKind, ObjectCache, object_store::memory::InMemory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cache_facade::Result<()> {
    /// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
    /// cache.put("users/2", "Ada").await?;
    /// let mut users = cache.get_many(["users/2", "users/1"]);
    /// let error = users.next().await.unwrap().unwrap_err();
    /// assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("users/1")));
    /// assert_eq!(users.next().await.unwrap()?.bytes(), "Ada");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An item for each object that cannot be read, as for [`get`](Self::get); `NotFound` for a
    /// missing one.
    pub fn get_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> PrefixRead {
        let keys = keys.into_iter().map(|key| key.as_ref().to_owned());
        PrefixRead::new(self, Objects::Of(keys.collect()))
    }

    /// Reads all objects below `prefix` as [`get_prefix`](Self::get_prefix) does, and decodes each
    /// by `decode`: for directories of typed files. Decodes once for each version and each `T`, as
    /// [`get_decoded`](Self::get_decoded) does, so an unchanged object is neither requested nor
    /// decoded again.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_facade::{ObjectCache, object_store::memory::InMemory};
    /// # use futures_util::StreamExt as _;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cache_facade::Result<()> {
    /// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
    /// cache.put("limits/reads", "100").await?;
    /// let parse = |bytes: &cache_facade::Bytes| {
    ///     let text = std::str::from_utf8(bytes)?;
    ///     text.parse::<u32>().map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    /// };
    /// let mut limits = cache.get_decoded_prefix("limits/", parse);
    /// while let Some(limit) = limits.next().await {
    ///     let (object, limit) = limit?;
    ///     assert_eq!((object.key(), *limit), ("limits/reads", 100));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`get_prefix`](Self::get_prefix). For an object that is not decoded also `Decode` and
    /// `Panicked`, as for [`get_decoded`](Self::get_decoded); the others follow.
    ///
    /// Dropping the stream does not cancel requests for objects that were already sent.
    pub fn get_decoded_prefix<T, E, F>(
        &self,
        prefix: &str,
        decode: F,
    ) -> BoxStream<'static, Result<(CachedObject, Arc<T>)>>
    where
        T: Any + Send + Sync,
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Fn(&Bytes) -> Result<T, E> + Send + Sync + 'static,
    {
        let decode = Arc::new(decode);
        let decoded = self.get_prefix(prefix).then(move |object| {
            let decode = Arc::clone(&decode);
            async move {
                let object = object?;
                let made = object.entry().decoded(|body| decoded(body, &*decode)).await;
                match made {
                    Ok(value) => Ok((object, value)),
                    Err(error) => Err(match Key::parse(object.key()) {
                        Ok(key) => error.with_key(&key),
                        Err(_) => error,
                    }),
                }
            }
        });
        decoded.boxed()
    }

    /// Lists the objects whose keys begin with `prefix`, byte for byte, at once and then about
    /// every `every`, in the background, until the result is dropped: each list renews the cached
    /// objects that it shows with their version and marks the others. Under a `max_age` of more
    /// than `every` and the time that a list takes, reads of unchanged cached objects send no
    /// requests. It fetches no objects.
    ///
    /// It costs a request for each page (of S3: 1,000 objects) in each interval, on each node.
    /// After an error the next list is made as usual; the counters show it
    /// ([`OriginStats::lists`](crate::OriginStats::lists)). See
    /// [`ReadThrough::refresh_by_list`](cache_core::ReadThrough::refresh_by_list).
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_facade::{Freshness, ObjectCache, object_store::memory::InMemory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cache_facade::Result<()> {
    /// let cache = ObjectCache::builder(Arc::new(InMemory::new()))
    ///     .freshness_for("config/", Freshness::max_age(Duration::from_secs(15)))
    ///     .build()?;
    /// let refresh = cache.refresh_by_list("config/", Duration::from_secs(10))?;
    /// # drop(refresh);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Config` if `every` is zero; `Closed`.
    pub fn refresh_by_list(&self, prefix: &str, every: Duration) -> Result<ListRefresh> {
        self.read_through().refresh_by_list(prefix, every)
    }
}

impl PrefixRead {
    fn new(cache: &ObjectCache, objects: Objects) -> Self {
        Self(State::New { cache: cache.clone(), objects, parallel: PARALLEL })
    }

    /// Sets how many objects are requested at a time, and so how many are read ahead of the caller.
    /// Zero is taken for one. Changes nothing after the first poll. Default: 10.
    pub fn parallel(mut self, n: usize) -> Self {
        if let State::New { parallel, .. } = &mut self.0 {
            *parallel = n;
        }
        self
    }

    /// Returns the next object or error; `None` at the end. Dropping the future loses nothing: the
    /// next call continues.
    pub async fn next(&mut self) -> Option<Result<CachedObject>> {
        StreamExt::next(self).await
    }
}

impl Stream for PrefixRead {
    type Item = Result<CachedObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::New { cache, objects, parallel } = &mut self.0 {
            let objects = mem::replace(objects, Objects::Of(Vec::new()));
            let read = match objects {
                Objects::Below(prefix) => cache.read_through().get_prefix(&prefix, *parallel),
                Objects::Of(keys) => cache.read_through().get_many(keys, *parallel),
            };
            self.0 = State::Running(read);
        }
        match &mut self.0 {
            State::Running(read) => {
                read.as_mut().poll_next(cx).map(|read| read.map(|read| read.map(Into::into)))
            }
            State::New { .. } => Poll::Ready(None),
        }
    }
}

impl fmt::Debug for PrefixRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_running = matches!(self.0, State::Running(_));
        f.debug_struct("PrefixRead").field("is_running", &is_running).finish_non_exhaustive()
    }
}

const PARALLEL: usize = 10;
