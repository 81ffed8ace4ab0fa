use cache_core::{EvictionPolicy, EvictionReason, RemovalCause, Slot};
use cache_policy::Lru;
use proptest::prelude::*;

use crate::support::{Slots, at};

#[derive(Debug, Clone)]
enum Step {
    Insert,
    Update(usize),
    Hit(usize),
    Remove(usize),
    /// A victim is asked for, and stays.
    Ask,
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Insert),
        1 => any::<usize>().prop_map(Step::Update),
        6 => any::<usize>().prop_map(Step::Hit),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => Just(Step::Ask),
        2 => Just(Step::Evict),
    ]
}

/// A list of slots in the order of their last use.
#[derive(Default)]
struct Model(Vec<Slot>);

impl Model {
    fn use_now(&mut self, slot: Slot) {
        self.forget(slot);
        self.0.push(slot);
    }

    fn forget(&mut self, slot: Slot) {
        self.0.retain(|held| *held != slot);
    }
}

proptest! {
    #[test]
    fn the_victim_is_always_the_least_recently_used(steps in prop::collection::vec(step(), 0..300)) {
        let (mut lru, mut slots, mut model) = (Lru::new(), Slots::default(), Model::default());
        for step in steps {
            match step {
                Step::Insert => model.use_now(slots.insert(&mut lru, None)),
                Step::Update(choice) => if let Some(slot) = slots.pick(choice) {
                    slots.update(&mut lru, slot, None);
                },
                Step::Hit(choice) => if let Some(slot) = slots.pick(choice) {
                    lru.on_hit(slot);
                    model.use_now(slot);
                },
                Step::Remove(choice) => if let Some(slot) = slots.pick(choice) {
                    slots.remove(&mut lru, slot, RemovalCause::Removed);
                    model.forget(slot);
                },
                Step::Ask => {
                    prop_assert_eq!(lru.victim(at(0), EvictionReason::Capacity, &slots), model.0.first().copied());
                }
                Step::Evict => {
                    let victim = slots.evict(&mut lru, at(0), EvictionReason::Capacity);
                    prop_assert_eq!(victim, model.0.first().copied());
                    victim.into_iter().for_each(|slot| model.forget(slot));
                }
            }
        }
        while let Some(victim) = slots.evict(&mut lru, at(0), EvictionReason::Capacity) {
            prop_assert_eq!(Some(&victim), model.0.first());
            model.forget(victim);
        }
        prop_assert!(slots.0.is_empty() && model.0.is_empty());
    }
}

#[test]
fn lru_knows_no_deadlines() {
    let (mut lru, mut slots) = (Lru::new(), Slots::default());
    slots.insert(&mut lru, Some(at(1)));
    assert_eq!(lru.victim(at(2), EvictionReason::Expired, &slots), None);
}

#[test]
fn a_hit_on_a_slot_never_used_is_ignored() {
    let (mut lru, slots) = (Lru::new(), Slots::default());
    lru.on_hit(Slot::new(7));
    assert_eq!(lru.victim(at(0), EvictionReason::Capacity, &slots), None);
}
