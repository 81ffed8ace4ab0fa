//! Time limits, counted where a reader waits.
//!
//! A flight runs on the runtime of one of its readers. If that runtime is not driven any more, the
//! flight makes no progress, and neither do the timers in it. So each waiting reader watches its
//! flight. A flight without progress for too long is *vacated*: it can publish nothing any more,
//! and its readers get the answer of the flight that takes its place, on the runtime of the reader
//! that watched.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    time::{Sleep, sleep},
};

use super::{
    Settings, Shared,
    flight::replace,
    table::{KeyState, Phase, Progress, Running, State},
    tasks::runtime,
};
use crate::{Moment, Validator};

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

/// Watches the flight of a key for a reader that waits for its answer, or for that of the next.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    timer: Timer,
    watched: Option<(Overdue, Duration)>,
}

/// A flight that has made no progress for too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overdue {
    progress: Progress,
    /// Only `patience` has run out.
    by_patience: bool,
}

impl Watchdog {
    /// Resolves when the flight has made no progress for as long as it may, since this was polled.
    pub(super) fn poll(
        &mut self,
        settings: &Settings,
        key: &KeyState,
        context: &mut Context<'_>,
    ) -> Poll<Overdue> {
        loop {
            let (overdue, limit) = match self.watched {
                Some(watched) => watched,
                None => {
                    let state = key.lock();
                    // Without one, the answer is there, or known to be lost.
                    let Some(running) = &state.running else { return Poll::Pending };
                    *self.watched.insert(settings.limit_of(running))
                }
            };
            ready!(self.timer.poll(limit, context));
            self.timer.stop();
            self.watched = None;
            if overdue.is_unchanged(&mut key.lock()) {
                return Poll::Ready(overdue);
            }
        }
    }
}

impl Overdue {
    fn is_unchanged(self, state: &mut State) -> bool {
        state.flight(self.progress.seq).is_some_and(|running| running.progress() == self.progress)
    }
}

impl Settings {
    /// How long a flight may make no progress while somebody waits.
    fn limit_of(&self, running: &Running) -> (Overdue, Duration) {
        let limit = match running.phase {
            Phase::Queued => self.queue_timeout,
            Phase::Looking | Phase::Asked(_) | Phase::Landing(_) => self.origin_timeout,
        };
        // What has a limit of its own, in the flight, is to find out first.
        let limit = limit.saturating_add(GRACE);
        let may_be_replaced =
            matches!(running.phase, Phase::Asked(_)) && !running.origins.is_second;
        let patience = self.patience.filter(|patience| may_be_replaced && *patience < limit);
        let overdue = Overdue { progress: running.progress(), by_patience: patience.is_some() };
        (overdue, patience.unwrap_or(limit))
    }

    /// How long a turn is waited for: a flight that waits in vain has done so before its own
    /// readers take it for lost.
    pub(super) fn turn_limit(&self) -> Duration {
        self.origin_timeout / 2
    }

    /// How long `close` waits while nothing comes to its end.
    pub(super) fn close_limit(&self) -> Duration {
        self.origin_timeout.saturating_add(GRACE)
    }
}

impl Running {
    /// Whether the flight has been in this phase for too long, as far as readers who do not wait
    /// for it have seen.
    pub(super) fn is_overdue(&mut self, now: Moment, settings: &Settings) -> Option<Overdue> {
        let phase = std::mem::discriminant(&self.phase);
        let noticed = self.noticed.filter(|(noticed, _)| *noticed == phase);
        let Some((_, at)) = noticed else {
            self.noticed = Some((phase, now));
            return None;
        };
        let limit = settings.origin_timeout.max(settings.queue_timeout).saturating_add(GRACE);
        let is_overdue = now.saturating_since(at) >= limit;
        is_overdue.then(|| Overdue { progress: self.progress(), by_patience: false })
    }
}

/// Has another flight take the place of one that is overdue, unless that has moved. One of this
/// very runtime, which is driven, is not lost: it is for the origin to say how long it may take.
pub(super) fn relieve<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &Arc<KeyState>,
    overdue: Overdue,
) {
    let Ok(runtime) = runtime() else { return };
    // Where the key has another state by now, the flight has ended.
    let Ok(tracked) = shared.table.enter(key.key.as_str()) else { return };
    if !tracked.is(key) {
        return;
    }
    let mut state = tracked.lock();
    let seq = overdue.progress.seq;
    let Some(running) = state.flight(seq).filter(|running| running.progress() == overdue.progress)
    else {
        return;
    };
    // What publishes has its answer; it is the backend that lets it wait.
    let is_landing = matches!(running.phase, Phase::Landing(_));
    if running.origins.runtime == Some(runtime.id()) && !overdue.by_patience && !is_landing {
        return;
    }
    // A flight whose runtime is not driven never ends and would block its key.
    // mutant: replaces_stuck_flight
    replace(shared, &tracked, state, seq, &runtime);
    // Out of the lock: a waker is not ours.
    tracked.vacated.notify_waiters();
}

/// By how much the limits of an origin and of the queue come before those of the readers that wait.
const GRACE: Duration = Duration::from_millis(100);
/// Runtimes without time.
const REMEMBERED_MAX: usize = 16;
