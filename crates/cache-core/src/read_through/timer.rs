//! Time limits that hold on whichever runtime they are polled.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    time::{Sleep, sleep},
};

/// A timer of the runtime that it is polled on: a timer of another runtime is dead if that one is
/// not driven. Never fires outside of a runtime, or in one without time.
#[derive(Default)]
pub(super) struct Timer(Option<(Id, Option<Pin<Box<Sleep>>>)>);

impl Timer {
    /// Resolves `span` after it was first polled on this runtime.
    pub(super) fn poll(&mut self, span: Duration, context: &mut Context<'_>) -> Poll<()> {
        let Ok(here) = Handle::try_current().map(|here| here.id()) else { return Poll::Pending };
        let made = match &mut self.0 {
            // A timer of another runtime may never fire, so it is made again in this one.
            // mutant: timer_runtime
            Some((home, made)) if *home == here => made,
            other => &mut other.insert((here, timer(here, span))).1,
        };
        let Some(timer) = made else { return Poll::Pending };
        // It panics while the runtime is being shut down.
        catch_unwind(AssertUnwindSafe(|| timer.as_mut().poll(context))).unwrap_or(Poll::Pending)
    }

    /// Starts anew at the next poll.
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}

/// Returns a timer of the current runtime `here`; `None` if that has no time.
fn timer(here: Id, span: Duration) -> Option<Pin<Box<Sleep>>> {
    // tokio reports a runtime without time only by a panic, so those runtimes are remembered.
    static WITHOUT_TIME: Mutex<Vec<Id>> = Mutex::new(Vec::new());
    let without_time = || WITHOUT_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if without_time().contains(&here) {
        return None;
    }
    let made = catch_unwind(|| Box::pin(sleep(span))).ok();
    if made.is_none() {
        let mut without_time = without_time();
        without_time.truncate(REMEMBERED_MAX - 1);
        without_time.insert(0, here);
    }
    made
}

/// Awaits `future`; `None` if it takes longer than `limit` on one runtime. For backends that limit
/// how long they wait for I/O: it holds on whichever runtime it is polled, and is no limit outside
/// of one, or in one without time.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), Timer::default());
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.poll(limit, context).map(|()| None),
    })
    .await
}

/// Awaits the result of a task on the runtime `home`. The limit counts only where the caller is
/// polled on another runtime, since only then may `home` not be driven.
pub(super) async fn within_elsewhere<F: Future>(
    limit: Duration,
    home: Id,
    future: F,
) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), Timer::default());
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if Handle::try_current().is_ok_and(|here| here.id() == home) => Poll::Pending,
        Poll::Pending => timer.poll(limit, context).map(|()| None),
    })
    .await
}

/// How many runtimes without time are remembered.
const REMEMBERED_MAX: usize = 16;
