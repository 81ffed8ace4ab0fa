//! Runs one hot loop as one subject, for a profiler: `loops LOOP SUBJECT OPERATIONS`. Without
//! arguments it lists the loops and subjects, a pair a line. `cargo xtask instructions` counts the
//! instructions they execute.
#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use benches::loops::{LOOPS, Loop};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let done = match &args[..] {
        [] => {
            LOOPS.iter().for_each(list);
            Some(())
        }
        [name, subject, ops] => LOOPS
            .iter()
            .find(|other| other.name == name)
            .zip(ops.parse().ok())
            .and_then(|(found, ops)| found.run(subject, ops)),
        _ => None,
    };
    if done.is_some() {
        return ExitCode::SUCCESS;
    }
    eprintln!("usage: loops [LOOP SUBJECT OPERATIONS]");
    ExitCode::from(2)
}

fn list(one: &Loop) {
    one.subjects().iter().for_each(|subject| println!("{} {subject}", one.name));
}
