//! The rules.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Barrier,
};

use cache_core::{EntryInfo, EvictionReason, Limits, Moment, Slot};

use super::{
    Fault, Slots, Suite,
    steps::{Named, Walk, Way},
};
use crate::conformance::{Broken, Outcome};

/// `for_shard` gives *the same policy, empty, for one shard*: it names nobody before anybody is
/// held, however full other shards of the same pattern are.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn a_shard_begins_empty(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("a_shard_begins_empty", |suite| {
        let limits = Limits::new(100, 10);
        let mut full = suite.for_shard(&limits);
        let mut slots = Slots::default();
        for _ in 0..10 {
            slots.insert(&mut *full, None);
        }
        let mut empty = suite.for_shard(&limits);
        for pressure in [EvictionReason::Capacity, EvictionReason::Expired] {
            if let Some(slot) = empty.victim(Moment::MAX, pressure, &Slots::default()) {
                return Err(format!(
                    "a shard that holds nothing was asked for a victim under \
                        `EvictionReason::{pressure:?}`, and named slot \
                     {}; another shard of the pattern held 10 entries",
                    slot.number()
                ));
            }
        }
        all_leave(&mut *full, slots).map_err(|what| {
            format!(
                "of two shards the one with 10 \
            entries: {what}"
            )
        })
    })
}

/// The implementor MUST *name only slots that are in use*: not one that is free again, and not one
/// twice that left once, though slots are used again for other keys.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn only_slots_in_use_are_named(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("only_slots_in_use_are_named", |suite| {
        walks(suite, Way::ALL, |walk, named| match named.victim {
            Some(slot) if !walk.slots.0.contains_key(&slot) => Err(format!(
                "{} `victim` under `EvictionReason::{:?}` named slot {}, which is free; in use \
                    are {:?}",
                walk.after(),
                named.pressure,
                slot.number(),
                walk.slots.0.keys().map(|slot| slot.number()).collect::<Vec<_>>()
            )),
            _ => Ok(()),
        })
    })
}

/// The implementor MUST, *under `EvictionReason::Capacity`, name some slot whenever any is in use*:
/// whatever came, was hit, got another weight, or left before, until nobody is left.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn somebody_is_named_while_anybody_is_held(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("somebody_is_named_while_anybody_is_held", |suite| {
        walks(suite, Way { updates: false, ..Way::ALL }, somebody)
    })
}

/// The implementor MUST, *under `EvictionReason::Expired`, name only a slot whose deadline, asked
/// of `held`, has passed at `now`*: not when it was inserted, since a renewal moves it away and
/// does not call the policy; and not that of the slot's last tenant.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn only_what_has_expired_is_named_as_expired(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("only_what_has_expired_is_named_as_expired", |suite| {
        walks(suite, Way::ALL, |walk, named| {
            let Some(slot) = named.victim.filter(|_| named.pressure == EvictionReason::Expired)
            else {
                return Ok(());
            };
            let now = Moment::from_nanos(walk.now);
            match walk.slots.0.get(&slot) {
                Some(Some(deadline)) if *deadline <= now => Ok(()),
                Some(deadline) => Err(format!(
                    "{} `victim` under `EvictionReason::Expired` named slot {}, whose deadline is \
                        {deadline:?}; it is {now:?}",
                    walk.after(),
                    slot.number()
                )),
                // Another rule's affair.
                None => Ok(()),
            }
        })
    })
}

/// A policy that was declared to find what has expired names somebody under
/// `EvictionReason::Expired` as long as anybody held has expired. Left out unless declared.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn what_has_expired_is_found(suite: &Suite) -> Result<Outcome, Broken> {
    if !suite.can.finds_expired {
        return Ok(Outcome::LeftOut("this policy need not find what has expired"));
    }
    suite.rule("what_has_expired_is_found", |suite| {
        walks(suite, Way::ALL, |walk, named| {
            if named.pressure == EvictionReason::Capacity || named.victim.is_some() {
                return Ok(());
            }
            let now = Moment::from_nanos(walk.now);
            match walk.slots.0.iter().find(|(_, deadline)| deadline.is_some_and(|at| at <= now)) {
                None => Ok(()),
                Some((slot, deadline)) => Err(format!(
                    "{} `victim` under `EvictionReason::Expired` named nobody; the deadline of \
                        slot {} is {deadline:?}",
                    walk.after(),
                    slot.number()
                )),
            }
        })
    })
}

/// After `on_update`, *the key in the slot has a new entry: its rank stays, its weight may not*. A
/// policy that adds up weights takes off the new one when the entry leaves, not the one that it
/// came with: else its sums go wrong, and it panics, or names nobody.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn a_new_weight_takes_the_place_of_the_old(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("a_new_weight_takes_the_place_of_the_old", |suite| {
        walks(suite, Way { deadlines: false, ..Way::ALL }, somebody)?;
        // Up and down, again and again, of few.
        let mut policy = suite.for_shard(&Limits::new(1000, u64::MAX));
        let mut slots = Slots::default();
        for round in 0..100 {
            let cost = |weight| EntryInfo::new(round, weight, Moment::from_nanos(round), None);
            let slot = slots.insert_at(&mut *policy, &cost(if round % 2 == 0 { 1 } else { 1000 }));
            slots.update_at(&mut *policy, slot, &cost(if round % 2 == 0 { 1000 } else { 1 }));
            if round % 3 == 2 {
                let named =
                    slots.evict(&mut *policy, Moment::from_nanos(round), EvictionReason::Capacity);
                if named.is_none() {
                    return Err(format!(
                        "after {round} entries had been given another weight, nobody is named"
                    ));
                }
            }
        }
        all_leave(&mut *policy, slots)
    })
}

/// The implementor MUST *be correct if some hits never arrive*: all of them, say.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn hits_may_be_lost(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("hits_may_be_lost", |suite| {
        for hits in [0, 1] {
            let way = Way { hits, updates: false, deadlines: false };
            walks(suite, way, somebody)
                .map_err(|what| format!("of 4 hits {hits} arrive: {what}"))?;
        }
        Ok(())
    })
}

/// Hits come *under the shared lock, many at once*: they neither panic nor wait for each other, and
/// all who were hit can leave.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub fn hits_come_many_at_once(suite: &Suite) -> Result<Outcome, Broken> {
    suite.rule("hits_come_many_at_once", |suite| {
        let mut policy = suite.for_shard(&Limits::new(100, 100));
        let mut slots = Slots::default();
        for _ in 0..3 {
            let held: Vec<Slot> = (0..20).map(|_| slots.insert(&mut *policy, None)).collect();
            let (shared, together) = (&*policy, Barrier::new(THREADS));
            let hits = |thread: usize| {
                together.wait();
                for n in 0..HITS {
                    shared.on_hit(held[(n * (thread + 1)) % held.len()]);
                }
            };
            // Caught, so that the others do not take the place of what the policy said.
            let panics: Vec<_> =
                suite.calls.noted("`on_hit`, called by several threads at once,", || {
                    std::thread::scope(|scope| {
                        let threads: Vec<_> = (0..THREADS)
                            .map(|thread| {
                                scope.spawn(move || catch_unwind(AssertUnwindSafe(|| hits(thread))))
                            })
                            .collect();
                        threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).collect()
                    })
                });
            if let Some(panic) = panics.into_iter().next() {
                resume_unwind(panic);
            }
            for _ in 0..10 {
                slots.evict(&mut *policy, Moment::from_nanos(0), EvictionReason::Capacity);
            }
        }
        all_leave(&mut *policy, slots)
    })
}

/// Leads the policy through several walks and lets all leave at the end of each; looks at whom it
/// names.
fn walks(
    suite: &Suite,
    way: Way,
    look: impl Fn(&Walk, &Named) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for seed in 0..WALKS {
        let mut walk = Walk::new(suite, seed, way);
        for _ in 0..STEPS {
            if let Some(named) = walk.step() {
                look(&walk, &named)?;
                walk.take(&named);
            }
        }
        // One who is named and not held, or nobody, ends this: it is up to `look` to see it.
        loop {
            let named = walk.ask(EvictionReason::Capacity);
            look(&walk, &named)?;
            let n_held = walk.slots.0.len();
            walk.take(&named);
            if walk.slots.0.len() == n_held {
                break;
            }
        }
    }
    Ok(())
}

fn somebody(walk: &Walk, named: &Named) -> Result<(), Fault> {
    if named.pressure == EvictionReason::Expired
        || named.victim.is_some()
        || walk.slots.0.is_empty()
    {
        return Ok(());
    }
    let held: Vec<_> = walk.slots.0.keys().map(|slot| slot.number()).collect();
    Err(format!(
        "{} `victim` under `EvictionReason::Capacity` named nobody; in use are {held:?}",
        walk.after()
    ))
}

/// Asks for one after the other, until nobody is held.
fn all_leave(policy: &mut dyn cache_core::EvictionPolicy, mut slots: Slots) -> Result<(), Fault> {
    let n = slots.0.len();
    for left in 0..n {
        let named = policy.victim(Moment::from_nanos(0), EvictionReason::Capacity, &slots);
        match named.filter(|slot| slots.0.contains_key(slot)) {
            Some(victim) => slots.remove(policy, victim, cache_core::RemovalCause::Evicted),
            None => {
                return Err(format!(
                    "when {left} of {n} entries had left, one after the other, `victim` named \
                        {named:?}; expected \
                     one of those held"
                ));
            }
        }
    }
    Ok(())
}

const WALKS: u64 = 40;
const STEPS: usize = 300;
const THREADS: usize = 4;
const HITS: usize = 1000;
