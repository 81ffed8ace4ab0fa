//! Generated schedules on several nodes, with faults, in virtual time: `cargo xtask simulate-nodes`
//! plays many more.
//!
//! Each rule is a test: the histories of all backends hold it. One run of a seed is enough for all
//! of them.

#[path = "../../examples/simulate_nodes/backends.rs"]
mod backends;

use std::sync::LazyLock;

use cache_core::Status;
use cache_testkit::{
    history::{Act, History, Outcome, Violation},
    simulation::{self, Schedule},
};

use self::backends::BACKENDS;

/// The histories of the first seeds, in turn over every backend.
static HISTORIES: LazyLock<Vec<(Schedule, History)>> = LazyLock::new(|| {
    let schedules = (0..SEEDS).map(|seed| Schedule::new(seed, 2));
    schedules
        .zip(BACKENDS.iter().cycle())
        .map(|(schedule, (_, backend))| {
            let history = simulation::run(&schedule, backend);
            (schedule, history)
        })
        .collect()
});

#[track_caller]
fn check(rule: fn(&History) -> Result<(), Violation>) {
    for (schedule, history) in &*HISTORIES {
        if let Err(violation) = rule(history) {
            panic!("{violation}\n{schedule}\n{history}");
        }
    }
}

#[test]
fn rule_1_strong_reads_are_linearizable() {
    check(History::strong_reads_are_linearizable);
}

#[test]
fn rule_1_strong_reads_are_asked_for() {
    check(History::strong_reads_are_asked_for);
}

#[test]
fn rule_2_nothing_is_resurrected() {
    check(History::nothing_is_resurrected);
}

#[test]
fn rule_3_writes_are_read_back() {
    check(History::writes_are_read_back);
}

#[test]
fn rule_4_staleness_is_bounded() {
    check(History::staleness_is_bounded);
}

#[test]
fn rule_4_outages_alone_are_covered() {
    check(History::outages_alone_are_covered);
}

#[test]
fn rule_5_bytes_belong_to_their_version() {
    check(History::bytes_belong_to_their_version);
}

#[test]
fn rule_6_everything_is_counted() {
    check(History::everything_is_counted);
}

#[test]
fn rule_7_every_call_ends() {
    check(History::every_call_ends);
}

#[test]
fn rule_8_limits_are_kept() {
    check(History::limits_are_kept);
}

#[test]
fn rule_9_reads_are_monotonic() {
    check(History::reads_are_monotonic);
}

#[test]
fn backend_calls_of_one_key_never_overlap_and_are_never_dropped() {
    check(History::check);
}

#[test]
fn a_seed_repeats_to_the_letter() {
    for (schedule, history) in HISTORIES.iter().take(100) {
        let (_, backend) = BACKENDS[usize::try_from(schedule.seed).unwrap() % BACKENDS.len()];
        assert!(simulation::run(schedule, &backend) == *history, "{schedule}\n{history}");
    }
}

/// In this schedule an object changes after an `mark_stale` has put up its second fence and woken
/// its caller, and before the caller runs; a read that was sent in between is answered in time for
/// both.
#[test]
fn an_answer_requested_after_a_fence_is_good_before_the_caller_of_the_fence_runs() {
    let [(_, plain), ..] = BACKENDS;
    let schedule = Schedule::new(7_241_165, 3);
    let history = simulation::run(&schedule, &plain);
    if let Err(violation) = history.check() {
        panic!("{violation}\n{schedule}\n{history}");
    }
}

/// Over one call after the other, without faults: what is evicted, expired or refused is asked for
/// again.
#[test]
fn rule_10_what_is_evicted_or_refused_changes_no_answer() {
    check_answers(&["memory", "refusing"]);
}

#[test]
fn rule_11_every_backend_gives_the_same_answers() {
    check_answers(&["moka", "waiting"]);
}

#[track_caller]
fn check_answers(names: &[&str]) {
    let [(_, plain), ..] = BACKENDS;
    for seed in 0..SEEDS / 5 {
        let schedule = Schedule::in_order(seed, 2);
        let expected = simulation::run(&schedule, &plain);
        for (name, backend) in BACKENDS.iter().filter(|(name, _)| names.contains(name)) {
            let history = simulation::run(&schedule, backend);
            if let Err(violation) = history.has_the_answers_of(&expected) {
                panic!("over {name}: {violation}\n{schedule}\n{history}");
            }
        }
    }
}

/// What never happens is not checked.
#[test]
fn the_schedules_reach_what_they_are_about() {
    let calls = || HISTORIES.iter().flat_map(|(_, history)| history.calls());
    let statuses =
        [Status::Fresh, Status::Revalidated, Status::Fetched, Status::Refetched, Status::Stale];
    for status in statuses {
        let n = calls()
            .filter(|call| matches!(call.outcome, Outcome::Read(_, _, it) if it == status))
            .count();
        assert!(n > 10, "{status:?}: {n}");
    }
    for outcome in
        [Outcome::NotFound, Outcome::Done, Outcome::Refused, Outcome::Failed, Outcome::Unknown]
    {
        let n = calls().filter(|call| call.outcome == outcome).count();
        assert!(n > 50, "{outcome:?}: {n}");
    }
    let n_restarts = calls().filter(|call| call.act == Act::Restart).count();
    assert!(n_restarts > 20, "{n_restarts} restarts");
    let given_up = HISTORIES.iter().flat_map(|(_, history)| history.requests());
    let given_up = given_up.filter(|request| request.ended.is_none()).count();
    assert!(given_up > 50, "{given_up} requests were given up");
}

const SEEDS: u64 = 400;
