//! Schedules without and with each kind of fault.

use crate::play::{Faults, Play, Seen};

/// Plays schedules, and returns what they have seen together.
fn play(first: u64, faults: Faults) -> Seen {
    let mut seen = Seen::default();
    let n_seeds = std::env::var(SEEDS).map_or(300, |n| n.parse().expect("it is a number"));
    for seed in first..first + n_seeds {
        match Play::run(seed, faults, 400) {
            Ok(of_one) => seen = seen.with(of_one),
            Err(broken) => panic!("{broken}"),
        }
    }
    println!("{n_seeds} schedules: {seen:?}");
    let Seen { hits, recovered, recycled, rewritten, queue_full, renewed, .. } = seen;
    let all = [hits, recovered, recycled, rewritten, queue_full, renewed];
    let all = [&all[..], &[seen.pins_lost, seen.between]].concat();
    assert!(
        all.iter().all(|seen| *seen > 0),
        "the schedules do not do what they are for: {seen:?}"
    );
    seen
}

#[test]
fn without_faults() {
    let seen = play(0, Faults::default());
    assert_eq!((seen.corrupt, seen.errors), (0, 0), "{seen:?}");
    assert!(seen.must_find > 0);
}

#[test]
fn with_kills() {
    let seen = play(1_000_000, Faults { kills: true, ..Faults::default() });
    assert!(seen.must_find > 0);
}

#[test]
fn with_power_losses() {
    let seen = play(2_000_000, Faults { kills: true, power_losses: true, ..Faults::default() });
    assert!(seen.corrupt > 0, "{seen:?}");
}

#[test]
fn with_errors() {
    let seen = play(3_000_000, Faults { errors: true, ..Faults::default() });
    assert!(seen.errors > 0, "{seen:?}");
}

#[test]
fn with_damage() {
    let seen = play(4_000_000, Faults { damage: true, kills: true, ..Faults::default() });
    assert!(seen.corrupt > 0, "{seen:?}");
}

#[test]
fn with_everything() {
    let faults = Faults { kills: true, power_losses: true, errors: true, damage: true };
    let seen = play(5_000_000, faults);
    assert!(seen.corrupt > 0 && seen.errors > 0, "{seen:?}");
}

/// How many schedules are played by each test.
const SEEDS: &str = "DISK_SCHEDULES";
