//! Plays generated schedules of several nodes, each with a `CachedStore`, over one object store, in
//! virtual time, and checks their histories.
//!
//! `cargo xtask simulate-nodes --over cached-store` runs it. The schedule that breaks a rule is
//! printed, shrunk, with its seed: it repeats.
#![forbid(unsafe_code)]

mod subject;

use std::{env, process::ExitCode};

use cache_testkit::simulation::{
    command::Program,
    store::{Schedule, explore, run},
};

use self::subject::{BACKENDS, NOT_YET, open};

fn main() -> ExitCode {
    let program = Program {
        command: "cargo xtask simulate-nodes --over cached-store",
        backends: &BACKENDS.map(|(name, _)| name),
        left_out: NOT_YET,
        explore: &|seed, nodes, backend, left_out| {
            Ok(explore(
                seed..seed + 1,
                nodes,
                &|opening| open(opening, BACKENDS[backend]),
                left_out,
            )?)
        },
        show: &|seed, nodes, backend| {
            let schedule = Schedule::new(seed, nodes);
            let history = run(&schedule, &|opening| open(opening, BACKENDS[backend]));
            format!("{schedule}\n{history}")
        },
    };
    program.run(env::args().skip(1))
}
