//! S3-FIFO.
//!
//! Most keys that come are not asked for again before they leave: in the traces of the paper [1],
//! at a cache of a tenth of the keys, 72 % of them. So newcomers pass through a *small* queue, a
//! tenth of the capacity. Who was used at least twice there moves on to the *main* queue when its
//! turn comes; the others leave, and a *ghost* queue remembers as many keys as the main one holds.
//! Who comes back while it is remembered goes into the main queue at once. The main queue gives
//! each entry another turn for each use since its last, up to three. All three are FIFO: a hit
//! moves nothing.
//!
//! What differs from the paper:
//!
//! * A newcomer is inserted before room is made for it; it joins its queue when the next one comes,
//!   so that it does not compete for its own room. An object larger than the small queue is let in,
//!   and is the next to be judged.
//! * Shares are of what is held, by bytes, or by entries where `max_entries` is the nearer limit.
//! * The ghosts are nine tenths as many as the entries held, of any size, each known by 32 bits of
//!   its key's hash. A replaced or removed entry, or one that has expired, leaves no ghost.
//!
//! *When*: web and CDN objects, key-value stores, mixed storage traffic with scans; many threads.
//! *When not*: a popularity that changes faster than the small queue turns over (a key that is used
//! twice, just too late for the small queue, misses twice; the paper's own adversary); small
//! caches, in which a tenth is a handful of entries. Sizes are not weighed: see
//! [`Gdsf`](crate::Gdsf).
//!
//! *Cost*: a hit one load, and one store below three uses; an insert O(1); an eviction O(1)
//! amortised (each turn given takes away a hit). 18 bytes an entry, and 4 to 7 for the ghosts.
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

/// Evicts what was not used twice soon after it came, and then what has not been used lately:
/// S3-FIFO (SOSP 2023).
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired
/// entries found.
///
/// ```
/// use cache_policy::{MemoryBackend, S3Fifo};
///
/// let backend = MemoryBackend::builder(S3Fifo::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct S3Fifo {
    /// The small queue and the main one, the oldest first.
    queues: Lists<2>,
    loads: Loads<2>,
    /// Uses since an entry came, or had its last turn.
    uses: Hits<3>,
    fingerprints: Vec<u32>,
    /// By slot: whether the main queue is its own.
    is_main: Vec<bool>,
    ghosts: Ghosts,
    /// The last to come, not in its queue yet.
    newcomer: Option<Slot>,
}

impl S3Fifo {
    /// An empty one, to build a backend with.
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

    /// Room was made for the newcomer: it joins its queue.
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
