use cache_core::{EvictionPolicy, EvictionReason, RemovalCause};
use cache_policy::{Lru, Ttl};
use proptest::prelude::*;

use crate::support::{Slots, at};

#[derive(Debug, Clone)]
enum Step {
    Insert(Option<u64>),
    Update(usize, Option<u64>),
    /// The deadline moves away; the policy is not told.
    Renew(usize, u64),
    Hit(usize),
    Remove(usize),
    Pass(u64),
    Evict(EvictionReason),
}

fn step() -> impl Strategy<Value = Step> {
    let span = || prop::option::weighted(0.8, 0u64..30);
    prop_oneof![
        4 => span().prop_map(Step::Insert),
        1 => (any::<usize>(), span()).prop_map(|(choice, span)| Step::Update(choice, span)),
        3 => (any::<usize>(), 1u64..30).prop_map(|(choice, span)| Step::Renew(choice, span)),
        2 => any::<usize>().prop_map(Step::Hit),
        1 => any::<usize>().prop_map(Step::Remove),
        3 => (0u64..10).prop_map(Step::Pass),
        2 => Just(Step::Evict(EvictionReason::Expired)),
        1 => Just(Step::Evict(EvictionReason::Capacity)),
    ]
}

proptest! {
    /// The twin is the policy alone, told the same; it says what is to happen where nothing has
    /// expired.
    #[test]
    fn what_has_expired_is_named_first_and_the_rest_is_the_inner_policys(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let (mut ttl, mut twin) = (Ttl::new(Lru::new()), Lru::new());
        let (mut slots, mut twins) = (Slots::default(), Slots::default());
        let mut now = 100;
        for step in steps {
            match step {
                Step::Insert(span) => {
                    slots.insert(&mut ttl, span.map(|span| at(now + span)));
                    twins.insert(&mut twin, None);
                }
                Step::Update(choice, span) => if let Some(slot) = slots.pick(choice) {
                    slots.update(&mut ttl, slot, span.map(|span| at(now + span)));
                    twins.update(&mut twin, slot, None);
                },
                Step::Renew(choice, span) => {
                    let slot = slots.pick(choice);
                    if let Some(deadline) = slot.and_then(|slot| slots.0.get_mut(&slot)?.as_mut()) {
                        *deadline = (*deadline).max(at(now + span));
                    }
                }
                Step::Hit(choice) => if let Some(slot) = slots.pick(choice) {
                    ttl.on_hit(slot);
                    twin.on_hit(slot);
                },
                Step::Remove(choice) => if let Some(slot) = slots.pick(choice) {
                    slots.remove(&mut ttl, slot, RemovalCause::Removed);
                    twins.remove(&mut twin, slot, RemovalCause::Removed);
                },
                Step::Pass(span) => now += span,
                Step::Evict(pressure) => {
                    let expired: Vec<_> =
                        slots.0.iter().filter(|(_, at)| at.is_some_and(|at| at.as_nanos() <= now)).collect();
                    let any_expired = !expired.is_empty();
                    let victim = ttl.victim(at(now), pressure, &slots);
                    if any_expired {
                        prop_assert!(expired.iter().any(|(slot, _)| Some(**slot) == victim), "{victim:?}");
                    } else {
                        prop_assert_eq!(victim, twin.victim(at(now), pressure, &twins));
                    }
                    if let Some(victim) = victim {
                        slots.remove(&mut ttl, victim, RemovalCause::Expired);
                        twins.remove(&mut twin, victim, RemovalCause::Expired);
                    }
                }
            }
        }
    }
}

#[test]
fn the_deadline_of_a_slots_last_tenant_does_not_fall_to_the_next() {
    let (mut ttl, mut slots) = (Ttl::new(Lru::new()), Slots::default());
    let slot = slots.insert(&mut ttl, Some(at(5)));
    slots.remove(&mut ttl, slot, RemovalCause::Removed);
    assert_eq!(slots.insert(&mut ttl, Some(at(50))), slot);
    assert_eq!(ttl.victim(at(10), EvictionReason::Expired, &slots), None);
    assert_eq!(ttl.victim(at(50), EvictionReason::Expired, &slots), Some(slot));
}
