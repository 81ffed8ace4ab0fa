//! A policy whose calls are noted.

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::conformance::bounds::Calls;

/// A policy under test. All calls are noted but hits: many of them come at once, and noting them
/// would have them come one after the other. The rules note their own.
pub(super) struct Noted<P> {
    policy: P,
    calls: Calls,
}

impl<P: EvictionPolicy> Noted<P> {
    /// The policy of one shard.
    pub(super) fn of(pattern: &P, limits: &Limits, calls: &Calls) -> Self {
        let policy = calls.noted("`for_shard`", || pattern.for_shard(limits));
        Self { policy, calls: calls.clone() }
    }
}

impl<P: EvictionPolicy> EvictionPolicy for Noted<P> {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self::of(&self.policy, limits, &self.calls)
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        self.calls.noted("`on_insert`", || self.policy.on_insert(slot, cost));
    }

    fn on_restore(&mut self, slot: Slot, cost: &EntryInfo) {
        self.calls.noted("`on_restore`", || self.policy.on_restore(slot, cost));
    }

    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        self.calls.noted("`on_update`", || self.policy.on_update(slot, cost));
    }

    fn on_hit(&self, slot: Slot) {
        self.policy.on_hit(slot);
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        self.calls.noted("`on_remove`", || self.policy.on_remove(slot, why));
    }

    fn victim(
        &mut self,
        now: Moment,
        pressure: EvictionReason,
        held: &dyn Deadlines,
    ) -> Option<Slot> {
        let name = match pressure {
            EvictionReason::Capacity => "`victim` under `EvictionReason::Capacity`",
            _ => "`victim` under `EvictionReason::Expired`",
        };
        self.calls.noted(name, || self.policy.victim(now, pressure, held))
    }
}
