//! All writes, and the versions that a read may return.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use cache_facade::{Clock, cache_core::Moment};
use cache_testkit::TokioClock;

use crate::rule::LONGEST;

/// The writes of every object: those that began, and when each returned.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: TokioClock,
    objects: Vec<Mutex<Writes>>,
}

#[derive(Debug, Default)]
struct Writes {
    /// The version of the last write that has begun. Versions ascend from one.
    begun: u64,
    /// The versions of the writes that returned, with the time: as far back as a rule allows, and
    /// one more.
    returned: VecDeque<(Moment, u64)>,
}

/// The oldest version that a read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Least(u64);

impl Ledger {
    /// `n` objects that have not been written.
    pub(crate) fn new(n: usize, clock: TokioClock) -> Self {
        Self { clock, objects: (0..n).map(|_| Mutex::default()).collect() }
    }

    /// Begins a write and returns its version.
    pub(crate) fn begin(&self, number: usize) -> u64 {
        let mut writes = self.lock(number);
        writes.begun += 1;
        writes.begun
    }

    /// The write of `version` has returned without an error.
    pub(crate) fn returned(&self, number: usize, version: u64) {
        let now = self.clock.now();
        let mut writes = self.lock(number);
        writes.returned.push_back((now, version));
        while writes.returned.get(1).is_some_and(|(at, _)| now.saturating_since(*at) > 2 * LONGEST)
        {
            writes.returned.pop_front();
        }
    }

    /// The oldest version that a read may return if it begins now and may miss the writes of the
    /// last `lag`; `None`: any write.
    pub(crate) fn least(&self, number: usize, lag: Option<Duration>) -> Least {
        let Some(lag) = lag else { return Least(0) };
        let now = self.clock.now();
        let writes = self.lock(number);
        let is_due = |(at, _): &&(Moment, u64)| now.saturating_since(*at) >= lag;
        Least(writes.returned.iter().rev().find(is_due).map_or(0, |(_, version)| *version))
    }

    /// Returns for how long the store had had a newer version than `version` at `begun`: a write
    /// of one had returned by then. `None` if there was none.
    pub(crate) fn older_by(&self, number: usize, version: u64, begun: Moment) -> Option<Duration> {
        let writes = self.lock(number);
        let (at, _) = writes.returned.iter().find(|(_, newer)| *newer > version)?;
        (*at < begun).then(|| begun.saturating_since(*at))
    }

    /// Returns the fault of a read that returned `version`, if any.
    pub(crate) fn wrong(&self, number: usize, version: u64, Least(least): Least) -> Option<String> {
        let begun = self.lock(number).begun;
        if version < least {
            Some(format!(
                "object {number}: version {version} was read, and {least} had been written before"
            ))
        } else if version > begun {
            Some(format!(
                "object {number}: version {version} was read, and only {begun} were written"
            ))
        } else {
            None
        }
    }

    fn lock(&self, number: usize) -> MutexGuard<'_, Writes> {
        self.objects[number].lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_must_see_what_had_returned_before_it_began() {
        let ledger = Ledger::new(1, TokioClock::new());
        assert_eq!(ledger.begin(0), 1);
        ledger.returned(0, 1);
        tokio::time::advance(secs(5)).await;
        let before = ledger.least(0, Some(Duration::ZERO));
        assert_eq!(ledger.begin(0), 2);
        // It may see what has begun, and need not.
        assert_eq!((ledger.wrong(0, 1, before), ledger.wrong(0, 2, before)), (None, None));
        assert!(ledger.wrong(0, 0, before).is_some() && ledger.wrong(0, 3, before).is_some());

        ledger.returned(0, 2);
        let after = ledger.least(0, Some(Duration::ZERO));
        assert!(
            ledger
                .wrong(0, 1, after)
                .unwrap()
                .contains("version 1 was read, and 2 had been written")
        );
        assert_eq!(ledger.wrong(0, 2, after), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lag_allows_what_was_current_so_long_ago() {
        let ledger = Ledger::new(1, TokioClock::new());
        for _ in 0..2 {
            let version = ledger.begin(0);
            ledger.returned(0, version);
            tokio::time::advance(secs(3)).await;
        }
        // Written 6 s and 3 s ago.
        for (lag, least) in
            [(Some(0), 2), (Some(3), 2), (Some(4), 1), (Some(6), 1), (Some(7), 0), (None, 0)]
        {
            assert_eq!(ledger.least(0, lag.map(secs)), Least(least), "{lag:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_is_older_since_the_next_one_was_written() {
        let ledger = Ledger::new(1, TokioClock::new());
        for _ in 0..3 {
            let version = ledger.begin(0);
            ledger.returned(0, version);
            tokio::time::advance(secs(3)).await;
        }
        // Written at 0 s, 3 s and 6 s.
        let at = |secs: u64| Moment::from_nanos(secs * 1_000_000_000);
        for (version, begun, older) in
            [(1, 9, Some(6)), (1, 3, None), (2, 7, Some(1)), (3, 9, None)]
        {
            assert_eq!(
                ledger.older_by(0, version, at(begun)),
                older.map(secs),
                "{version} {begun}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_too_old_for_any_rule_are_forgotten_but_for_the_last() {
        let ledger = Ledger::new(1, TokioClock::new());
        for _ in 0..1000 {
            let version = ledger.begin(0);
            ledger.returned(0, version);
            tokio::time::advance(secs(10)).await;
        }
        assert!(ledger.lock(0).returned.len() < 20);
        tokio::time::advance(secs(1000)).await;
        assert_eq!(ledger.least(0, Some(LONGEST)), Least(1000));
    }
}
