//! The background task that removes expired entries.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::runtime::Handle;

use super::shared::Shared;
use crate::{Result, sync::caught};

/// Starts the task unless it is running, and the other background tasks.
pub(super) fn ensure<V: Send + Sync + ?Sized + 'static>(shared: &Arc<Shared<V>>, runtime: &Handle) {
    let (now, _) = shared.clock.coarse_bounds();
    shared.background.ensure(runtime, now);
    let sweeper = &shared.sweeper;
    let Some(every) = sweeper.every else { return };
    let mut task = sweeper.task.lock().unwrap_or_else(PoisonError::into_inner);
    // Checked under the lock, which `stop` takes after the cache was closed.
    let runs = task.as_ref().is_some_and(|task| !task.is_finished()) && !sweeper.is_overdue(now);
    if shared.tasks.is_closed() || runs {
        return;
    }
    let is_first = task.is_none();
    if let Some(left_alone) = task.take() {
        left_alone.abort();
    }
    sweeper.expect(now, every, SLACK);
    let weak = Arc::downgrade(shared);
    *task = Some(runtime.spawn(async move {
        // A runtime without time has no sweep; one attempt is enough to find out.
        if caught(sweep_every(every, is_first, weak)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }));
}

/// Starts the task here if its runtime is not driven any more. Returns whether that was so.
pub(super) fn resume<V: Send + Sync + ?Sized + 'static>(shared: &Arc<Shared<V>>) -> bool {
    let (now, _) = shared.clock.coarse_bounds();
    let is_overdue = shared.sweeper.is_overdue(now);
    if is_overdue && let Ok(here) = Handle::try_current() {
        ensure(shared, &here);
    }
    is_overdue
}

async fn sweep_every<V: ?Sized>(
    every: Duration,
    is_first: bool,
    cache: Weak<Shared<V>>,
) -> Result<()> {
    // A sweep that another runtime has left undone is made at once.
    let mut waits = is_first;
    loop {
        if waits {
            tokio::time::sleep(every).await;
        }
        waits = true;
        let Some(shared) = cache.upgrade() else { return Ok(()) };
        let (sweeper, now) = (&shared.sweeper, shared.clock.now());
        sweeper.expect(now, every, SWEEP_MAX);
        // A failure is counted; the next sweep comes all the same.
        if shared.backend_call(shared.backend.sweep(now)).await.is_ok() {
            sweeper.swept_at.fetch_max(now.as_nanos(), Ordering::AcqRel);
        }
        sweeper.expect(shared.clock.now(), every, SLACK);
    }
}

/// How late the task may be, beside two intervals, before it counts as stuck.
const SLACK: Duration = Duration::from_secs(1);
/// The same during a sweep, which must be able to finish.
const SWEEP_MAX: Duration = Duration::from_secs(60);
