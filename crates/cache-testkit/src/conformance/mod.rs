//! Whether an implementation keeps the contract of its trait: one function for each sentence that can be seen from
//! outside.
//!
//! | of | suite | what it is given |
//! | --- | --- | --- |
//! | [`Backend`](cache_core::Backend) | [`backend::check`] | how to open one, and what it can do |
//! | [`Validator`](cache_core::Validator), [`Origin`](cache_core::Origin) | [`validator::check`] | it, a way to change objects behind its back, and what it can do |
//! | [`EvictionPolicy`](cache_core::EvictionPolicy) | [`policy::check`] | the pattern, and what it can do |
//!
//! A check ends at the first rule that is broken, and says in words which one, what was done, what was expected and
//! what was seen. What an implementation cannot do by its nature, it declares (`Capabilities`); a rule that does not
//! apply is left out, and the [`Report`] says why. Each suite lists its rules in `RULES`, to run some of them.
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
//! Each rule runs on a thread of its own, in a tokio runtime of its own, which has several threads if the caller's runtime
//! has. So the caller's goes on meanwhile, with a server in it, say; and its clock does not count: it may be paused.
//!
//! A suite never panics itself, and a panic of the implementation is reported under the rule that was looked at. Waiting
//! is bounded: a rule in which no call has begun or returned for [`PATIENCE`] of the machine's time, or what `Suite::patience`
//! says, is given up, and the [`Broken`] names the calls that are open, and whether they wait, wake themselves without end, or
//! block their thread. Nobody can interrupt what blocks its thread: the thread is left behind.
//!
//! What is generated comes from seeds that are fixed: a rule that failed once fails again, as far as the
//! implementation and the runtime do the same again. A suite that passes shows the absence of what it looks for, and
//! nothing else.

pub mod backend;
mod bounds;
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
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this rule is broken: {} (`{}`): {}", self.rule.replace('_', " "), self.rule, self.what)
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

/// What a check that found no broken rule has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Checks `rules` one after the other, up to the first that is broken.
async fn check_all<S: ?Sized>(suite: &S, rules: &[Rule<S>]) -> Result<Report, Broken> {
    let mut report = Report { rules: Vec::new() };
    for rule in rules {
        report.rules.push((rule.name, rule.run(suite).await?));
    }
    Ok(report)
}

/// What became of `rule`, as `checking` finds it by these calls.
async fn checked(
    rule: &'static str,
    patience: Duration,
    calls: Calls,
    checking: impl AsyncFnOnce() -> Result<Outcome, Fault> + Send + 'static,
) -> Result<Outcome, Broken> {
    in_a_runtime(rule, patience, calls, checking).await.map_err(|what| Broken { rule, what })
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
