//! Least recently used.
//!
//! The textbook's policy, and exact: a hit notes a tick in its entry's slot, and nothing else; the entries stand in a
//! queue by the tick that they had when they were last looked at. To evict, the queue's first is looked at: if it was used
//! since, it goes back to where its tick belongs. Ticks only grow, so the queue can be a radix heap, and hits on one
//! entry between two looks cost one move together. A list that is mended lazily by putting what was used to its end, as
//! CLOCK does, would be cheaper by a half and would not be LRU: it knows that an entry was used, not when.
//!
//! *When*: what was asked for lately will be asked for again: drifting popularity, sessions, short bursts of interest;
//! when the behaviour must be explained in one sentence.
//! *When not*: scans (each sweeps out everything), loops longer than the cache (not one hit), many keys asked for once:
//! [`S3Fifo`](crate::S3Fifo), [`WTinyLfu`](crate::WTinyLfu).
//!
//! *Cost*: a hit two relaxed loads and, unless its entry was the last to be used, an add and a store; inserts and
//! evictions O(1) amortised. An eviction that comes upon a new stretch of ticks spreads the entries in it, some 50 ns each:
//! at worst all of the shard, once in 260,000 uses. 16 bytes an entry, and 6 KiB a shard.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{Cost, EvictionPolicy, Held, Limits, Moment, Pressure, Removal, Slot};

use crate::radix::RadixQueue;

/// Evicts the entry whose last use is the longest ago. Exact: hits that do not overlap in time count in their
/// order. An insert is a use; a new entry under a key that is held is none.
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired entries found.
///
/// ```
/// use cache_policy::{Lru, MemoryBackend};
///
/// let backend = MemoryBackend::builder(Lru::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Lru {
    /// The tick of the last use.
    ticks: AtomicU64,
    /// The tick of the last use, by slot.
    used: Vec<AtomicU64>,
    /// By the tick of a use, which may not be the last any more.
    order: RadixQueue,
}

impl Lru {
    /// An empty one, to build a backend with.
    pub fn new() -> Self {
        Self::default()
    }
}

impl EvictionPolicy for Lru {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::new()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &Cost) {
        *self.ticks.get_mut() += 1;
        let tick = *self.ticks.get_mut();
        if self.used.len() <= slot.index() {
            self.used.resize_with(slot.index() + 1, AtomicU64::default);
        }
        *self.used[slot.index()].get_mut() = tick;
        self.order.set(slot, tick);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &Cost) {}

    fn on_hit(&self, slot: Slot) {
        // The last to be used stays the last: one entry that all threads read at once is not written to.
        if let Some(used) = self.used.get(slot.index())
            && used.load(Ordering::Relaxed) != self.ticks.load(Ordering::Relaxed)
        {
            used.store(self.ticks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    fn on_remove(&mut self, slot: Slot, _why: Removal) {
        self.order.remove(slot);
    }

    fn victim(&mut self, _now: Moment, pressure: Pressure, _held: &dyn Held) -> Option<Slot> {
        if pressure == Pressure::Expired {
            return None;
        }
        let used = &self.used;
        self.order.first(|slot| used[slot.index()].load(Ordering::Relaxed)).map(|(_, slot)| slot)
    }
}
