//! Each policy against a plain model of its paper: slow, and told keys instead of slots.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use cache_core::{EntryInfo, EvictionPolicy, EvictionReason, Limits, RemovalCause, Slot};
use proptest::prelude::*;

use crate::support::{Slots, at};

mod counts;
mod queues;

pub(crate) type Key = u64;

/// What a paper says, told key by key.
pub(crate) trait Model {
    /// A key is asked for that is not held, before room is made for it.
    fn arrive(&mut self, _key: Key, _weight: u64) {}

    /// There is room for it now.
    fn settle(&mut self, _key: Key, _weight: u64) {}

    /// The key has a new entry.
    fn update(&mut self, _key: Key, _weight: u64) {}

    fn hit(&mut self, _key: Key) {}

    /// Who may leave next: one, where the paper leaves no choice.
    fn victims(&mut self) -> Vec<Key>;

    fn leave(&mut self, key: Key, why: RemovalCause);
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A hit if the key is held, else an insert of this weight.
    Ask(Key, u64),
    Update(Key, u64),
    Remove(Key),
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) limits: Limits,
    pub(crate) steps: Vec<Step>,
}

/// Scripts over a few keys, the low ones asked for more often, of weights up to `weight_max`.
pub(crate) fn script(weight_max: u64) -> impl Strategy<Value = Script> {
    script_of(weight_max, 32, 0..400)
}

pub(crate) fn script_of(
    weight_max: u64,
    keys: Key,
    steps: Range<usize>,
) -> impl Strategy<Value = Script> {
    let key = move || (0..keys, 0..keys).prop_map(|(one, other)| one.min(other));
    let weight = move || 1..=weight_max;
    let step = prop_oneof![
        20 => (key(), weight()).prop_map(|(key, weight)| Step::Ask(key, weight)),
        1 => (key(), weight()).prop_map(|(key, weight)| Step::Update(key, weight)),
        1 => key().prop_map(Step::Remove),
    ];
    let limits =
        (weight_max..60, 1u64..=16).prop_map(|(weight, entries)| Limits::new(weight, entries));
    (limits, prop::collection::vec(step, steps))
        .prop_map(|(limits, steps)| Script { limits, steps })
}

/// Plays the script to both, and has every victim of the policy be one of the model's.
pub(crate) fn compare<P: EvictionPolicy>(
    pattern: &P,
    model: &mut impl Model,
    script: &Script,
) -> Result<(), TestCaseError> {
    let mut driver = Driver { policy: pattern.for_shard(&script.limits), held: BTreeMap::new() };
    for step in &script.steps {
        match *step {
            Step::Ask(key, weight) => {
                if let Some((slot, _)) = driver.held.get(&key) {
                    driver.policy.on_hit(*slot);
                    model.hit(key);
                } else {
                    driver.insert(key, weight);
                    model.arrive(key, weight);
                    driver.make_room(model, &script.limits, Some(key))?;
                    if driver.held.contains_key(&key) {
                        model.settle(key, weight);
                    }
                }
            }
            Step::Update(key, weight) => {
                if let Some((slot, held)) = driver.held.get_mut(&key) {
                    *held = weight;
                    driver.policy.on_update(*slot, &cost(key, weight));
                    model.update(key, weight);
                    driver.make_room(model, &script.limits, None)?;
                }
            }
            Step::Remove(key) => {
                if driver.held.contains_key(&key) {
                    driver.remove(key, RemovalCause::Removed);
                    model.leave(key, RemovalCause::Removed);
                }
            }
        }
    }
    Ok(())
}

struct Driver<P> {
    policy: P,
    /// With their weights.
    held: BTreeMap<Key, (Slot, u64)>,
}

impl<P: EvictionPolicy> Driver<P> {
    fn insert(&mut self, key: Key, weight: u64) {
        let is_free = |slot: &Slot| self.held.values().all(|(held, _)| held != slot);
        let slot = (0..).map(Slot::new).find(is_free).expect("there are more numbers than slots");
        self.held.insert(key, (slot, weight));
        self.policy.on_insert(slot, &cost(key, weight));
    }

    fn remove(&mut self, key: Key, why: RemovalCause) {
        let (slot, _) = self.held.remove(&key).expect("only what is held is removed");
        self.policy.on_remove(slot, why);
    }

    fn make_room(
        &mut self,
        model: &mut impl Model,
        limits: &Limits,
        newcomer: Option<Key>,
    ) -> Result<(), TestCaseError> {
        while self.held.values().map(|(_, weight)| weight).sum::<u64>() > limits.weight
            || self.held.len() as u64 > limits.entries
        {
            let victim = self.policy.victim(at(0), EvictionReason::Capacity, &Slots::default());
            let victim =
                self.held.iter().find(|(_, (slot, _))| Some(*slot) == victim).map(|(key, _)| *key);
            let expected = model.victims();
            prop_assert!(
                victim.is_some_and(|key| expected.contains(&key)),
                "{victim:?}, not {expected:?}"
            );
            let victim = victim.expect("just asserted");
            let why = if newcomer == Some(victim) {
                RemovalCause::Rejected
            } else {
                RemovalCause::Evicted
            };
            self.remove(victim, why);
            model.leave(victim, why);
        }
        Ok(())
    }
}

fn cost(key: Key, weight: u64) -> EntryInfo {
    EntryInfo::new(hash(key), weight, at(0), None)
}

/// Keys have low halves of their own.
pub(crate) fn hash(key: Key) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A queue in a model: keys with their weights, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue(pub(crate) VecDeque<(Key, u64)>);

impl Queue {
    pub(crate) fn first(&self) -> Option<Key> {
        self.0.front().map(|(key, _)| *key)
    }

    pub(crate) fn push(&mut self, key: Key, weight: u64) {
        self.0.push_back((key, weight));
    }

    pub(crate) fn pop(&mut self) -> Option<(Key, u64)> {
        self.0.pop_front()
    }

    /// Moves the first to the end.
    pub(crate) fn rotate(&mut self) {
        self.0.rotate_left(1);
    }

    pub(crate) fn position(&self, key: Key) -> Option<usize> {
        self.0.iter().position(|(held, _)| *held == key)
    }

    /// Its weight, if it was in.
    pub(crate) fn remove(&mut self, key: Key) -> Option<u64> {
        let at = self.position(key)?;
        self.0.remove(at).map(|(_, weight)| weight)
    }

    pub(crate) fn set_weight(&mut self, key: Key, weight: u64) {
        self.0.iter_mut().filter(|(held, _)| *held == key).for_each(|(_, held)| *held = weight);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn weight(&self) -> u64 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }
}
