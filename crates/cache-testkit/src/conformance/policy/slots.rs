//! What a shard knows of its slots.

use std::collections::BTreeMap;

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Moment, RemovalCause, Slot,
};

/// The slots in use, with their deadlines: a slow model of a shard, which keeps the caller's half
/// of the contract and is asked by the policy for deadlines.
///
/// ```
/// use cache_core::{EvictionPolicy, Moment, EvictionReason, Slot};
/// use cache_testkit::conformance::policy::Slots;
///
/// fn first_named(policy: &mut impl EvictionPolicy) -> Option<Slot> {
///     let mut slots = Slots::default();
///     for _ in 0..3 {
///         slots.insert(policy, None);
///     }
///     slots.evict(policy, Moment::from_nanos(0), EvictionReason::Capacity)
/// }
/// ```
#[derive(Debug, Default)]
pub struct Slots(pub BTreeMap<Slot, Option<Moment>>);

impl Deadlines for Slots {
    fn expires_at(&self, slot: Slot) -> Option<Moment> {
        self.0.get(&slot).copied().flatten()
    }
}

impl Slots {
    /// The lowest free slot, so that slots are used again as early as can be.
    pub fn free(&self) -> Slot {
        (0..)
            .map(Slot::new)
            .find(|slot| !self.0.contains_key(slot))
            .expect("there are more numbers than slots")
    }

    /// One of the slots in use, by a number at will.
    pub fn pick(&self, choice: usize) -> Option<Slot> {
        self.0.keys().nth(choice % self.0.len().max(1)).copied()
    }

    /// Puts an entry of weight 1 into a free slot.
    pub fn insert(
        &mut self,
        policy: &mut (impl EvictionPolicy + ?Sized),
        expires_at: Option<Moment>,
    ) -> Slot {
        self.insert_at(policy, &cost(expires_at))
    }

    /// Puts an entry of this cost into a free slot.
    pub fn insert_at(
        &mut self,
        policy: &mut (impl EvictionPolicy + ?Sized),
        cost: &EntryInfo,
    ) -> Slot {
        let slot = self.free();
        self.0.insert(slot, cost.expires_at);
        policy.on_insert(slot, cost);
        slot
    }

    /// Puts another entry of weight 1 into the slot.
    pub fn update(
        &mut self,
        policy: &mut (impl EvictionPolicy + ?Sized),
        slot: Slot,
        expires_at: Option<Moment>,
    ) {
        self.update_at(policy, slot, &cost(expires_at));
    }

    /// Puts another entry of this cost into the slot.
    pub fn update_at(
        &mut self,
        policy: &mut (impl EvictionPolicy + ?Sized),
        slot: Slot,
        cost: &EntryInfo,
    ) {
        self.0.insert(slot, cost.expires_at);
        policy.on_update(slot, cost);
    }

    /// Moves the deadline of the slot away, to `expires_at`, if it has one. The policy is not told.
    pub fn renew(&mut self, slot: Slot, expires_at: Moment) {
        if let Some(Some(deadline)) = self.0.get_mut(&slot) {
            *deadline = (*deadline).max(expires_at);
        }
    }

    /// Empties the slot.
    pub fn remove(
        &mut self,
        policy: &mut (impl EvictionPolicy + ?Sized),
        slot: Slot,
        why: RemovalCause,
    ) {
        self.0.remove(&slot);
        policy.on_remove(slot, why);
    }

    /// Asks for a victim and empties its slot.
    pub fn evict(
        &mut self,
        policy: &mut (impl EvictionPolicy + ?Sized),
        now: Moment,
        pressure: EvictionReason,
    ) -> Option<Slot> {
        let victim = policy.victim(now, pressure, self)?;
        let why = if pressure == EvictionReason::Capacity {
            RemovalCause::Evicted
        } else {
            RemovalCause::Expired
        };
        self.remove(policy, victim, why);
        Some(victim)
    }
}

fn cost(expires_at: Option<Moment>) -> EntryInfo {
    EntryInfo::new(0, 1, Moment::from_nanos(0), expires_at)
}
