//! The contract for storage of entries.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Entry, Moment, Result, tier_stats::TierStats};

/// Storage for entries: memory, disk, or several tiers.
///
/// # Contract
///
/// *The caller* makes the calls that change one key one after the other, never two at once, and
/// never drops their futures once polled. Calls for different keys, look-ups, `mark_stale`,
/// `clear`, `sweep` and `usage` come at any time. It looks up with `get_now` or `peek` first, and
/// calls `get` only after that returned `None`. It stores with `insert_now` or `insert`; after an
/// `Err` of `insert_now` it calls `insert` or `remove` for that key. After `close` it stores
/// nothing.
///
/// *The implementor* MUST see to it that
///
/// * after `remove(key)`, `clear()` or `close()` has returned, no look-up that begins later shows
///   an entry whose insert returned before the call, in any tier; only `close` may keep what
///   outlives the process, which is then shown as it is read back, without a stamp, and need not
///   keep what cannot be revalidated;
/// * after `insert(new)` has returned, whatever it returned, no look-up that begins later shows an
///   earlier entry of that key; the same holds after `insert_now(new)` has returned `Ok`;
/// * a future that was never polled has no effect, and a dropped one has no later effect;
/// * all handles of one inserted entry are clones of it, so that they share one renewal. An entry
///   that is read back from bytes is a new one, made with [`Entry::builder`], and so is revalidated
///   before use, unless it has the stamp that the backend has kept in this process
///   ([`Entry::seal`]). That is the stamp that the last insert, `mark_stale` or `renewed` left, or
///   none: a mark is never lost, and no entry comes back fresher than it was;
/// * `peek` counts no use, and otherwise shows what `get_now` would;
/// * `contains` agrees with the look-ups, or returns `None`;
/// * evicting from an upper tier never uncovers an older entry in a lower one;
/// * a look-up shows what was inserted under that very key, and says of it what the inserted entry
///   said: key, body, version, attributes, [`Namespace`](crate::Namespace) and
///   [`Storability`](crate::Storability);
/// * while no call is under way, the entries are within the limits, and `usage` is exact.
///
/// It may lose any entry at any time: that changes cost, never an answer. It need not look at the
/// time: an expired entry that is still shown is not served.
///
/// `cache_testkit::conformance::backend` has a function for each of these sentences that can be
/// seen from outside. Backends to begin with are the examples `custom_backend` (a map) and
/// `file_backend` (entries that outlive the process) in `crates/cache-facade/examples`.
///
/// ```
/// use cache_core::{Admission, Backend, Entry, Key};
/// use cache_testkit::MapBackend;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cache_core::Result<()> {
/// let backend = MapBackend::new();
/// let entry = Entry::builder(&Key::parse("a")?, "body".into()).e_tag("\"1\"").build();
/// // At once if the backend can, else with a future.
/// let admission = match backend.insert_now(entry.clone()) {
///     Ok(admission) => admission,
///     Err(entry) => backend.insert(entry).await?,
/// };
/// assert_eq!(admission, Admission::Stored);
/// assert!(backend.get_now("a").is_some_and(|shown| shown.is_same(&entry)));
/// assert_eq!((backend.contains("a"), backend.usage().entries), (Some(true), 1));
/// assert!(backend.remove("a").await?);
/// assert!(backend.peek("a").is_none());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Returns the entry if it is available without waiting, and counts one use of it. Memory
    /// backends answer here and in `peek`, and only there. Reads no clock; must not block.
    fn get_now(&self, key: &str) -> Option<Entry>;

    /// Returns what [`get_now`](Self::get_now) would, without counting a use: for lists, probes,
    /// exporters and marks, which must not change the order of eviction. Must not block.
    fn peek(&self, key: &str) -> Option<Entry>;

    /// Returns the entry, waiting for I/O if necessary (disk, a remote cache). Called after
    /// `get_now` or `peek` returned `None`; a memory backend returns `Ok(None)`.
    ///
    /// # Errors
    ///
    /// An error counts as a miss.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// Stores the entry at once, as [`insert`](Self::insert) does, or hands it back as `Err(entry)`
    /// because storing it has to wait. Must not block. Default: hands every entry back.
    ///
    /// # Errors
    ///
    /// The entry itself, to be stored with `insert`. It is not stored; an earlier entry of its key
    /// may be shown or not until the caller's next call for that key has returned.
    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        Err(entry)
    }

    /// Stores the entry in the place of any earlier one of its key, or refuses it; the earlier one
    /// is removed either way.
    ///
    /// # Errors
    ///
    /// After an error the caller removes the key.
    async fn insert(&self, entry: Entry) -> Result<Admission>;

    /// Returns whether a look-up would show an entry, as far as an index in memory says so; `None`
    /// if that takes I/O. Counts no use; must not block. `Some(true)` is no promise: the entry may
    /// leave, or turn out to be unreadable, before it is looked up. Default: `None`.
    fn contains(&self, key: &str) -> Option<bool> {
        let _ = key;
        None
    }

    /// Removes the entry. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// After an error the caller treats every entry stored under the key until now as void.
    async fn remove(&self, key: &str) -> Result<bool>;

    /// Marks the entry of `key`, in every tier: it is revalidated before it is next served.
    /// Default: marks the handle that a look-up shows, which is right where all handles are clones
    /// of one entry. A backend that keeps stamps apart from bytes ([`Entry::seal`]) marks those,
    /// also of an entry that is on its way from one tier to another, and needs no I/O.
    ///
    /// # Errors
    ///
    /// After an error the caller treats every entry stored under the key until now as void.
    async fn mark_stale(&self, key: &str) -> Result<()> {
        let shown = match self.peek(key) {
            None => self.get(key).await?,
            shown => shown,
        };
        if let Some(entry) = shown {
            entry.mark_stale();
        }
        Ok(())
    }

    /// Takes note that a request has validated `entry`, a handle that a look-up has shown: the
    /// entry itself is renewed already. A backend that keeps stamps apart from bytes renews the one
    /// that it has of the same version. Comes at any time, also with a handle of an entry that was
    /// replaced or removed meanwhile. Must not block or call back into a cache. Default: nothing.
    fn renewed(&self, entry: &Entry) {
        let _ = entry;
    }

    /// Has `listener` called with each entry that leaves from now on without a call for its key:
    /// evicted, expired, or dropped by [`close`](Self::close); not with those that `remove`,
    /// `clear` and an insert of the same key drop, nor with one that `insert` rejects. It is called
    /// once for each entry, with the stored handle, before the call that caused it returns, and
    /// without a lock held.
    ///
    /// Returns whether the backend does so; false also if it has a listener already. Default: no. A
    /// lower tier needs it to keep freshness across evictions.
    fn on_eviction(&self, listener: EvictionListener) -> bool {
        let _ = listener;
        false
    }

    /// Returns the counters of the tier below memory, if there is one. Default: `None`.
    fn lower_tier(&self) -> Option<TierStats> {
        None
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// The caller treats every entry stored until now as void in any case; an error means that the
    /// memory may not have been freed.
    async fn clear(&self) -> Result<()>;

    /// Ends the use of the backend: called by [`ReadThrough::close`](crate::ReadThrough::close). A
    /// backend whose entries outlive the process writes what it has yet to write, and keeps them;
    /// it may refuse entries and show nothing from then on. May be called again. Default: `clear`.
    ///
    /// # Errors
    ///
    /// An error means that memory may not have been freed, or that entries were not written.
    async fn close(&self) -> Result<()> {
        self.clear().await
    }

    /// Drops the entries that have expired at `now`. Called now and then; correct if never called.
    ///
    /// # Errors
    ///
    /// An error is counted; the next call comes all the same.
    async fn sweep(&self, now: Moment) -> Result<()>;

    /// Returns how full the backend is, and how many entries have left it so far.
    fn usage(&self) -> Usage;

    /// Returns how many of the stored entries are negative ([`Entry::is_negative`]): they remember
    /// that there is no object, and take memory like others, but are no copies. Default: zero, with
    /// which a cache counts them among its copies.
    fn negative_entries(&self) -> u64 {
        0
    }
}

/// Called with entries that a backend evicts: see [`Backend::on_eviction`].
pub type EvictionListener = Arc<dyn Fn(Entry) + Send + Sync>;

/// What became of an entry that was to be stored.
///
/// More may be said of an entry that was stored in a later release: backends build it with
/// [`stored`](Self::stored) and [`rejected`](Self::rejected).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Admission {
    /// It is held.
    Stored,
    /// It is not held.
    Rejected(Rejection),
}

impl Admission {
    /// Returns the answer that the entry is stored.
    pub fn stored() -> Self {
        Self::Stored
    }

    /// Returns the answer that the entry is not stored, and why.
    pub fn rejected(why: Rejection) -> Self {
        Self::Rejected(why)
    }

    /// Returns whether the entry is stored.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored)
    }
}

/// Why an entry was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// It weighs more than the whole backend may hold.
    TooLarge,
    /// The eviction policy named the newcomer itself as the one to leave.
    Policy,
    /// The backend does not take entries at present.
    Unavailable,
}

/// How full a backend is, and running totals of what has left it.
///
/// ```
/// use cache_core::Usage;
///
/// let usage = Usage::new(3, 1200).with_capacity_bytes(Some(1 << 20)).with_evicted(7);
/// assert_eq!((usage.entries, usage.bytes, usage.evicted, usage.rejected), (3, 1200, 7, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Entries held now.
    pub entries: u64,
    /// Bytes held now, as [`Entry::weight`] counts them.
    pub bytes: u64,
    /// The most bytes that may be held; `None` without a limit.
    pub capacity_bytes: Option<u64>,
    /// The most entries that may be held; `None` without a limit.
    pub capacity_entries: Option<u64>,
    /// Entries evicted to make room, since the start. Negative ones ([`Entry::is_negative`]) are
    /// not counted, here and below: a cache tells its users how many copies have left.
    pub evicted: u64,
    /// Entries dropped because they had expired, since the start.
    pub expired: u64,
    /// Entries refused, since the start.
    pub rejected: u64,
}

impl Usage {
    /// Returns the usage of a backend that stores `entries` and `bytes`, has no limit, and
    /// that no entry has left.
    pub fn new(entries: u64, bytes: u64) -> Self {
        Self { entries, bytes, ..Self::default() }
    }

    /// Sets the most bytes that may be stored. Default: `None`, no limit.
    #[must_use]
    pub fn with_capacity_bytes(mut self, bytes: Option<u64>) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Sets the most entries that may be stored. Default: `None`, no limit.
    #[must_use]
    pub fn with_capacity_entries(mut self, entries: Option<u64>) -> Self {
        self.capacity_entries = entries;
        self
    }

    /// Sets how many entries were evicted so far. Default: zero.
    #[must_use]
    pub fn with_evicted(mut self, entries: u64) -> Self {
        self.evicted = entries;
        self
    }

    /// Sets how many entries were dropped so far because they had expired. Default: zero.
    #[must_use]
    pub fn with_expired(mut self, entries: u64) -> Self {
        self.expired = entries;
        self
    }

    /// Sets how many entries were refused so far. Default: zero.
    #[must_use]
    pub fn with_rejected(mut self, entries: u64) -> Self {
        self.rejected = entries;
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Backend + ?Sized> Backend for Arc<T> {
    fn get_now(&self, key: &str) -> Option<Entry> {
        (**self).get_now(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        (**self).peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        (**self).get(key).await
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        (**self).insert_now(entry)
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        (**self).insert(entry).await
    }

    fn contains(&self, key: &str) -> Option<bool> {
        (**self).contains(key)
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        (**self).remove(key).await
    }

    async fn mark_stale(&self, key: &str) -> Result<()> {
        (**self).mark_stale(key).await
    }

    fn renewed(&self, entry: &Entry) {
        (**self).renewed(entry);
    }

    fn on_eviction(&self, listener: EvictionListener) -> bool {
        (**self).on_eviction(listener)
    }

    fn lower_tier(&self) -> Option<TierStats> {
        (**self).lower_tier()
    }

    async fn clear(&self) -> Result<()> {
        (**self).clear().await
    }

    async fn close(&self) -> Result<()> {
        (**self).close().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        (**self).sweep(now).await
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }

    fn negative_entries(&self) -> u64 {
        (**self).negative_entries()
    }
}

const _: fn(&dyn Backend) = |_| ();
