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

mod absences;
mod drive;
mod flight;
mod held;
mod observe;
mod permit;
mod places;
mod read;
mod request;
mod sweep;
mod table;
mod tasks;
mod timeouts;
mod trace;
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
use tokio::task::yield_now;

use self::{
    absences::Absences, flight::Landed, places::Places, sweep::Sweeper, table::Table, tasks::Tasks,
    timeouts::within, trace::Warnings,
};
pub use self::{observe::Observation, permit::RequestPermit, write::OpenWrite};
use crate::{
    Backend, Clock, Entry, Error, ErrorKind, Freshness, FreshnessRules, Moment, Namespace, Origin,
    PutCondition, PutOptions, Result, Stats, SystemClock, Validator, Verdict, Version,
    epochs::Epochs,
    judge,
    stats::{Count, Counters},
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

/// Sets up a [`ReadThrough`].
#[must_use]
pub struct ReadThroughBuilder<V: ?Sized> {
    origin: Arc<V>,
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

/// What a read got.
#[derive(Debug, Clone)]
pub struct Served {
    /// The copy.
    pub entry: Entry,
    /// Where it came from.
    pub status: Status,
    age_nanos: u64,
}

/// How a read was answered: by `ReadThrough`, `ObjectCache` and `CachedStore`.
// As wide as what it lies beside, so that a result has no padding, which would be copied piece by
// piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Status {
    /// From a fresh entry, without asking.
    Fresh,
    /// From an entry that the origin confirmed for this read.
    Revalidated,
    /// Fetched; nothing was held.
    Fetched,
    /// Fetched in the place of a held copy that the origin did not confirm.
    Refetched,
    /// From an entry past its `max_age`: it is revalidated in the background, or the store failed
    /// to answer.
    Stale,
    /// By the store, as if there were no cache. Only reads of a `CachedStore` are.
    Bypass,
}

impl Served {
    fn new(entry: Entry, status: Status, validated_at: Option<Moment>, now: Moment) -> Self {
        let age_nanos = validated_at.map_or(0, |at| now.as_nanos().saturating_sub(at.as_nanos()));
        Self { entry, status, age_nanos }
    }

    /// How long before this read ended the request was sent that validated the copy.
    pub const fn age(&self) -> Duration {
        Duration::from_nanos(self.age_nanos)
    }
}

impl Status {
    /// Whether the bytes came from a cached copy.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::Revalidated | Self::Stale)
    }
}

impl<V: Validator + ?Sized> ReadThrough<V> {
    /// Starts a cache that asks `origin` and holds copies in `backend`.
    ///
    /// The backend must be this cache's alone: what another cache put there is not served (see
    /// [`identity`](ReadThroughBuilder::identity)), and both would push it out.
    pub fn builder(origin: Arc<V>, backend: Arc<dyn Backend>) -> ReadThroughBuilder<V> {
        ReadThroughBuilder {
            origin,
            backend,
            clock: Arc::new(SystemClock::new()),
            settings: Settings::default(),
        }
    }

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

impl<V: Validator + ?Sized> ReadThroughBuilder<V> {
    /// Names the cache in metrics and traces. Empty is an error. Default: `"default"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Arc::from(name.into());
        self
    }

    /// What all keys begin with that is no part of an object's name; traces and errors leave it
    /// out. For those who keep other things beside objects in one backend. Default: nothing.
    pub fn key_prefix(mut self, prefix: &'static str) -> Self {
        self.settings.key_prefix = prefix;
        self
    }

    /// Sets how fresh an entry must be to be served without a request, where no prefix has a rule
    /// of its own. Default: [`Freshness::strong`], under which every read is one request.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.settings.rules.set_default(freshness);
        self
    }

    /// Sets the freshness of keys that begin with `prefix`, byte for byte. The longest prefix wins;
    /// a second rule for the same prefix replaces the first.
    pub fn freshness_for(mut self, prefix: &str, freshness: Freshness) -> Self {
        self.settings.rules.set(prefix, freshness);
        self
    }

    /// Replaces all rules of [`freshness`](Self::freshness) and
    /// [`freshness_for`](Self::freshness_for).
    pub fn freshness_rules(mut self, rules: FreshnessRules) -> Self {
        self.settings.rules = rules;
        self
    }

    /// How long a copy is held without being confirmed; each confirmation starts the span anew.
    /// Copies under an immutable rule do not expire. `None`, and spans of nine years or more: none
    /// expires. Default: 300 s. Zero is an error.
    pub fn time_to_live(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.time_to_live = span.into();
        self
    }

    /// How long it may be remembered that an object does not exist, within what freshness allows;
    /// never under a strong rule. Such a memory takes its place in the backend like any entry; all
    /// together take at most a sixteenth of its capacity, if it frees what has expired when it is
    /// swept; what would be more is not remembered. Default: zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.settings.negative_ttl = span;
        self
    }

    /// How long a question may stay unanswered, with somebody waiting, before it is dropped and
    /// asked once more. The second question is not replaced. Default: `None`, which is off. Zero is
    /// an error.
    pub fn patience(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.patience = span.into();
        self
    }

    /// How long the origin takes at most to answer a read, as far as others rely on it. It does not
    /// end a request: that is for the origin to do, which should have the same limit.
    ///
    /// A reader that waits for a request from another runtime gives it up when it has made no
    /// progress for so long, and a tenth of a second, for that runtime may not be driven any more:
    /// the request is sent once more, from the reader's own. `put`, `delete`, `invalidate` and
    /// their like that are polled in another runtime than the one they began on wait as long for
    /// that. Half of it is how long a write, or an answer that is to be kept, waits for a call of
    /// the backend that the same key has under way. [`close`](ReadThrough::close) waits as long for
    /// requests that do not end.
    ///
    /// Counted by the timers of the runtime where somebody waits; in one without time there is no
    /// limit. `Duration::MAX` is none either; zero is an error. Default: 30 s.
    pub fn origin_timeout(mut self, span: Duration) -> Self {
        self.settings.origin_timeout = span;
        self
    }

    /// The store, and the rights, that entries are read with: the cache serves what it finds in its
    /// backend only if it is of this identity. To be named where the backend's medium outlives the
    /// process, for nothing on it would be found again without a name. Two caches of one name must
    /// not be over one backend at the same time: neither sees what the other writes or invalidates.
    /// Default: [`Namespace::unique`].
    pub fn namespace(mut self, identity: Namespace) -> Self {
        self.settings.identity = identity;
        self
    }

    /// How many questions may be at the origin at once, each for another key, until what they
    /// brought is published. A read that finds so many waits for its turn, in the order of arrival,
    /// and asks only if somebody still waits for it: one that is dropped while it waits asks
    /// nothing. A refresh behind a stale copy is left out. An origin that never answers keeps its
    /// place, so it should have a limit of its own. A validator that reads through the cache which
    /// asks it may wait for a place for ever. `usize::MAX` is no limit, zero an error. Writes are
    /// not counted; what is sent with a [`request_permit`](ReadThrough::request_permit) is.
    /// Default: 1024.
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.settings.max_in_flight = n;
        self
    }

    /// How long a read may wait for its turn (see [`max_in_flight`](Self::max_in_flight)). Then it
    /// fails with `Timeout`, which is an outage: `stale_if_error` covers it. Zero lets none wait.
    /// Default: 10 s. Needs a runtime with time; without, there is no limit.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.settings.queue_timeout = span;
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The cache.
    ///
    /// # Errors
    ///
    /// `Config` for an empty `name`, for a `time_to_live`, `patience` or `max_in_flight` of zero,
    /// and for rules that contradict themselves.
    pub fn build(self) -> Result<ReadThrough<V>> {
        self.settings.check()?;
        Ok(ReadThrough {
            shared: Arc::new(Shared {
                origin: self.origin,
                backend: self.backend,
                clock: self.clock,
                sweeper: Sweeper::new(&self.settings),
                absences: Absences::new(
                    self.settings.negative_ttl,
                    Sweeper::every(&self.settings).unwrap_or_default(),
                ),
                places: Arc::new(Places::new(self.settings.max_in_flight)),
                settings: self.settings,
                epochs: Epochs::default(),
                table: Table::new(),
                counters: Counters::default(),
                warnings: Warnings::new(),
                tasks: Tasks::default(),
                clearing: tokio::sync::Mutex::default(),
            }),
        })
    }
}

impl<V: ?Sized> fmt::Debug for ReadThroughBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThroughBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Polls `future` in a function of its own, whatever the caller is.
#[inline(never)]
fn poll_apart<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}

/// What all handles, flights and writes share.
struct Shared<V: ?Sized> {
    settings: Settings,
    epochs: Epochs,
    table: Arc<Table>,
    counters: Counters,
    warnings: Warnings,
    tasks: Tasks,
    /// Held by the `clear` that counts what the backend drops. Nothing waits for it.
    clearing: tokio::sync::Mutex<()>,
    sweeper: Sweeper,
    absences: Absences,
    places: Arc<Places>,
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    origin: Arc<V>,
}

#[derive(Debug, Clone)]
struct Settings {
    name: Arc<str>,
    key_prefix: &'static str,
    rules: FreshnessRules,
    time_to_live: Option<Duration>,
    negative_ttl: Duration,
    patience: Option<Duration>,
    origin_timeout: Duration,
    max_in_flight: usize,
    queue_timeout: Duration,
    identity: Namespace,
}

/// What may be done with a held entry before the origin is asked.
enum Use {
    /// Serve it.
    Fresh(Served),
    /// Serve it, and ask behind.
    Refresh(Served),
}

impl<V: ?Sized> Shared<V> {
    /// A fresh copy that is at hand, served and counted. The way of most reads: it awaits,
    /// allocates and parses nothing.
    #[inline]
    fn fresh(&self, key: &str, freshness: Option<&Freshness>) -> Option<Served> {
        let freshness = self.rule(key, freshness);
        if freshness.is_strong() {
            return None;
        }
        let entry = self.get_now(key).ok()??;
        // All that a closed cache held is void.
        // A void entry is older than an invalidation; a negative entry has no body.
        // mutant: fast_path_not_void
        if self.epochs.is_void(&entry) || entry.is_negative() {
            return None;
        }
        // What is fresh at the end of the window is fresh now; anything else is judged exactly, by
        // others.
        let age_nanos = freshness.age_if_met(&entry, self.clock.coarse_bounds())?;
        self.counters.add_hit(
            Count::Fresh,
            entry.body().len() as u64,
            Duration::from_nanos(age_nanos),
        );
        Some(Served { entry, status: Status::Fresh, age_nanos })
    }

    /// The rule that a read goes by.
    #[inline]
    fn rule<'a>(&'a self, key: &str, freshness: Option<&'a Freshness>) -> &'a Freshness {
        freshness.unwrap_or_else(|| self.settings.rules.resolve(key))
    }

    /// What may be done with `entry` without asking first; an error if it is the memory of a
    /// missing object.
    fn usable(&self, key: &str, entry: Entry, freshness: &Freshness) -> Result<Option<Use>> {
        if self.epochs.is_void(&entry) {
            return Ok(None);
        }
        let now = self.clock.now();
        let served = |status, entry: Entry| {
            let validated_at = entry.validated_at();
            Served::new(entry, status, validated_at, now)
        };
        Ok(match judge(&entry, now, freshness) {
            Verdict::Fresh if entry.is_negative() => return Err(self.about(key, absent())),
            Verdict::Fresh => Some(Use::Fresh(served(Status::Fresh, entry))),
            Verdict::Refresh if !entry.is_negative() => {
                Some(Use::Refresh(served(Status::Stale, entry)))
            }
            Verdict::Refresh | Verdict::Ask | Verdict::Expired => None,
        })
    }

    /// How long an entry for `key` may stay unconfirmed.
    fn time_to_live(&self, key: &str) -> Option<Duration> {
        self.settings.time_to_live.filter(|_| !self.settings.rules.resolve(key).is_immutable())
    }

    /// `key` as traces and errors show it.
    fn shown<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(self.settings.key_prefix).unwrap_or(key)
    }

    /// The error, about the object that the caller knows: every error of a key leaves through this.
    fn about(&self, key: &str, error: Error) -> Error {
        // Callers know the object's path, not the inner key.
        // mutant: display_key
        error.with_shown_key(key, self.shown(key))
    }

    fn count(&self, count: Count) {
        self.counters.add(count, 1);
    }

    fn count_read(&self, read: &Result<Served>) {
        match read {
            Ok(served) => {
                let hit = |count| {
                    self.counters.add_hit(count, served.entry.body().len() as u64, served.age());
                };
                let fetched = |count| {
                    self.count(count);
                    let bytes = served.entry.body().len() as u64;
                    self.counters.add(Count::BytesFetchedServed, bytes);
                };
                match served.status {
                    Status::Fresh => hit(Count::Fresh),
                    Status::Revalidated => hit(Count::Revalidated),
                    Status::Stale => hit(Count::Stale),
                    Status::Fetched => fetched(Count::Fetched),
                    Status::Refetched => fetched(Count::Refetched),
                    // No read of this cache goes past it.
                    Status::Bypass => {}
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.count(Count::NotFound),
            Err(error) => self.counters.add_error(error.kind()),
        }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let zero = |name: &str| {
            Err(Error::new(
                ErrorKind::Config,
                format!("{name} is zero; give a span, or leave it out"),
            ))
        };
        if self.name.is_empty() {
            return Err(Error::new(ErrorKind::Config, "name is empty; give one, or leave it out"));
        }
        if self.time_to_live.is_some_and(|span| span.is_zero()) {
            return zero("time_to_live");
        }
        if self.patience.is_some_and(|span| span.is_zero()) {
            return zero("patience");
        }
        if self.origin_timeout.is_zero() {
            return zero("origin_timeout");
        }
        if self.max_in_flight == 0 {
            return Err(Error::new(
                ErrorKind::Config,
                "max_in_flight is zero, so nothing could be asked; usize::MAX is no limit",
            ));
        }
        self.rules.check()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: Arc::from("default"),
            key_prefix: "",
            rules: FreshnessRules::default(),
            time_to_live: Some(TIME_TO_LIVE),
            negative_ttl: Duration::ZERO,
            patience: None,
            origin_timeout: ORIGIN_TIMEOUT,
            max_in_flight: MAX_IN_FLIGHT,
            queue_timeout: QUEUE_TIMEOUT,
            identity: Namespace::unique(),
        }
    }
}

/// The error for an object that does not exist.
fn absent() -> Error {
    Error::new(ErrorKind::NotFound, "the origin has no such object")
}

const TIME_TO_LIVE: Duration = Duration::from_secs(300);
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IN_FLIGHT: usize = 1024;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
