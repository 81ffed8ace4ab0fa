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

/// A timer of the runtime that it is polled in: one that was made in another is dead where that is
/// not driven. Never fires outside of a runtime, or in one without time.
#[derive(Default)]
pub(super) struct Timer(Option<(Id, Option<Pin<Box<Sleep>>>)>);

impl Timer {
    /// Resolves `span` after it was first polled in this runtime.
    pub(super) fn poll(&mut self, span: Duration, context: &mut Context<'_>) -> Poll<()> {
        let Ok(here) = Handle::try_current().map(|here| here.id()) else { return Poll::Pending };
        let made = match &mut self.0 {
            // A timer of another runtime may never fire, so it is made again in this one.
            // mutant: timer_runtime
            Some((home, made)) if *home == here => made,
            other => &mut other.insert((here, timer(here, span))).1,
        };
        let Some(timer) = made else { return Poll::Pending };
        // It panics where the runtime is being shut down.
        catch_unwind(AssertUnwindSafe(|| timer.as_mut().poll(context))).unwrap_or(Poll::Pending)
    }

    /// The next time it is polled, it begins anew.
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}

/// A timer of the runtime `here`, the current one; `None` if it has no time.
fn timer(here: Id, span: Duration) -> Option<Pin<Box<Sleep>>> {
    // tokio says by a panic alone that a runtime has no time, so those that have none are
    // remembered.
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

/// What `future` resolves to, or `None` if it has not after `limit` in one runtime.
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), Timer::default());
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.poll(limit, context).map(|()| None),
    })
    .await
}

/// The same for what a task of the runtime `home` does: counted only where the caller is polled in
/// another runtime, for only then is it open whether `home` is driven.
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

/// Runtimes without time.
const REMEMBERED_MAX: usize = 16;
