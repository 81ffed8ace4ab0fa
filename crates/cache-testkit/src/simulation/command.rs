//! The program that explores schedules: its options, its threads, and what it says.

use std::{
    fmt, fs,
    num::NonZero,
    process::ExitCode,
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{Explored, Failure, Shrinks};
use crate::{clock::Stopwatch, history::Rule};

/// A program that explores schedules, with the options that [`Program::usage`] tells.
pub struct Program<'a> {
    /// How it is called again, without options.
    pub command: &'a str,
    /// The backends' names. Seeds take them in turn.
    pub backends: &'a [&'a str],
    /// Rules that are left out, unless they are asked for by name: what is simulated is known to
    /// break them.
    pub left_out: &'a [Rule],
    /// Explores a seed.
    pub explore: &'a Explores<'a>,
    /// The first schedule and its history, of the same.
    pub show: &'a dyn Fn(u64, usize, usize) -> String,
}

/// Explores one seed with so many nodes over a backend, by its number, but for some rules.
pub type Explores<'a> = dyn Fn(u64, usize, usize, &[Rule]) -> Result<Explored, Found> + Sync + 'a;

/// A schedule that breaks a rule.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its seed.
    seed: u64,
    rule: Rule,
    /// What contradicts what, and the schedule.
    said: String,
}

impl<S: Shrinks> From<Box<Failure<S>>> for Found {
    fn from(failure: Box<Failure<S>>) -> Self {
        Self {
            seed: failure.schedule.seed(),
            rule: failure.violation.rule,
            said: failure.to_string(),
        }
    }
}

struct Options {
    first_seed: u64,
    seeds: u64,
    minutes: Option<u64>,
    nodes: usize,
    backend: Option<String>,
    rule: Option<String>,
    show: bool,
    json: Option<String>,
}

impl Program<'_> {
    /// Explores what `args` say, and prints what it found. Fails if a rule is broken; 2 if the
    /// options make no sense.
    pub fn run(&self, args: impl Iterator<Item = String>) -> ExitCode {
        let explored = match self.options(args) {
            Ok(None) => Ok(true),
            Ok(Some(options)) => self.explore(&options),
            Err(error) => Err(error),
        };
        match explored {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{}: {error}", self.command);
                ExitCode::from(2)
            }
        }
    }

    /// The options.
    pub fn usage(&self) -> String {
        let (command, backends) = (self.command, self.backends.join(", "));
        format!(
            "\
{command} [OPTION]…
  --first-seed S    seed of the first schedule; default: 0
  --seeds N         number of schedules, spread over the backends; default: 1000
  --minutes M       as many schedules as take M minutes, instead of --seeds
  --nodes K         nodes with a cache; default: 2
  --backend NAME    only this backend: {backends}
  --rule WORDS      check only rules with these words in their names
  --show            print the history of the first schedule too
  --json FILE       write counts and failures to FILE"
        )
    }

    /// `None` if only the usage was wanted, and was printed.
    fn options(&self, mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
        let mut options = Options {
            first_seed: 0,
            seeds: 1_000,
            minutes: None,
            nodes: 2,
            backend: None,
            rule: None,
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
                "--rule" => options.rule = Some(value()?),
                "--json" => options.json = Some(value()?),
                "--show" => options.show = true,
                "--help" | "-h" => {
                    println!("{}", self.usage());
                    return Ok(None);
                }
                _ => return Err(format!("unexpected argument {name:?}\n{}", self.usage())),
            }
        }
        if options.nodes == 0 {
            Err("there is no simulation without a node".into())
        } else {
            Ok(Some(options))
        }
    }

    /// The numbers of the backends that are wanted.
    fn backends(&self, options: &Options) -> Result<Vec<usize>, String> {
        let is_wanted = |name: &str| options.backend.as_deref().is_none_or(|wanted| wanted == name);
        let backends: Vec<_> = (0..)
            .zip(self.backends)
            .filter(|(_, name)| is_wanted(name))
            .map(|(number, _)| number)
            .collect();
        if backends.is_empty() {
            Err(format!("no backend {:?}\n{}", options.backend, self.usage()))
        } else {
            Ok(backends)
        }
    }

    fn left_out(&self, options: &Options) -> Result<Vec<Rule>, String> {
        let Some(words) = &options.rule else { return Ok(self.left_out.to_vec()) };
        let left_out: Vec<_> =
            Rule::ALL.into_iter().filter(|rule| !rule.to_string().contains(words)).collect();
        if left_out.len() == Rule::ALL.len() {
            let rules: Vec<_> = Rule::ALL.iter().map(ToString::to_string).collect();
            return Err(format!("no rule is called {words:?}, of these:\n{}", rules.join("\n")));
        }
        Ok(left_out)
    }

    /// Whether every rule held.
    fn explore(&self, options: &Options) -> Result<bool, String> {
        let backends = self.backends(options)?;
        let left_out = self.left_out(options)?;
        let of_seed =
            |seed: u64| backends[usize::try_from(seed % backends.len() as u64).unwrap_or(0)];
        if options.show {
            println!(
                "{}",
                (self.show)(options.first_seed, options.nodes, of_seed(options.first_seed))
            );
        }
        let watch = Stopwatch::start();
        let next = AtomicU64::new(options.first_seed);
        let is_over = |seed: u64| match options.minutes {
            Some(minutes) => watch.minutes() >= minutes,
            None => seed - options.first_seed >= options.seeds,
        };
        let found: Mutex<(Explored, Vec<(&str, Found)>)> = Mutex::default();
        let explore_some = || loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if is_over(seed) || !found.lock().unwrap_or_else(PoisonError::into_inner).1.is_empty() {
                return;
            }
            let backend = of_seed(seed);
            let explored = (self.explore)(seed, options.nodes, backend, &left_out);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match explored {
                Ok(more) => found.0 += more,
                Err(failure) => found.1.push((self.backends[backend], failure)),
            }
        };
        thread::scope(|scope| {
            let n_threads = thread::available_parallelism().map_or(1, NonZero::get);
            (0..n_threads).for_each(|_| drop(scope.spawn(explore_some)));
        });
        let (explored, failures) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (name, Found { seed, said, .. }) in &failures {
            let (command, nodes) = (self.command, options.nodes);
            println!("over {name}: {said}");
            println!(
                "again: {command} --first-seed {seed} --seeds 1 --nodes {nodes} --backend {name} \
                    --show\n"
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
            fs::write(file, json(&explored, &failures))
                .map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(failures.is_empty())
    }
}

impl fmt::Debug for Program<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("command", &self.command).finish_non_exhaustive()
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits here"))
}

fn hours(explored: &Explored) -> f64 {
    explored.time.as_secs_f64() / 3_600.0
}

fn json(explored: &Explored, failures: &[(&str, Found)]) -> String {
    let failures: Vec<_> = failures
        .iter()
        // A rule and a backend have names without quotes.
        .map(|(backend, Found { seed, rule, .. })| {
            format!(r#"{{"seed": {seed}, "backend": "{backend}", "rule": "{rule}"}}"#)
        })
        .collect();
    let Explored { schedules, calls, .. } = explored;
    let (hours, failures) = (hours(explored), failures.join(", "));
    format!(
        "{{\"seeds\": {schedules}, \"operations\": {calls}, \"virtual_hours\": {hours:.4}, \
            \"failures\": [{failures}]}}\n"
    )
}
