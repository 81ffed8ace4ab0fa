//! Weights and entries by queue.

use cache_core::{Limits, Slot};

use super::by_slot::reach;

/// The weights of slots, and their sums in `N` queues. 4 bytes a slot: more than 4 GiB count as
/// 4 GiB here, which only makes the queue seem smaller.
#[derive(Debug)]
pub(crate) struct Loads<const N: usize> {
    weight_max: f64,
    entries_max: f64,
    weights: Vec<u32>,
    queues: [Load; N],
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// Below 2^63: at most 2^31 entries of 2^32 bytes. Signed, as the conversion to a float is
    /// cheaper.
    weight: i64,
    entries: i64,
}

impl<const N: usize> Loads<N> {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    pub(crate) fn new(limits: Limits) -> Self {
        let (weight_max, entries_max) = (limits.weight as f64, limits.entries as f64);
        Self { weight_max, entries_max, weights: Vec::new(), queues: [Load::default(); N] }
    }

    /// Sets the weight of `slot`, which is in no queue.
    pub(crate) fn weigh(&mut self, slot: Slot, weight: u64) {
        reach(&mut self.weights, slot.index(), || 0);
        self.weights[slot.index()] = u32::try_from(weight).unwrap_or(u32::MAX);
    }

    pub(crate) fn add(&mut self, queue: usize, slot: Slot) {
        self.queues[queue].weight += i64::from(self.weights[slot.index()]);
        self.queues[queue].entries += 1;
    }

    pub(crate) fn subtract(&mut self, queue: usize, slot: Slot) {
        self.queues[queue].weight -= i64::from(self.weights[slot.index()]);
        self.queues[queue].entries -= 1;
    }

    pub(crate) fn entries(&self) -> usize {
        usize::try_from(self.all().entries).unwrap_or(0)
    }

    /// Returns the share of `queue` in all queues, 0 to 1, in bytes or in entries, whichever limit
    /// is nearer.
    ///
    /// A share of the cached entries, not of the shard's limits: shards use each other's room, and
    /// when an entry must be evicted, the cached entries are the capacity.
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    pub(crate) fn share(&self, queue: usize) -> f64 {
        let (all, part) = (self.all(), self.queues[queue]);
        if self.is_by_weight(&all) {
            part.weight as f64 / all.weight.max(1) as f64
        } else {
            part.entries as f64 / all.entries.max(1) as f64
        }
    }

    /// Returns whether `slot`, in no queue yet, weighs more than `share` of all entries, and more
    /// than the mean entry.
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    pub(crate) fn is_heavier_than_share(&self, slot: Slot, share: f64) -> bool {
        let all = self.all();
        let weight = f64::from(self.weights[slot.index()]);
        let mean = all.weight as f64 / all.entries.max(1) as f64;
        self.is_by_weight(&all) && weight > (all.weight as f64 * share).max(mean)
    }

    fn all(&self) -> Load {
        let mut all = Load::default();
        for queue in &self.queues {
            all.weight += queue.weight;
            all.entries += queue.entries;
        }
        all
    }

    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    fn is_by_weight(&self, all: &Load) -> bool {
        all.weight as f64 * self.entries_max >= all.entries as f64 * self.weight_max
    }
}

impl<const N: usize> Default for Loads<N> {
    fn default() -> Self {
        Self::new(Limits::new(u64::MAX, u64::MAX))
    }
}
