//! When the sweep ran last, and when it is expected to run again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use super::settings::Settings;
use crate::Moment;

/// The task that sweeps the backend now and then: started with the first flight or write, stopped
/// with the last handle of the cache. If its runtime is shut down, or not driven any more, the next
/// flight or write on another one starts it again.
#[derive(Debug)]
pub(super) struct Sweeper {
    pub(super) every: Option<Duration>,
    pub(super) task: Mutex<Option<JoinHandle<()>>>,
    /// The moment, in nanoseconds, by which the task will have shown that it runs. Zero before the
    /// first.
    expected_by: AtomicU64,
    /// The moment, in nanoseconds, as of which the last sweep that has ended dropped what had
    /// expired.
    pub(super) swept_at: AtomicU64,
}

impl Sweeper {
    /// An eighth of the shortest span after which something expires; never, if nothing does.
    pub(super) fn new(settings: &Settings) -> Self {
        let (expected_by, swept_at) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { every: Self::every(settings), task: Mutex::default(), expected_by, swept_at }
    }

    /// The span between two sweeps.
    pub(super) fn every(settings: &Settings) -> Option<Duration> {
        let negative = Some(settings.negative_ttl).filter(|span| !span.is_zero());
        let shortest = settings.time_to_live.into_iter().chain(negative).min();
        shortest.map(|shortest| (shortest / 8).clamp(EVERY_MIN, EVERY_MAX))
    }

    /// Whether the task was started, and has not been heard of for long.
    pub(super) fn is_overdue(&self, now: Moment) -> bool {
        let expected_by = self.expected_by.load(Ordering::Acquire);
        // An overdue sweep sits on a runtime that is not driven and moves to this one.
        // mutant: sweep_overdue
        expected_by != 0 && now.as_nanos() >= expected_by
    }

    /// The moment as of which the last sweep dropped what had expired.
    pub(super) fn swept_at(&self) -> Moment {
        Moment::from_nanos(self.swept_at.load(Ordering::Acquire))
    }

    pub(super) fn expect(&self, now: Moment, every: Duration, slack: Duration) {
        let by = now.saturating_add(every.saturating_mul(2)).saturating_add(slack);
        self.expected_by.store(by.as_nanos(), Ordering::Release);
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

const EVERY_MIN: Duration = Duration::from_millis(50);
const EVERY_MAX: Duration = Duration::from_secs(60);
