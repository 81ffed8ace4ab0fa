//! A simulated cache of a sample of the keys, without entries.

use super::{
    note::Weight,
    ranking::{Price, Ranking, Way},
};
use crate::index::Index;
use cache_core::Slot;

/// The keys of a sample that a cache with one way of ranking would have [6], identified by their
/// hashes.
#[derive(Debug)]
pub(super) struct Miniature {
    ranking: Ranking,
    index: Index,
    n_slots: u32,
    /// Unused slots.
    free: Vec<u32>,
    weight_max: u64,
    entries_max: u64,
}

impl Miniature {
    /// Returns an empty miniature without a limit.
    pub(super) fn new(way: Way, price: Price) -> Self {
        Self {
            ranking: Ranking::new(way, price),
            index: Index::default(),
            n_slots: 0,
            free: Vec::new(),
            weight_max: u64::MAX,
            entries_max: u64::MAX,
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.ranking.entries()
    }

    /// Returns the mean weight of an entry.
    pub(super) fn weight_mean(&self) -> f32 {
        self.ranking.weight() as f32 / self.entries().max(1) as f32
    }

    pub(super) fn set_limits(&mut self, price: Price, weight_max: u64, entries_max: u64) {
        self.ranking.set_price(price);
        (self.weight_max, self.entries_max) = (weight_max.max(1), entries_max.max(1));
    }

    /// Uses a key, and adds it if it is absent. Returns whether it was a hit.
    pub(super) fn access(&mut self, hash: u32, weight: Weight) -> bool {
        if let Some(slot) = self.find(hash) {
            self.ranking.hit(slot);
            // The limits may have been reduced.
            self.shrink();
            return true;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.n_slots += 1;
            self.n_slots - 1
        });
        self.index.insert(spread(hash), slot);
        self.ranking.insert(Slot::new(slot), hash, weight);
        self.shrink();
        false
    }

    pub(super) fn remove(&mut self, hash: u32) {
        if let Some(slot) = self.find(hash) {
            self.take(slot, false);
        }
    }

    /// Forgets all keys but those whose hash `is_kept`.
    pub(super) fn retain(&mut self, is_kept: impl Fn(u32) -> bool) {
        for slot in (0..self.n_slots).map(Slot::new) {
            if self.ranking.contains(slot)
                && self.ranking.hash(slot).is_some_and(|hash| !is_kept(hash))
            {
                self.take(slot, false);
            }
        }
    }

    fn shrink(&mut self) {
        while self.ranking.weight() > self.weight_max || self.entries() as u64 > self.entries_max {
            let Some(slot) = self.ranking.victim() else { return };
            self.take(slot, true);
        }
    }

    fn take(&mut self, slot: Slot, was_evicted: bool) {
        if let Some(hash) = self.ranking.hash(slot) {
            self.index.remove(spread(hash), slot.number());
        }
        self.ranking.remove(slot, was_evicted);
        self.free.push(slot.number());
    }

    fn find(&self, hash: u32) -> Option<Slot> {
        self.index.find(spread(hash), |slot| Some(Slot::new(slot)))
    }
}

/// Mixes a hash: sampled hashes begin with the same bits, which select the index's homes.
fn spread(hash: u32) -> u32 {
    hash.wrapping_mul(0x9E37_79B1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that just fitted would seem to fit for ever, as no insert would make room.
    #[test]
    fn a_limit_that_became_less_holds_from_the_next_hit_on() {
        for way in [Way::Recency, Way::Density] {
            let mut miniature = Miniature::new(way, Price::Entry);
            (0..20).for_each(|hash| assert!(!miniature.access(hash, Weight::new(1))));
            assert_eq!(miniature.entries(), 20);
            miniature.set_limits(Price::Entry, u64::MAX, 15);
            assert!(miniature.access(19, Weight::new(1)));
            assert_eq!(miniature.entries(), 15, "{way:?}");
        }
    }
}
