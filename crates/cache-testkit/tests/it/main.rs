//! The conformance suites: what keeps a contract passes, and for each rule there is something
//! broken that it catches.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod backends;
mod buses;
mod own;
mod policies;
mod tiers;
mod validators;

use std::{collections::BTreeSet, fmt, time::Duration};

use cache_testkit::conformance::{Broken, Outcome, Report};

/// How long a rule may make no progress, where something is there that never ends: long enough for
/// what does.
const SHORT: Duration = Duration::from_secs(1);

/// Blocks the thread for good.
fn block() -> ! {
    loop {
        std::thread::park();
    }
}

/// The broken rule, of a check that should have found it.
#[track_caller]
fn broken(rule: &str, fault: impl fmt::Debug, outcome: Result<Outcome, Broken>) {
    match outcome {
        Ok(outcome) => panic!("{fault:?} is not caught by {rule}: {outcome:?}"),
        Err(broken) => {
            println!("{fault:?}: {broken}");
            assert_eq!(broken.rule, rule, "the error names another rule");
            let shown = broken.to_string();
            assert!(shown.contains(rule) && shown.contains(&rule.replace('_', " ")), "{shown}");
        }
    }
}

/// Every rule was kept, and has something broken in `cases`.
#[track_caller]
fn covered<'a>(report: &Report, cases: impl Iterator<Item = &'a str>) {
    println!("{report}");
    let cases: BTreeSet<&str> = cases.collect();
    let kept: BTreeSet<&str> = report.kept().collect();
    assert_eq!(kept, cases, "the rules that a good one keeps, and those with something broken");
}
