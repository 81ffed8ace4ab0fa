//! Whether an implementation keeps the contract of its trait: one function for each sentence that
//! can be seen from outside.
//!
//! | of | suite | what it is given |
//! | --- | --- | --- |
//! | [`Backend`](cache_core::Backend) | [`backend::check`] | how to open one, and what it can do |
//! | [`Validator`](cache_core::Validator), [`Origin`](cache_core::Origin) | [`validator::check`] | it, a way to change objects behind its back, and what it can do |
//! | [`ChangeBus`](cache_core::ChangeBus) | [`bus::check`] | how to open a client of a channel, and the server |
//! | [`EvictionPolicy`](cache_core::EvictionPolicy) | [`policy::check`] | the pattern, and what it can do |
//!
//! A check goes through all rules, and says in words which ones are broken, what was done, what was
//! expected and what was seen, with the whole chain of an error's sources. It ends early only if
//! several rules had to be given up. What an implementation cannot do by its nature, it declares
//! (`Capabilities`); a rule that does not apply is left out, and the [`Report`] says why. Each
//! suite lists its rules in `RULES`, to run some of them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cache_testkit::{MapBackend, conformance::backend};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cache_testkit::conformance::Broken> {
//! let suite = backend::Suite::new(backend::Capabilities::new().sweeps(), |_| async {
//!     Arc::new(MapBackend::new()) as Arc<dyn cache_core::Backend>
//! });
//! let report = backend::check(&suite).await?;
//! println!("{report}");
//!
//! // One rule alone.
//! backend::a_removed_entry_is_not_shown(&suite).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a suite does to the code under test
//!
//! Each rule runs on a thread of its own, in a tokio runtime of its own, which has several threads
//! if the caller's runtime has. So the caller's goes on meanwhile, with a server in it, say; and
//! its clock does not count: it may be paused.
//!
//! A suite never panics itself, and a panic of the implementation is reported under the rule that
//! was looked at. Waiting is bounded: a rule in which no call has begun or returned for
//! [`PATIENCE`] of the machine's time, or what `Suite::patience` says, is given up, and the
//! [`Broken`] names the calls that are open, and whether they wait, wake themselves without end, or
//! block their thread. Nobody can interrupt what blocks its thread: the thread is left behind.
//!
//! What is generated comes from seeds that are fixed: a rule that failed once fails again, as far
//! as the implementation and the runtime do the same again. A suite that passes shows the absence
//! of what it looks for, and nothing else.

pub mod backend;
mod bounds;
pub mod bus;
pub mod policy;
pub mod validator;

use std::{error::Error, fmt, time::Duration};

use futures_util::future::BoxFuture;

pub use self::bounds::PATIENCE;
use self::bounds::{Calls, in_a_runtime};

/// A rule that an implementation broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// The name of the function that checks the rule.
    pub rule: &'static str,
    /// What was done, what was expected, and what was seen.
    pub what: String,
    /// The other rules that a whole check found to be broken.
    pub others: Vec<Broken>,
    /// What became of the rules that are not broken, if it was a whole check.
    pub report: Report,
    /// No call began or returned for too long.
    is_given_up: bool,
}

impl Broken {
    fn new(rule: &'static str, what: String, is_given_up: bool) -> Self {
        Self { rule, what, others: Vec::new(), report: Report::default(), is_given_up }
    }

    /// All rules that are broken, in the order in which they were looked at.
    pub fn rules(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.rule).chain(self.others.iter().map(|other| other.rule))
    }
}

impl fmt::Display for Broken {
    /// One rule a line; then those that are not broken, if it was a whole check.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this rule is broken: {} (`{}`): {}",
            self.rule.replace('_', " "),
            self.rule,
            self.what
        )?;
        self.others.iter().try_for_each(|other| write!(f, "\n{other}"))?;
        if self.report.rules.is_empty() {
            Ok(())
        } else {
            write!(f, "\nthe others:\n{}", self.report)
        }
    }
}

impl Error for Broken {}

/// What became of a rule that is not broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept, as far as the suite can see.
    Kept,
    /// It does not apply, and why.
    LeftOut(&'static str),
}

/// A rule of the suite `S`.
pub struct Rule<S: ?Sized> {
    /// The name of the function that checks it.
    pub name: &'static str,
    run: fn(&S) -> BoxFuture<'_, Result<Outcome, Broken>>,
}

impl<S: ?Sized> Rule<S> {
    /// Checks this rule alone.
    ///
    /// # Errors
    ///
    /// [`Broken`] if it is broken.
    pub async fn run(&self, suite: &S) -> Result<Outcome, Broken> {
        (self.run)(suite).await
    }
}

impl<S: ?Sized> fmt::Debug for Rule<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What became of the rules that are not broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Each rule with its outcome, in the order in which they were checked.
    pub rules: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// The rules that are kept.
    pub fn kept(&self) -> impl Iterator<Item = &'static str> {
        self.rules.iter().filter(|(_, outcome)| *outcome == Outcome::Kept).map(|(rule, _)| *rule)
    }

    /// The rules that were left out, each with the reason.
    pub fn left_out(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.rules.iter().filter_map(|(rule, outcome)| match outcome {
            Outcome::Kept => None,
            Outcome::LeftOut(why) => Some((*rule, *why)),
        })
    }
}

impl fmt::Display for Report {
    /// A line a rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, outcome) in &self.rules {
            match outcome {
                Outcome::Kept => writeln!(f, "kept      {rule}")?,
                Outcome::LeftOut(why) => writeln!(f, "left out  {rule}: {why}")?,
            }
        }
        Ok(())
    }
}

/// Checks `rules` one after the other. An error has all that are broken.
async fn check_all<S: ?Sized>(suite: &S, rules: &[Rule<S>]) -> Result<Report, Broken> {
    let (mut report, mut broken, mut n_given_up) = (Report::default(), Vec::new(), 0);
    for rule in rules {
        if n_given_up == GIVEN_UP_MAX {
            report
                .rules
                .push((rule.name, Outcome::LeftOut("other rules had to be given up before it")));
            continue;
        }
        match rule.run(suite).await {
            Ok(outcome) => report.rules.push((rule.name, outcome)),
            Err(found) => {
                n_given_up += usize::from(found.is_given_up);
                broken.push(found);
            }
        }
    }
    let mut broken = broken.into_iter();
    match broken.next() {
        None => Ok(report),
        Some(first) => Err(Broken { others: broken.collect(), report, ..first }),
    }
}

/// An error and its sources, each as far as the one before does not say it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        source = error.source();
    }
    said
}

/// What became of `rule`, as `checking` finds it by these calls, in a runtime with so many threads
/// at least.
async fn checked(
    rule: &'static str,
    patience: Duration,
    calls: Calls,
    n_threads_min: usize,
    checking: impl AsyncFnOnce() -> Result<Outcome, Fault> + Send + 'static,
) -> Result<Outcome, Broken> {
    let found = in_a_runtime(rule, patience, calls.clone(), n_threads_min, checking).await;
    found.map_err(|what| Broken::new(rule, what, calls.were_given_up()))
}

/// The rules that these functions check.
macro_rules! rules {
    ($($rule:path),+ $(,)?) => {
        &[$(crate::conformance::Rule {
            name: crate::conformance::last_of(stringify!($rule)),
            run: |suite| Box::pin($rule(suite)),
        }),+]
    };
}
use rules;

/// The last segment of a path.
const fn last_of(path: &'static str) -> &'static str {
    let mut at = path.len();
    while at > 0 && path.as_bytes()[at - 1] != b':' {
        at -= 1;
    }
    path.split_at(at).1
}

/// How a rule is broken: what was done, expected and seen. The suite adds the name of the rule.
type Fault = String;

/// A key, cut where it is too long to read.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(KEY_SHOWN_MAX) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..end], self.0.len()),
        }
    }
}

const KEY_SHOWN_MAX: usize = 80;

/// Each rule that is given up takes the patience of the suite.
const GIVEN_UP_MAX: usize = 2;
