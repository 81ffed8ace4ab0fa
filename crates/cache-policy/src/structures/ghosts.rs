//! Keys that were evicted recently.

/// Returns the half of a key's hash that identifies the key when it has no slot.
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
pub(crate) fn fingerprint(hash: u64) -> u32 {
    hash as u32
}

/// A queue of about `capacity` fingerprints that drops the oldest ones. 4 bytes each (up to 7 where
/// the number of sets was rounded up). Allocates only when the capacity passes a power of two.
///
/// It consists of many short queues, *sets* of one cache line each, selected by the low bits of a
/// fingerprint. A set keeps the newest of its own fingerprints, so the queue is exact up to 16, and
/// beyond that a fingerprint may be dropped somewhat early or late (typically by a quarter). Keys
/// with the same fingerprint are treated as one.
#[derive(Debug)]
pub(crate) struct Ghosts {
    /// A power of two of them. In each, the newest first; zero is no fingerprint.
    sets: Vec<[u32; WAYS]>,
    capacity: usize,
    /// The number of fingerprints that a set keeps.
    depth: usize,
}

impl Ghosts {
    /// Returns a queue with the capacity zero.
    pub(crate) fn new() -> Self {
        Self { sets: vec![[0; WAYS]], capacity: 0, depth: 0 }
    }

    /// Sets the capacity. Cheap: call it whenever the number of entries changes. A set drops its
    /// surplus with its next fingerprint.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        if capacity == self.capacity {
            return;
        }
        while self.sets.len() * WAYS < capacity {
            self.split();
        }
        (self.capacity, self.depth) = (capacity, capacity.div_ceil(self.sets.len()));
    }

    /// Adds a fingerprint as the newest.
    pub(crate) fn push(&mut self, fingerprint: u32) {
        self.take(fingerprint);
        let depth = self.depth;
        let set = self.set(fingerprint);
        set.copy_within(..WAYS - 1, 1);
        set[0] = named(fingerprint);
        // Without a branch, as in a look-up, so that the compiler can vectorize it.
        for (at, held) in set.iter_mut().enumerate() {
            *held = if at < depth { *held } else { 0 };
        }
    }

    /// Removes a fingerprint. Returns whether it was there.
    pub(crate) fn take(&mut self, fingerprint: u32) -> bool {
        let set = self.set(fingerprint);
        if !holds(set, fingerprint) {
            return false;
        }
        let Some(at) = set.iter().position(|&held| held == named(fingerprint)) else {
            return false;
        };
        set.copy_within(at + 1.., at);
        set[WAYS - 1] = 0;
        true
    }

    fn set(&mut self, fingerprint: u32) -> &mut [u32; WAYS] {
        let at = self.at(fingerprint);
        &mut self.sets[at]
    }

    fn at(&self, fingerprint: u32) -> usize {
        named(fingerprint) as usize & (self.sets.len() - 1)
    }

    /// Doubles the number of sets. The order within each stays.
    fn split(&mut self) {
        let bit = self.sets.len();
        let mut upper = Vec::with_capacity(bit);
        for set in &mut self.sets {
            let (mut low, mut high) = ([0; WAYS], [0; WAYS]);
            let (mut n_low, mut n_high) = (0, 0);
            for &mut held in set.iter_mut() {
                let (half, n) = if held as usize & bit == 0 {
                    (&mut low, &mut n_low)
                } else {
                    (&mut high, &mut n_high)
                };
                half[*n] = held;
                *n += 1;
            }
            *set = low;
            upper.push(high);
        }
        self.sets.append(&mut upper);
    }
}

fn holds(set: &[u32; WAYS], fingerprint: u32) -> bool {
    set.iter().fold(false, |found, &held| found | (held == named(fingerprint)))
}

/// Zero stands for no fingerprint, so zero is mapped to one.
fn named(fingerprint: u32) -> u32 {
    fingerprint.max(1)
}

const WAYS: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    impl Ghosts {
        fn contains(&self, fingerprint: u32) -> bool {
            holds(&self.sets[self.at(fingerprint)], fingerprint)
        }
    }

    proptest! {
        #[test]
        fn up_to_16_it_is_a_queue(
            capacity in 0usize..=16,
            steps in prop::collection::vec((any::<bool>(), 0u32..40), 0..200),
        ) {
            let mut ghosts = Ghosts::new();
            ghosts.set_capacity(capacity);
            let mut model = VecDeque::new();
            for (is_push, key) in steps {
                let key = key + 1;
                let was_in = model.contains(&key);
                prop_assert_eq!(ghosts.contains(key), was_in);
                model.retain(|held| *held != key);
                if is_push {
                    ghosts.push(key);
                    model.push_front(key);
                    model.truncate(capacity);
                } else {
                    prop_assert_eq!(ghosts.take(key), was_in);
                }
                prop_assert!((1..=40).all(|key| ghosts.contains(key) == model.contains(&key)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Whatever the capacity was on the way: the newest half is all there, and never much more
        /// than the capacity.
        #[test]
        fn what_came_lately_is_in_and_what_came_long_ago_is_not(
            capacities in prop::collection::vec(2000usize..4000, 1..4),
        ) {
            let mut ghosts = Ghosts::new();
            for (round, &capacity) in (0u32..).zip(&capacities) {
                ghosts.set_capacity(capacity);
                let key = |n: usize| mixed(round << 20 | u32::try_from(n).unwrap());
                (0..4 * capacity).for_each(|n| ghosts.push(key(n)));
                let is_in = |from: usize, to: usize| (from..to).filter(|&n| ghosts.contains(key(n))).count();
                let newest_half = is_in(4 * capacity - capacity / 2, 4 * capacity);
                prop_assert!(newest_half > capacity * 9 / 20, "{newest_half} of {capacity}");
                prop_assert!(is_in(0, 2 * capacity) < capacity / 50);
                let all = is_in(0, 4 * capacity);
                prop_assert!((capacity * 9 / 10..capacity * 13 / 10).contains(&all), "{all} of \
                    {capacity}");
            }
        }
    }

    /// What was in before, and lies in the upper half of a set as often as in the lower, is in
    /// after, in its order.
    #[test]
    fn growth_loses_nothing_and_keeps_the_order() {
        let mut ghosts = Ghosts::new();
        ghosts.set_capacity(WAYS);
        let keys: Vec<_> = (1..=16).map(mixed).collect();
        keys.iter().for_each(|&key| ghosts.push(key));
        for capacity in [2 * WAYS, 4 * WAYS, 64 * WAYS] {
            ghosts.set_capacity(capacity);
            assert_eq!(ghosts.sets.len(), capacity / WAYS);
            assert!(keys.iter().all(|&key| ghosts.contains(key)), "{capacity}");
            for set in &ghosts.sets {
                let held: Vec<_> = set.iter().copied().take_while(|&held| held != 0).collect();
                let newest_first: Vec<_> =
                    keys.iter().rev().copied().filter(|key| held.contains(key)).collect();
                assert_eq!(held, newest_first, "{capacity}");
            }
        }
        assert!(keys.iter().all(|&key| ghosts.take(key)));
        assert!(ghosts.sets.iter().flatten().all(|&held| held == 0));
    }

    /// Stands in for a hash.
    fn mixed(n: u32) -> u32 {
        fingerprint(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29)
    }
}
