//! S3-FIFO.
//!
//! Most new keys are not read again before they are evicted: 72 % of them in the traces of the
//! paper [1], with a cache of a tenth of the keys. So new entries pass through a *small* queue, a
//! tenth of the capacity. An entry that was used at least twice there moves to the *main* queue
//! when it reaches the end; the others are evicted, and a *ghost* queue remembers as many of their
//! keys as the main queue holds. A key that returns while it is remembered goes to the main queue
//! at once. The main queue reinserts an entry once for each use since its last turn, up to three.
//! All three queues are FIFO: a hit moves nothing.
//!
//! Differences from the paper:
//!
//! * A new entry is inserted before room is made for it. It joins its queue at the next insert, so
//!   that it does not compete for its own room. An object larger than the small queue is admitted,
//!   and is the next one to be examined.
//! * Shares are of the cached bytes, or of the entries where `max_entries` is the nearer limit.
//! * There are nine tenths as many ghosts as entries, whatever their size, each known by 32 bits of
//!   its key's hash. A replaced, removed or expired entry leaves no ghost.
//!
//! *When*: web and CDN objects, key-value stores, mixed storage traffic with scans; many threads.
//! *When not*: popularity that changes faster than the small queue turns over (a key whose second
//! use comes just too late for the small queue misses twice: the paper's own adversary); small
//! caches, where a tenth is a handful of entries. Sizes are ignored: see [`Gdsf`](crate::Gdsf).
//!
//! *Cost*: a hit takes one load, and one store below three uses. An insert is O(1), an eviction
//! O(1) amortised (each reinsertion consumes a hit). 18 bytes an entry, and 4 to 7 for the ghosts.
//!
//! [1] J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi: FIFO queues are all you need for cache
//! eviction. SOSP 2023.

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::{
    by_slot::reach,
    ghosts::{Ghosts, fingerprint},
    hits::Hits,
    list::Lists,
    load::Loads,
};

/// Evicts entries that were not used twice soon after their insert, then entries that were not used
/// lately: S3-FIFO (SOSP 2023).
///
/// Never rejects an entry. Ignores deadlines: wrap it in [`Ttl`](crate::Ttl) to evict expired
/// entries first.
///
/// ```
/// use cache_policy::{MemoryBackend, S3Fifo};
///
/// let backend = MemoryBackend::builder(S3Fifo::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct S3Fifo {
    /// The small and the main queue, oldest first.
    queues: Lists<2>,
    loads: Loads<2>,
    /// Uses since the insert or the last reinsertion.
    uses: Hits<3>,
    fingerprints: Vec<u32>,
    /// By slot: whether it belongs to the main queue.
    is_main: Vec<bool>,
    ghosts: Ghosts,
    /// The last insert, which is not in its queue yet.
    newcomer: Option<Slot>,
}

impl S3Fifo {
    /// Returns an empty policy to build a backend with.
    pub fn new() -> Self {
        Self::with_loads(Loads::default())
    }

    fn with_loads(loads: Loads<2>) -> Self {
        Self {
            queues: Lists::new(),
            loads,
            uses: Hits::default(),
            fingerprints: Vec::new(),
            is_main: Vec::new(),
            ghosts: Ghosts::new(),
            newcomer: None,
        }
    }

    fn queue(&self, slot: Slot) -> usize {
        if self.is_main[slot.index()] { MAIN } else { SMALL }
    }

    /// Queues the last insert, for which room has been made.
    fn settle(&mut self) {
        if let Some(slot) = self.newcomer.take() {
            self.is_main[slot.index()] = self.ghosts.take(self.fingerprints[slot.index()]);
            self.push(slot);
        }
    }

    fn promote(&mut self, slot: Slot) {
        self.loads.subtract(SMALL, slot);
        self.is_main[slot.index()] = true;
        self.uses.begin(slot);
        self.push(slot);
    }

    fn push(&mut self, slot: Slot) {
        let queue = self.queue(slot);
        self.queues.push_back(queue, slot);
        self.loads.add(queue, slot);
    }
}

impl Default for S3Fifo {
    fn default() -> Self {
        Self::new()
    }
}

impl EvictionPolicy for S3Fifo {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self::with_loads(Loads::new(*limits))
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        self.settle();
        reach(&mut self.is_main, slot.index(), || false);
        reach(&mut self.fingerprints, slot.index(), || 0);
        self.fingerprints[slot.index()] = fingerprint(cost.hash);
        self.loads.weigh(slot, cost.weight);
        self.uses.begin(slot);
        self.newcomer = Some(slot);
    }

    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        self.settle();
        let queue = self.queue(slot);
        self.loads.subtract(queue, slot);
        self.loads.weigh(slot, cost.weight);
        self.loads.add(queue, slot);
    }

    fn on_hit(&self, slot: Slot) {
        self.uses.note(slot);
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        if why == RemovalCause::Removed {
            self.settle();
        }
        if self.newcomer == Some(slot) {
            self.newcomer = None;
            return;
        }
        let queue = self.queue(slot);
        if why == RemovalCause::Evicted && queue == SMALL {
            self.ghosts.set_capacity(self.loads.entries() * 9 / 10);
            self.ghosts.push(self.fingerprints[slot.index()]);
        }
        self.queues.remove(slot);
        self.loads.subtract(queue, slot);
    }

    fn victim(
        &mut self,
        _now: Moment,
        pressure: EvictionReason,
        _held: &dyn Deadlines,
    ) -> Option<Slot> {
        if pressure == EvictionReason::Expired {
            return None;
        }
        loop {
            let small = self.queues.front(SMALL).filter(|_| self.loads.share(SMALL) >= SMALL_SHARE);
            if let Some(slot) = small {
                if self.uses.count(slot) < USES_TO_STAY {
                    return Some(slot);
                }
                self.promote(slot);
            } else if let Some(slot) = self.queues.front(MAIN) {
                let uses = self.uses.count(slot);
                if uses == 0 {
                    return Some(slot);
                }
                self.uses.set(slot, uses - 1);
                self.queues.push_back(MAIN, slot);
            } else {
                return self.queues.front(SMALL).or(self.newcomer);
            }
        }
    }
}

const SMALL: usize = 0;
const MAIN: usize = 1;
const SMALL_SHARE: f64 = 0.1;
const USES_TO_STAY: u8 = 2;
