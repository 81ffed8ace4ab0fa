//! The slot with the lowest rank, for ranks that only grow.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use cache_core::Slot;

/// Finds the slot with the lowest rank. The caller stores the ranks by slot, and may increase them
/// without a call: that is all a hit does.
///
/// *All* slots with ranks up to a `limit` are in a heap, each with an earlier rank: about a quarter
/// of a small shard, fewer of a large one, so that the heap stays in the processor's cache. A slot
/// whose rank has grown is corrected at the top of the heap, or dropped if it is above the limit.
/// When the heap is empty, the ranks of all slots are read in sequence, and those up to the next
/// limit form the next heap. A structure with all slots in order would have to move each one that
/// has grown, on cache lines of its own, at some 100 ns; reading a rank in sequence takes 1 ns.
///
/// So an operation is O(log n) amortised. One in very many reads all ranks: half a millisecond in a
/// shard of 100,000 slots. 4 bytes a slot at most.
#[derive(Debug, Default)]
pub(crate) struct Lowest {
    heap: BinaryHeap<Reverse<(u64, Slot)>>,
    /// Every slot in use with at most this rank is in the heap. `None` before the first fill.
    limit: Option<u64>,
}

impl Lowest {
    /// The rank of a slot that is not in use.
    pub(crate) const FREE: u64 = u64::MAX;

    /// Adds `slot`, one of `n_slots`, with `rank`.
    pub(crate) fn insert(&mut self, slot: Slot, rank: u64, n_slots: usize) {
        if self.is_low(rank) {
            if self.heap.len() >= n_slots {
                // Removed slots stay in the heap until they reach the top; without evictions they
                // would accumulate.
                *self = Self::default();
                return;
            }
            self.heap.push(Reverse((rank, slot)));
        }
    }

    /// Returns the lowest rank of the slots below `n_slots`, and its slot; any one of several.
    pub(crate) fn first(
        &mut self,
        n_slots: usize,
        rank: impl Fn(Slot) -> u64,
    ) -> Option<(u64, Slot)> {
        loop {
            let limit = self.limit;
            while let Some(mut top) = self.heap.peek_mut() {
                let Reverse((noted, slot)) = *top;
                let now = rank(slot);
                if now == noted {
                    return Some((now, slot));
                }
                if limit.is_some_and(|limit| now <= limit) {
                    *top = Reverse((now, slot));
                } else {
                    PeekMut::pop(top);
                }
            }
            self.fill(n_slots, &rank);
            if self.heap.is_empty() {
                return None;
            }
        }
    }

    fn fill(&mut self, n_slots: usize, rank: impl Fn(Slot) -> u64) {
        let ranks = || (0..).map(Slot::new).take(n_slots).map(|slot| (rank(slot), slot));
        let in_use = |&(rank, _): &(u64, Slot)| rank != Self::FREE;
        let mut sample: Vec<_> =
            ranks().step_by((n_slots / SAMPLE).max(1)).filter(in_use).collect();
        // If the sample is empty, all.
        let limit = match sample.len() {
            0 => Self::FREE - 1,
            n => sample.select_nth_unstable(n * low_of(n_slots) / n_slots).1.0,
        };
        let mut low = std::mem::take(&mut self.heap).into_vec();
        low.extend(ranks().filter(|&(rank, _)| rank <= limit).map(Reverse));
        self.heap = low.into();
        self.limit = Some(limit);
    }

    fn is_low(&self, rank: u64) -> bool {
        self.limit.is_some_and(|limit| rank <= limit)
    }
}

/// Returns the number of slots that the heap should have.
fn low_of(n_slots: usize) -> usize {
    (n_slots / 4).min(4096 + n_slots / 64)
}

/// The approximate number of ranks that are sampled to find the limit.
const SAMPLE: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// A slot comes into use, with this rank.
        Insert(u64),
        /// One of those in use grows by so much, without a word.
        Grow(usize, u64),
        Remove(usize),
        Ask,
        Evict,
    }

    fn step() -> impl Strategy<Value = Step> {
        let by = || prop_oneof![0u64..4, 0u64..1000, any::<u64>().prop_map(|n| n >> 8)];
        prop_oneof![
            4 => by().prop_map(Step::Insert),
            4 => (any::<usize>(), by()).prop_map(|(choice, by)| Step::Grow(choice, by)),
            1 => any::<usize>().prop_map(Step::Remove),
            1 => Just(Step::Ask),
            3 => Just(Step::Evict),
        ]
    }

    proptest! {
        #[test]
        fn the_first_has_the_lowest_rank_as_of_now(
            begin in prop::collection::vec(0u64..1000, 0..400),
            steps in prop::collection::vec(step(), 0..400),
        ) {
            let (mut lowest, mut ranks) = (Lowest::default(), Vec::<u64>::new());
            for step in begin.into_iter().map(Step::Insert).chain(steps) {
                let in_use: Vec<_> = (0..ranks.len()).filter(|&at| ranks[at] != Lowest::FREE).collect();
                let pick = |choice: usize| in_use.get(choice % in_use.len().max(1)).copied();
                match step {
                    Step::Insert(rank) => {
                        let at = ranks.iter().position(|&rank| rank == Lowest::FREE).unwrap_or_else(|| {
                            ranks.push(0);
                            ranks.len() - 1
                        });
                        ranks[at] = rank;
                        lowest.insert(Slot::new(u32::try_from(at).unwrap()), rank, ranks.len());
                        prop_assert!(lowest.heap.len() <= ranks.len());
                    }
                    Step::Grow(choice, by) => if let Some(at) = pick(choice) {
                        ranks[at] = ranks[at].saturating_add(by).min(Lowest::FREE - 1);
                    },
                    Step::Remove(choice) => if let Some(at) = pick(choice) {
                        ranks[at] = Lowest::FREE;
                    },
                    Step::Ask | Step::Evict => {
                        let first = lowest.first(ranks.len(), |slot| ranks[slot.index()]);
                        let expected = ranks.iter().copied().filter(|&rank| rank != Lowest::FREE).min();
                        prop_assert_eq!(first.map(|(rank, _)| rank), expected);
                        if let Some((rank, slot)) = first {
                            prop_assert_eq!(ranks[slot.index()], rank);
                            if matches!(step, Step::Evict) {
                                ranks[slot.index()] = Lowest::FREE;
                            }
                        }
                    }
                }
            }
        }
    }
}
