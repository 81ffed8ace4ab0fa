//! Expired entries leave by themselves.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinHandle};

use super::{Settings, Shared, held::caught};
use crate::{Moment, Result};

/// The task that sweeps the backend now and then: started with the first flight or write, stopped
/// with the last handle of the cache. If its runtime is shut down, or not driven any more, the next
/// flight or write on another one starts it again.
#[derive(Debug)]
pub(super) struct Sweeper {
    every: Option<Duration>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// The moment, in nanoseconds, by which the task will have shown that it runs. Zero before the
    /// first.
    expected_by: AtomicU64,
    /// The moment, in nanoseconds, as of which the last sweep that has ended dropped what had
    /// expired.
    swept_at: AtomicU64,
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
    fn is_overdue(&self, now: Moment) -> bool {
        let expected_by = self.expected_by.load(Ordering::Acquire);
        // An overdue sweep sits on a runtime that is not driven and moves to this one.
        // mutant: sweep_overdue
        expected_by != 0 && now.as_nanos() >= expected_by
    }

    /// The moment as of which the last sweep dropped what had expired.
    pub(super) fn swept_at(&self) -> Moment {
        Moment::from_nanos(self.swept_at.load(Ordering::Acquire))
    }

    /// Starts the task unless it runs.
    pub(super) fn ensure<V: Send + Sync + ?Sized + 'static>(
        &self,
        shared: &Arc<Shared<V>>,
        runtime: &Handle,
    ) {
        let Some(every) = self.every else { return };
        let (now, _) = shared.clock.coarse_bounds();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock, which `stop` takes after the cache was closed.
        let runs = task.as_ref().is_some_and(|task| !task.is_finished()) && !self.is_overdue(now);
        if shared.tasks.is_closed() || runs {
            return;
        }
        let is_first = task.is_none();
        if let Some(left_alone) = task.take() {
            left_alone.abort();
        }
        self.expect(now, every, SLACK);
        let weak = Arc::downgrade(shared);
        *task = Some(runtime.spawn(async move {
            // In a runtime without time there is no sweep; once is enough to find out.
            if caught(sweep_every(every, is_first, weak)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
    }

    fn expect(&self, now: Moment, every: Duration, slack: Duration) {
        let by = now.saturating_add(every.saturating_mul(2)).saturating_add(slack);
        self.expected_by.store(by.as_nanos(), Ordering::Release);
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Starts the task here if it is on a runtime that is not driven any more. Whether it was.
pub(super) fn resume<V: Send + Sync + ?Sized + 'static>(shared: &Arc<Shared<V>>) -> bool {
    let (now, _) = shared.clock.coarse_bounds();
    let is_overdue = shared.sweeper.is_overdue(now);
    if is_overdue && let Ok(here) = Handle::try_current() {
        shared.sweeper.ensure(shared, &here);
    }
    is_overdue
}

async fn sweep_every<V: ?Sized>(
    every: Duration,
    is_first: bool,
    cache: Weak<Shared<V>>,
) -> Result<()> {
    // What another runtime has left undone is done at once.
    let mut waits = is_first;
    loop {
        if waits {
            tokio::time::sleep(every).await;
        }
        waits = true;
        let Some(shared) = cache.upgrade() else { return Ok(()) };
        let (sweeper, now) = (&shared.sweeper, shared.clock.now());
        sweeper.expect(now, every, SWEEP_MAX);
        // A failure is counted; the next call comes all the same.
        if shared.backend_call(shared.backend.sweep(now)).await.is_ok() {
            sweeper.swept_at.fetch_max(now.as_nanos(), Ordering::AcqRel);
        }
        sweeper.expect(shared.clock.now(), every, SLACK);
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

const EVERY_MIN: Duration = Duration::from_millis(50);
const EVERY_MAX: Duration = Duration::from_secs(60);
/// How late the task may be, beside two spans, before it counts as left alone.
const SLACK: Duration = Duration::from_secs(1);
/// The same, while a sweep is under way: one begun anew would never come to its end.
const SWEEP_MAX: Duration = Duration::from_secs(60);
