//! A policy led through generated steps.

use cache_core::{EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot};

use super::{Slots, Suite};
use crate::{conformance::bounds::Calls, random::Random};

/// How a walk is to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Of 4 hits, how many arrive.
    pub(super) hits: u64,
    /// Whether entries have deadlines.
    pub(super) deadlines: bool,
    /// Whether keys get new entries.
    pub(super) updates: bool,
}

impl Way {
    pub(super) const ALL: Self = Self { hits: 4, deadlines: true, updates: true };
}

/// A shard that a policy ranks.
pub(super) struct Walk {
    pub(super) policy: Box<dyn EvictionPolicy>,
    pub(super) slots: Slots,
    pub(super) now: u64,
    random: Random,
    way: Way,
    n_steps: u64,
    calls: Calls,
}

/// Whom a policy named.
pub(super) struct Named {
    pub(super) pressure: EvictionReason,
    pub(super) victim: Option<Slot>,
}

impl Walk {
    pub(super) fn new(suite: &Suite, seed: u64, way: Way) -> Self {
        let random = Random::new(seed);
        let limit = || match random.below(4) {
            0 => u64::MAX,
            _ => 1 + random.below(100),
        };
        let policy = suite.for_shard(&Limits::new(limit(), limit()));
        Self {
            policy,
            slots: Slots::default(),
            now: 0,
            random,
            way,
            n_steps: 0,
            calls: suite.calls.clone(),
        }
    }

    /// One step; if it asked for a victim, whom it was given. He is still held.
    pub(super) fn step(&mut self) -> Option<Named> {
        self.n_steps += 1;
        match self.random.below(32) {
            0..9 => {
                let cost = self.cost();
                self.slots.insert_at(&mut *self.policy, &cost);
            }
            9..11 => {
                if let Some(slot) = self.pick().filter(|_| self.way.updates) {
                    let cost = self.cost();
                    self.slots.update_at(&mut *self.policy, slot, &cost);
                }
            }
            11..13 => {
                let later = Moment::from_nanos(self.now + self.random.below(200));
                if let Some(slot) = self.pick() {
                    self.slots.renew(slot, later);
                }
            }
            13..20 => {
                if let Some(slot) = self.pick()
                    && self.random.below(4) < self.way.hits
                {
                    self.calls.noted("`on_hit`", || self.policy.on_hit(slot));
                }
            }
            20..22 => {
                let whys = [
                    RemovalCause::Removed,
                    RemovalCause::Evicted,
                    RemovalCause::Expired,
                    RemovalCause::Rejected,
                ];
                let why = whys[self.random.index(whys.len())];
                if let Some(slot) = self.pick() {
                    self.slots.remove(&mut *self.policy, slot, why);
                }
            }
            22..24 => self.now += self.random.below(60),
            24..30 => return Some(self.ask(EvictionReason::Capacity)),
            _ => return Some(self.ask(EvictionReason::Expired)),
        }
        None
    }

    pub(super) fn ask(&mut self, pressure: EvictionReason) -> Named {
        let victim = self.policy.victim(Moment::from_nanos(self.now), pressure, &self.slots);
        Named { pressure, victim }
    }

    /// Removes whom the policy named, if he is held.
    pub(super) fn take(&mut self, named: &Named) {
        let why = if named.pressure == EvictionReason::Capacity {
            RemovalCause::Evicted
        } else {
            RemovalCause::Expired
        };
        if let Some(slot) = named.victim.filter(|slot| self.slots.0.contains_key(slot)) {
            self.slots.remove(&mut *self.policy, slot, why);
        }
    }

    /// Where the walk is, to begin a sentence with.
    pub(super) fn after(&self) -> String {
        let Self { n_steps, now, .. } = self;
        format!(
            "after {n_steps} generated steps, at +{now}ns with {} slots in use,",
            self.slots.0.len()
        )
    }

    fn pick(&mut self) -> Option<Slot> {
        let choice = self.random.index(usize::MAX);
        self.slots.pick(choice)
    }

    fn cost(&mut self) -> EntryInfo {
        let weight = match self.random.below(8) {
            0 => 0,
            1 => 5_000_000_000,
            2 => u64::MAX / 1024,
            _ => 1 + self.random.below(20),
        };
        let expires = self.way.deadlines && self.random.below(2) == 0;
        let expires_at = if expires {
            Some(Moment::from_nanos(self.now + self.random.below(200)))
        } else {
            None
        };
        // Some keys come again, so that what remembers them is met.
        let hash = self.random.below(40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        EntryInfo::new(hash, weight, Moment::from_nanos(self.now), expires_at)
    }
}
