//! Slots in the order of a rank.

use cache_core::Slot;

/// Slots by rank, the lowest at hand: a 4-ary heap that knows where each slot stands in it, so that a slot moves
/// or leaves at once. Nothing stale is ever queued: memory is bounded by the highest slot number.
///
/// Every operation is O(log n) but [`SlotHeap::first`]. Memory grows by doubling, never per slot.
#[derive(Debug, Default)]
pub(crate) struct SlotHeap {
    heap: Vec<(u64, Slot)>,
    /// Where each slot stands in `heap`, or `ABSENT`.
    places: Vec<u32>,
}

impl SlotHeap {
    /// The slot with the lowest rank, and its rank. Among equals, any.
    pub(crate) fn first(&self) -> Option<(u64, Slot)> {
        self.heap.first().copied()
    }

    /// Puts `slot` in with `rank`, or moves it there if it is in.
    pub(crate) fn set(&mut self, slot: Slot, rank: u64) {
        if self.places.len() <= slot.index() {
            self.places.resize(slot.index() + 1, ABSENT);
        }
        let at = match self.places[slot.index()] {
            ABSENT => {
                self.heap.push((rank, slot));
                self.heap.len() - 1
            }
            at => {
                self.heap[at as usize].0 = rank;
                at as usize
            }
        };
        self.settle(at);
    }

    /// Takes `slot` out, if it is in.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let Some(place) = self.places.get_mut(slot.index()) else { return };
        let at = std::mem::replace(place, ABSENT);
        if at != ABSENT {
            self.heap.swap_remove(at as usize);
            self.settle(at as usize);
        }
    }

    /// Moves what stands at `at` to where its rank belongs. Nothing may stand there: the last one has left.
    fn settle(&mut self, mut at: usize) {
        let Some(&item) = self.heap.get(at) else { return };
        while at > 0 && item.0 < self.heap[(at - 1) / ARITY].0 {
            self.put((at - 1) / ARITY, at);
            at = (at - 1) / ARITY;
        }
        while let Some(child) = self.lowest_child(at)
            && self.heap[child].0 < item.0
        {
            self.put(child, at);
            at = child;
        }
        self.heap[at] = item;
        self.note(at);
    }

    fn lowest_child(&self, at: usize) -> Option<usize> {
        let from = at * ARITY + 1;
        let to = self.heap.len().min(from + ARITY);
        (from..to).min_by_key(|&child| self.heap[child].0)
    }

    fn put(&mut self, from: usize, to: usize) {
        self.heap[to] = self.heap[from];
        self.note(to);
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are at most as many items as slot numbers")]
    fn note(&mut self, at: usize) {
        self.places[self.heap[at].1.index()] = at as u32;
    }
}

/// Four items of 16 bytes are one cache line.
const ARITY: usize = 4;
const ABSENT: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_lowest_rank_is_first_after_any_moves(
            moves in prop::collection::vec((0u32..24, prop::option::of(0u64..40)), 0..200),
        ) {
            let mut heap = SlotHeap::default();
            let mut model = BTreeMap::new();
            for (slot, rank) in moves {
                match rank {
                    Some(rank) => {
                        heap.set(Slot::new(slot), rank);
                        model.insert(slot, rank);
                    }
                    None => {
                        heap.remove(Slot::new(slot));
                        model.remove(&slot);
                    }
                }
                prop_assert_eq!(heap.heap.len(), model.len());
                prop_assert_eq!(heap.first().map(|(rank, _)| rank), model.values().min().copied());
                for (&slot, &rank) in &model {
                    prop_assert_eq!(heap.heap[heap.places[slot as usize] as usize], (rank, Slot::new(slot)));
                }
            }
        }
    }
}
