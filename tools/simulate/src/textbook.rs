//! Policies that exist only for comparison: FIFO, and LFU as the textbooks have it.
//!
//! LFU keeps the counts of cached entries only and never ages them. Ties are broken by age: among
//! entries with equal counts, the one that reached that count's queue first is evicted. A new entry
//! is spared while room is made for it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::atomic::{AtomicU32, Ordering},
};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

/// Evicts entries in the order of their insertion.
#[derive(Debug, Default)]
pub(crate) struct Fifo(VecDeque<Slot>);

impl EvictionPolicy for Fifo {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::default()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        self.0.push_back(slot);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}

    fn on_hit(&self, _slot: Slot) {}

    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        // A victim is at the front.
        let at = self.0.iter().position(|queued| *queued == slot);
        self.0.remove(at.expect("a slot in use is queued"));
    }

    fn victim(&mut self, _: Moment, pressure: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        self.0.front().copied().filter(|_| pressure == EvictionReason::Capacity)
    }
}

/// Evicts the entry with the fewest uses since it was inserted.
#[derive(Debug, Default)]
pub(crate) struct Lfu {
    queue: BTreeSet<Ranked>,
    /// By slot: the uses, and the place in the queue, which is that of an earlier count.
    slots: Vec<(AtomicU32, Ranked)>,
    n_queued: u64,
    newcomer: Option<Slot>,
}

/// Uses, the order of queueing, and the slot.
type Ranked = (u32, u64, u32);

impl Lfu {
    /// Queues the slot by its current count.
    fn push(&mut self, slot: Slot) {
        self.n_queued += 1;
        let (uses, ranked) = &mut self.slots[slot.index()];
        *ranked = (*uses.get_mut(), self.n_queued, slot.number());
        self.queue.insert(*ranked);
    }
}

impl EvictionPolicy for Lfu {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::default()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        if let Some(earlier) = self.newcomer.replace(slot) {
            self.push(earlier);
        }
        if self.slots.len() <= slot.index() {
            self.slots.resize_with(slot.index() + 1, Default::default);
        }
        *self.slots[slot.index()].0.get_mut() = 0;
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}

    fn on_hit(&self, slot: Slot) {
        self.slots[slot.index()].0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        if self.newcomer == Some(slot) {
            self.newcomer = None;
        }
        self.queue.remove(&self.slots[slot.index()].1);
    }

    fn victim(&mut self, _: Moment, pressure: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
        if pressure == EvictionReason::Expired {
            return None;
        }
        while let Some(&ranked) = self.queue.first() {
            let slot = Slot::new(ranked.2);
            if *self.slots[slot.index()].0.get_mut() == ranked.0 {
                return Some(slot);
            }
            self.queue.remove(&ranked);
            self.push(slot);
        }
        self.newcomer
    }
}
