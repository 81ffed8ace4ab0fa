//! SIEVE.
//!
//! One queue in the order of arrival, a mark for each entry that was used, and a hand [1]. To
//! evict, the hand goes from the old end to the new: a marked entry loses its mark and *stays where
//! it is*, the first without a mark leaves, and the hand waits there. Behind the hand, at the old
//! end, stands what has been proved; newcomers are sifted one by one at the hand, and those used
//! only once leave soon. (CLOCK moves what it spares to the new end instead, and so mixes the
//! proved with the unproved.)
//!
//! This is the paper's algorithm without change: its hits only set a mark as well. Two things
//! follow from the contract of [`EvictionPolicy`]. A newcomer is inserted before room is made for
//! it, so it joins the queue only when the next one comes (or one is replaced or removed): the hand
//! never finds the entry for which it is looking for room. And the paper counts objects; here as
//! many leave as are needed to make room for the newcomer's bytes.
//!
//! *When*: web pages and objects behind a skewed demand with many keys asked for once; many threads
//! (an entry that is used all the time is only read by its hits); as the simplest policy that is
//! rarely bad. *When not*: block I/O with loops and long scans, for which the authors themselves do
//! not propose it: one use within a turn of the hand is proof enough, and nothing remembers who
//! left. There [`S3Fifo`](crate::S3Fifo) or [`WTinyLfu`](crate::WTinyLfu) do better. Sizes are not
//! weighed: see [`Gdsf`](crate::Gdsf).
//!
//! *Cost*: a hit one load, and one store if the entry was not marked; an insert O(1); an eviction
//! O(1) amortised, since each step of the hand takes away the mark of a hit (so one eviction after
//! hits on every entry goes round once). 9 bytes an entry.
//!
//! [1] Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi: SIEVE is simpler than LRU: an
//! efficient turn-key eviction algorithm for web caches. NSDI 2024.

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::{hits::Hits, list::Lists};

/// Evicts the next entry that was not used since a hand last passed it: SIEVE (NSDI 2024).
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired
/// entries found.
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
    /// Where to look next; none is at the old end.
    hand: Option<Slot>,
    /// The last to come, not in the queue yet.
    newcomer: Option<Slot>,
}

impl Sieve {
    /// An empty one, to build a backend with.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room was made for the newcomer: it joins the queue.
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
