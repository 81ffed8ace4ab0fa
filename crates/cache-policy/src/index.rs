//! Slot numbers by hash.
//!
//! Open addressing with linear probing, in order [1, 2]: a bucket's home is its hash scaled to the
//! number of homes, so homes ascend as hashes do, and the buckets are kept in the order of their
//! hashes all along the table, with vacant ones between. A search goes on while what it reads is
//! lower than what it seeks, one comparison a bucket, and an absent key is known to be absent as
//! soon as a present one would be found. A bucket is one word, half hash and half
//! slot number, so that a look-up reads one cache line and compares 32 bits of the hash before it
//! looks at an entry; a general table reads one line for its tags and another for its values.
//! Removal closes the gap at once: there are no tombstones, so churn neither lengthens the look-ups
//! nor grows the table. The homes need not be a power of two: the table grows by a quarter, in one
//! pass that reads and writes in order, and is never under 60 % full once it has grown. The search
//! does not wrap: what the last homes have no room for stands in a few buckets behind them.
//!
//! [1] O. Amble, D. Knuth: Ordered hash tables. The Computer Journal 17(2), 1974.
//! [2] D. Knuth: The Art of Computer Programming, volume 3, section 6.4, algorithms L and R.

use std::mem;

/// Slot numbers by hash. Several slots may have one hash.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Hash and slot number, or `VACANT`. Buckets in use ascend; each is at its home or behind it,
    /// with no vacant bucket in between.
    buckets: Vec<u64>,
    n_homes: usize,
    n_held: usize,
}

impl Index {
    /// Returns the first result of `held` for a slot with this hash.
    #[inline(always)]
    pub(crate) fn find<T>(&self, hash: u32, held: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mut at = self.position(bucket(hash, 0));
        loop {
            let bucket = *self.buckets.get(at)?;
            if !is_under(bucket, hash) {
                return None;
            }
            if let Some(found) = held(slot_of(bucket)) {
                return Some(found);
            }
            at += 1;
        }
    }

    /// Adds `slot`, which is not in the index, with `hash`.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        if self.n_held >= self.n_homes / 4 * 3 {
            self.grow();
        }
        let mut at = self.position(bucket(hash, slot));
        // Greater buckets move on, up to the next vacant one.
        let mut moved = bucket(hash, slot);
        while moved != VACANT {
            match self.buckets.get_mut(at) {
                Some(place) => moved = mem::replace(place, moved),
                None => push(&mut self.buckets, mem::replace(&mut moved, VACANT)),
            }
            at += 1;
        }
        self.n_held += 1;
    }

    /// Removes `slot`, if it is there with `hash`.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let at = self.position(bucket(hash, slot));
        if self.buckets.get(at) != Some(&bucket(hash, slot)) {
            return;
        }
        // The following buckets move up, as far as the first that is at home.
        let mut gap = at;
        while let Some(&next) = self.buckets.get(gap + 1)
            && next != VACANT
            && self.home(hash_of(next)) <= gap
        {
            self.buckets[gap] = next;
            gap += 1;
        }
        self.buckets[gap] = VACANT;
        self.n_held -= 1;
    }

    /// Returns the position of `sought` or, if it is absent, where it belongs.
    #[inline]
    fn position(&self, sought: u64) -> usize {
        let mut at = self.home(hash_of(sought));
        // The number of steps is random and cannot be predicted by the processor: take four at a
        // time.
        while let Some(next) = self.buckets.get(at..at + STRIDE) {
            let n_lower = next.iter().filter(|&&bucket| bucket < sought).count();
            at += n_lower;
            if n_lower < STRIDE {
                return at;
            }
        }
        at + self.buckets[at..].iter().take_while(|&&bucket| bucket < sought).count()
    }

    #[cold]
    fn grow(&mut self) {
        self.n_homes = (self.n_homes + self.n_homes / 4).max(HOMES_MIN);
        let mut grown = Vec::with_capacity(self.n_homes + BEHIND);
        for &bucket in self.buckets.iter().filter(|&&bucket| bucket != VACANT) {
            // In this order each bucket is the last of its cluster.
            grown.resize(self.home(hash_of(bucket)).max(grown.len()), VACANT);
            push(&mut grown, bucket);
        }
        grown.resize((self.n_homes + BEHIND).max(grown.len()), VACANT);
        self.buckets = grown;
    }

    /// Where the search for `hash` begins.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.n_homes as u64) >> 32) as usize
    }
}

/// Pushes without doubling the capacity: usually nothing else follows.
fn push(buckets: &mut Vec<u64>, bucket: u64) {
    buckets.reserve_exact(1);
    buckets.push(bucket);
}

fn bucket(hash: u32, slot: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(slot)
}

fn hash_of(bucket: u64) -> u32 {
    (bucket >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is the slot")]
fn slot_of(bucket: u64) -> u32 {
    bucket as u32
}

/// Returns whether the bucket is in use and has this hash.
fn is_under(held: u64, hash: u32) -> bool {
    held ^ bucket(hash, 0) < u64::from(u32::MAX)
}

/// Greater than any bucket in use: no slot has the highest number.
const VACANT: u64 = u64::MAX;
const STRIDE: usize = 4;
const HOMES_MIN: usize = 16;
/// The initial number of buckets behind the last home.
const BEHIND: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that are often equal, and close to the end of the table, where the search wraps.
    fn hashes() -> impl Strategy<Value = u32> {
        prop_oneof![0..4u32, (u32::MAX - 4)..=u32::MAX, (0..8u32).prop_map(|n| n << 29)]
    }

    proptest! {
        #[test]
        fn finds_what_is_in_and_nothing_else(
            steps in prop::collection::vec((hashes(), 0..40u32, any::<bool>()), 0..400),
        ) {
            let mut index = Index::default();
            let mut model = BTreeSet::new();
            for (hash, slot, is_insert) in steps {
                if !is_insert {
                    index.remove(hash, slot);
                    model.remove(&(hash, slot));
                } else if model.insert((hash, slot)) {
                    index.insert(hash, slot);
                }
                prop_assert_eq!(index.n_held, model.len());
                let in_order = index.buckets.iter().filter(|&&bucket| bucket != VACANT);
                let expected = model.iter().map(|&(hash, slot)| bucket(hash, slot));
                prop_assert!(in_order.copied().eq(expected));
                for &(hash, slot) in &model {
                    prop_assert_eq!(index.find(hash, |held| (held == slot).then_some(held)), Some(slot));
                }
                prop_assert_eq!(index.find(hash, |_| None::<u32>), None);
                let slots = std::cell::RefCell::new(Vec::new());
                index.find(hash, |held| { slots.borrow_mut().push(held); None::<u32> });
                slots.borrow_mut().sort_unstable();
                let expected: Vec<_> = model.iter().filter(|held| held.0 == hash).map(|held| held.1).collect();
                prop_assert_eq!(slots.into_inner(), expected);
            }
        }
    }

    #[test]
    fn churn_does_not_grow_the_table_and_growth_is_by_a_quarter() {
        let mut index = Index::default();
        let hash = |n: u32| n.wrapping_mul(0x9E37_79B1);
        for n in 0..100_000 {
            index.insert(hash(n), n);
            let load = index.n_held as f64 / index.n_homes as f64;
            assert!(n < 100 || (0.59..=0.75).contains(&load), "{n}: {load}");
            assert!(
                index.buckets.capacity() <= index.n_homes + 100,
                "{n}: {}",
                index.buckets.capacity()
            );
        }
        let n_buckets = index.buckets.len();
        for n in 100_000..400_000 {
            index.remove(hash(n - 100_000), n - 100_000);
            index.insert(hash(n), n);
        }
        assert_eq!((index.n_held, index.buckets.len()), (100_000, n_buckets));
    }
}
