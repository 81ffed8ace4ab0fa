//! Expiry, around any policy.
//!
//! Entries are kept in timer wheels by their deadline (a radix heap of nanoseconds; see [1], scheme
//! 7). An entry that expires in five minutes is in a list of those that expire within the same 69
//! seconds, later of the same second, and so on: 7 lists until its nanosecond. To find out whether
//! anything has expired, one list is looked at. Entries that are removed earlier are unlinked, and
//! most never move.
//!
//! A renewal does not call the policy, so deadlines are read again whenever a list is due, and a
//! renewed entry goes back to the list of its new deadline. This takes a few such steps for each
//! time to live that it stays cached, however often it is renewed, and nothing is ever scanned. A
//! deadline can only be postponed: one that was moved earlier, or given to an entry that was
//! inserted without one, is not noticed.
//!
//! When a list of many entries is due, they are spread over the next wheel. A sweep does so at
//! once, as it must find every expired entry. When room is needed, at most 64 are moved, and if
//! none of these has expired, the inner policy chooses the victim.
//!
//! *When*: around every policy, if entries have a time to live. *When not*: if none has; the cost
//! is small then, but not zero.
//!
//! *Cost*: nothing for a hit. Inserts and removals are O(1), with at most 7 moves for each time to
//! live. 8 bytes an entry with a deadline, and 6 KiB a shard.
//!
//! [1] G. Varghese, T. Lauck: Hashed and hierarchical timing wheels. SOSP 1987.

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::radix::RadixQueue;

/// Evicts expired entries first, and leaves every other choice to the inner policy.
///
/// Follows renewals, which postpone a deadline; a deadline that was moved earlier is not noticed.
///
/// ```
/// use cache_policy::{Lru, MemoryBackend, Ttl};
///
/// let backend = MemoryBackend::builder(Ttl::new(Lru::new())).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Ttl<P> {
    inner: P,
    /// By deadline in nanoseconds, which may have been postponed since.
    deadlines: RadixQueue,
}

impl<P> Ttl<P> {
    /// Wraps `inner`.
    pub fn new(inner: P) -> Self {
        Self { inner, deadlines: RadixQueue::default() }
    }

    fn queue(&mut self, slot: Slot, expires_at: Option<Moment>) {
        match expires_at {
            Some(at) => self.deadlines.set(slot, at.as_nanos()),
            None => self.deadlines.remove(slot),
        }
    }

    fn expired(&mut self, now: Moment, moves_max: usize, held: &dyn Deadlines) -> Option<Slot> {
        let deadline = |slot| held.expires_at(slot).map(Moment::as_nanos);
        self.deadlines.first_up_to(now.as_nanos(), moves_max, deadline).map(|(_, slot)| slot)
    }
}

impl<P: EvictionPolicy> EvictionPolicy for Ttl<P> {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self::new(self.inner.for_shard(limits))
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        self.queue(slot, cost.expires_at);
        self.inner.on_insert(slot, cost);
    }

    fn on_restore(&mut self, slot: Slot, cost: &EntryInfo) {
        self.queue(slot, cost.expires_at);
        self.inner.on_restore(slot, cost);
    }

    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        self.queue(slot, cost.expires_at);
        self.inner.on_update(slot, cost);
    }

    fn on_hit(&self, slot: Slot) {
        self.inner.on_hit(slot);
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        self.deadlines.remove(slot);
        self.inner.on_remove(slot, why);
    }

    fn victim(
        &mut self,
        now: Moment,
        pressure: EvictionReason,
        held: &dyn Deadlines,
    ) -> Option<Slot> {
        let moves_max = if pressure == EvictionReason::Capacity { MOVES_MAX } else { usize::MAX };
        self.expired(now, moves_max, held).or_else(|| self.inner.victim(now, pressure, held))
    }
}

/// The limit while an insert waits for room.
const MOVES_MAX: usize = 64;
