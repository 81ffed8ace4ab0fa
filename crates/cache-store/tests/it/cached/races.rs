//! Generated schedules on several nodes over one store, with faults, in virtual time: `cargo xtask
//! simulate-nodes --over cached-store` plays many more.

#[path = "../../../examples/simulate_store/subject.rs"]
mod subject;

use cache_testkit::simulation::store::{self, Schedule};

use self::subject::{BACKENDS, NOT_YET, open};

#[test]
fn generated_schedules_hold_every_rule() {
    for seed in 0..400 {
        let backend = BACKENDS[usize::try_from(seed % 3).unwrap()];
        let explored =
            store::explore(seed..seed + 1, 2, &|opening| open(opening, backend), NOT_YET);
        if let Err(failure) = explored {
            panic!("over {}: {failure}", backend.0);
        }
    }
}

/// In this schedule a slow backend drops blocks for so long that a read is requested, answered,
/// cached and out of date before `invalidate` returns.
#[test]
fn what_was_requested_during_an_invalidation_is_not_served_after_it() {
    let [_, waiting, ..] = BACKENDS;
    let explored = store::explore(1240..1241, 2, &|opening| open(opening, waiting), NOT_YET);
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_seed_repeats_to_the_letter() {
    for seed in 0..60 {
        let backend = BACKENDS[usize::try_from(seed % 3).unwrap()];
        let schedule = Schedule::new(seed, 3);
        let run = || store::run(&schedule, &|opening| open(opening, backend));
        let (one, other) = (run(), run());
        assert!(one == other, "{schedule}\n{one}\n{other}");
    }
}
