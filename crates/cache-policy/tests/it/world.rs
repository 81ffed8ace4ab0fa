//! What the tests stand on: a slow model of a shard that keeps the callers' half of the policy contract.

use std::collections::BTreeMap;

use cache_core::{Cost, EvictionPolicy, Held, Moment, Pressure, Removal, Slot};

pub(crate) fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

/// The slots in use, with their deadlines.
#[derive(Debug, Default)]
pub(crate) struct Slots(pub(crate) BTreeMap<Slot, Option<Moment>>);

impl Held for Slots {
    fn expires_at(&self, slot: Slot) -> Option<Moment> {
        self.0.get(&slot).copied().flatten()
    }
}

impl Slots {
    /// The lowest free slot, so that slots are reused as early as can be.
    pub(crate) fn free(&self) -> Slot {
        (0..)
            .map(Slot::new)
            .find(|slot| !self.0.contains_key(slot))
            .expect("there are more numbers than slots")
    }

    /// One of the slots in use, by a number at will.
    pub(crate) fn pick(&self, choice: usize) -> Option<Slot> {
        self.0.keys().nth(choice % self.0.len().max(1)).copied()
    }

    pub(crate) fn insert(&mut self, policy: &mut impl EvictionPolicy, expires_at: Option<Moment>) -> Slot {
        let slot = self.free();
        self.0.insert(slot, expires_at);
        policy.on_insert(slot, &cost(expires_at));
        slot
    }

    pub(crate) fn update(
        &mut self,
        policy: &mut impl EvictionPolicy,
        slot: Slot,
        expires_at: Option<Moment>,
    ) {
        self.0.insert(slot, expires_at);
        policy.on_update(slot, &cost(expires_at));
    }

    pub(crate) fn remove(&mut self, policy: &mut impl EvictionPolicy, slot: Slot, why: Removal) {
        self.0.remove(&slot);
        policy.on_remove(slot, why);
    }

    /// Asks for a victim and takes it out.
    pub(crate) fn evict(
        &mut self,
        policy: &mut impl EvictionPolicy,
        now: Moment,
        pressure: Pressure,
    ) -> Option<Slot> {
        let victim = policy.victim(now, pressure, self)?;
        let why = if pressure == Pressure::Full { Removal::Evicted } else { Removal::Expired };
        self.remove(policy, victim, why);
        Some(victim)
    }
}

fn cost(expires_at: Option<Moment>) -> Cost {
    Cost { hash: 0, weight: 1, now: at(0), expires_at }
}
