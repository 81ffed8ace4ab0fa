//! Schedules without and with each kind of fault.

use crate::play::{Faults, Play, Seen};

/// Plays schedules, and returns what they have seen together.
fn play(first: u64, n_seeds: u64, faults: Faults) -> Seen {
    let mut seen = Seen::default();
    for seed in first..first + n_seeds {
        match Play::run(seed, faults, 150) {
            Ok(of_one) => seen = seen.with(of_one),
            Err(broken) => panic!("{broken}"),
        }
    }
    seen
}

#[test]
fn without_faults() {
    let seen = play(0, 300, Faults::default());
    println!("{seen:?}");
}

#[test]
fn with_kills() {
    let seen = play(1_000_000, 300, Faults { kills: true, ..Faults::default() });
    println!("{seen:?}");
}

#[test]
fn with_power_losses() {
    let faults = Faults { kills: true, power_losses: true, ..Faults::default() };
    let seen = play(2_000_000, 300, faults);
    println!("{seen:?}");
}

#[test]
fn with_errors() {
    let seen = play(3_000_000, 300, Faults { errors: true, ..Faults::default() });
    println!("{seen:?}");
}

#[test]
fn with_damage() {
    let faults = Faults { damage: true, kills: true, ..Faults::default() };
    let seen = play(4_000_000, 300, faults);
    println!("{seen:?}");
}

#[test]
fn with_everything() {
    let faults = Faults { kills: true, power_losses: true, errors: true, damage: true };
    let seen = play(5_000_000, 300, faults);
    println!("{seen:?}");
}
