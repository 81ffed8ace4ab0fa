//! Expiry, around any policy.

use cache_core::{Cost, EvictionPolicy, Held, Limits, Moment, Pressure, Removal, Slot};

use crate::heap::SlotHeap;

/// Finds what has expired, and leaves everything else to the policy inside. When room is needed, an expired entry
/// goes before any other.
///
/// Entries are queued by the deadline they were inserted with. A renewal does not call the policy, so a deadline
/// that comes up is asked for once more, and the entry is queued again if it was renewed: an entry costs one
/// such step for each time to live that it is held, however often it is renewed, and nothing is ever scanned. A
/// deadline can only move away: one that was moved nearer, or given to an entry that was inserted without one, is
/// not seen. Memory is bounded by the highest slot number: some 20 bytes a slot, beside what the policy inside takes.
#[derive(Debug, Default)]
pub struct Ttl<P> {
    inner: P,
    /// By a deadline, which may have moved away since, or have left with its entry.
    deadlines: SlotHeap,
}

impl<P> Ttl<P> {
    /// Expiry around `inner`.
    pub fn new(inner: P) -> Self {
        Self { inner, deadlines: SlotHeap::default() }
    }

    fn queue(&mut self, slot: Slot, expires_at: Option<Moment>) {
        match expires_at {
            Some(at) => self.deadlines.set(slot, at.as_nanos()),
            None => self.deadlines.remove(slot),
        }
    }

    fn expired(&mut self, now: Moment, held: &dyn Held) -> Option<Slot> {
        loop {
            let (queued, slot) = self.deadlines.first()?;
            if queued > now.as_nanos() {
                return None;
            }
            match held.expires_at(slot) {
                Some(at) if at <= now => return Some(slot),
                renewed => self.queue(slot, renewed),
            }
        }
    }
}

impl<P: EvictionPolicy> EvictionPolicy for Ttl<P> {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self::new(self.inner.for_shard(limits))
    }

    fn on_insert(&mut self, slot: Slot, cost: &Cost) {
        self.queue(slot, cost.expires_at);
        self.inner.on_insert(slot, cost);
    }

    fn on_update(&mut self, slot: Slot, cost: &Cost) {
        self.queue(slot, cost.expires_at);
        self.inner.on_update(slot, cost);
    }

    fn on_hit(&self, slot: Slot) {
        self.inner.on_hit(slot);
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) {
        // Its deadline stays queued: the slot's next tenant puts its own in its place, and if the deadline comes up
        // before, `held` knows of none.
        self.inner.on_remove(slot, why);
    }

    fn victim(&mut self, now: Moment, pressure: Pressure, held: &dyn Held) -> Option<Slot> {
        self.expired(now, held).or_else(|| self.inner.victim(now, pressure, held))
    }
}
