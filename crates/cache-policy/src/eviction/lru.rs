//! Least recently used, exact.
//!
//! A hit stores a tick in its entry's slot and does nothing else. An eviction looks for the lowest
//! tick: since ticks only grow, a number of the lowest can be collected in advance, and those that
//! were used since are skipped. A list that is reordered lazily, as in CLOCK, would not be LRU: it
//! knows that an entry was used, but not when.
//!
//! *When*: recently read objects are read again: drifting popularity, sessions, short bursts; or
//! the behaviour must be explained in one sentence. *When not*: scans, each of which flushes the
//! cache; loops larger than the cache, which get no hits; many keys that are read once. For those
//! see [`S3Fifo`](crate::S3Fifo) and [`WTinyLfu`](crate::WTinyLfu).
//!
//! *Cost*: a hit takes two relaxed loads, and an add and a store unless its entry was the last one
//! used. An insert is O(1), an eviction O(log n) amortised: one eviction for every quarter of the
//! entries (fewer in large shards) reads all ticks, some 2 ns each. 12 bytes an entry.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::{by_slot::reach, lowest::Lowest};

/// Evicts the least recently used entry.
///
/// Exact: hits that do not overlap in time count in their order. An insert is a use; replacing the
/// entry of a cached key is not. Never rejects an entry. Ignores deadlines: wrap it in
/// [`Ttl`](crate::Ttl) to evict expired entries first.
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
    /// The tick of the last use, by slot; `Lowest::FREE` for a free slot.
    used: Vec<AtomicU64>,
    order: Lowest,
}

impl Lru {
    /// Returns an empty policy to build a backend with.
    pub fn new() -> Self {
        Self::default()
    }
}

impl EvictionPolicy for Lru {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::new()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        *self.ticks.get_mut() += 1;
        let tick = *self.ticks.get_mut();
        reach(&mut self.used, slot.index(), || AtomicU64::new(Lowest::FREE));
        *self.used[slot.index()].get_mut() = tick;
        self.order.insert(slot, tick, self.used.len());
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}

    fn on_hit(&self, slot: Slot) {
        // The entry that was used last stays the last: an entry that all threads read at once is
        // not written to.
        if let Some(used) = self.used.get(slot.index())
            && let last = used.load(Ordering::Relaxed)
            && last != self.ticks.load(Ordering::Relaxed)
            && last != Lowest::FREE
        {
            used.store(self.ticks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        if let Some(used) = self.used.get_mut(slot.index()) {
            *used.get_mut() = Lowest::FREE;
        }
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
        let used = &self.used;
        let tick = |slot: Slot| used[slot.index()].load(Ordering::Relaxed);
        self.order.first(used.len(), tick).map(|(_, slot)| slot)
    }
}
