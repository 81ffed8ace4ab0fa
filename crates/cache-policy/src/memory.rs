//! Entries in this process's memory.
//!
//! A key's hash chooses a shard: a table under a lock, with a policy of its own. The *limits* are
//! the whole backend's: shards only spread the contention, and lend to each other freely. Every
//! change is counted in its shard's tally and in the total; whoever finds the total over a limit
//! makes entries leave, one short section under one lock at a time, until it is not. So an object
//! of any size up to the capacity can be held, and no call returns while its own entry keeps the
//! backend over a limit. An insert that displaces one entry of its own shard does both in one
//! section, and counts the difference.
//!
//! Who leaves is up to the policy of one shard: the newcomer's own if that one has about its share
//! or more, so that an admission filter weighs a newcomer against its neighbours, else the fullest
//! one. This keeps the shards even.
//!
//! Handles that leave are dropped after the lock is released: freeing a large body holds nobody up.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    mem,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, EntryInfo, EvictionPolicy, Limits, Moment, Rejection, RemovalCause,
    Result, Usage,
};
use foldhash::quality::RandomState;

use crate::{
    shard::Shard,
    steps::{STEP, Steps, let_others_run},
};

/// Entries in this process's memory, ranked by the policy `P`.
///
/// No call ever waits for anything but a shard's lock. `clear` takes everything out when first
/// polled, `sweep` what has expired one by one; after each 256 entries that they drop, they let
/// other tasks run, on any executor. So does an `insert` that displaces more: from its first step
/// on the entry is shown, and the backend may be over its limit by that entry; a future that is
/// dropped before the last step takes it out again. An entry that weighs more than 4 average ones
/// is admitted or refused first: if the policy refuses it, nothing else has left. `insert_now`
/// hands such an entry back where there is no room for it, and any other that would displace more
/// than 256; otherwise it stores or refuses at once and allocates no future. `get_now` and `peek`
/// take one shared lock and allocate nothing. Keys are hashed with a random key of the backend's
/// own, so nobody can choose keys that collide.
///
/// # Memory
///
/// Beside keys, bodies and tags, an entry costs 80 bytes of its own, some 25 for the index and its
/// slot, and what its policy takes: no more than that at any number of entries, as nothing here
/// grows by doubling. All of it is in [`Entry::weight`], and so within the capacity. The slots of
/// entries that left are kept for those that come, until `clear`.
///
/// # Misbehaving policies
///
/// A policy that names a slot not in use, or nobody although somebody must go, is not asked twice:
/// any entry but the newcomer leaves. One that calls an entry expired which is not ends the sweep
/// of its shard. If a policy panics in a change, the panic goes to the caller, and the shard counts
/// as empty from then on: the next change drops what it held and gives it a fresh policy.
pub struct MemoryBackend<P> {
    shards: Box<[ShardCell<P>]>,
    hasher: RandomState,
    /// Where each shard's policy comes from.
    pattern: P,
    limits: Limits,
    /// What each shard may hold while all are full.
    share: Limits,
    total: Total,
}

/// A shard, and what is counted of it. On cache lines of its own.
#[repr(align(64))]
struct ShardCell<P> {
    shard: RwLock<Shard<P>>,
    tally: ShardCounters,
}

/// Changed under the shard's exclusive lock only, read without.
#[derive(Default)]
struct ShardCounters {
    entries: AtomicU64,
    bytes: AtomicU64,
    negative: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
    refused: AtomicU64,
}

/// What all shards hold. On a cache line of its own: every insert writes it, and hits read what is
/// beside it.
#[derive(Default)]
#[repr(align(64))]
struct Total {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// By how much a step changes what is held.
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
        }
    }

    /// Puts the entry in. Where others have yet to leave for it, that remains to be done.
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
            // In one sum: nobody is to make room for what never was.
            self.apply(home, change);
            // Whoever takes the total over a limit finds it there.
            let crowding =
                self.limit_passed(Change::default()).and_then(|_| shard.entry(slot).cloned());
            (replaced, left.map(|left| home.tally.count_removal(left)), crowding)
        };
        drop(replaced);
        match (left, crowding) {
            (Some((_, RemovalCause::Rejected)), _) => {
                Put::Done(Admission::Rejected(Rejection::Policy))
            }
            (_, None) => Put::Done(Admission::Stored),
            (_, Some(newcomer)) => Room::new(self, home, newcomer, cost, false).begin(),
        }
    }

    /// Whether `newcomer` may have more leave than one call should, which the policy is to decide
    /// on once, before any of them leaves.
    fn may_displace_many(&self, newcomer: &Entry) -> bool {
        let weight = newcomer.weight();
        // One that is too large is refused at once.
        weight <= self.limits.weight
            && self.is_large(weight)
            && self.limit_passed(Change::insert(newcomer)).is_some()
    }

    /// Whether an entry of this weight may displace a great many others.
    fn is_large(&self, weight: u64) -> bool {
        let entries = self.total.entries.load(Ordering::Relaxed).max(1);
        weight / LARGE > self.total.bytes.load(Ordering::Relaxed) / entries
    }

    /// Puts an entry in that may displace a great many others. The policy decides first: it is
    /// admitted if there is room for it before the policy names it, or when it has named [`STEP`]
    /// others of its shard. If it is refused, those come back. All in one section, so that no
    /// reader misses them, and nothing is brought back that was removed meanwhile.
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
        drop((replaced, left));
        if is_refused {
            return Put::Done(Admission::Rejected(Rejection::Policy));
        }
        Room::new(self, home, newcomer, cost, true).begin()
    }

    /// The limit that what is held would pass after `change`.
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

    /// Where somebody must leave; `None` within the limits.
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

    /// Whether `home`, after `change`, has so much that one of its own should leave for a newcomer.
    /// That is, about its share: with exactly its share as the mark, every other newcomer would
    /// look through all the shards.
    fn is_to_shrink(&self, home: &ShardCell<P>, limit: Limit, change: Change) -> bool {
        // A newcomer that is alone in its shard may need the room of all: it is not to leave for
        // being large.
        let is_alone = after(&home.tally.entries, change.entries) <= 1;
        let (load, share) = match limit {
            Limit::Bytes => (after(&home.tally.bytes, change.bytes), self.share.weight),
            Limit::Entries => (after(&home.tally.entries, change.entries), self.share.entries),
        };
        !is_alone && load > share - share / 32
    }

    /// Whether there was one. `why` is counted in any case.
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

    /// The shard of a key, and its hash. The shard's index goes by the low half of it.
    #[inline]
    fn home(&self, key: &[u8]) -> (&ShardCell<P>, u64) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        let mask = self.shards.len() - 1;
        let home = (hash >> 32) as usize & mask;
        (&self.shards[home], hash)
    }

    /// The exclusive lock. A shard in which a policy panicked is emptied first.
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
            drop(held);
        }
    }

    fn fresh(&self) -> Shard<P> {
        Shard::new(self.pattern.for_shard(&self.share))
    }

    /// Puts `fresh`, an empty one, in the place of `locked`'s `shard`. What was held.
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

    /// Counts `change`, in the shard `locked` and in the total. Under the shard's exclusive lock.
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
        let take = |locked| {
            let fresh = self.fresh();
            self.swap(locked, &mut self.write(locked), fresh)
        };
        // At once, so that nothing inserted before is shown, or counted, from here on.
        let held: Vec<_> = self.shards.iter().map(take).collect();
        for mut shard in held {
            while shard.drop_some(STEP) {
                let_others_run().await;
            }
        }
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut steps = Steps::new();
        for locked in &self.shards {
            while let Some(expired) = self.expire_one(locked, now) {
                drop(expired);
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
        .with_refused(sum(|tally| &tally.refused))
    }

    fn negative_entries(&self) -> u64 {
        self.shards.iter().map(|locked| locked.tally.negative.load(Ordering::Relaxed)).sum()
    }
}

/// An insert that has begun.
enum Put<'a, P: EvictionPolicy> {
    Done(Admission),
    /// The entry is in, and others have yet to leave for it.
    Unfinished(Room<'a, P>),
}

/// Makes room for a newcomer that is in already, a step at a time. If it is dropped before there is
/// room, the newcomer leaves.
struct Room<'a, P: EvictionPolicy> {
    backend: &'a MemoryBackend<P>,
    home: &'a ShardCell<P>,
    newcomer: Entry,
    cost: EntryInfo,
    /// The policy was asked about it, and is not asked again.
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

    /// The first step.
    fn begin(mut self) -> Put<'a, P> {
        if self.step() { Put::Done(self.admission.clone()) } else { Put::Unfinished(self) }
    }

    /// The other steps.
    async fn finish(mut self) -> Result<Admission> {
        loop {
            let_others_run().await;
            if self.step() {
                return Ok(self.admission.clone());
            }
        }
    }

    /// Has up to [`STEP`] entries leave. Whether there is room now.
    fn step(&mut self) -> bool {
        // Should the policy panic, its shard counts as empty, and there is nothing to take out.
        self.is_done = true;
        for _ in 0..STEP {
            let Some(full) = self.backend.shard_to_shrink(self.home) else { return true };
            // Nobody, if others emptied the shard meanwhile: look again.
            if let Some((_, RemovalCause::Rejected)) = self.evict_one(full) {
                self.admission = Admission::Rejected(Rejection::Policy);
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
    /// Takes the newcomer out again, uncounted: it is inserted once more.
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

/// What a policy is told of an entry whose key has this hash.
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

    /// Counts why `entry` left, unless it is negative.
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

/// The counter's value after a change.
fn after(counter: &AtomicU64, by: i64) -> u64 {
    counter.load(Ordering::Relaxed).wrapping_add_signed(by)
}

/// Adds to a counter that only the holder of a lock changes.
fn add(counter: &AtomicU64, by: i64) {
    counter.store(after(counter, by), Ordering::Relaxed);
}

/// An entry is large if it weighs more than this number of average ones.
const LARGE: u64 = 4;

/// Bounds the slot numbers, where no limit does, with room for newcomers on any number of threads.
const ENTRIES_MAX: u64 = 1 << 31;
