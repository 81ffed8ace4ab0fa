//! How a read was answered, and how a caller asks for another answer.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Served, Status};

/// In the extensions of a `GetResult`: how the read was answered.
///
/// The byte counts, and whether it was coalesced, are those so far: they move as the body is read.
///
/// ```
/// # use std::sync::Arc;
/// # use cache_store::{CacheStatus, CachedStore};
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # async fn example(cached: CachedStore) -> object_store::Result<()> {
/// let answer = cached.get(&Path::from("a")).await?;
/// let status = answer.extensions.get::<CacheStatus>().cloned().unwrap();
/// let body = answer.bytes().await?;
/// assert_eq!(status.bytes_from_cache() + status.bytes_from_origin(), body.len() as u64);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CacheStatus {
    status: Status,
    age: Duration,
    meter: Arc<Meter>,
}

/// An extension of `GetOptions` that serves the read from fresh cached data and sends no request.
/// If that is not possible, the read fails with a `Generic` error whose source is a [`NotCached`].
/// Under [`Freshness::strong`](cache_core::Freshness::strong), the default, nothing is fresh: add a
/// `Freshness` to the extensions as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnlyIfCached;

/// An extension of `GetOptions` that sends the read to the wrapped store and caches nothing of the
/// response. If the response shows that the object has changed, the cached object is revalidated
/// before it is next served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bypass;

/// The source of the error of an [`OnlyIfCached`] read whose object is not cached, or not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotCached;

/// The source of a `NotModified` or `Precondition` error that the cache answered a conditional read
/// with: it compared the conditions with a version that it knows. Where the store itself did so,
/// the source is the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredFromCache {
    status: Status,
}

impl AnsweredFromCache {
    pub(super) fn new(status: Status) -> Self {
        Self { status }
    }

    /// Returns how the version was known that the conditions were compared with.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl CacheStatus {
    pub(super) fn new(served: &Served) -> Self {
        Self { status: served.status, age: served.age(), meter: Arc::default() }
    }

    pub(super) fn bypass() -> Self {
        Self { status: Status::Bypass, age: Duration::ZERO, meter: Arc::default() }
    }

    /// Returns how the version was known that was served. [`Status::Fetched`] and
    /// [`Status::Refetched`]: the store named it. [`Status::Bypass`]: the store answered alone.
    pub fn status(&self) -> Status {
        self.status
    }

    /// How long before the answer the request was sent whose answer said that the version is
    /// current. Zero, if the store answered.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Whether bytes came from a request that another read had made.
    pub fn coalesced(&self) -> bool {
        self.meter.coalesced.load(Ordering::Relaxed)
    }

    /// Bytes given out so far that were held.
    pub fn bytes_from_cache(&self) -> u64 {
        self.meter.from_cache.load(Ordering::Relaxed)
    }

    /// Bytes given out so far that the backend has read from a tier below memory: part of
    /// [`bytes_from_cache`](Self::bytes_from_cache).
    pub fn bytes_from_disk(&self) -> u64 {
        self.meter.from_disk.load(Ordering::Relaxed)
    }

    /// Bytes given out so far that came from the store for this read or a concurrent one. A body
    /// that is a file, which a [`Status::Bypass`] of a store on local disk is, is taken for given
    /// out.
    pub fn bytes_from_origin(&self) -> u64 {
        self.meter.from_origin.load(Ordering::Relaxed)
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl fmt::Display for NotCached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "what was asked for only if cached is not held, or not fresh; ask without OnlyIfCached",
        )
    }
}

impl Error for NotCached {}

impl fmt::Display for AnsweredFromCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the conditions were compared with a cached version ({:?})", self.status)
    }
}

impl Error for AnsweredFromCache {}

/// What the body of one read has been made of so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    from_cache: AtomicU64,
    from_disk: AtomicU64,
    pub(super) from_origin: AtomicU64,
    pub(super) coalesced: AtomicBool,
}

impl Meter {
    /// These bytes were cached.
    pub(super) fn add_from_cache(&self, bytes: u64, are_from_disk: bool) {
        self.from_cache.fetch_add(bytes, Ordering::Relaxed);
        if are_from_disk {
            self.from_disk.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
