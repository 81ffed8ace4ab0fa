//! Least recently used.
//!
//! The textbook's policy, and exact: a hit notes a tick in its entry's slot, and nothing else. To
//! evict, the lowest tick is sought: since ticks only grow, some of the lowest can be collected
//! beforehand, and those of them that were used since are passed over. A list that is mended lazily
//! by putting what was used to its end, as CLOCK does, would not be LRU: it knows that an entry was
//! used, not when.
//!
//! *When*: what was asked for lately will be asked for again: drifting popularity, sessions, short
//! bursts of interest; when the behaviour must be explained in one sentence. *When not*: scans
//! (each sweeps out everything), loops longer than the cache (not one hit), many keys asked for
//! once: [`S3Fifo`](crate::S3Fifo), [`WTinyLfu`](crate::WTinyLfu).
//!
//! *Cost*: a hit two relaxed loads and, unless its entry was the last to be used, an add and a
//! store; an insert O(1), an eviction O(log n) amortised. One eviction for a quarter of the
//! entries, in large shards for less, reads the ticks of all, some 2 ns each. 12 bytes an entry.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::{by_slot::reach, lowest::Lowest};

/// Evicts the entry whose last use is the longest ago. Exact: hits that do not overlap in time
/// count in their order. An insert is a use; a new entry under a key that is held is none.
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired
/// entries found.
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
    /// The tick of the last use, by slot; of a free one, `Lowest::FREE`.
    used: Vec<AtomicU64>,
    order: Lowest,
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

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        *self.ticks.get_mut() += 1;
        let tick = *self.ticks.get_mut();
        reach(&mut self.used, slot.index(), || AtomicU64::new(Lowest::FREE));
        *self.used[slot.index()].get_mut() = tick;
        self.order.insert(slot, tick, self.used.len());
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}

    fn on_hit(&self, slot: Slot) {
        // The last to be used stays the last: one entry that all threads read at once is not
        // written to.
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
