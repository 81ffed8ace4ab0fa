//! `cargo xtask ci`: the one list of checks. CI only calls it.

mod absences;
mod cycles;
mod examples;
mod features;
mod lean;
mod licences;
mod package;
mod prose;
mod rust;
mod sources;
mod tree;
mod width;
mod words;

use std::process::ExitCode;

use crate::{
    clock::Stopwatch,
    dashboards,
    shell::{Result, cargo, run as sh},
    simulate_nodes,
};

pub(crate) const USAGE: &str = "\
cargo xtask ci [STEP…] [--skip STEP]…
    Runs the checks in order, all of them or those named, and stops at the first that fails.
cargo xtask ci --list
    Lists them.";

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--list") {
        STEPS.iter().for_each(|step| println!("{:<14}{}", step.name, step.about));
        return Ok(ExitCode::SUCCESS);
    }
    let steps = chosen(args)?;
    let whole = Stopwatch::start();
    let mut times = Vec::new();
    for step in &steps {
        println!("\n=== {}: {}", step.name, step.about);
        let one = Stopwatch::start();
        (step.run)().map_err(|error| format!("step {} failed after {one}\n{error}", step.name))?;
        times.push(format!("{:<14}{one}", step.name));
    }
    println!("\n=== all passed\n{}\n{:<14}{whole}", times.join("\n"), "together");
    Ok(ExitCode::SUCCESS)
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<()>,
}

/// Cheap ones first.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "the code is formatted",
        run: || sh(&mut cargo("fmt --all --check")),
    },
    Step {
        name: "absences",
        about: "what must not be in the code is not there",
        run: absences::check,
    },
    Step {
        name: "width",
        about: "no line is wider than 100 columns, comments and documents too",
        run: width::check,
    },
    Step {
        name: "words",
        about: "no text uses a form that docs/style.md has a better one for",
        run: words::check,
    },
    Step { name: "licences", about: "we may ship what we depend on", run: licences::check },
    Step { name: "clippy", about: "no warning, on any target, with all features", run: clippy },
    Step { name: "docs", about: "the documentation builds without a warning", run: docs },
    Step { name: "test", about: "tests and doc tests, as the README runs them", run: test },
    Step {
        name: "simulate-nodes",
        about: "2,000 schedules of two nodes hold every rule, over an origin and over an object \
            store",
        run: simulate_nodes::check,
    },
    Step {
        name: "package",
        about: "each crate can be published: its package is whole, and builds",
        run: package::check,
    },
    Step { name: "lean", about: "the tests build neither benchmarks nor peers", run: lean::check },
    Step { name: "benches", about: "tests of the benchmarks' library", run: benches },
    Step {
        name: "examples",
        about: "every example runs, and the demo; each asserts what it prints",
        run: examples::check,
    },
    Step {
        name: "dashboards",
        about: "the dashboard and the alerts run in promtool",
        run: dashboards::check,
    },
    Step { name: "model", about: "small types in every order that threads can take", run: model },
    Step {
        name: "test-features",
        about: "tests with all features, real stores among them",
        run: features::test,
    },
    Step {
        name: "features",
        about: "each crate without features, and with each one alone",
        run: features::alone,
    },
];

fn clippy() -> Result<()> {
    sh(&mut cargo("clippy --workspace --all-targets --all-features --locked -- -D warnings"))
}

fn docs() -> Result<()> {
    sh(cargo("doc --workspace --no-deps --all-features --locked")
        .env("RUSTDOCFLAGS", "-D warnings"))
}

fn test() -> Result<()> {
    sh(&mut cargo("test --workspace --locked"))
}

fn benches() -> Result<()> {
    sh(&mut cargo("test --package benches --lib --locked"))
}

fn model() -> Result<()> {
    // What is built with other flags has a folder of its own.
    let tests = "test --package cache-core --lib --locked --target-dir target/loom model::";
    sh(cargo(tests).env("RUSTFLAGS", "--cfg object_cache_loom"))
}

fn chosen(args: &[String]) -> Result<Vec<&'static Step>> {
    let (mut named, mut skipped) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--skip" => skipped.push(step(args.next().ok_or("--skip what?")?)?.name),
            name => named.push(step(name)?.name),
        }
    }
    let by_default = named.is_empty();
    let wanted = |name| (by_default || named.contains(&name)) && !skipped.contains(&name);
    Ok(STEPS.iter().filter(|step| wanted(step.name)).collect())
}

fn step(name: &str) -> Result<&'static Step> {
    let found = STEPS.iter().find(|step| step.name == name);
    Ok(found.ok_or_else(|| format!("no step {name:?}; see cargo xtask ci --list"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(args: &[&str], expected: &[&str]) {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        let names: Vec<_> = chosen(&args).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn named_steps_run_in_the_order_of_the_list() {
        check(&["docs", "fmt"], &["fmt", "docs"]);
        check(&["docs", "fmt", "--skip", "docs"], &["fmt"]);
    }

    #[test]
    fn a_skipped_step_is_the_only_one_missing() {
        let rest = STEPS.iter().map(|step| step.name);
        let rest: Vec<_> = rest.filter(|name| *name != "test").collect();
        check(&["--skip", "test"], &rest);
    }

    #[test]
    fn an_unknown_step_is_an_error() {
        assert!(chosen(&["tests".to_owned()]).is_err());
        assert!(chosen(&["--skip".to_owned()]).is_err());
        assert!(chosen(&["--skip".to_owned(), "tests".to_owned()]).is_err());
    }
}
