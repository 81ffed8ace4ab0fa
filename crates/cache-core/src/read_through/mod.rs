//! The protocol: reads that are validated, writes that fence.
//!
//! What must hold, in short (the words are in the project's `ARCHITECTURE.md`):
//!
//! * A strong reader never takes an answer to a question that was asked before it arrived.
//! * What a flight publishes was asked after the last fence of its key; a write or an invalidation
//!   fences at its begin and at its end, also when it fails or its caller goes away.
//! * A flight publishes first and wakes its waiters then, so whoever begins to read after another
//!   has returned finds at least what that one saw.
//! * A write runs in a task of its own, and a flight is handed to one as soon as anybody but its
//!   reader needs it: no reader that goes away, or is not polled, hurts another, and no backend
//!   call is dropped half-way.
//!
//! One `get`: [`ReadThrough::get`] judges what is at hand; if the origin must be asked, `read.rs`
//! joins or begins a flight, which `drive.rs` has the reader poll; `flight.rs` asks by a
//! `request.rs`, publishes and wakes. `write.rs` is the other direction.

mod backend_access;
mod builder;
mod driver;
mod epochs;
mod flight;
mod key_state;
mod key_table;
mod limiter;
mod negative;
mod observation;
mod observe;
mod outcome;
mod parked;
mod permit;
mod read;
mod request;
mod served;
mod settings;
mod shared;
mod sweep;
mod sweeper;
mod task_tracker;
mod timer;
mod trace;
mod watchdog;
mod write;

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::task::yield_now;

pub use self::{
    builder::ReadThroughBuilder,
    observation::Observation,
    permit::RequestPermit,
    served::{Served, Status},
    write::OpenWrite,
};
use self::{outcome::Landed, shared::Shared, task_tracker::Tasks, timer::within};
use crate::{
    Backend, Error, ErrorKind, Freshness, Namespace, Origin, PutCondition, PutOptions, Result,
    Stats, Validator, Version, stats::Count,
};

/// A validated cache: a [`Backend`] in front of an origin.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use cache_core::{Freshness, ReadThrough, Status};
/// use cache_testkit::{MapBackend, MemoryOrigin};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cache_core::Result<()> {
/// let origin = Arc::new(MemoryOrigin::new());
/// origin.write("config.json", "{}");
/// let cache = ReadThrough::builder(origin.clone(), Arc::new(MapBackend::new())).build()?;
///
/// let strong = Freshness::strong();
/// assert_eq!(cache.get("config.json", Some(&strong)).await?.status, Status::Fetched);
/// // One request without a body.
/// assert_eq!(cache.get("config.json", Some(&strong)).await?.status, Status::Revalidated);
/// // No request.
/// let minute = Freshness::max_age(Duration::from_secs(60));
/// assert_eq!(cache.get("config.json", Some(&minute)).await?.status, Status::Fresh);
///
/// origin.write("config.json", "[]");
/// let served = cache.get("config.json", Some(&strong)).await?;
/// assert_eq!(served.entry.body(), "[]");
/// # Ok(())
/// # }
/// ```
///
/// A clone is another handle to the same cache. Needs a tokio runtime (with time enabled, for the
/// sweep and for all time-outs) whenever the origin is asked or written to; a fresh hit needs none.
///
/// # Several runtimes
///
/// A request runs on the runtime of one of its readers. A reader on another runtime waits for it
/// for at most [`origin_timeout`](ReadThroughBuilder::origin_timeout) without progress, and then
/// sends a request of its own. So a runtime that has called the cache and is not driven any more
/// delays no reader for longer. It has a cost, until it is driven again or dropped:
///
/// * each of its requests counts as one of [`max_in_flight`](ReadThroughBuilder::max_in_flight);
/// * a key of which it has a call of the backend under way is read and written, but not kept;
/// * a key of which it has a write under way is read, but not kept, and `close` fails with
///   `Timeout`;
/// * the sweep goes on where the cache is next asked or written to.
///
/// A runtime whose `block_on` is only called with reads is driven by them enough: one that is
/// served a stale copy lets other tasks run before it returns.
///
/// # Dropped futures
///
/// A dropped `get` leaves its question in the air, once it was sent: the answer is kept for the
/// next reader. A dropped `put` or `delete` gives the request up, and nothing is held of the key;
/// whether the write took effect is open. A dropped `invalidate`, `mark_stale` or `clear` still
/// takes effect.
pub struct ReadThrough<V: ?Sized> {
    shared: Arc<Shared<V>>,
}

/// A handle that does not keep the cache alive: for those who look at it now and then, such as
/// exporters of its counters.
pub struct WeakReadThrough<V: ?Sized> {
    shared: Weak<Shared<V>>,
}

impl<V: Validator + ?Sized> ReadThrough<V> {
    /// The object, by the rule for its key or, if given, by `freshness`.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object; `InvalidKey`; `Config` for a `freshness` that
    /// contradicts itself; `Closed`; what the origin answers; `Timeout` and `Unavailable` if it
    /// fails to answer and no held copy may cover that; `Panicked` if the validator does.
    ///
    /// A dropped future leaves its question in the air, once it was sent: the answer is kept for
    /// the next reader.
    #[inline]
    pub async fn get(&self, key: &str, freshness: Option<&Freshness>) -> Result<Served> {
        match self.get_if_fresh(key, freshness) {
            Some(served) => Ok(served),
            None => self.fetch(key, freshness).await,
        }
    }

    /// The first half of [`get`](Self::get): a copy that is at hand and surely fresh, served and
    /// counted. Awaits, allocates and parses nothing, and needs no runtime. `None` says nothing of
    /// what is held: [`fetch`](Self::ask).
    #[inline]
    pub fn get_if_fresh(&self, key: &str, freshness: Option<&Freshness>) -> Option<Served> {
        self.shared.fresh(key, freshness)
    }

    /// The second half of [`get`](Self::get): the object, after
    /// [`get_if_fresh`](Self::get_if_fresh) had nothing to serve.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// A dropped future leaves its question in the air, once it was sent: the answer is kept for
    /// the next reader.
    pub async fn fetch(&self, key: &str, freshness: Option<&Freshness>) -> Result<Served> {
        // Apart, so that a fresh hit does without the registers and the stack of all the rest.
        let mut read = pin!(self.read(key, freshness, None));
        poll_fn(|context| poll_apart(read.as_mut(), context)).await
    }

    /// The same as [`fetch`](Self::ask), but the request that this call causes, if it causes one,
    /// is sent by `validator`: for readers whose requests carry something of their own. A call that
    /// shares another read's request takes what that one brings. A background revalidation is sent
    /// by the cache's own validator.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// Dropping the future does not cancel a request that was already sent; its response is still
    /// cached.
    pub async fn fetch_by(
        &self,
        key: &str,
        freshness: Option<&Freshness>,
        validator: &Arc<dyn Validator>,
    ) -> Result<Served> {
        self.read(key, freshness, Some(validator)).await
    }

    async fn read(
        &self,
        key: &str,
        freshness: Option<&Freshness>,
        validator: Option<&Arc<dyn Validator>>,
    ) -> Result<Served> {
        let shared = &self.shared;
        if sweep::resume(shared) {
            // Such reads may be all that their runtime is driven for.
            yield_now().await;
        }
        let read = match freshness.map_or(Ok(()), Freshness::check) {
            Ok(()) => read::read(shared, key, shared.rule(key, freshness), validator).await,
            Err(error) => Err(error),
        };
        shared.count_read(&read);
        read
    }

    /// Forgets the copy. Reads that begin after this returned are answered by a question asked
    /// after the copy was gone.
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a runtime. A backend that fails to remove the
    /// copy is no error: the copy is void all the same.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn invalidate(&self, key: &str) -> Result<()> {
        write::invalidate(&self.shared, key).await
    }

    /// Keeps the copy, but asks the origin before it is next served, in every mode.
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a runtime.
    ///
    /// A dropped future, once polled, still takes effect (at worst the copy is forgotten).
    pub async fn mark_stale(&self, key: &str) -> Result<()> {
        write::expire(&self.shared, key).await
    }

    /// Hears what an answer of the store has shown of `key` that is no answer to a request of this
    /// cache: a list, a read that went past it, a refused request. No read that begins after this
    /// has returned is served a copy that the answer showed to be out of date, whatever its
    /// [`Freshness`]. To be called when the answer is there, before anybody acts on it.
    ///
    /// Reads in flight whose requests were sent before are joined by no further reader, and cached
    /// only if they bring the version that was shown. A cached copy of another version is
    /// revalidated before it is next served, and dropped after [`Observation::Absent`] and
    /// [`Observation::Forbidden`]; not so one whose own request was sent after this call. Where the
    /// copy is of the version that was shown, nothing happens: it is not renewed.
    ///
    /// Works without a runtime, but for dropping a copy: without one, that is void all the same. A
    /// cache that is closed has no copies.
    ///
    /// A dropped future, once polled, still takes effect (at worst the copy is dropped).
    pub async fn observe(&self, key: &str, observation: Observation) {
        observe::observe(&self.shared, key, observation).await;
    }

    /// Opens a write that the caller makes by other means than [`put`](ReadThrough::put) and
    /// [`delete`](ReadThrough::delete), to be held until its outcome is known. A write of several
    /// keys opens each of them. When this has returned the copy is forgotten, and nothing of the
    /// key is kept until the write is dropped.
    ///
    /// ```
    /// # use cache_core::{ReadThrough, Result, Validator};
    /// # async fn rename(cache: &ReadThrough<impl Validator>, at_origin: impl Future<Output = Result<()>>) -> Result<()> {
    /// let writes = [cache.open_write("from").await?, cache.open_write("to").await?];
    /// let renamed = at_origin.await;
    /// drop(writes);
    /// renamed
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a runtime. A backend that fails to remove the
    /// copy is no error: the copy is void all the same.
    ///
    /// A dropped future, once polled, still forgets the copy, and ends the write.
    pub async fn open_write(&self, key: &str) -> Result<OpenWrite<V>> {
        write::open(&self.shared, key).await
    }

    /// Forgets the copies of all keys that begin with `prefix`, byte for byte. Takes constant time:
    /// the copies are void at once, their memory is freed when they are next asked for, evicted or
    /// expired. At most 64 prefixes are told apart, and a prefix covers the longer ones that begin
    /// with it: one more, and the two that have most in common count as one, the part that they
    /// share.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn invalidate_prefix(&self, prefix: &str) -> Result<()> {
        self.shared.tasks.check_open()?;
        // Entries and flights below the prefix are void from this call on.
        // mutant: prefix_fence
        self.shared.epochs.raise_prefix(prefix);
        Ok(())
    }

    /// Forgets all copies. Reads that begin after this returned are answered by a question asked
    /// after it.
    ///
    /// # Errors
    ///
    /// `Closed`; `Config` outside of a runtime; `Backend` if the backend fails to free the memory:
    /// the copies are void all the same.
    ///
    /// All copies are void when this is first polled, and again when it returns or is dropped; a
    /// dropped future may leave their memory to be freed later.
    pub async fn clear(&self) -> Result<()> {
        let counted = self.shared.tasks.enter()?;
        write::clear(&self.shared, counted, Count::InvalidatedByApi).await
    }

    /// Stops the cache, for all its handles: new calls fail with `Closed`, and so do reads that
    /// have yet to ask; questions and writes in flight come to their end, the sweep is stopped, and
    /// the backend is closed ([`Backend::close`]): memory drops all copies, a backend whose entries
    /// outlive the process keeps them. Nothing is asked or written once this has returned. May be
    /// called again.
    ///
    /// If nothing in flight comes to its end for
    /// [`origin_timeout`](ReadThroughBuilder::origin_timeout), the questions that are left are
    /// given up, and their readers get `Closed`.
    ///
    /// # Errors
    ///
    /// `Timeout` if writes are left then: they take longer, or began on a runtime that is not
    /// driven, and go on; `Backend` if the backend fails to close; `Config` outside of a runtime:
    /// it is closed all the same.
    ///
    /// A dropped future leaves the cache closed, and the calls in flight to end by themselves.
    pub async fn close(&self) -> Result<()> {
        self.shared.tasks.close();
        self.shared.epochs.raise_whole();
        self.shared.sweeper.stop();
        self.shared.table.want_all();
        let n_left = self.end_all().await;
        write::close(&self.shared, self.shared.tasks.count()).await?;
        match n_left {
            0 => Ok(()),
            n => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "the cache is closed, but {n} writes have not ended; their outcome is open"
                ),
            )),
        }
    }

    /// Waits for what is in flight. Flights that make no progress are given up; how many writes do
    /// not.
    async fn end_all(&self) -> usize {
        let Shared { tasks, table, settings, .. } = &*self.shared;
        loop {
            let n_ended = tasks.n_ended();
            if within(settings.close_limit(), tasks.idle()).await.is_some() {
                return 0;
            }
            if tasks.n_ended() == n_ended {
                table.vacate_all(&Landed::Failed(Tasks::closed()));
                // What they were about to keep.
                self.shared.epochs.raise_whole();
                return tasks.close();
            }
        }
    }

    /// What it is called, in metrics and traces. All handles have the same `Arc`, and no other
    /// cache has it.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.settings.name
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let backend = &self.shared.backend;
        self.shared.counters.snapshot(&backend.usage(), backend.negative_entries())
    }

    /// A handle that does not keep the cache alive.
    pub fn downgrade(&self) -> WeakReadThrough<V> {
        WeakReadThrough { shared: Arc::downgrade(&self.shared) }
    }

    /// How many keys have a flight in the air or a write open. Zero at rest.
    pub fn keys_in_flight(&self) -> usize {
        self.shared.table.len()
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// The identity that its entries have.
    pub fn namespace(&self) -> Namespace {
        self.shared.settings.identity
    }

    /// The origin.
    pub fn origin(&self) -> &Arc<V> {
        &self.shared.origin
    }
}

impl<O: Origin + ?Sized> ReadThrough<O> {
    /// Writes the object through to the origin, and keeps `body` if nothing else happened to the
    /// key meanwhile.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` if `condition` does not hold; `Unsupported` if the origin cannot do it;
    /// `InvalidKey`; `Closed`; what the origin answers. After `Timeout`, `Unavailable`, `Panicked`
    /// and `Other` it is open whether the write took effect; nothing is held of the key then.
    ///
    /// A dropped future gives the request up and leaves nothing held.
    pub async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Version> {
        self.put_with(key, body, condition.into()).await
    }

    /// Writes the object with all that `options` say, and caches `body` and the attributes if
    /// nothing else happened to the key meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put); also `Unsupported` if the origin does not keep such attributes.
    ///
    /// A dropped future drops the request, and nothing of the key is cached.
    pub async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<Version> {
        write::put(&self.shared, key, body, options).await
    }

    /// Deletes the object at the origin.
    ///
    /// # Errors
    ///
    /// As for [`ReadThrough::put`]. Whether deleting a missing object is `NotFound` is the origin's
    /// affair.
    ///
    /// A dropped future gives the request up and leaves nothing held.
    pub async fn delete(&self, key: &str) -> Result<()> {
        write::delete(&self.shared, key).await
    }
}

impl<V: ?Sized> Clone for ReadThrough<V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<V: ?Sized> fmt::Debug for ReadThrough<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThrough")
            .field("settings", &self.shared.settings)
            .field("usage", &self.shared.backend.usage())
            .field("table", &self.shared.table)
            .finish_non_exhaustive()
    }
}

impl<V: ?Sized> WeakReadThrough<V> {
    /// The cache, unless its last handle and its last request are gone.
    pub fn upgrade(&self) -> Option<ReadThrough<V>> {
        self.shared.upgrade().map(|shared| ReadThrough { shared })
    }
}

impl<V: ?Sized> Clone for WeakReadThrough<V> {
    fn clone(&self) -> Self {
        Self { shared: Weak::clone(&self.shared) }
    }
}

impl<V: ?Sized> fmt::Debug for WeakReadThrough<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakReadThrough").finish_non_exhaustive()
    }
}

/// Polls `future` in a function of its own, whatever the caller is.
#[inline(never)]
fn poll_apart<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}
