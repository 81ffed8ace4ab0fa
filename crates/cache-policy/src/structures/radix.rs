//! Slots in the order of a rank that only grows.

use cache_core::Slot;

use super::list::Lists;

/// Slots by rank, where each rank and the lowest of all only grow. A radix heap [1], in other words
/// a hierarchical timer wheel [2] that may jump: 11 wheels of 64 lists each.
///
/// A slot is in the wheel of the highest digit (of 6 bits) in which its rank differs from `floor`,
/// the lower bound of all ranks. When the lowest list of a higher wheel is due, the floor is raised
/// to it and its slots are spread over the wheels below. So a slot moves down at most once a digit,
/// 10 times, and in practice once for each digit of the difference between its rank and the floor
/// when it is set: 3 times for 100,000 ranks. Every operation is O(1) amortised; one call moves at
/// most all slots, which in a shard of 100,000 takes some milliseconds.
///
/// The caller stores the ranks and may increase them without a call: a slot is moved to its place
/// when it is visited. 8 bytes a slot, and 6 KiB.
///
/// [1] R. Ahuja, K. Mehlhorn, J. Orlin, R. Tarjan: Faster algorithms for the shortest path problem.
/// J. ACM 37, 1990. [2] G. Varghese, T. Lauck: Hashed and hierarchical timing wheels. SOSP 1987.
#[derive(Debug, Default)]
pub(crate) struct RadixQueue {
    lists: Lists<{ WHEELS * SPOKES }>,
    /// For each wheel, the lists that may have a slot.
    filled: [u64; WHEELS],
    /// No slot was set with a lower rank.
    floor: u64,
    /// The list of a higher wheel that is due, until it is empty.
    spreading: Option<usize>,
}

impl RadixQueue {
    /// Adds or moves `slot` to the list of `rank`; to that of the floor, if `rank` is lower.
    pub(crate) fn set(&mut self, slot: Slot, rank: u64) {
        let rank = rank.max(self.floor);
        let wheel = (rank ^ self.floor).checked_ilog2().unwrap_or(0) / BITS;
        let spoke = spoke(rank, wheel);
        self.filled[wheel as usize] |= 1 << spoke;
        self.lists.push_back(wheel as usize * SPOKES + spoke as usize, slot);
    }

    /// Removes `slot`, if it is there.
    pub(crate) fn remove(&mut self, slot: Slot) {
        self.lists.remove(slot);
    }

    /// Returns the slot with the lowest rank, if that is at most `limit`. Slots that have no rank
    /// any more are removed. Stops after moving `moves_max` slots; the next call continues there.
    pub(crate) fn first_up_to(
        &mut self,
        limit: u64,
        moves_max: usize,
        rank: impl Fn(Slot) -> Option<u64>,
    ) -> Option<(u64, Slot)> {
        let mut moves = 0..moves_max;
        loop {
            if let Some(list) = self.spreading {
                while let Some(slot) = self.lists.front(list) {
                    moves.next()?;
                    self.put_back(slot, rank(slot));
                }
                self.spreading = None;
            }
            let wheel = (0..)
                .zip(&self.filled)
                .find_map(|(wheel, &filled)| (filled != 0).then_some(wheel))?;
            let spoke = self.filled[wheel as usize].trailing_zeros();
            let list = wheel as usize * SPOKES + spoke as usize;
            let below = (1_u64 << (wheel * BITS)) - 1;
            let lowest = self.floor & !(below << BITS | DIGIT) | u64::from(spoke) << (wheel * BITS);
            let Some(slot) = self.lists.front(list) else {
                self.filled[wheel as usize] &= !(1 << spoke);
                continue;
            };
            if lowest > limit {
                return None;
            }
            self.floor = lowest;
            if wheel > 0 {
                self.spreading = Some(list);
                continue;
            }
            match rank(slot) {
                Some(rank) if rank <= lowest => return Some((lowest, slot)),
                now => {
                    moves.next()?;
                    self.put_back(slot, now);
                }
            }
        }
    }

    fn put_back(&mut self, slot: Slot, rank: Option<u64>) {
        match rank {
            Some(rank) => self.set(slot, rank),
            None => self.remove(slot),
        }
    }
}

/// Returns the digit of `rank` for `wheel`.
#[expect(clippy::cast_possible_truncation, reason = "it is one digit")]
fn spoke(rank: u64, wheel: u32) -> u32 {
    (rank >> (wheel * BITS)) as u32 & DIGIT as u32
}

const BITS: u32 = 6;
const DIGIT: u64 = (1 << BITS) - 1;
const SPOKES: usize = 1 << BITS;
const WHEELS: usize = u64::BITS.div_ceil(BITS) as usize;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// A slot comes, or its rank grows with a word: by so much above the floor.
        Set(u32, u64),
        /// Its rank grows without a word.
        Grow(u32, u64),
        Remove(u32),
        First(u64),
        /// The same, with so many moves at most.
        Nudge(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let by = || prop_oneof![0u64..100, 0u64..100_000, any::<u64>().prop_map(|n| n >> 1)];
        prop_oneof![
            4 => (0..16u32, by()).prop_map(|(slot, by)| Step::Set(slot, by)),
            2 => (0..16u32, by()).prop_map(|(slot, by)| Step::Grow(slot, by)),
            1 => (0..16u32).prop_map(Step::Remove),
            4 => by().prop_map(Step::First),
            4 => (by(), 0..4usize).prop_map(|(by, moves_max)| Step::Nudge(by, moves_max)),
        ]
    }

    proptest! {
        #[test]
        fn the_first_has_the_lowest_rank_as_of_now(steps in prop::collection::vec(step(), 0..200)) {
            let (mut queue, mut ranks) = (RadixQueue::default(), BTreeMap::<Slot, u64>::new());
            let mut floor = 0_u64;
            for step in steps {
                match step {
                    Step::Set(slot, by) => {
                        let rank = floor.saturating_add(by);
                        let held = ranks.entry(Slot::new(slot)).or_insert(rank);
                        *held = rank.max(*held);
                        queue.set(Slot::new(slot), *held);
                    }
                    Step::Grow(slot, by) => if let Some(rank) = ranks.get_mut(&Slot::new(slot)) {
                        *rank = rank.saturating_add(by);
                    },
                    Step::Remove(slot) => {
                        ranks.remove(&Slot::new(slot));
                        queue.remove(Slot::new(slot));
                    }
                    Step::First(by) | Step::Nudge(by, _) => {
                        let limit = floor.saturating_add(by);
                        let expected = ranks.values().min().copied().filter(|&rank| rank <= limit);
                        let moves_max = if let Step::Nudge(_, n) = step { n } else { usize::MAX };
                        let first = queue.first_up_to(limit, moves_max, |slot| ranks.get(&slot).copied());
                        let gave_up = moves_max < usize::MAX && first.is_none();
                        prop_assert!(gave_up || first.map(|(rank, _)| rank) == expected);
                        if let Some((rank, slot)) = first {
                            prop_assert_eq!(ranks.remove(&slot), Some(rank));
                            queue.remove(slot);
                        }
                        floor = expected.unwrap_or(limit);
                    }
                }
            }
        }

        #[test]
        fn what_has_lost_its_rank_is_taken_out(ranked in prop::collection::vec(any::<bool>(), 0..50)) {
            let mut queue = RadixQueue::default();
            let rank = |slot: Slot| ranked[slot.index()].then_some(slot.index() as u64 * 1000);
            (0..).map(Slot::new).zip(&ranked).for_each(|(slot, _)| queue.set(slot, slot.index() as u64 * 1000));
            let mut found = 0;
            while let Some((_, slot)) = queue.first_up_to(u64::MAX, usize::MAX, rank) {
                prop_assert!(ranked[slot.index()]);
                queue.remove(slot);
                found += 1;
            }
            prop_assert_eq!(found, ranked.iter().filter(|ranked| **ranked).count());
        }
    }
}
