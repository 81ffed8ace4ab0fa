//! First in, first out.
//!
//! The oldest way to choose, and the cheapest: entries leave in the order in which they came, used or not.
//!
//! *When*: to compare with; when entries are used for a while after they came and then never again, whatever their
//! use (logs, ledgers, queues that are read once by each of many); when hits must cost nothing at all.
//! *When not*: whenever some keys are asked for much more often than others. [`Sieve`](crate::Sieve) is as simple,
//! costs one load a hit, and keeps them.
//!
//! *Cost*: a hit nothing; an insert or a departure O(1), no float, no hash. 8 bytes an entry.

use cache_core::{Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot};

use crate::list::Lists;

/// Evicts the entry that has been held the longest, however often it is used. A new entry under a key that is held
/// takes the place of the old.
///
/// Never refuses a newcomer, and knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired entries found.
///
/// ```
/// use cache_policy::{Fifo, MemoryBackend};
///
/// let backend = MemoryBackend::builder(Fifo::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Fifo {
    /// The oldest first.
    queue: Lists<1>,
}

impl Fifo {
    /// An empty one, to build a backend with.
    pub fn new() -> Self {
        Self::default()
    }
}

impl EvictionPolicy for Fifo {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::new()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        self.queue.push_back(0, slot);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}

    fn on_hit(&self, _slot: Slot) {}

    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        self.queue.remove(slot);
    }

    fn victim(&mut self, _now: Moment, pressure: EvictionReason, _held: &dyn Deadlines) -> Option<Slot> {
        match pressure {
            EvictionReason::Expired => None,
            EvictionReason::Capacity => self.queue.front(0),
        }
    }
}
