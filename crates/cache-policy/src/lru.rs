//! Least recently used.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{Cost, EvictionPolicy, Held, Limits, Moment, Pressure, Removal, Slot};

use crate::heap::SlotHeap;

/// Evicts the entry whose last use is the longest ago. Exact: hits that do not overlap in time count in their
/// order. An insert is a use; a new entry under a key that is held is none.
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired entries found.
///
/// A hit costs two relaxed atomic operations and moves nothing: the order is corrected when a victim is asked for,
/// in O(log n) for each entry that was hit since, so that a first eviction after a long time of hits alone takes
/// as many steps as there are entries in the shard. Some 28 bytes an entry.
#[derive(Debug, Default)]
pub struct Lru {
    /// Counts uses.
    ticks: AtomicU64,
    /// The tick of the last use, by slot.
    used: Vec<AtomicU64>,
    /// By the tick of a use, which may not be the last any more.
    order: SlotHeap,
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
        let tick = *self.ticks.get_mut();
        *self.ticks.get_mut() += 1;
        if self.used.len() <= slot.index() {
            self.used.resize_with(slot.index() + 1, AtomicU64::default);
        }
        *self.used[slot.index()].get_mut() = tick;
        self.order.set(slot, tick);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &Cost) {}

    fn on_hit(&self, slot: Slot) {
        if let Some(used) = self.used.get(slot.index()) {
            used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn on_remove(&mut self, slot: Slot, _why: Removal) {
        self.order.remove(slot);
    }

    fn victim(&mut self, _now: Moment, pressure: Pressure, _held: &dyn Held) -> Option<Slot> {
        if pressure == Pressure::Expired {
            return None;
        }
        loop {
            let (queued, slot) = self.order.first()?;
            let used = *self.used[slot.index()].get_mut();
            if used == queued {
                return Some(slot);
            }
            self.order.set(slot, used);
        }
    }
}
