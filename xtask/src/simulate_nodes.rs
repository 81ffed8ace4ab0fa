//! `cargo xtask simulate-nodes`: schedules of several nodes over one origin or store, in virtual
//! time. The programs are examples of the crates that they play, which may know what those may not;
//! here they are built and run.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run, cargo, run as sh};

pub(crate) const USAGE: &str = "\
cargo xtask simulate-nodes [--over cached-store] [--seeds N] [--nodes K] …
    Plays generated schedules of reads, writes, faults and restarts on K nodes, each with a
    ReadThrough or a CachedStore, checks every history, and prints a shrunk schedule for each rule
    that is broken.";

/// What is played: the name that `--over` takes, the package and its example.
pub(crate) type Over = (&'static str, &'static str, &'static str);

pub(crate) const READ_THROUGH: Over = ("read-through", "cache-core", "simulate_nodes");
pub(crate) const CACHED_STORE: Over = ("cached-store", "cache-store", "simulate_store");

const OVER: [Over; 2] = [READ_THROUGH, CACHED_STORE];

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let (over, args) = over(args)?;
    let (_, package, example) = over;
    build_and_run(&format!("build --package {package} --example {example}"), &args)
}

/// What CI plays.
pub(crate) fn check() -> Result<()> {
    for (name, package, example) in OVER {
        let run = format!("run --quiet --locked --package {package} --example {example} --");
        sh(&mut cargo(&format!("{run} --seeds 2000 --json target/simulate-{name}.json")))?;
    }
    Ok(())
}

/// What is to be played, and the arguments without the one that says so.
fn over(args: &[String]) -> Result<(Over, Vec<String>)> {
    let mut args = args.to_vec();
    let Some(at) = args.iter().position(|arg| arg == "--over") else { return Ok((OVER[0], args)) };
    let name = args.get(at + 1).cloned().unwrap_or_default();
    args.drain(at..args.len().min(at + 2));
    let over = OVER.into_iter().find(|(known, ..)| *known == name);
    Ok((
        over.ok_or_else(|| {
            format!("--over {name:?}? it takes {}", OVER.map(|(name, ..)| name).join(" or "))
        })?,
        args,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_played_is_told_by_one_argument_and_the_others_are_passed_on() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let example =
            |text: &str| over(&args(text)).map(|((.., example), rest)| (example, rest.join(" ")));
        assert_eq!(example("--seeds 3").unwrap(), ("simulate_nodes", "--seeds 3".to_owned()));
        let cached = example("--seeds 3 --over cached-store --show").unwrap();
        assert_eq!(cached, ("simulate_store", "--seeds 3 --show".to_owned()));
        assert!(example("--over").is_err() && example("--over nothing").is_err());
    }
}
