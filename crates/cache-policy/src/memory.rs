//! Entries in the memory of this process.
//!
//! A key's hash selects a shard: a table under a lock, with its own policy. The *limits* apply to
//! the whole backend: shards only reduce contention, and may use each other's room. Every change is
//! counted in the shard's counters and in the total. An insert that finds the total over a limit
//! evicts entries, in short sections under one lock at a time, until it is not. So an object of any
//! size up to the capacity can be cached, and no call returns while its own entry keeps the backend
//! over a limit. An insert that displaces one entry of its own shard does both in one section, and
//! counts the difference.
//!
//! The victim is chosen by the policy of one shard: that of the new entry if it holds about its
//! share or more, so that an admission filter compares the entry with its neighbours; otherwise the
//! fullest shard. This keeps the shards even.
//!
//! Removed entries are dropped after the lock is released, as freeing a large body takes time.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    mem,
    sync::{
        OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, EntryInfo, EvictionListener, EvictionPolicy, Limits, Moment,
    Rejection, RemovalCause, Result, Usage,
};
use foldhash::quality::RandomState;

use crate::{
    shard::Shard,
    steps::{STEP, Steps, let_others_run},
};

/// Entries in the memory of this process, ranked by the policy `P`.
///
/// Calls wait for nothing but a shard's lock. `get_now` and `peek` take one shared lock and
/// allocate nothing. `clear` removes everything in its first poll, `sweep` expired entries one by
/// one; both yield to other tasks after each 256 entries, on any executor.
///
/// An `insert` that displaces more than 256 entries yields as well: its entry is visible after the
/// first poll, and the backend may exceed its limit by that entry. If the future is dropped before
/// it is done, the entry is removed again. An entry that weighs more than 4 average ones is
/// admitted or rejected before anything else is evicted. `insert_now` returns such an entry where
/// there is no room for it, and any other that would displace more than 256; otherwise it stores
/// or rejects the entry without allocating a future.
///
/// Keys are hashed with a random key of the backend, so nobody can choose keys that collide.
///
/// ```
/// use cache_core::Backend;
/// use cache_policy::{Lru, MemoryBackend, Ttl};
///
/// let backend = MemoryBackend::builder(Ttl::new(Lru::new()))
///     .max_capacity(64 << 20)
///     .max_entries(10_000)
///     .build()?;
/// assert!(backend.get_now("missing").is_none());
/// assert_eq!(backend.usage().capacity_entries, Some(10_000));
/// # Ok::<(), cache_core::Error>(())
/// ```
///
/// # Memory
///
/// Besides key, body and ETag, an entry takes 80 bytes, some 25 for the index and its slot, and the
/// bytes of the policy: at any number of entries, as nothing here grows by doubling. All of them
/// are part of [`Entry::weight`], and so of the capacity. The slots of removed entries are reused,
/// and freed by `clear`.
///
/// # Misbehaving policies
///
/// If a policy names an unused slot, or no victim although one is needed, any entry but the new one
/// is evicted. If it names an entry as expired that is not, the sweep of its shard ends. If it
/// panics during a change, the caller gets the panic, and the shard counts as empty: the next
/// change drops its entries and gives it a new policy.
pub struct MemoryBackend<P> {
    shards: Box<[ShardCell<P>]>,
    hasher: RandomState,
    /// The policy that each shard's policy is made from.
    pattern: P,
    limits: Limits,
    /// The share of each shard while all are full.
    share: Limits,
    total: Total,
    listener: OnceLock<EvictionListener>,
}

/// A shard and its counters, on cache lines of their own.
#[repr(align(64))]
struct ShardCell<P> {
    shard: RwLock<Shard<P>>,
    tally: ShardCounters,
}

/// Changed only under the shard's exclusive lock, read without it.
#[derive(Default)]
struct ShardCounters {
    entries: AtomicU64,
    bytes: AtomicU64,
    negative: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
    refused: AtomicU64,
}

/// The totals of all shards, on a cache line of their own: every insert writes them, and hits read
/// the fields beside them.
#[derive(Default)]
#[repr(align(64))]
struct Total {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// The difference that a step makes to the totals.
#[derive(Clone, Copy, Default)]
struct Change {
    entries: i64,
    bytes: i64,
    negative: i64,
}

impl<P: EvictionPolicy> MemoryBackend<P> {
    /// `n_shards` is a power of two; no limit is zero.
    pub(crate) fn new(pattern: P, limits: Limits, n_shards: u64) -> Self {
        let share = Limits::new(
            (limits.weight / n_shards).max(1),
            match limits.entries {
                u64::MAX => u64::MAX,
                entries => (entries / n_shards).max(1),
            },
        );
        let locked = |_| ShardCell {
            shard: RwLock::new(Shard::new(pattern.for_shard(&share))),
            tally: ShardCounters::default(),
        };
        Self {
            shards: (0..n_shards).map(locked).collect(),
            hasher: RandomState::default(),
            pattern,
            limits,
            share,
            total: Total::default(),
            listener: OnceLock::new(),
        }
    }

    /// Inserts the entry. Evictions that are still needed are returned as unfinished.
    fn put(&self, newcomer: Entry) -> Put<'_, P> {
        let (home, hash) = self.home(newcomer.key_bytes());
        let cost = info_of(&newcomer, hash);
        let now = cost.now;
        if cost.weight > self.limits.weight {
            let is_copy = !newcomer.is_negative();
            self.remove_key(newcomer.key_bytes(), |tally| is_copy.then_some(&tally.refused));
            return Put::Done(Admission::Rejected(Rejection::TooLarge));
        }
        if self.is_large(cost.weight) {
            return self.put_large(home, newcomer, cost);
        }
        let (replaced, left, crowding) = {
            let mut shard = self.write(home);
            let arrival = Change::insert(&newcomer);
            let (slot, replaced) = shard.insert(newcomer, &cost);
            let mut change = replaced.iter().fold(arrival, Change::minus);
            let mut left = None;
            if let Some(limit) = self.limit_passed(change)
                && self.is_to_shrink(home, limit, change)
            {
                left = shard.evict(now, Some(slot));
                change = left.iter().map(|(entry, _)| entry).fold(change, Change::minus);
            }
            // In one sum, so that no other insert evicts for a total that never existed.
            self.apply(home, change);
            // The insert that takes the total over a limit sees it here.
            let crowding =
                self.limit_passed(Change::default()).and_then(|_| shard.entry(slot).cloned());
            (replaced, left.map(|left| home.tally.count_removal(left)), crowding)
        };
        drop(replaced);
        let is_refused = matches!(left, Some((_, RemovalCause::Rejected)));
        left.into_iter().for_each(|left| self.tell(left));
        match (is_refused, crowding) {
            (true, _) => Put::Done(Admission::Rejected(Rejection::Policy)),
            (_, None) => Put::Done(Admission::Stored),
            (_, Some(newcomer)) => Room::new(self, home, newcomer, cost, false).begin(),
        }
    }

    /// Returns whether `newcomer` may displace more entries than one call should, so that the
    /// policy decides on it once, before any of them is evicted.
    fn may_displace_many(&self, newcomer: &Entry) -> bool {
        let weight = newcomer.weight();
        // An entry that is too large is rejected at once.
        weight <= self.limits.weight
            && self.is_large(weight)
            && self.limit_passed(Change::insert(newcomer)).is_some()
    }

    /// Returns whether an entry of this weight may displace many others.
    fn is_large(&self, weight: u64) -> bool {
        let entries = self.total.entries.load(Ordering::Relaxed).max(1);
        weight / LARGE > self.total.bytes.load(Ordering::Relaxed) / entries
    }

    /// Inserts an entry that may displace many others. The policy decides first: the entry is
    /// admitted if there is room before the policy names it, or once the policy has named [`STEP`]
    /// others of its shard. If it is rejected, those are restored. All in one section, so that no
    /// reader misses them, and no entry is restored that was removed meanwhile.
    fn put_large<'a>(
        &'a self,
        home: &'a ShardCell<P>,
        newcomer: Entry,
        cost: EntryInfo,
    ) -> Put<'a, P> {
        let (replaced, left, is_refused) = {
            let mut shard = self.write(home);
            let arrival = Change::insert(&newcomer);
            let (slot, replaced) = shard.insert(newcomer.clone(), &cost);
            let mut change = replaced.iter().fold(arrival, Change::minus);
            let mut left = Vec::new();
            while left.len() < STEP
                && let Some(limit) = self.limit_passed(change)
                && self.is_to_shrink(home, limit, change)
                && let Some((victim, why)) = shard.evict(cost.now, Some(slot))
            {
                change = change.minus(&victim);
                left.push((victim, why));
                if why == RemovalCause::Rejected {
                    break;
                }
            }
            let is_refused = left.last().is_some_and(|(_, why)| *why == RemovalCause::Rejected);
            if is_refused {
                for (victim, _) in left.extract_if(.., |(_, why)| *why == RemovalCause::Evicted) {
                    change = change.plus(&victim);
                    let (_, hash) = self.home(victim.key_bytes());
                    let cost = info_of(&victim, hash);
                    shard.restore(victim, &cost);
                }
            }
            self.apply(home, change);
            let left: Vec<_> =
                left.into_iter().map(|left| home.tally.count_removal(left)).collect();
            (replaced, left, is_refused)
        };
        drop(replaced);
        left.into_iter().for_each(|left| self.tell(left));
        if is_refused {
            return Put::Done(Admission::Rejected(Rejection::Policy));
        }
        Room::new(self, home, newcomer, cost, true).begin()
    }

    /// Hands a removed entry to the listener, unless its own insert rejected it. Without a lock.
    fn tell(&self, (left, why): (Entry, RemovalCause)) {
        if let Some(listener) = self.listener.get()
            && why != RemovalCause::Rejected
        {
            listener(left);
        }
    }

    /// Takes all entries, at once: none from before is visible or counted from here on.
    fn take_all(&self) -> Vec<Shard<P>> {
        let take = |locked| {
            let fresh = self.fresh();
            self.swap(locked, &mut self.write(locked), fresh)
        };
        self.shards.iter().map(take).collect()
    }

    /// Returns the limit that the totals would exceed after `change`.
    fn limit_passed(&self, change: Change) -> Option<Limit> {
        if after(&self.total.bytes, change.bytes) > self.limits.weight {
            Some(Limit::Bytes)
        } else if after(&self.total.entries, change.entries) > self.limits.entries.min(ENTRIES_MAX)
        {
            Some(Limit::Entries)
        } else {
            None
        }
    }

    /// Returns the shard that has to evict; `None` within the limits.
    fn shard_to_shrink<'a>(&'a self, home: &'a ShardCell<P>) -> Option<&'a ShardCell<P>> {
        let limit = self.limit_passed(Change::default())?;
        if self.is_to_shrink(home, limit, Change::default()) {
            return Some(home);
        }
        let others = self.shards.iter().filter(|locked| !std::ptr::eq(*locked, home));
        others
            .max_by_key(|locked| locked.tally.load(limit))
            .filter(|locked| locked.tally.load(limit) > 0)
            .or(Some(home))
    }

    /// Returns whether `home`, after `change`, should evict one of its own entries: if it holds
    /// about its share. With exactly its share as the threshold, every second insert would look
    /// through all shards.
    fn is_to_shrink(&self, home: &ShardCell<P>, limit: Limit, change: Change) -> bool {
        // A new entry that is alone in its shard may need the room of all shards: it must not be
        // evicted for its size.
        let is_alone = after(&home.tally.entries, change.entries) <= 1;
        let (load, share) = match limit {
            Limit::Bytes => (after(&home.tally.bytes, change.bytes), self.share.weight),
            Limit::Entries => (after(&home.tally.entries, change.entries), self.share.entries),
        };
        !is_alone && load > share - share / 32
    }

    /// Removes a key. Returns whether it was cached; the counter `why` is incremented in any case.
    fn remove_key(&self, key: &[u8], why: impl Fn(&ShardCounters) -> Option<&AtomicU64>) -> bool {
        let (home, hash) = self.home(key);
        let left = {
            let mut shard = self.write(home);
            let left = shard.remove(hash, key);
            if let Some(entry) = &left {
                self.apply(home, Change::default().minus(entry));
            }
            if let Some(counter) = why(&home.tally) {
                add(counter, 1);
            }
            left
        };
        left.is_some()
    }

    fn expire_one(&self, locked: &ShardCell<P>, now: Moment) -> Option<Entry> {
        let mut shard = self.write(locked);
        let left = shard.expire(now)?;
        self.apply(locked, Change::default().minus(&left));
        Some(locked.tally.count_removal((left, RemovalCause::Expired)).0)
    }

    /// Returns the shard of a key, and its hash. The shard's index uses the low half of it.
    #[inline]
    fn home(&self, key: &[u8]) -> (&ShardCell<P>, u64) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        let mask = self.shards.len() - 1;
        let home = (hash >> 32) as usize & mask;
        (&self.shards[home], hash)
    }

    /// Takes the exclusive lock. A shard in which a policy panicked is emptied first.
    fn write<'a>(&self, locked: &'a ShardCell<P>) -> RwLockWriteGuard<'a, Shard<P>> {
        loop {
            let held = match locked.shard.write() {
                Ok(shard) => return shard,
                Err(poisoned) => {
                    let mut shard = poisoned.into_inner();
                    locked.shard.clear_poison();
                    self.swap(locked, &mut shard, self.fresh())
                }
            };
            // After the lock is released.
            held.into_entries().for_each(|entry| self.tell((entry, RemovalCause::Evicted)));
        }
    }

    fn fresh(&self) -> Shard<P> {
        Shard::new(self.pattern.for_shard(&self.share))
    }

    /// Replaces the `shard` of `locked` by `fresh`, an empty one, and returns the old one.
    fn swap(&self, locked: &ShardCell<P>, shard: &mut Shard<P>, fresh: Shard<P>) -> Shard<P> {
        let held = mem::replace(shard, fresh);
        self.total
            .entries
            .fetch_sub(locked.tally.entries.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        self.total
            .bytes
            .fetch_sub(locked.tally.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        locked.tally.negative.store(0, Ordering::Relaxed);
        held
    }

    /// Counts `change` in the shard and in the total. Called under the shard's exclusive lock.
    fn apply(&self, locked: &ShardCell<P>, change: Change) {
        for (held, total, by) in [
            (&locked.tally.entries, &self.total.entries, change.entries),
            (&locked.tally.bytes, &self.total.bytes, change.bytes),
        ] {
            if by != 0 {
                add(held, by);
                total.fetch_add(by.cast_unsigned(), Ordering::Relaxed);
            }
        }
        if change.negative != 0 {
            add(&locked.tally.negative, change.negative);
        }
    }
}

#[async_trait]
impl<P: EvictionPolicy> Backend for MemoryBackend<P> {
    fn get_now(&self, key: &str) -> Option<Entry> {
        let (home, hash) = self.home(key.as_bytes());
        home.shard.read().ok()?.get(hash, key.as_bytes())
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        let (home, hash) = self.home(key.as_bytes());
        home.shard.read().ok()?.peek(hash, key.as_bytes()).cloned()
    }

    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        if self.may_displace_many(&entry) {
            return Err(entry);
        }
        match self.put(entry) {
            Put::Done(admission) => Ok(admission),
            Put::Unfinished(room) => Err(room.hand_back()),
        }
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        match self.put(entry) {
            Put::Done(admission) => Ok(admission),
            Put::Unfinished(room) => room.finish().await,
        }
    }

    fn contains(&self, key: &str) -> Option<bool> {
        let (home, hash) = self.home(key.as_bytes());
        // A shard whose policy panicked counts as empty.
        let is_held =
            |shard: RwLockReadGuard<'_, Shard<P>>| shard.peek(hash, key.as_bytes()).is_some();
        Some(home.shard.read().is_ok_and(is_held))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.remove_key(key.as_bytes(), |_| None))
    }

    async fn clear(&self) -> Result<()> {
        for mut shard in self.take_all() {
            while shard.drop_some(STEP) {
                let_others_run().await;
            }
        }
        Ok(())
    }

    fn on_eviction(&self, listener: EvictionListener) -> bool {
        self.listener.set(listener).is_ok()
    }

    async fn close(&self) -> Result<()> {
        let mut steps = Steps::new();
        for shard in self.take_all() {
            for entry in shard.into_entries() {
                self.tell((entry, RemovalCause::Evicted));
                steps.done_one().await;
            }
        }
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut steps = Steps::new();
        for locked in &self.shards {
            while let Some(expired) = self.expire_one(locked, now) {
                self.tell((expired, RemovalCause::Expired));
                steps.done_one().await;
            }
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let sum = |counter: fn(&ShardCounters) -> &AtomicU64| {
            self.shards.iter().map(|locked| counter(&locked.tally).load(Ordering::Relaxed)).sum()
        };
        Usage::new(
            self.total.entries.load(Ordering::Relaxed),
            self.total.bytes.load(Ordering::Relaxed),
        )
        .with_capacity_bytes(Some(self.limits.weight))
        .with_capacity_entries(Some(self.limits.entries).filter(|entries| *entries != u64::MAX))
        .with_evicted(sum(|tally| &tally.evicted))
        .with_expired(sum(|tally| &tally.expired))
        .with_rejected(sum(|tally| &tally.refused))
    }

    fn negative_entries(&self) -> u64 {
        self.shards.iter().map(|locked| locked.tally.negative.load(Ordering::Relaxed)).sum()
    }
}

/// The state of an insert after its first step.
enum Put<'a, P: EvictionPolicy> {
    Done(Admission),
    /// The entry is stored, but more entries have to be evicted.
    Unfinished(Room<'a, P>),
}

/// Makes room for an entry that is already stored, in steps. If it is dropped before there is room,
/// the entry is removed.
struct Room<'a, P: EvictionPolicy> {
    backend: &'a MemoryBackend<P>,
    home: &'a ShardCell<P>,
    newcomer: Entry,
    cost: EntryInfo,
    /// The policy has admitted the entry, and does not decide again.
    is_admitted: bool,
    admission: Admission,
    is_done: bool,
}

impl<'a, P: EvictionPolicy> Room<'a, P> {
    fn new(
        backend: &'a MemoryBackend<P>,
        home: &'a ShardCell<P>,
        newcomer: Entry,
        cost: EntryInfo,
        is_admitted: bool,
    ) -> Self {
        let admission = Admission::Stored;
        Self { backend, home, newcomer, cost, is_admitted, admission, is_done: false }
    }

    /// Runs the first step.
    fn begin(mut self) -> Put<'a, P> {
        if self.step() { Put::Done(self.admission.clone()) } else { Put::Unfinished(self) }
    }

    /// Runs the other steps.
    async fn finish(mut self) -> Result<Admission> {
        loop {
            let_others_run().await;
            if self.step() {
                return Ok(self.admission.clone());
            }
        }
    }

    /// Evicts up to [`STEP`] entries. Returns whether there is room now.
    fn step(&mut self) -> bool {
        // If the policy panics, its shard counts as empty, and there is nothing to remove.
        self.is_done = true;
        for _ in 0..STEP {
            let Some(full) = self.backend.shard_to_shrink(self.home) else { return true };
            // `None` if the shard was emptied meanwhile: choose again.
            if let Some(left) = self.evict_one(full) {
                if left.1 == RemovalCause::Rejected {
                    self.admission = Admission::Rejected(Rejection::Policy);
                }
                self.backend.tell(left);
            }
        }
        self.is_done = false;
        false
    }

    fn evict_one(&self, full: &ShardCell<P>) -> Option<(Entry, RemovalCause)> {
        let mut shard = self.backend.write(full);
        let left = match shard.slot_of(self.cost.hash, &self.newcomer) {
            Some(newcomer) if self.is_admitted => {
                shard.evict_other(self.cost.now, newcomer, &self.cost)
            }
            newcomer => shard.evict(self.cost.now, newcomer),
        }?;
        self.backend.apply(full, Change::default().minus(&left.0));
        Some(full.tally.count_removal(left))
    }
}

impl<P: EvictionPolicy> Room<'_, P> {
    /// Removes the entry again without counting it: the caller inserts it once more.
    fn hand_back(mut self) -> Entry {
        self.is_done = true;
        self.take_newcomer(|_| ());
        self.newcomer.clone()
    }

    fn take_newcomer(&self, count: impl FnOnce(&Entry)) {
        let left = {
            let mut shard = self.backend.write(self.home);
            let is_there = shard.slot_of(self.cost.hash, &self.newcomer).is_some();
            let left =
                is_there.then(|| shard.remove(self.cost.hash, self.newcomer.key_bytes())).flatten();
            if let Some(entry) = &left {
                self.backend.apply(self.home, Change::default().minus(entry));
                count(entry);
            }
            left
        };
        drop(left);
    }
}

impl<P: EvictionPolicy> Drop for Room<'_, P> {
    fn drop(&mut self) {
        if !self.is_done {
            self.take_newcomer(|newcomer| self.home.tally.count(newcomer, RemovalCause::Rejected));
        }
    }
}

/// Returns what a policy gets to know of an entry whose key has this hash.
fn info_of(entry: &Entry, hash: u64) -> EntryInfo {
    let now = entry.validated_at().unwrap_or(Moment::from_nanos(0));
    EntryInfo::new(hash, entry.weight(), now, entry.expires_at())
}

impl<P> fmt::Debug for MemoryBackend<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("shards", &self.shards.len())
            .field("limits", &self.limits)
            .field("entries", &self.total.entries)
            .field("bytes", &self.total.bytes)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Limit {
    Bytes,
    Entries,
}

impl ShardCounters {
    fn load(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Bytes => self.bytes.load(Ordering::Relaxed),
            Limit::Entries => self.entries.load(Ordering::Relaxed),
        }
    }

    fn count_removal(&self, victim: (Entry, RemovalCause)) -> (Entry, RemovalCause) {
        self.count(&victim.0, victim.1);
        victim
    }

    /// Counts the removal of `entry`, unless it is negative.
    fn count(&self, entry: &Entry, why: RemovalCause) {
        if entry.is_negative() {
            return;
        }
        add(
            match why {
                RemovalCause::Rejected => &self.refused,
                RemovalCause::Expired => &self.expired,
                _ => &self.evicted,
            },
            1,
        );
    }
}

impl Change {
    fn insert(newcomer: &Entry) -> Self {
        Self {
            entries: 1,
            bytes: signed(newcomer.weight()),
            negative: newcomer.is_negative().into(),
        }
    }

    fn plus(self, restored: &Entry) -> Self {
        let Self { entries, bytes, negative } = Self::insert(restored);
        Self {
            entries: self.entries + entries,
            bytes: self.bytes + bytes,
            negative: self.negative + negative,
        }
    }

    fn minus(self, left: &Entry) -> Self {
        Self {
            entries: self.entries - 1,
            bytes: self.bytes - signed(left.weight()),
            negative: self.negative - i64::from(left.is_negative()),
        }
    }
}

fn signed(weight: u64) -> i64 {
    i64::try_from(weight).expect("nothing in memory has so many bytes")
}

/// Returns the counter's value after a change.
fn after(counter: &AtomicU64, by: i64) -> u64 {
    counter.load(Ordering::Relaxed).wrapping_add_signed(by)
}

/// Adds to a counter that is only changed under a lock.
fn add(counter: &AtomicU64, by: i64) {
    counter.store(after(counter, by), Ordering::Relaxed);
}

/// An entry is large if it weighs more than this number of average ones.
const LARGE: u64 = 4;

/// Bounds the slot numbers where no limit does, with room for inserts on any number of threads.
const ENTRIES_MAX: u64 = 1 << 31;
