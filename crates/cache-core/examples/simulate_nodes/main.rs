//! Plays generated schedules of several nodes over one origin, in virtual time, and checks their histories.
//!
//! `cargo xtask simulate-nodes` runs it. The schedule that breaks a rule is printed, shrunk, with its seed: it repeats.
#![forbid(unsafe_code)]

mod backends;
mod clock;

use std::{
    env, fs,
    num::NonZero,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use cache_testkit::simulation::{Explored, Failure, Schedule, explore};

use self::{
    backends::{BACKENDS, Named},
    clock::Stopwatch,
};

const USAGE: &str = "\
simulate-nodes [OPTION]…
  --first-seed S    the first schedule's seed; 0
  --seeds N         how many schedules, in turn over every backend; 1000
  --minutes M       instead, as many as that takes
  --nodes K         nodes with a cache; 2
  --backend NAME    over this backend only: map, memory, moka, waiting, refusing
  --show            print the history of the first schedule too
  --json FILE       write what was explored";

struct Options {
    first_seed: u64,
    seeds: u64,
    minutes: Option<u64>,
    nodes: usize,
    backend: Option<String>,
    show: bool,
    json: Option<String>,
}

fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)).and_then(|options| options.map_or(Ok(true), |it| run(&it))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate-nodes: {error}");
            ExitCode::from(2)
        }
    }
}

impl Options {
    /// `None` if only the usage was wanted, and was printed.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            first_seed: 0,
            seeds: 1_000,
            minutes: None,
            nodes: 2,
            backend: None,
            show: false,
            json: None,
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--first-seed" => options.first_seed = number(&value()?)?,
                "--seeds" => options.seeds = number(&value()?)?,
                "--minutes" => options.minutes = Some(number(&value()?)?),
                "--nodes" => options.nodes = number(&value()?)?,
                "--backend" => options.backend = Some(value()?),
                "--json" => options.json = Some(value()?),
                "--show" => options.show = true,
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("what is {name}?\n{USAGE}")),
            }
        }
        if options.nodes == 0 {
            Err("there is no simulation without a node".into())
        } else {
            Ok(Some(options))
        }
    }

    fn backends(&self) -> Result<Vec<Named>, String> {
        let is_wanted = |name| self.backend.as_deref().is_none_or(|wanted| wanted == name);
        let backends: Vec<_> = BACKENDS.into_iter().filter(|(name, _)| is_wanted(*name)).collect();
        if backends.is_empty() {
            Err(format!("no backend {:?}\n{USAGE}", self.backend))
        } else {
            Ok(backends)
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits here"))
}

/// Whether every rule held.
fn run(options: &Options) -> Result<bool, String> {
    let backends = options.backends()?;
    let of_seed = |seed: u64| backends[usize::try_from(seed % backends.len() as u64).unwrap_or(0)];
    if options.show {
        let schedule = Schedule::new(options.first_seed, options.nodes);
        let history = cache_testkit::simulation::run(&schedule, &of_seed(options.first_seed).1);
        println!("{schedule}\n{history}");
    }
    let watch = Stopwatch::start();
    let next = AtomicU64::new(options.first_seed);
    let is_over = |seed: u64| match options.minutes {
        Some(minutes) => watch.minutes() >= minutes,
        None => seed - options.first_seed >= options.seeds,
    };
    let found: Mutex<(Explored, Vec<(&str, Failure)>)> = Mutex::default();
    let explore_some = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if is_over(seed) || !found.lock().unwrap_or_else(PoisonError::into_inner).1.is_empty() {
            return;
        }
        let (name, backend) = of_seed(seed);
        let explored = explore(seed..seed + 1, options.nodes, &backend);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        match explored {
            Ok(more) => found.0 += more,
            Err(failure) => found.1.push((name, *failure)),
        }
    };
    thread::scope(|scope| {
        let n_threads = thread::available_parallelism().map_or(1, NonZero::get);
        (0..n_threads).for_each(|_| drop(scope.spawn(explore_some)));
    });
    let (explored, failures) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, failure) in &failures {
        let (seed, nodes) = (failure.schedule.seed, options.nodes);
        println!("over {name}: {failure}");
        println!(
            "again: cargo xtask simulate-nodes --first-seed {seed} --seeds 1 --nodes {nodes} --backend {name} --show\n"
        );
    }
    println!(
        "{} schedules, {} calls, {:.2} virtual hours in {:.1} s, {} failures",
        explored.schedules,
        explored.calls,
        hours(&explored),
        watch.seconds(),
        failures.len()
    );
    if let Some(file) = &options.json {
        fs::write(file, json(&explored, &failures)).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(failures.is_empty())
}

fn hours(explored: &Explored) -> f64 {
    explored.time.as_secs_f64() / 3_600.0
}

fn json(explored: &Explored, failures: &[(&str, Failure)]) -> String {
    let failures: Vec<_> = failures
        .iter()
        .map(|(backend, Failure { violation, schedule })| {
            // A rule and a backend have names without quotes.
            let (seed, rule) = (schedule.seed, violation.rule);
            format!(r#"{{"seed": {seed}, "backend": "{backend}", "rule": "{rule}"}}"#)
        })
        .collect();
    let Explored { schedules, calls, .. } = explored;
    let (hours, failures) = (hours(explored), failures.join(", "));
    format!(
        "{{\"seeds\": {schedules}, \"operations\": {calls}, \"virtual_hours\": {hours:.4}, \"failures\": [{failures}]}}\n"
    )
}
