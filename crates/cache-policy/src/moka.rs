//! Entries in a moka cache.
//!
//! The guarantees of moka 0.12, as read in its source: an insert, a replacement and an invalidation
//! are visible to every look-up that begins later; room is made afterwards, by `run_pending_tasks`,
//! which works in batches and up to a time limit; `invalidate_all` uses moka's own clock and spares
//! entries that were inserted within one tick of it; the eviction listener is called exactly once
//! for each removal, on the thread that caused it.
//!
//! So each insert makes moka evict before it returns, one insert at a time (moka's maintenance
//! holds one lock anyway); entries carry the number of `clear` calls before their insert; and the
//! counters are kept here.

use std::{
    borrow::Borrow,
    collections::HashSet,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use cache_core::{Admission, Backend, Entry, Limits, Moment, Rejection, Result, Usage};
use foldhash::quality::RandomState;

use ::moka::{notification::RemovalCause, sync::Cache};

use crate::{
    builder::{CAPACITY_BYTES, limits},
    steps::Steps,
};

/// Entries in a [moka] cache: window TinyLFU, which keeps frequently requested entries and rejects
/// new ones that are requested less often than the entries they would displace.
///
/// [moka]: https://docs.rs/moka
///
/// Both limits hold after every call. moka itself knows one limit only, so an entry is charged at
/// least an equal share of the capacity: with `max_entries`, a mix of small and large entries is
/// evicted before either limit is reached. From 4 GiB of capacity up, entries are charged in units
/// of several bytes, rounded up.
///
/// Compared with [`MemoryBackend`](crate::MemoryBackend): a hit reads moka's own clock and now and
/// then does some of moka's maintenance; inserts run one at a time; `sweep` and `clear` visit every
/// entry, and yield to other tasks after each 256 of them. moka counts every look-up as a use, so
/// `peek` and `contains` use a separate index (one lock, some 50 bytes an entry). The other futures
/// do all their work in the first poll, and nothing if they are dropped before it. moka decides
/// first whether a large entry may displace many small ones, and then drops those in one step.
///
/// It reports no evictions ([`Backend::on_eviction`] returns false): moka also evicts during
/// look-ups, and calls its listener under its own lock. To report each entry before the call that
/// evicted it returns, and without that lock, every hit would have to look at a queue. So with a
/// lower tier, an entry that left memory is revalidated before it is served from there.
///
/// ```
/// use cache_core::Backend;
/// use cache_policy::MokaBackend;
///
/// let backend = MokaBackend::builder().max_capacity(64 << 20).build()?;
/// assert_eq!(backend.usage().capacity_bytes, Some(64 << 20));
/// # Ok::<(), cache_core::Error>(())
/// ```
pub struct MokaBackend {
    cache: Cache<Box<str>, Held, RandomState>,
    limits: Limits,
    charge: Charge,
    tally: Arc<Tally>,
    index: Arc<Index>,
    /// The number of `clear` calls. Entries with a lower number are hidden: this alone keeps the
    /// promise of `clear`, whose walk over the entries only frees memory. Changed under `changes`.
    generation: AtomicU64,
    /// Locked by inserts and mass removals, so that an entry that its insert no longer finds can
    /// only have been rejected. Orders nothing else.
    changes: Mutex<()>,
}

/// Builds a [`MokaBackend`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MokaBackendBuilder {
    max_capacity: u64,
    max_entries: Option<u64>,
}

#[derive(Clone)]
struct Held {
    entry: Entry,
    generation: u64,
}

/// The entries by key, for look-ups that do not count as a use: every look-up in moka does.
#[derive(Default)]
struct Index(Mutex<HashSet<ByKey, RandomState>>);

struct ByKey(Held);

/// The weight of an entry in moka, which has 32 bits.
#[derive(Debug, Clone, Copy)]
struct Charge {
    unit_bytes: u64,
    /// In units.
    least: u64,
    /// In units.
    capacity: u64,
}

#[derive(Default)]
struct Tally {
    entries: AtomicU64,
    bytes: AtomicU64,
    negative: AtomicU64,
    /// Entries with a body that moka evicted or rejected.
    dropped: AtomicU64,
    /// The rejected ones among them.
    refused: AtomicU64,
    too_large: AtomicU64,
    expired: AtomicU64,
}

impl MokaBackend {
    /// Returns a builder for a backend.
    pub fn builder() -> MokaBackendBuilder {
        MokaBackendBuilder { max_capacity: CAPACITY_BYTES, max_entries: None }
    }

    fn new(limits: Limits) -> Self {
        let (tally, index) = (Arc::new(Tally::default()), Arc::new(Index::default()));
        let charge = Charge::of(&limits);
        let listener = {
            let (tally, index) = (Arc::clone(&tally), Arc::clone(&index));
            move |_, held: Held, cause| {
                index.forget(&held.entry);
                tally.note_departure(&held.entry, cause);
            }
        };
        let cache = Cache::builder()
            .max_capacity(charge.capacity)
            .weigher(move |_, held: &Held| {
                u32::try_from(charge.of_entry(&held.entry)).unwrap_or(u32::MAX)
            })
            .eviction_listener(listener)
            .build_with_hasher(RandomState::default());
        let (generation, changes) = (AtomicU64::new(0), Mutex::new(()));
        Self { cache, limits, charge, tally, index, generation, changes }
    }

    fn put(&self, newcomer: Entry) -> Admission {
        let key: Box<str> = newcomer.key().into();
        let is_copy = !newcomer.is_negative();
        if self.charge.of_entry(&newcomer) > self.charge.capacity {
            self.cache.invalidate(&*key);
            count_if(is_copy, &self.tally.too_large);
            return Admission::Rejected(Rejection::TooLarge);
        }
        let _alone = self.alone();
        let generation = self.generation.load(Ordering::Relaxed);
        self.tally.note_arrival(&newcomer);
        let held = Held { entry: newcomer, generation };
        // First, so that the listener finds the entry if moka drops it at once.
        self.index.insert(held.clone());
        self.cache.insert(key.clone(), held);
        self.make_room(&key);
        // Does not count as a use.
        if self.cache.contains_key(&*key) {
            Admission::Stored
        } else {
            count_if(is_copy, &self.tally.refused);
            Admission::Rejected(Rejection::Policy)
        }
    }

    /// Makes moka evict. If it does not get below the limits, the new entry is removed instead.
    fn make_room(&self, newcomer: &str) {
        for _ in 0..ROUNDS_MAX {
            self.cache.run_pending_tasks();
            if !self.is_over() {
                return;
            }
        }
        if let Some(held) = self.cache.remove(newcomer) {
            count_if(!held.entry.is_negative(), &self.tally.dropped);
        }
    }

    /// Visits every entry, removes those that are `over`, and calls `tell` for each.
    async fn remove_each(&self, is_over: impl Fn(&Held) -> bool, tell: impl Fn(&Held)) {
        let mut steps = Steps::new();
        for (key, held) in &self.cache {
            if is_over(&held) {
                // No insert can replace the entry between the check and the removal.
                let _alone = self.alone();
                let is_held =
                    self.cache.get(&**key).is_some_and(|now| now.entry.is_same(&held.entry));
                if is_held && self.cache.remove(&**key).is_some() {
                    tell(&held);
                }
            }
            steps.done_one().await;
        }
        self.cache.run_pending_tasks();
    }

    /// Returns whether the entry was inserted after the last `clear`.
    fn is_shown(&self, held: &Held) -> bool {
        held.generation == self.generation.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.tally.bytes.load(Ordering::Relaxed) > self.limits.weight
            || self.tally.entries.load(Ordering::Relaxed) > self.limits.entries
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for MokaBackend {
    fn get_now(&self, key: &str) -> Option<Entry> {
        let held = self.cache.get(key)?;
        self.is_shown(&held).then_some(held.entry)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        let held = self.index.get(key)?;
        self.is_shown(&held).then_some(held.entry)
    }

    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        Ok(self.put(entry))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        Ok(self.put(entry))
    }

    fn contains(&self, key: &str) -> Option<bool> {
        Some(self.index.get(key).is_some_and(|held| self.is_shown(&held)))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.cache.remove(key).is_some_and(|held| self.is_shown(&held)))
    }

    async fn clear(&self) -> Result<()> {
        {
            // A concurrent insert is entirely before or after this.
            let _alone = self.alone();
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.remove_each(|held| !self.is_shown(held), |_| ()).await;
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let has_expired = |held: &Held| held.entry.expires_at().is_some_and(|at| at <= now);
        // Also entries that a `clear` left behind whose future was dropped.
        let is_over = |held: &Held| has_expired(held) || !self.is_shown(held);
        let count_expired = |held: &Held| {
            count_if(self.is_shown(held) && !held.entry.is_negative(), &self.tally.expired);
        };
        self.remove_each(is_over, count_expired).await;
        Ok(())
    }

    fn usage(&self) -> Usage {
        let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = total(&self.tally.refused);
        Usage::new(total(&self.tally.entries), total(&self.tally.bytes))
            .with_capacity_bytes(Some(self.limits.weight))
            .with_capacity_entries(Some(self.limits.entries).filter(|entries| *entries != u64::MAX))
            .with_evicted(total(&self.tally.dropped).saturating_sub(refused))
            .with_expired(total(&self.tally.expired))
            .with_rejected(refused + total(&self.tally.too_large))
    }

    fn negative_entries(&self) -> u64 {
        self.tally.negative.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for MokaBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaBackend")
            .field("limits", &self.limits)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl MokaBackendBuilder {
    /// Sets the maximum of cached bytes: keys, bodies and bookkeeping, as [`Entry::weight`] counts
    /// them. The memory of moka itself is not counted. An entry that weighs more is rejected.
    /// Default: 256 MiB. Zero is an error.
    pub fn max_capacity(mut self, bytes: u64) -> Self {
        self.max_capacity = bytes;
        self
    }

    /// Sets the maximum number of entries. Default: no limit. Zero is an error.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Builds an empty backend.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](cache_core::ErrorKind::Config) for a capacity or a number of entries
    /// that is zero.
    pub fn build(self) -> Result<MokaBackend> {
        limits(self.max_capacity, self.max_entries).map(MokaBackend::new)
    }
}

impl Charge {
    fn of(limits: &Limits) -> Self {
        let unit_bytes = limits.weight / u64::from(u32::MAX) + 1;
        let capacity = (limits.weight / unit_bytes).max(1);
        // One entry more than the limit weighs more than the capacity.
        let least = if limits.entries < u64::MAX { capacity / (limits.entries + 1) + 1 } else { 0 };
        Self { unit_bytes, least, capacity }
    }

    fn of_entry(&self, entry: &Entry) -> u64 {
        entry.weight().div_ceil(self.unit_bytes).max(self.least)
    }
}

impl Index {
    fn get(&self, key: &str) -> Option<Held> {
        self.lock().get(key).map(|ByKey(held)| held.clone())
    }

    fn insert(&self, held: Held) {
        let replaced = self.lock().replace(ByKey(held));
        // After the lock is released: freeing a large body takes time.
        drop(replaced);
    }

    /// Forgets `left`, unless another entry has taken its place.
    fn forget(&self, left: &Entry) {
        let mut index = self.lock();
        let is_there = index.get(left.key()).is_some_and(|ByKey(held)| held.entry.is_same(left));
        let forgotten = is_there.then(|| index.take(left.key())).flatten();
        drop(index);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ByKey, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        self.0.entry.key()
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.entry.key().hash(hasher);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.entry.key() == other.0.entry.key()
    }
}

impl Eq for ByKey {}

impl Tally {
    fn note_arrival(&self, entry: &Entry) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(entry.weight(), Ordering::Relaxed);
        count_if(entry.is_negative(), &self.negative);
    }

    fn note_departure(&self, entry: &Entry, cause: RemovalCause) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(entry.weight(), Ordering::Relaxed);
        if entry.is_negative() {
            self.negative.fetch_sub(1, Ordering::Relaxed);
        }
        count_if(cause == RemovalCause::Size && !entry.is_negative(), &self.dropped);
    }
}

fn count_if(is_counted: bool, counter: &AtomicU64) {
    if is_counted {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The maximum number of maintenance rounds after one insert. One is enough unless readers use each
/// victim between its choice and its removal.
const ROUNDS_MAX: usize = 64;
