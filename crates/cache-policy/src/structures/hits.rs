//! Use counts that hits increment under a shared lock.

use std::sync::atomic::{AtomicU8, Ordering};

use cache_core::Slot;

use super::by_slot::reach;

/// Counts uses by slot, up to `MAX`: one byte a slot.
///
/// A use takes a load under a shared lock and, below `MAX`, a store. So the count of an entry that
/// is hit all the time is only read, and its cache line stays shared between cores. Two
/// simultaneous uses may count as one.
#[derive(Debug, Default)]
pub(crate) struct Hits<const MAX: u8>(Vec<AtomicU8>);

impl<const MAX: u8> Hits<MAX> {
    /// Starts counting for `slot` at zero.
    pub(crate) fn begin(&mut self, slot: Slot) {
        self.set(slot, 0);
    }

    /// Counts a use. A slot that was never started is ignored.
    pub(crate) fn note(&self, slot: Slot) {
        if let Some(count) = self.0.get(slot.index()) {
            let n = count.load(Ordering::Relaxed);
            if n < MAX {
                count.store(n + 1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn count(&self, slot: Slot) -> u8 {
        self.0.get(slot.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&mut self, slot: Slot, n: u8) {
        reach(&mut self.0, slot.index(), AtomicU8::default);
        *self.0[slot.index()].get_mut() = n;
    }

    /// Returns the count and resets it to zero.
    pub(crate) fn take(&mut self, slot: Slot) -> u8 {
        self.0.get_mut(slot.index()).map_or(0, |count| std::mem::take(count.get_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_up_to_the_limit_and_a_strangers_not_at_all() {
        let (mut hits, slot) = (Hits::<3>::default(), Slot::new(5));
        hits.note(slot);
        hits.begin(slot);
        assert_eq!(hits.count(slot), 0);
        (0..9).for_each(|_| hits.note(slot));
        assert_eq!((hits.take(slot), hits.count(slot), hits.count(Slot::new(4))), (3, 0, 0));
        hits.note(Slot::new(u32::MAX));
        assert_eq!(hits.take(Slot::new(u32::MAX)), 0);
    }
}
