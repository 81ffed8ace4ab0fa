//! A policy that keeps its contract, and what each of its faults breaks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};
use cache_testkit::conformance::policy::{self, Capabilities, RULES, Suite};

use crate::{SHORT, block, broken, covered};

/// What is wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SharesItsSlots,
    NamesWhoHasLeft,
    NamesAnUnknownSlot,
    KeepsTheLast,
    GoesByTheFirstDeadline,
    KeepsTheDeadlineOfTheLastTenant,
    NamesAnybodyAsExpired,
    FindsNothingExpired,
    PanicsAtNewWeights,
    ForgetsTheUpdated,
    WantsHits,
    PanicsAtHitsTogether,
    BlocksWhenAsked,
    BlocksAtHitsTogether,
}

/// For each rule, what must be caught by it.
const CASES: &[(&str, &[Fault])] = &[
    ("a_shard_begins_empty", &[Fault::SharesItsSlots, Fault::NamesAnUnknownSlot]),
    ("only_slots_in_use_are_named", &[Fault::NamesWhoHasLeft, Fault::NamesAnUnknownSlot]),
    ("somebody_is_named_while_anybody_is_held", &[Fault::KeepsTheLast]),
    (
        "only_what_has_expired_is_named_as_expired",
        &[
            Fault::GoesByTheFirstDeadline,
            Fault::KeepsTheDeadlineOfTheLastTenant,
            Fault::NamesAnybodyAsExpired,
        ],
    ),
    ("what_has_expired_is_found", &[Fault::FindsNothingExpired]),
    (
        "a_new_weight_takes_the_place_of_the_old",
        &[Fault::PanicsAtNewWeights, Fault::ForgetsTheUpdated],
    ),
    ("hits_may_be_lost", &[Fault::WantsHits]),
    ("hits_come_many_at_once", &[Fault::PanicsAtHitsTogether]),
];

#[test]
fn for_each_rule_something_broken_is_caught() {
    for (rule, faults) in CASES {
        let checks = RULES.iter().find(|known| known.name == *rule).unwrap();
        for fault in *faults {
            broken(rule, fault, checks.run(&suite(*fault)));
        }
    }
}

#[test]
fn without_a_fault_all_rules_are_kept() {
    let report = policy::check(&suite(Fault::None)).unwrap();
    covered(&report, CASES.iter().map(|(rule, _)| *rule));
    let report =
        policy::check(&Suite::new(Capabilities::new(), Fifo::new(Fault::FindsNothingExpired)))
            .unwrap();
    assert_eq!(report.left_out().count(), 1);
}

#[test]
fn a_panic_is_reported_under_the_rule() {
    let broken = policy::a_new_weight_takes_the_place_of_the_old(&suite(Fault::PanicsAtNewWeights))
        .unwrap_err();
    assert!(broken.what.contains("panicked: told to"), "{broken}");
}

#[test]
fn a_call_that_does_not_end_is_reported_as_such() {
    for (fault, said) in [
        (
            Fault::BlocksWhenAsked,
            "`victim` under `EvictionReason::Capacity` did not return within 1s: it blocks its",
        ),
        (
            Fault::BlocksAtHitsTogether,
            "`on_hit`, called by several threads at once, did not return",
        ),
    ] {
        let broken = policy::check(&suite(fault).patience(SHORT)).unwrap_err();
        println!("{broken}");
        assert!(broken.what.contains(said), "{broken}");
    }
}

fn suite(fault: Fault) -> Suite {
    Suite::new(Capabilities::new().finds_expired(), Fifo::new(fault))
}

/// First in, first out, but what has expired before all others.
struct Fifo {
    fault: Fault,
    n_inserts: u64,
    slots: Arc<Mutex<BTreeMap<u64, Slot>>>,
    arrivals: BTreeMap<Slot, (u64, Option<Moment>)>,
    weights: BTreeMap<Slot, u64>,
    weight: u64,
    was_hit: AtomicBool,
    n_hitting: AtomicUsize,
}

impl Fifo {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            n_inserts: 0,
            slots: Arc::default(),
            arrivals: BTreeMap::new(),
            weights: BTreeMap::new(),
            weight: 0,
            was_hit: AtomicBool::new(false),
            n_hitting: AtomicUsize::new(0),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn expired(&self, now: Moment, held: &dyn Deadlines) -> Option<Slot> {
        let has_expired = |slot: Slot, first: Option<Moment>| {
            let deadline = match self.fault {
                Fault::GoesByTheFirstDeadline | Fault::KeepsTheDeadlineOfTheLastTenant => first,
                _ => held.expires_at(slot),
            };
            deadline.is_some_and(|deadline| deadline <= now)
        };
        let mut slots = self.arrivals.iter();
        slots.find(|(slot, (_, first))| has_expired(**slot, *first)).map(|(slot, _)| *slot)
    }
}

impl EvictionPolicy for Fifo {
    fn for_shard(&self, _: &Limits) -> Self {
        let mut shard = Self::new(self.fault);
        if self.is(Fault::SharesItsSlots) {
            shard.slots = Arc::clone(&self.slots);
        }
        shard
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        self.n_inserts += 1;
        self.slots.lock().unwrap().insert(self.n_inserts, slot);
        let mut first = cost.expires_at;
        if self.is(Fault::KeepsTheDeadlineOfTheLastTenant) && first.is_none() {
            first = self.arrivals.get(&slot).and_then(|(_, last)| *last);
        }
        self.arrivals.insert(slot, (self.n_inserts, first));
        self.weights.insert(slot, cost.weight);
        self.weight = self.weight.wrapping_add(cost.weight);
        self.was_hit.store(false, Ordering::Relaxed);
    }

    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        if self.is(Fault::ForgetsTheUpdated) {
            let (arrival, _) = self.arrivals[&slot];
            self.slots.lock().unwrap().remove(&arrival);
        }
        let old = self.weights.insert(slot, cost.weight).unwrap();
        if !self.is(Fault::PanicsAtNewWeights) {
            self.weight = self.weight.wrapping_sub(old).wrapping_add(cost.weight);
        }
    }

    fn on_hit(&self, _: Slot) {
        self.was_hit.store(true, Ordering::Relaxed);
        if matches!(self.fault, Fault::PanicsAtHitsTogether | Fault::BlocksAtHitsTogether) {
            let before = self.n_hitting.fetch_add(1, Ordering::Relaxed);
            std::thread::yield_now();
            self.n_hitting.fetch_sub(1, Ordering::Relaxed);
            assert!(before == 0 || !self.is(Fault::PanicsAtHitsTogether), "told to");
            if before > 0 {
                block();
            }
        }
    }

    fn on_remove(&mut self, slot: Slot, _: RemovalCause) {
        let arrival = match self.fault {
            Fault::KeepsTheDeadlineOfTheLastTenant => self.arrivals[&slot].0,
            _ => self.arrivals.remove(&slot).unwrap().0,
        };
        if !self.is(Fault::NamesWhoHasLeft) {
            self.slots.lock().unwrap().remove(&arrival);
        }
        let weight = self.weights.remove(&slot).unwrap();
        if self.is(Fault::PanicsAtNewWeights) {
            self.weight = self.weight.checked_sub(weight).expect("told to");
        }
    }

    fn victim(
        &mut self,
        now: Moment,
        pressure: EvictionReason,
        held: &dyn Deadlines,
    ) -> Option<Slot> {
        let slots = self.slots.lock().unwrap();
        let first = slots.values().next().copied();
        match (self.fault, pressure) {
            (Fault::BlocksWhenAsked, EvictionReason::Capacity) if first.is_some() => block(),
            (Fault::NamesAnUnknownSlot, EvictionReason::Capacity) => {
                return Some(Slot::new(u32::MAX));
            }
            (Fault::KeepsTheLast, EvictionReason::Capacity) if slots.len() == 1 => return None,
            (Fault::WantsHits, EvictionReason::Capacity)
                if !self.was_hit.load(Ordering::Relaxed) =>
            {
                return None;
            }
            (Fault::NamesAnybodyAsExpired, EvictionReason::Expired) => return first,
            (Fault::FindsNothingExpired, EvictionReason::Expired) => return None,
            _ => {}
        }
        drop(slots);
        match pressure {
            EvictionReason::Capacity => first,
            _ => self.expired(now, held),
        }
    }
}
