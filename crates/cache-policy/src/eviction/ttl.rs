//! Expiry, around any policy.
//!
//! Entries stand in timer wheels by their deadline (a radix heap of nanoseconds: see [1], scheme
//! 7): one that expires in five minutes stands in a list of those within the same 69 seconds, then
//! of the same second, and so on, 7 lists until its nanosecond has come. Looking whether anything
//! has expired looks at one list; what leaves earlier is unlinked, and most never move.
//!
//! A renewal does not call the policy, so deadlines are asked for anew whenever a list comes up,
//! and a renewed entry goes back to where it belongs: it costs a few such steps for each time to
//! live that it is held, however often it is renewed, and nothing is ever scanned. A deadline can
//! only move away: one that was moved nearer, or given to an entry that was inserted without one,
//! is not seen.
//!
//! When a list of many entries comes up, they have to be spread over the next wheel. A sweep does
//! that at once, since it is to find all that has expired; when room is needed, at most 64 are, and
//! if no expired one was found among them, the policy inside names who leaves, as if there were
//! none.
//!
//! *When*: around every policy, if entries have a time to live at all. *When not*: if none has; it
//! costs little then, but not nothing.
//!
//! *Cost*: a hit nothing more; inserts and removals O(1), and 7 moves at most for each time to
//! live. 8 bytes an entry that has a deadline, and 6 KiB a shard.
//!
//! [1] G. Varghese, T. Lauck: Hashed and hierarchical timing wheels. SOSP 1987.

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::radix::RadixQueue;

/// Finds what has expired, and leaves everything else to the policy inside. When room is needed, an
/// expired entry goes before any other.
///
/// Follows renewals, which move a deadline away; a deadline that was moved nearer is not seen.
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
    /// By a deadline in nanoseconds, which may have moved away since.
    deadlines: RadixQueue,
}

impl<P> Ttl<P> {
    /// Expiry around `inner`.
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

/// While somebody waits for room.
const MOVES_MAX: usize = 64;
