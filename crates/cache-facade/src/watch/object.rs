//! A stream of the changes of one object.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cache_core::{Changes, Freshness, Key, Result};
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};

use super::rounds::{Rounds, is_final};
use crate::{CachedObject, ObjectCache, ReadOptions};

/// A stream of the versions of one object: the current one first, then each later one.
///
/// While it is polled, it makes a strong read at once, and then one per interval and one after each
/// signal of a change: a write through this cache, or a message on its
/// [change bus](crate::ChangeBus). Signals are hints, so the interval bounds how late a change is
/// seen; with a bus it can be long. Signals cause at most ten reads a second; a read that took
/// longer delays the next one. It yields a result that differs from the one before: another
/// version, other bytes under the same version (with weak ETags), or another kind of error.
/// A missing object therefore yields one `NotFound`, and an object that is back after an error is
/// yielded again. Versions between two reads are not seen.
///
/// It ends after `InvalidKey`, `Closed` and `Config` (an interval of zero, or no tokio runtime with
/// time enabled).
///
/// It can be polled in one runtime after another: if it waited for something in a runtime that is
/// no longer driven, it starts again in the one that polls it.
///
/// Dropping it stops it. Between two polls nothing runs but a read that was started. It owns the
/// last version and a handle to the cache.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_facade::{ObjectCache, object_store::memory::InMemory};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> cache_facade::Result<()> {
/// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
/// cache.put("motd.txt", "hello").await?;
/// let mut updates = cache.watch("motd.txt", Duration::from_secs(10));
/// while let Some(update) = updates.next().await {
///     let object = update?;
///     if object.bytes() == "goodbye" {
///         break;
///     }
///     cache.put("motd.txt", "goodbye").await?; // Or another node does.
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is read before it is polled"]
pub struct Watch {
    key: String,
    every: Duration,
    changes: Pin<Box<dyn Stream<Item = Result<CachedObject>> + Send>>,
}

impl ObjectCache {
    /// Returns a stream of the object's current version and of each later one: see [`Watch`]. Makes
    /// one strong read every `every`, and one after each signal of a change, only while the stream
    /// is polled.
    pub fn watch(&self, key: &str, every: Duration) -> Watch {
        Watch::new(self.clone(), key, every)
    }

    /// Returns a signal that tells of changes of the object: of writes and deletes through this
    /// cache, and of messages on its bus. It is a hint: it may come without a change, and a change
    /// may come without it.
    pub fn changes(&self, key: &str) -> Changes {
        self.read_through().changes(key)
    }

    /// Returns a signal that tells of changes of objects whose keys begin with `prefix`, byte for
    /// byte: see [`changes`](Self::changes).
    pub fn changes_below(&self, prefix: &str) -> Changes {
        self.read_through().changes_below(prefix)
    }
}

impl Watch {
    pub(crate) fn new(cache: ObjectCache, key: &str, every: Duration) -> Self {
        let changes = match Readings::new(cache, key, every) {
            Ok(readings) => stream::unfold(readings, Readings::next_change).fuse().boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        Self { key: key.to_owned(), every, changes }
    }

    /// Returns the next version or error; `None` at the end. Dropping the future loses nothing: the
    /// next call continues.
    pub async fn next(&mut self) -> Option<Result<CachedObject>> {
        self.changes.next().await
    }
}

impl Stream for Watch {
    type Item = Result<CachedObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.changes.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("key", &self.key)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// The repeated reads.
struct Readings {
    cache: ObjectCache,
    key: Key,
    rounds: Rounds<CachedObject>,
    last: Option<Result<CachedObject>>,
}

impl Readings {
    fn new(cache: ObjectCache, key: &str, every: Duration) -> Result<Self> {
        let key = Key::parse(key)?;
        // Before the first read: a change after it is not missed.
        let rounds = Rounds::new(every, cache.changes(key.as_str()))?;
        Ok(Self { cache, key, rounds, last: None })
    }

    async fn next_change(mut self) -> Option<(Result<CachedObject>, Self)> {
        if let Some(Err(error)) = &self.last
            && is_final(error.kind())
        {
            return None;
        }
        let (cache, key) = (self.cache.clone(), self.key.clone());
        let read = move || {
            let (cache, key) = (cache.clone(), key.clone());
            let strong = ReadOptions::new().freshness(Freshness::strong());
            async move { cache.get_with(key.as_str(), strong).await }
        };
        loop {
            let read = self.rounds.next(&read).await;
            if self.last.as_ref().is_none_or(|last| is_change(last, &read)) {
                self.last = Some(read.clone());
                return Some((read, self));
            }
        }
    }
}

fn is_change(last: &Result<CachedObject>, read: &Result<CachedObject>) -> bool {
    match (last, read) {
        (Ok(last), Ok(read)) => {
            // Usually handles of one entry. Bytes are compared too: an ETag may repeat or be
            // missing.
            !last.entry().is_same(read.entry())
                && (last.version() != read.version() || last.bytes() != read.bytes())
        }
        (Err(last), Err(read)) => last.kind() != read.kind(),
        _ => true,
    }
}
