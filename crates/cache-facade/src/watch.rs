//! A stream of the changes of one object.

use std::{
    fmt,
    future::poll_fn,
    panic::catch_unwind,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use cache_core::{Error, ErrorKind, Freshness, Key, Result};
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::{
    runtime::{Handle, Id},
    task::JoinHandle,
    time::{Sleep, sleep, sleep_until},
};

use crate::{CachedObject, ObjectCache, ReadOptions};

/// A stream of the versions of one object: the current one first, then each later one.
///
/// While it is polled, it makes a strong read at once and then at most one per interval; a read
/// that took longer delays the next one. It yields a result that differs from the one before:
/// another version, other bytes under the same version (with weak ETags), or another kind of error.
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
    /// one strong read at most every `every`, and only while the stream is polled.
    pub fn watch(&self, key: &str, every: Duration) -> Watch {
        Watch::new(self.clone(), key, every)
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
    every: Duration,
    /// The time until the next read; `None` before the first.
    pause: Option<InRuntime<Pin<Box<Sleep>>>>,
    /// The read in progress.
    reading: Option<InRuntime<JoinHandle<Result<CachedObject>>>>,
    last: Option<Result<CachedObject>>,
}

/// A value that makes progress only in the runtime that created it.
struct InRuntime<T> {
    home: Id,
    inner: T,
}

impl Readings {
    fn new(cache: ObjectCache, key: &str, every: Duration) -> Result<Self> {
        if every.is_zero() {
            return Err(Error::new(ErrorKind::Config, "the span of a watch is zero; give one"));
        }
        Ok(Self { cache, key: Key::parse(key)?, every, pause: None, reading: None, last: None })
    }

    async fn next_change(mut self) -> Option<(Result<CachedObject>, Self)> {
        if self.last.as_ref().is_some_and(is_final) {
            return None;
        }
        loop {
            let read = match poll_fn(|context| self.poll_pause(context)).await {
                Ok(()) => poll_fn(|context| self.poll_read(context)).await,
                Err(error) => Err(error),
            };
            if self.last.as_ref().is_none_or(|last| is_change(last, &read)) {
                self.last = Some(read.clone());
                return Some((read, self));
            }
        }
    }

    /// Reads in a task: a watch may not be polled for long, and a request must not be left open.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<CachedObject>> {
        let here = runtime()?;
        let reading = match &mut self.reading {
            Some(reading) if reading.home == here.id() => &mut reading.inner,
            // Not started yet, or started in a runtime that may not be driven.
            other => {
                let (cache, key) = (self.cache.clone(), self.key.clone());
                let strong = ReadOptions::new().freshness(Freshness::strong());
                let reading = here.spawn(async move { cache.get_with(key.as_str(), strong).await });
                &mut other.insert(InRuntime { home: here.id(), inner: reading }).inner
            }
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        Poll::Ready(read.unwrap_or_else(|lost| {
            let error =
                Error::new(ErrorKind::Other, "the runtime that ran the reading was shut down");
            Err(error.with_source(lost))
        }))
    }

    /// Waits until the next read is due, and starts the interval of the one after.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let here = runtime()?.id();
        match &mut self.pause {
            Some(pause) if pause.home == here => ready!(pause.inner.as_mut().poll(context)),
            Some(pause) => {
                // The rest of the interval. The clocks of two runtimes differ if one is paused.
                let (left, most) = (pause.inner.deadline(), timer(self.every)?.deadline());
                let inner = Box::pin(sleep_until(left.min(most)));
                *pause = InRuntime { home: here, inner };
                ready!(pause.inner.as_mut().poll(context));
            }
            // The first read is due at once.
            None => {}
        }
        self.pause = Some(InRuntime { home: here, inner: timer(self.every)? });
        Poll::Ready(Ok(()))
    }
}

fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|outside| without_time().with_source(outside))
}

/// A timer of the current runtime.
fn timer(span: Duration) -> Result<Pin<Box<Sleep>>> {
    // tokio reports a runtime without time only by a panic.
    catch_unwind(|| Box::pin(sleep(span))).map_err(|_| without_time())
}

fn without_time() -> Error {
    Error::new(ErrorKind::Config, "a watch needs a tokio runtime with time enabled; poll it in one")
}

fn is_final(last: &Result<CachedObject>) -> bool {
    use ErrorKind::{Closed, Config, InvalidKey};
    last.as_ref().is_err_and(|error| matches!(error.kind(), Closed | Config | InvalidKey))
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
