//! Several caches over one simulated origin, on one thread and in virtual time: everything from one
//! seed.
//!
//! A [`Schedule`] says what is called when, on which node, and how the origin behaves; [`run`]
//! plays it and returns the [`History`], whose rules are [checked](History::check). [`explore`]
//! does so for many seeds, and shrinks the first schedule that breaks a rule. One seed, one
//! history: over backends that draw on no randomness of their own, a run repeats to the letter.
//!
//! The order in which callers are polled is drawn, as are all latencies and the turns of the
//! scheduler for which the origin waits; tokio's paused clock goes on when every task waits for
//! time.

mod backend;
mod bus;
pub mod command;
mod conductor;
mod lists;
mod node;
mod origin;
mod recorder;
mod schedule;
pub mod store;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    fmt,
    ops::{AddAssign, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use cache_core::Backend;

pub use self::schedule::{BusPlan, Leaves, Listed, Plan, Planned, Schedule, Trouble};
use crate::history::{History, Rule, Violation};

/// Makes the backend of a node, from the seed and the node's number. What it makes may evict,
/// refuse, wait and fail, and must draw on nothing but the seed.
pub type Backends<'a> = dyn Fn(u64, usize) -> Arc<dyn Backend> + Sync + 'a;

/// Plays `schedule` to its end, and until nothing is in the air any more.
///
/// # Panics
///
/// If a cache or a backend does so on its caller's side; inside of a tokio runtime.
pub fn run(schedule: &Schedule, backends: &Backends<'_>) -> History {
    played(schedule.seed, node::play(schedule, backends))
}

/// What is played in virtual time.
fn played(seed: u64, play: impl Future<Output = History>) -> History {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // How many tasks run between two looks at the callers and at the timers.
    let interval = 1 + u32::try_from(seed % 7).unwrap_or(0);
    let runtime = runtime.enable_time().start_paused(true).event_interval(interval).build();
    runtime.expect("a runtime without I/O needs nothing of the system").block_on(play)
}

/// Plays `schedule` and holds its history against the rules.
///
/// # Errors
///
/// The rule that is broken; a panic breaks [`Rule::Recorded`].
pub fn check(schedule: &Schedule, backends: &Backends<'_>) -> Result<History, Violation> {
    checked(|| run(schedule, backends), &[])
}

/// The history, held against the rules but for some.
fn checked(run: impl FnOnce() -> History, left_out: &[Rule]) -> Result<History, Violation> {
    let history = catch_unwind(AssertUnwindSafe(run)).map_err(panicked)?;
    history.check_but(left_out).map(|()| history)
}

/// What schedules have in common.
pub trait Shrinks: Clone + fmt::Display {
    /// What it was drawn from.
    fn seed(&self) -> u64;

    /// Schedules that do a little less, those that do much less first.
    fn smaller(&self) -> Box<dyn Iterator<Item = Self> + '_>;
}

/// How much was played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Explored {
    /// Schedules.
    pub schedules: u64,
    /// Calls in them.
    pub calls: u64,
    /// Virtual time.
    pub time: Duration,
}

/// A schedule that breaks a rule.
#[derive(Debug, Clone)]
pub struct Failure<S = Schedule> {
    /// What is broken.
    pub violation: Violation,
    /// The schedule, with all that could be left out left out.
    pub schedule: S,
}

/// Checks the schedules of all `seeds` with `nodes` nodes, up to the first that breaks a rule,
/// which is shrunk.
///
/// # Errors
///
/// That schedule.
pub fn explore(
    seeds: Range<u64>,
    nodes: usize,
    backends: &Backends<'_>,
) -> Result<Explored, Box<Failure>> {
    explore_but(seeds, nodes, backends, &[])
}

/// The same, but for the rules `left_out`.
///
/// # Errors
///
/// The first schedule that breaks another rule.
pub fn explore_but(
    seeds: Range<u64>,
    nodes: usize,
    backends: &Backends<'_>,
    left_out: &[Rule],
) -> Result<Explored, Box<Failure>> {
    let check = |schedule: &Schedule| checked(|| run(schedule, backends), left_out);
    explored(seeds, |seed| Schedule::new(seed, nodes), check)
}

fn explored<S: Shrinks>(
    seeds: Range<u64>,
    new: impl Fn(u64) -> S,
    check: impl Fn(&S) -> Result<History, Violation>,
) -> Result<Explored, Box<Failure<S>>> {
    let mut explored = Explored::default();
    for seed in seeds {
        let schedule = new(seed);
        match check(&schedule) {
            Ok(history) => explored += Explored::of(&history),
            Err(violation) => return Err(Box::new(shrunk(schedule, violation, check))),
        }
    }
    Ok(explored)
}

impl Explored {
    fn of(history: &History) -> Self {
        Self { schedules: 1, calls: history.calls().len() as u64, time: history.length() }
    }
}

impl AddAssign for Explored {
    fn add_assign(&mut self, more: Self) {
        self.schedules += more.schedules;
        self.calls += more.calls;
        self.time += more.time;
    }
}

/// The schedule without all that it needs not to break the same rule.
fn shrunk<S: Shrinks>(
    schedule: S,
    violation: Violation,
    check: impl Fn(&S) -> Result<History, Violation>,
) -> Failure<S> {
    let mut failure = Failure { violation, schedule };
    let mut runs_left = SHRINKING_RUNS_MAX;
    loop {
        let smaller = failure.schedule.smaller().find_map(|schedule| {
            runs_left = runs_left.checked_sub(1)?;
            let violation = check(&schedule).err()?;
            (violation.rule == failure.violation.rule).then_some(Failure { violation, schedule })
        });
        match smaller {
            Some(smaller) => failure = smaller,
            None => return failure,
        }
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Violation {
    let said = panic.downcast::<String>().map_or_else(
        |panic| panic.downcast::<&str>().map_or_else(|_| String::new(), |said| (*said).to_owned()),
        |said| *said,
    );
    Violation {
        rule: Rule::Recorded,
        key: String::new(),
        events: vec![format!("it panicked: {said}")],
    }
}

impl<S: Shrinks> fmt::Display for Failure<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}\n{}", self.schedule.seed(), self.violation, self.schedule)
    }
}

impl<S: Shrinks + fmt::Debug> std::error::Error for Failure<S> {}

const SHRINKING_RUNS_MAX: u32 = 3_000;
