//! Entries in this process's memory.
//!
//! A key's hash chooses a shard: a table under a lock, with a policy of its own. The *limits* are the whole
//! backend's: shards only spread the contention, and lend to each other freely. Every change is counted in its
//! shard's tally and in the total; whoever finds the total over a limit makes entries leave, one short section
//! under one lock at a time, until it is not. So an object of any size up to the capacity can be held, and no
//! call returns while its own entry keeps the backend over a limit.
//!
//! Who leaves is up to the policy of one shard: the newcomer's own if that one has more than its share, so that an
//! admission filter weighs a newcomer against its neighbours, else the fullest one. This keeps the shards even.
//!
//! Handles that leave are dropped after the lock is released: freeing a large body holds nobody up.

use std::{
    fmt,
    hash::BuildHasher,
    mem,
    sync::{
        RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, EvictionPolicy, Limits, Moment, Refusal, Removal, Result, Usage,
};
use foldhash::quality::RandomState;

use crate::{builder::MemoryBackendBuilder, shard::Shard};

/// Entries in this process's memory, ranked by the policy `P`.
///
/// `insert`, `remove`, `clear` and `sweep` do their work when first polled and never wait for anything but a
/// shard's lock; a future dropped before that has done nothing. `peek` takes one shared lock. Keys are hashed with
/// a random key of the backend's own, so nobody can choose keys that collide.
///
/// # Misbehaving policies
///
/// A policy that names a slot not in use, or nobody although somebody must go, is not asked twice: any entry but
/// the newcomer leaves. One that calls an entry expired which is not ends the sweep of its shard. If a policy
/// panics in a change, the panic goes to the caller, and the shard counts as empty from then on: the next change
/// drops what it held and gives it a fresh policy.
pub struct MemoryBackend<P> {
    shards: Box<[Locked<P>]>,
    hasher: RandomState,
    /// Where each shard's policy comes from.
    pattern: P,
    limits: Limits,
    /// What each shard may hold while all are full.
    share: Limits,
    total: Tally,
    evicted: AtomicU64,
    expired: AtomicU64,
    refused: AtomicU64,
}

/// A shard, and what it holds: changed under its exclusive lock only, read without.
struct Locked<P> {
    shard: RwLock<Shard<P>>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl<P: EvictionPolicy> MemoryBackend<P> {
    /// Starts a backend whose shards each get an empty policy from the pattern `policy`.
    ///
    /// ```
    /// use cache_policy::{Lru, MemoryBackend, Ttl};
    ///
    /// let backend = MemoryBackend::builder(Ttl::new(Lru::new())).max_entries(10_000).build()?;
    /// # Ok::<(), cache_core::Error>(())
    /// ```
    pub fn builder(policy: P) -> MemoryBackendBuilder<P> {
        MemoryBackendBuilder::new(policy)
    }

    /// `n_shards` is a power of two; no limit is zero.
    pub(crate) fn new(pattern: P, limits: Limits, n_shards: u64) -> Self {
        let share = Limits {
            weight: (limits.weight / n_shards).max(1),
            entries: match limits.entries {
                u64::MAX => u64::MAX,
                entries => (entries / n_shards).max(1),
            },
        };
        let locked =
            |_| Locked { shard: RwLock::new(Shard::new(pattern.for_shard(&share))), tally: Tally::default() };
        Self {
            shards: (0..n_shards).map(locked).collect(),
            hasher: RandomState::default(),
            pattern,
            limits,
            share,
            total: Tally::default(),
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn put(&self, newcomer: &Entry) -> Admission {
        let (home, hash) = self.home(newcomer.key());
        let weight = newcomer.weight();
        if weight > self.limits.weight {
            self.take_out(newcomer.key());
            count(&self.refused);
            return Admission::Refused(Refusal::TooLarge);
        }
        let now = newcomer.vouched_at().unwrap_or(Moment::from_nanos(0));
        let replaced = {
            let mut shard = self.write(home);
            let replaced = shard.insert(hash, newcomer.clone(), now);
            // Subtracted first: nobody is to make room for a sum that never was.
            if let Some(replaced) = &replaced {
                self.subtract(home, replaced.weight());
            }
            self.add(home, weight);
            replaced
        };
        drop(replaced);
        self.make_room(home, newcomer, now)
    }

    fn make_room(&self, home: &Locked<P>, newcomer: &Entry, now: Moment) -> Admission {
        let mut admission = Admission::Stored;
        while let Some(full) = self.shard_to_shrink(home) {
            let left = {
                let mut shard = self.write(full);
                let left = shard.evict(now, newcomer);
                if let Some((entry, _)) = &left {
                    self.subtract(full, entry.weight());
                }
                left
            };
            match left {
                Some((_, Removal::Refused)) => {
                    count(&self.refused);
                    admission = Admission::Refused(Refusal::Policy);
                }
                Some((_, Removal::Expired)) => count(&self.expired),
                Some(_) => count(&self.evicted),
                // Others emptied it meanwhile: look again.
                None => {}
            }
        }
        admission
    }

    /// Where somebody must leave; `None` within the limits.
    fn shard_to_shrink<'a>(&'a self, home: &'a Locked<P>) -> Option<&'a Locked<P>> {
        let (load, share): (fn(&Tally) -> u64, u64) = if self.total.bytes() > self.limits.weight {
            (Tally::bytes, self.share.weight)
        } else if self.total.entries() > self.limits.entries.min(ENTRIES_MAX) {
            (Tally::entries, self.share.entries)
        } else {
            return None;
        };
        // A newcomer that is alone in its shard may need the room of all: it is not to leave for being large.
        let is_alone = home.tally.entries() <= 1;
        if !is_alone && load(&home.tally) > share {
            return Some(home);
        }
        let others = self.shards.iter().filter(|locked| !std::ptr::eq(*locked, home));
        others
            .max_by_key(|locked| load(&locked.tally))
            .filter(|locked| load(&locked.tally) > 0)
            .or(Some(home))
    }

    fn take_out(&self, key: &str) -> bool {
        let (home, hash) = self.home(key);
        let left = {
            let mut shard = self.write(home);
            let left = shard.remove(hash, key);
            if let Some(entry) = &left {
                self.subtract(home, entry.weight());
            }
            left
        };
        left.is_some()
    }

    fn expire_one(&self, locked: &Locked<P>, now: Moment) -> Option<Entry> {
        let mut shard = self.write(locked);
        let left = shard.expire(now)?;
        self.subtract(locked, left.weight());
        count(&self.expired);
        Some(left)
    }

    /// The shard of a key, and its hash. hashbrown keeps the top 7 bits of a hash as a tag and finds the bucket by
    /// the low ones, so the shard is chosen by bits between them.
    fn home(&self, key: &str) -> (&Locked<P>, u64) {
        let hash = self.hasher.hash_one(key);
        let mask = self.shards.len() - 1;
        let home = (hash >> 32) as usize & mask;
        (&self.shards[home], hash)
    }

    /// The exclusive lock. A shard in which a policy panicked is emptied first.
    fn write<'a>(&self, locked: &'a Locked<P>) -> RwLockWriteGuard<'a, Shard<P>> {
        locked.shard.write().unwrap_or_else(|poisoned| {
            let mut shard = poisoned.into_inner();
            drop(self.empty(locked, &mut shard));
            locked.shard.clear_poison();
            shard
        })
    }

    /// Takes out all that `locked`, whose `shard` this is, holds.
    fn empty(&self, locked: &Locked<P>, shard: &mut Shard<P>) -> Shard<P> {
        let held = mem::replace(shard, Shard::new(self.pattern.for_shard(&self.share)));
        self.total.entries.fetch_sub(locked.tally.entries.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        self.total.bytes.fetch_sub(locked.tally.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        held
    }

    fn add(&self, locked: &Locked<P>, weight: u64) {
        for tally in [&locked.tally, &self.total] {
            tally.entries.fetch_add(1, Ordering::Relaxed);
            tally.bytes.fetch_add(weight, Ordering::Relaxed);
        }
    }

    fn subtract(&self, locked: &Locked<P>, weight: u64) {
        for tally in [&self.total, &locked.tally] {
            tally.entries.fetch_sub(1, Ordering::Relaxed);
            tally.bytes.fetch_sub(weight, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl<P: EvictionPolicy> Backend for MemoryBackend<P> {
    fn peek(&self, key: &str) -> Option<Entry> {
        let (home, hash) = self.home(key);
        home.shard.read().ok()?.peek(hash, key)
    }

    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None)
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        Ok(self.put(&entry))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.take_out(key))
    }

    async fn clear(&self) -> Result<()> {
        for locked in &self.shards {
            let held = {
                let mut shard = self.write(locked);
                self.empty(locked, &mut shard)
            };
            drop(held);
        }
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        for locked in &self.shards {
            while let Some(expired) = self.expire_one(locked, now) {
                drop(expired);
            }
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage {
            entries: self.total.entries(),
            bytes: self.total.bytes(),
            capacity_bytes: Some(self.limits.weight),
            evicted: self.evicted.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl<P> fmt::Debug for MemoryBackend<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("shards", &self.shards.len())
            .field("limits", &self.limits)
            .field("entries", &self.total.entries())
            .field("bytes", &self.total.bytes())
            .finish_non_exhaustive()
    }
}

impl Tally {
    fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Bounds the slot numbers, where no limit does, with room for newcomers on any number of threads.
const ENTRIES_MAX: u64 = 1 << 31;

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
