//! Least frequently used.
//!
//! Each entry counts its uses since it came; the one with the fewest leaves. This is the textbook's policy, which keeps
//! the counts of what is held only and never ages them. A hit only counts. The entries stand in lists by their count when
//! they were last looked at; to evict, the front of the lowest list is looked at, and moves to the list of its count if it
//! was used since. (The classic O(1) scheme [1] moves an entry at each hit, and needs a lock for it.)
//!
//! Counts up to 15 have a list each; above, eight lists share each doubling, so that 1,000 and 1,100 uses are the same,
//! and 1,000 and 1,200 are not. Within a list who came to it first leaves first: among entries never used, the oldest. A
//! newcomer, whose count is the lowest there is, is spared while room is made for it.
//!
//! *When*: a popularity that does not change, for as long as the process lives; to compare with.
//! *When not*: any other. What was popular once stays for ever, and newcomers throw each other out in the place that is
//! left: [`WTinyLfu`](crate::WTinyLfu) counts what is not held too, and forgets;
//! [`Gdsf::saving_bytes`](crate::Gdsf::saving_bytes) is this policy with ageing (LFU-DA).
//!
//! *Cost*: a hit one load and one store; inserts O(1), evictions O(1) amortised (each move takes at least one hit).
//! 12 bytes an entry.
//!
//! [1] K. Shah, A. Mitra, D. Matani: An O(1) algorithm for implementing the LFU cache eviction scheme. 2010.

use std::sync::atomic::{AtomicU32, Ordering};

use cache_core::{Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot};

use crate::{by_slot::reach, list::Lists};

/// Evicts the entry that was used the fewest times since it came; counts above 15 are compared to an eighth.
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired entries found.
///
/// ```
/// use cache_policy::{Lfu, MemoryBackend};
///
/// let backend = MemoryBackend::builder(Lfu::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Lfu {
    /// By the level of a count, which may have grown since.
    lists: Lists<LEVELS>,
    /// Which lists may hold a slot.
    filled: [u64; LEVELS.div_ceil(64)],
    uses: Vec<AtomicU32>,
    /// The last to come, not in a list yet.
    newcomer: Option<Slot>,
}

impl Lfu {
    /// An empty one, to build a backend with.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room was made for the newcomer: it competes.
    fn settle(&mut self) {
        if let Some(slot) = self.newcomer.take() {
            self.push(slot, 0);
        }
    }

    fn push(&mut self, slot: Slot, level: usize) {
        self.lists.push_back(level, slot);
        self.filled[level / 64] |= 1 << (level % 64);
    }

    /// The lowest list that holds a slot, and its first.
    fn lowest(&mut self) -> Option<(usize, Slot)> {
        loop {
            let (word, bits) = (0..).zip(&mut self.filled).find(|(_, bits)| **bits != 0)?;
            let level = word * 64 + bits.trailing_zeros() as usize;
            if let Some(slot) = self.lists.front(level) {
                return Some((level, slot));
            }
            *bits &= *bits - 1;
        }
    }
}

impl EvictionPolicy for Lfu {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::new()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        self.settle();
        reach(&mut self.uses, slot.index(), AtomicU32::default);
        *self.uses[slot.index()].get_mut() = 0;
        self.newcomer = Some(slot);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {
        self.settle();
    }

    fn on_hit(&self, slot: Slot) {
        if let Some(uses) = self.uses.get(slot.index()) {
            uses.store(uses.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        if why == RemovalCause::Removed {
            self.settle();
        }
        if self.newcomer == Some(slot) {
            self.newcomer = None;
        }
        self.lists.remove(slot);
    }

    fn victim(&mut self, _now: Moment, pressure: EvictionReason, _held: &dyn Deadlines) -> Option<Slot> {
        if pressure == EvictionReason::Expired {
            return None;
        }
        while let Some((stands, slot)) = self.lowest() {
            let level = level(*self.uses[slot.index()].get_mut());
            if level == stands {
                return Some(slot);
            }
            self.push(slot, level);
        }
        self.newcomer
    }
}

/// The list for a count: its own up to 15, then eight for each doubling.
fn level(uses: u32) -> usize {
    let Some(doublings) = uses.checked_ilog2().and_then(|log| log.checked_sub(4)) else {
        return uses as usize;
    };
    let eighth = (uses >> (doublings + 1)) as usize % 8;
    16 + doublings as usize * 8 + eighth
}

const LEVELS: usize = 16 + 28 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_counts_without_a_gap() {
        assert!((0..16).all(|uses| level(uses) == uses as usize));
        assert!((0..100_000).all(|uses| (0..=1).contains(&(level(uses + 1) - level(uses)))));
        assert!((16..100_000).all(|uses| level(uses + uses / 7 + 1) > level(uses)));
        assert_eq!(level(u32::MAX), LEVELS - 1);
    }
}
