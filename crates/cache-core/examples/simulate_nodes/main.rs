//! Plays generated schedules of several nodes over one origin, in virtual time, and checks their
//! histories.
//!
//! `cargo xtask simulate-nodes` runs it. The schedule that breaks a rule is printed, shrunk, with
//! its seed: it repeats.
#![forbid(unsafe_code)]

mod backends;

use std::{env, process::ExitCode};

use cache_testkit::simulation::{Schedule, command::Program, explore_but, run};

use self::backends::BACKENDS;

fn main() -> ExitCode {
    let program = Program {
        command: "cargo xtask simulate-nodes",
        backends: &BACKENDS.map(|(name, _)| name),
        left_out: &[],
        explore: &|seed, nodes, backend, left_out| {
            Ok(explore_but(seed..seed + 1, nodes, &BACKENDS[backend].1, left_out)?)
        },
        show: &|seed, nodes, backend| {
            let schedule = Schedule::new(seed, nodes);
            let history = run(&schedule, &BACKENDS[backend].1);
            format!("{schedule}\n{history}")
        },
    };
    program.run(env::args().skip(1))
}
