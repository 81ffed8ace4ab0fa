//! SIEVE.
//!
//! One queue in the order of insertion, a mark for each entry that was used, and a hand [1]. To
//! evict, the hand moves from the old end to the new one. A marked entry loses its mark and *stays
//! in its place*; the first entry without a mark is evicted, and the hand waits there. Entries
//! between the old end and the hand have proved useful; new entries are examined one by one at the
//! hand, and those that were used only once leave soon. (CLOCK moves a spared entry to the new end,
//! and so mixes the two.)
//!
//! This is the algorithm of the paper, in which hits also only set a mark. The contract of
//! [`EvictionPolicy`] has two consequences. A new entry is inserted before room is made for it, so
//! it joins the queue only at the next insert, replacement or removal: the hand never finds the
//! entry that needs the room. And where the paper counts objects, as many entries are evicted here
//! as the bytes of the new one need.
//!
//! *When*: web pages and objects with skewed demand and many keys that are read once; many threads
//! (an entry that is read all the time is not written to by its hits); as the simplest policy that
//! is rarely bad. *When not*: block I/O with loops and long scans, for which the authors do not
//! propose it: one use per turn of the hand keeps an entry, and evicted keys are not remembered.
//! There [`S3Fifo`](crate::S3Fifo) or [`WTinyLfu`](crate::WTinyLfu) do better. Sizes are ignored:
//! see [`Gdsf`](crate::Gdsf).
//!
//! *Cost*: a hit takes one load, and one store if the entry was not marked. An insert is O(1), an
//! eviction O(1) amortised: each step of the hand clears the mark of one hit, so an eviction after
//! a hit on every entry visits all of them. 9 bytes an entry.
//!
//! [1] Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi: SIEVE is simpler than LRU: an
//! efficient turn-key eviction algorithm for web caches. NSDI 2024.

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::{hits::Hits, list::Lists};

/// Evicts the next entry that was not used since a hand last passed it: SIEVE (NSDI 2024).
///
/// Never rejects an entry. Ignores deadlines: wrap it in [`Ttl`](crate::Ttl) to evict expired
/// entries first.
///
/// ```
/// use cache_policy::{MemoryBackend, Sieve};
///
/// let backend = MemoryBackend::builder(Sieve::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Sieve {
    /// The oldest first.
    queue: Lists<1>,
    marks: Hits<1>,
    /// Where the next eviction begins; `None` is the old end.
    hand: Option<Slot>,
    /// The last insert, which is not in the queue yet.
    newcomer: Option<Slot>,
}

impl Sieve {
    /// Returns an empty policy to build a backend with.
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues the last insert, for which room has been made.
    fn settle(&mut self) {
        if let Some(slot) = self.newcomer.take() {
            self.queue.push_back(0, slot);
        }
    }
}

impl EvictionPolicy for Sieve {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::new()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        self.settle();
        self.marks.begin(slot);
        self.newcomer = Some(slot);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {
        self.settle();
    }

    fn on_hit(&self, slot: Slot) {
        self.marks.note(slot);
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        if why == RemovalCause::Removed {
            self.settle();
        }
        if self.newcomer == Some(slot) {
            self.newcomer = None;
        }
        if self.hand == Some(slot) {
            self.hand = self.queue.next(slot);
        }
        self.queue.remove(slot);
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
        let Some(mut at) = self.hand.or(self.queue.front(0)) else { return self.newcomer };
        while self.marks.take(at) > 0 {
            at = self.queue.next(at).or(self.queue.front(0))?;
        }
        self.hand = Some(at);
        Some(at)
    }
}
