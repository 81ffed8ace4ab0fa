//! The protocol: validated reads, and writes that fence.
//!
//! The invariants, in short (`ARCHITECTURE.md` has them in full):
//!
//! * A strong reader never gets the response to a request that was sent before the read began.
//! * A flight publishes only if its request was sent after the last fence of its key. A write or an
//!   invalidation fences at its begin and at its end, also when it fails or its caller goes away.
//! * A flight publishes before it wakes its waiters, so a read that begins after another one has
//!   returned sees at least the same version.
//! * A write runs in a task of its own, and a flight is moved to a task as soon as another call
//!   needs it: a reader that is dropped, or not polled, delays no other call, and no backend call
//!   is dropped half-way.
//!
//! The steps of a `get`: the fast path and the slow one are in `read.rs`, which joins a flight or
//! starts one; `driver.rs` polls it in the reader's own task; `flight.rs` looks up the cached
//! entry, takes a permit (`limiter.rs`), sends the request (`request.rs`), publishes the response
//! and wakes the waiters. Writes and invalidations are in `write.rs`, lists in `list.rs`, reads of
//! many objects for one list in `prefix.rs`.

mod backend_access;
mod background;
mod builder;
mod bus;
mod bus_state;
mod changes;
mod driver;
mod epochs;
mod flight;
mod key_index;
mod key_state;
mod key_table;
mod limiter;
mod list;
mod many;
mod marks;
mod negative;
mod observe;
mod outcome;
mod parked;
mod permit;
mod prefix;
mod read;
mod refresh;
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
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use self::timer::within;
pub use self::{
    builder::ReadThroughBuilder,
    changes::Changes,
    list::{ListScope, ObservedList},
    permit::RequestPermit,
    prefix::ListedPage,
    refresh::ListRefresh,
    served::{Served, Status, Tier},
    write::OpenWrite,
};
use self::{
    changes::Scope, observe::Sighting, outcome::FlightOutcome, shared::Shared,
    task_tracker::TaskTracker,
};
use crate::{
    Backend, BusStats, Change, Error, ErrorKind, Freshness, Moment, Namespace, Observation, Origin,
    PutCondition, PutOptions, Result, Stats, Validator, Version, stats::Count,
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
/// A clone is another handle to the same cache. Every request to the origin needs a tokio runtime,
/// with time enabled for the sweep and for all time limits; a fresh hit needs none.
///
/// # Several runtimes
///
/// A request runs on the runtime of one of its readers. A reader on another runtime waits for it
/// for at most [`origin_timeout`](ReadThroughBuilder::origin_timeout) without progress, and then
/// sends a request of its own. So a runtime that is not driven any more delays no reader for
/// longer. Until it is driven again or dropped,
///
/// * each of its requests counts as one of [`max_in_flight`](ReadThroughBuilder::max_in_flight);
/// * a key with a running backend call on it is read and written, but not cached;
/// * a key with a running write on it is read, but not cached, and `close` fails with `Timeout`;
/// * the sweep continues on the runtime that next sends a request.
///
/// A runtime whose `block_on` is only called with reads is driven enough by them: a read that
/// serves a stale entry lets other tasks run before it returns.
///
/// # Dropped futures
///
/// Dropping a `get` does not cancel a request that was already sent; its response is still cached.
/// A dropped `put` or `delete` drops its request: the write may or may not take effect, and nothing
/// of the key is cached. A dropped `invalidate`, `mark_stale` or `clear` still takes effect.
pub struct ReadThrough<V: ?Sized> {
    shared: Arc<Shared<V>>,
}

/// A weak handle to a cache, for exporters of its counters and the like.
pub struct WeakReadThrough<V: ?Sized> {
    shared: Weak<Shared<V>>,
}

impl<V: Validator + ?Sized> ReadThrough<V> {
    /// Returns the object, by the rule for its key or, if given, by `freshness`.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object; `InvalidKey`; `Config` for a `freshness` that
    /// contradicts itself; `Closed`; the error that the origin answers with; `Timeout` and
    /// `Unavailable` if it fails to answer and no cached entry may cover that; `Panicked` if the
    /// validator panics.
    ///
    /// Dropping the future does not cancel a request that was already sent; its response is still
    /// cached.
    #[inline]
    pub async fn get(&self, key: &str, freshness: Option<&Freshness>) -> Result<Served> {
        match self.get_if_fresh(key, freshness) {
            Some(served) => Ok(served),
            None => self.fetch(key, freshness).await,
        }
    }

    /// Returns the cached entry if it can be served without a request, and counts the hit. Never
    /// awaits, allocates or parses, and needs no runtime. `None` does not mean that nothing is
    /// cached: call [`fetch`](Self::fetch).
    #[inline]
    pub fn get_if_fresh(&self, key: &str, freshness: Option<&Freshness>) -> Option<Served> {
        self.shared.fresh(key, freshness)
    }

    /// Returns the object after [`get_if_fresh`](Self::get_if_fresh) returned `None`: the second
    /// half of [`get`](Self::get).
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// Dropping the future does not cancel a request that was already sent; its response is still
    /// cached.
    pub async fn fetch(&self, key: &str, freshness: Option<&Freshness>) -> Result<Served> {
        // Apart, so that a fresh hit does without the registers and the stack of all the rest.
        let mut read = pin!(self.read(key, freshness, None));
        poll_fn(|context| poll_apart(read.as_mut(), context)).await
    }

    /// Returns the object as [`fetch`](Self::fetch) does, but a request that this call starts is
    /// sent by `validator`: for readers whose requests carry something of their own. A call that
    /// shares another read's request gets the response of that one. Background revalidations use
    /// the validator of the cache.
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
        read::get(&self.shared, key, freshness, validator).await
    }

    /// Removes the cached entry. Reads that begin after this has returned get the response to a
    /// request that was sent after the removal.
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a runtime. A backend that fails to remove the
    /// entry is no error: the entry is void all the same.
    ///
    /// A dropped future, once polled, still takes effect.
    pub async fn invalidate(&self, key: &str) -> Result<()> {
        write::invalidate(&self.shared, key).await
    }

    /// Keeps the entry, but revalidates it before it is next served, under every [`Freshness`].
    ///
    /// # Errors
    ///
    /// `InvalidKey`, `Closed`, `Config` outside of a runtime.
    ///
    /// A dropped future, once polled, still takes effect; at worst the entry is removed.
    pub async fn mark_stale(&self, key: &str) -> Result<()> {
        write::expire(&self.shared, key).await
    }

    /// Reports what a response of the store has shown of `key` outside of this cache's own
    /// requests: a list, a read past the cache, a rejected request. No read that begins after this
    /// has returned is served an entry that the response showed to be out of date, whatever its
    /// [`Freshness`]. Call it as soon as the response is there, before anything acts on it.
    ///
    /// No further reader joins a request that was sent before this call, and its response is cached
    /// only if it has the observed version. A cached entry of another version is revalidated before
    /// it is next served, and removed after [`Observation::Absent`] and [`Observation::Forbidden`],
    /// unless its own request was sent after this call. An entry of the observed version is left as
    /// it is; it is not renewed.
    ///
    /// Needs a runtime only to remove an entry; without one the entry is void. A closed cache has
    /// no entries.
    ///
    /// A dropped future, once polled, still takes effect; at worst the entry is removed.
    pub async fn observe(&self, key: &str, observation: Observation) {
        let sighting = Sighting::response(self.shared.clock.now());
        observe::observe(&self.shared, key, &observation, sighting).await;
    }

    /// Begins a list that the caller requests from the store right after this, and whose pages it
    /// reports: see [`ObservedList`]. Its objects renew the entries of the same version, as one
    /// validation of each would, and mark the others; entries in its scope that it leaves out are
    /// marked too. The first list of a prefix marks all entries below it that were stored before,
    /// and lifts the mark of each that it shows.
    ///
    /// [`list`](Self::list) does all of this, if the origin can list.
    pub fn observe_list(&self, scope: ListScope) -> ObservedList<V> {
        list::begin(&self.shared, scope)
    }

    /// Lists the objects whose keys begin with `prefix`, byte for byte, in the order of the origin,
    /// and takes note of each page before it is yielded: one request validates all entries on it
    /// that have the listed version, and the others are marked (see
    /// [`observe_list`](Self::observe_list)). Nothing is requested before the stream is polled; a
    /// page is requested when the one before has been read. After an error the stream ends.
    ///
    /// # Errors
    ///
    /// Those of the origin; `Unsupported` if it has no lists; `Closed`.
    ///
    /// Dropping the stream drops the request. The cache has taken note of the pages so far.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ListedPage>> {
        prefix::list(&self.shared, prefix, None).pages
    }

    /// Reads all objects whose keys begin with `prefix`, byte for byte: one list, and a request for
    /// each object that is not cached or has changed, at most `parallel` at a time (zero is taken
    /// for one). The objects come in the order of their keys. Each is as of a moment between the
    /// first poll of the stream and its item; an object that is deleted meanwhile may be left out.
    ///
    /// Of an origin that does not list in order, all pages are listed first.
    ///
    /// # Errors
    ///
    /// An item for each object that cannot be read, with its key, as for [`get`](Self::get). An
    /// error of the list, as for [`list`](Self::list), is the last item.
    ///
    /// Dropping the stream does not cancel requests for objects that were already sent.
    pub fn get_prefix(&self, prefix: &str, parallel: usize) -> BoxStream<'static, Result<Served>> {
        prefix::get(&self.shared, prefix, parallel)
    }

    /// Applies a change that another program made, as a message on the bus is applied: a cached
    /// object of another version is revalidated before it is next served, and requests that are in
    /// flight cache nothing older. For notifications of a store, which carry no proof that none was
    /// missed: use them under a `max_age`. A heartbeat does nothing.
    ///
    /// A dropped future, once polled, still takes effect; at worst the entry is removed.
    pub async fn hear_change(&self, change: &Change) {
        bus::apply(&self.shared, change).await;
    }

    /// Announces a change on the bus, for one that was made by other means than this cache, or to
    /// have all caches revalidate: `invalidate`, `mark_stale` and `clear` tell no other cache.
    /// Waits until it was sent. This cache applies it too, also after an error.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the bus did not take it; `Config` without a bus, outside of a runtime, or
    /// for a heartbeat; `Closed`.
    ///
    /// A dropped future, once polled, still announces it.
    pub async fn announce(&self, change: Change) -> Result<()> {
        self.shared.check_bus(true)?;
        if matches!(change, Change::Heartbeat { .. }) {
            let message = "heartbeats are announced by the cache itself; announce a change";
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.shared.tasks.check_open()?;
        sweep::ensure(&self.shared, &task_tracker::runtime()?);
        let announced = self.shared.bus.as_ref().map(|bus| bus.announce(change.clone()));
        bus::apply(&self.shared, &change).await;
        let is_sent = match announced {
            Some(announced) => announced.await.unwrap_or(false),
            None => true,
        };
        if !is_sent {
            let message =
                "the change was not announced, as the bus did not take it; announce it again";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    /// Returns the counters of the bus; `None` without one.
    pub fn bus_stats(&self) -> Option<BusStats> {
        self.shared.bus.as_ref().map(|bus| bus.stats(self.shared.clock.now()))
    }

    /// Returns a signal that tells of changes of the object: of writes and deletes through this
    /// cache, and of messages on its bus.
    pub fn changes(&self, path: &str) -> Changes {
        self.shared.signals.listen(Scope::Key(path.into()))
    }

    /// Returns a signal that tells of changes of objects whose paths begin with `prefix`, byte for
    /// byte: see [`changes`](Self::changes).
    pub fn changes_below(&self, prefix: &str) -> Changes {
        self.shared.signals.listen(Scope::Prefix(prefix.into()))
    }

    /// Lists the objects whose keys begin with `prefix`, byte for byte, at once and then again and
    /// again, in the background: each list renews the entries that it shows with their version and
    /// marks the others, as [`list`](Self::list) does. Under a `max_age` of more than `every` and
    /// the time that a list takes, reads of objects that are cached and do not change send no
    /// requests. It fetches no objects.
    ///
    /// Each list begins between eight and ten tenths of `every` after the one before, at random, so
    /// that many nodes do not list together; one that takes longer delays the next. It costs a
    /// request for each page (of S3: 1,000 objects) each time, on each node: with 10,000 objects
    /// and 30 s about 0.37 requests/s. After an error, which the counters show
    /// ([`OriginStats::lists`](crate::OriginStats::lists)), the next list is made as usual;
    /// meanwhile entries age as if there were no lists. A page that has not come after
    /// [`origin_timeout`](ReadThroughBuilder::origin_timeout) is given up.
    ///
    /// The lists run on the caller's runtime; outside of one, or if it ends or is not driven any
    /// more, on that of the next read that sends a request. They end when the result is dropped,
    /// when the cache is closed, or when its last handle is dropped; a page that was requested is
    /// awaited in that last case. Two refreshes of one prefix are independent.
    ///
    /// # Errors
    ///
    /// `Config` if `every` is zero; `Closed`. An origin without lists is no error here: each list
    /// fails.
    pub fn refresh_by_list(&self, prefix: &str, every: Duration) -> Result<ListRefresh> {
        refresh::refresh(&self.shared, prefix, every)
    }

    /// Returns the object as of a moment not before `since`: the cached entry if it was validated
    /// since then, by whichever request or list; else the result of a strong read. For readers of
    /// many objects that one list has validated.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// Dropping the future does not cancel a request that was already sent; its response is still
    /// cached.
    pub async fn get_since(&self, key: &str, since: Moment) -> Result<Served> {
        prefix::get_since(&self.shared, key, since).await
    }

    /// Returns the cached entry if it was validated since `since`, by whichever request or list.
    /// The first half of [`get_since`](Self::get_since), for callers that fetch in another way.
    ///
    /// # Errors
    ///
    /// `Closed`.
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn get_if_validated_since(&self, key: &str, since: Moment) -> Option<Result<Served>> {
        prefix::get_if_validated_since(&self.shared, key, since).await
    }

    /// Reads the objects of these keys, in the order of their keys and each once, at most
    /// `parallel` at a time (zero is taken for one): by a conditional request each, or by a page of
    /// a list for several of those that are cached, if that is fewer requests. Each object is as of
    /// a moment between the first poll of the stream and its item.
    ///
    /// A page of a list costs a request too, and on some stores a dearer one (of S3 as much as 12
    /// reads). Pages are tried where cached keys follow one another, and less and less often where
    /// they turn out to be sparse: at most as many as there are cached keys, so there are never
    /// more than twice the requests that conditional requests alone would take. Only origins that
    /// list in order are listed. A list that fails costs its request; the objects are read by
    /// themselves then.
    ///
    /// # Errors
    ///
    /// An item for each object that cannot be read, with its key, as for [`get`](Self::get):
    /// `NotFound` if there is none, `InvalidKey` if it is no key.
    ///
    /// Dropping the stream does not cancel requests for objects that were already sent.
    pub fn get_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        parallel: usize,
    ) -> BoxStream<'static, Result<Served>> {
        let keys = keys.into_iter().map(|key| key.as_ref().into()).collect();
        many::get(&self.shared, keys, parallel)
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

    /// Removes the entries of all keys that begin with `prefix`, byte for byte, in constant time:
    /// they are void at once, and their memory is freed when they are next looked up, evicted or
    /// expired. At most 64 prefixes are told apart, and a prefix covers the longer ones that begin
    /// with it. Beyond 64, the two that share most of their names are merged into the shared part.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn invalidate_prefix(&self, prefix: &str) -> Result<()> {
        self.shared.tasks.check_open()?;
        // Entries and flights below the prefix are void from this call on.
        // mutant: prefix_fence
        self.shared.epochs.void_prefix(prefix);
        Ok(())
    }

    /// Marks the cached objects of all keys that begin with `prefix`, byte for byte, as stale: each
    /// is revalidated before it is next served, under every [`Freshness`]. Takes constant time, and
    /// the bytes stay: an unchanged object costs one request without a body. As after
    /// [`mark_stale`](Self::mark_stale), `stale_if_error` may still cover an outage. At most 64
    /// prefixes are told apart, as for [`invalidate_prefix`](Self::invalidate_prefix). An empty
    /// prefix is the same as [`mark_all_stale`](Self::mark_all_stale).
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn mark_stale_prefix(&self, prefix: &str) -> Result<()> {
        self.shared.tasks.check_open()?;
        // Entries and flights below the prefix are stale from this call on.
        // mutant: soft_prefix_floor
        self.shared.epochs.mark_stale_prefix(prefix);
        Ok(())
    }

    /// Marks all cached objects as stale, in constant time: see
    /// [`mark_stale_prefix`](Self::mark_stale_prefix).
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn mark_all_stale(&self) -> Result<()> {
        self.mark_stale_prefix("")
    }

    /// Removes all entries. Reads that begin after this has returned get the response to a request
    /// that was sent after it.
    ///
    /// # Errors
    ///
    /// `Closed`; `Config` outside of a runtime; `Backend` if the backend fails to free the memory:
    /// the entries are void all the same.
    ///
    /// All entries are void when this is first polled, and again when it returns or is dropped; a
    /// dropped future may leave their memory to be freed later.
    pub async fn clear(&self) -> Result<()> {
        let token = self.shared.tasks.enter()?;
        write::clear(&self.shared, token, Count::InvalidatedByApi).await
    }

    /// Closes the cache, for all its handles: new calls fail with `Closed`, and so do reads that
    /// have not sent their request yet. Requests and writes in flight run to their end, the sweep
    /// is stopped, changes that wait are announced on the bus (for at most 2 s; dropping the last
    /// handle announces none), and the backend is closed ([`Backend::close`]): memory drops all
    /// entries, a backend that outlives the process keeps them. No request is sent after this has
    /// returned. May be called again.
    ///
    /// If nothing in flight ends for [`origin_timeout`](ReadThroughBuilder::origin_timeout), the
    /// remaining requests are given up, and their readers get `Closed`.
    ///
    /// # Errors
    ///
    /// `Timeout` if writes are left then: they take longer, or began on a runtime that is not
    /// driven, and go on; `Backend` if the backend fails to close; `Config` outside of a runtime:
    /// the cache is closed all the same.
    ///
    /// A dropped future leaves the cache closed, and the calls in flight to end by themselves.
    pub async fn close(&self) -> Result<()> {
        self.shared.tasks.close();
        self.shared.epochs.void_all();
        self.shared.sweeper.stop();
        self.shared.table.request_handoffs();
        let n_left = self.end_all().await;
        if let Some(bus) = &self.shared.bus {
            bus.flush().await;
        }
        self.shared.background.stop();
        write::close(&self.shared, self.shared.tasks.count()).await?;
        match n_left {
            0 => Ok(()),
            n => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "the cache is closed, but {n} writes have not ended; their outcome is unknown"
                ),
            )),
        }
    }

    /// Waits for all calls in flight, gives up flights without progress, and returns the number of
    /// writes that are left.
    async fn end_all(&self) -> usize {
        let Shared { tasks, table, settings, .. } = &*self.shared;
        loop {
            let n_ended = tasks.n_ended();
            if within(settings.close_limit(), tasks.idle()).await.is_some() {
                return 0;
            }
            if tasks.n_ended() == n_ended {
                table.vacate_all(&FlightOutcome::Failed(TaskTracker::closed()));
                // What they were about to keep.
                self.shared.epochs.void_all();
                return tasks.close();
            }
        }
    }

    /// Returns the name in metrics and traces. All handles share one `Arc`, which no other cache
    /// has.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.settings.name
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        let backend = &self.shared.backend;
        self.shared.counters.snapshot(&backend.usage(), backend.negative_entries())
    }

    /// Returns a handle that does not keep the cache alive.
    pub fn downgrade(&self) -> WeakReadThrough<V> {
        WeakReadThrough { shared: Arc::downgrade(&self.shared) }
    }

    /// Returns how many keys have a request in flight or an open write. Zero at rest.
    pub fn keys_in_flight(&self) -> usize {
        self.shared.table.len()
    }

    /// Returns the backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// Returns the namespace of its entries.
    pub fn namespace(&self) -> Namespace {
        self.shared.settings.identity
    }

    /// Returns the origin.
    pub fn origin(&self) -> &Arc<V> {
        &self.shared.origin
    }
}

impl<O: Origin + ?Sized> ReadThrough<O> {
    /// Writes the object to the origin, and caches `body` if nothing else happened to the key
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` if `condition` does not hold; `Unsupported` if the origin cannot do it;
    /// `InvalidKey`; `Closed`; the error that the origin answers with. After `Timeout`,
    /// `Unavailable`, `Panicked` and `Other` the write may or may not have taken effect; the key is
    /// not cached then.
    ///
    /// A dropped future drops the request, and nothing of the key is cached.
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
    /// As for [`ReadThrough::put`]. The origin decides whether deleting a missing object is
    /// `NotFound`.
    ///
    /// A dropped future drops the request, and nothing of the key is cached.
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
    /// Returns the cache, unless its last handle and its last request are gone.
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
