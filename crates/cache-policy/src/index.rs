//! Slot numbers by hash.
//!
//! Open addressing with linear probing (Knuth, *The Art of Computer Programming*, volume 3, section 6.4, algorithms L
//! and R). A bucket is one word, half hash and half slot number, so that a look-up reads one cache line and compares
//! 32 bits of the hash before it looks at an entry; a general table reads one line for its tags and another for its
//! values. Removal closes the gap at once: there are no tombstones, so churn neither lengthens the look-ups nor grows
//! the table. A bucket's home is its hash scaled to the number of buckets, which need not be a power of two: the table
//! grows by a quarter, in one pass that reads and writes in order, and is never under 60 % full once it has grown.

/// Slot numbers by hash. Several slots may have one hash.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Hash and slot number, or `VACANT`.
    buckets: Vec<u64>,
    n_held: usize,
}

impl Index {
    /// What `held` makes of the first slot under `hash` of which it makes something.
    pub(crate) fn find<T>(&self, hash: u32, held: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mut at = self.home(hash);
        loop {
            let bucket = *self.buckets.get(at)?;
            if bucket == VACANT {
                return None;
            }
            if hash_of(bucket) == hash
                && let Some(found) = held(slot_of(bucket))
            {
                return Some(found);
            }
            at = self.after(at);
        }
    }

    /// Puts `slot` in under `hash`. It is not in.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        if self.n_held >= self.buckets.len() / 4 * 3 {
            self.grow();
        }
        self.put(u64::from(hash) << 32 | u64::from(slot));
        self.n_held += 1;
    }

    /// Takes `slot` out, if it is in under `hash`.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let mut gap = self.home(hash);
        let sought = u64::from(hash) << 32 | u64::from(slot);
        loop {
            match self.buckets.get(gap) {
                None | Some(&VACANT) => return,
                Some(&bucket) if bucket == sought => break,
                Some(_) => gap = self.after(gap),
            }
        }
        self.n_held -= 1;
        // What follows moves up, unless it would stand before its home.
        let mut at = self.after(gap);
        while self.buckets[at] != VACANT {
            let home = self.home(hash_of(self.buckets[at]));
            if self.distance(home, at) >= self.distance(gap, at) {
                self.buckets[gap] = self.buckets[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.buckets[gap] = VACANT;
    }

    fn grow(&mut self) {
        let n_buckets = (self.buckets.len() + self.buckets.len() / 4).max(BUCKETS_MIN);
        let held = std::mem::replace(&mut self.buckets, vec![VACANT; n_buckets]);
        for bucket in held.into_iter().filter(|&bucket| bucket != VACANT) {
            self.put(bucket);
        }
    }

    fn put(&mut self, bucket: u64) {
        let mut at = self.home(hash_of(bucket));
        while self.buckets[at] != VACANT {
            at = self.after(at);
        }
        self.buckets[at] = bucket;
    }

    /// Where the search for `hash` begins.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.buckets.len() { at + 1 } else { 0 }
    }

    /// The steps from one bucket to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }
}

fn hash_of(bucket: u64) -> u32 {
    (bucket >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is the slot")]
fn slot_of(bucket: u64) -> u32 {
    bucket as u32
}

/// No slot has the highest number.
const VACANT: u64 = u64::MAX;
const BUCKETS_MIN: usize = 16;

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
                prop_assert_eq!(index.buckets.iter().filter(|&&bucket| bucket != VACANT).count(), model.len());
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
            let load = index.n_held as f64 / index.buckets.len() as f64;
            assert!(n < 100 || (0.59..=0.75).contains(&load), "{n}: {load}");
        }
        let n_buckets = index.buckets.len();
        for n in 100_000..400_000 {
            index.remove(hash(n - 100_000), n - 100_000);
            index.insert(hash(n), n);
        }
        assert_eq!((index.n_held, index.buckets.len()), (100_000, n_buckets));
    }
}
