//! Time limits, measured where a reader waits. A flight runs on the runtime of one of its readers.
//! If that runtime is not driven any more, the flight makes no progress, and neither do its timers.
//! So each waiting reader watches its flight. A flight without progress for too long is replaced:
//! it publishes nothing any more, and its readers get the outcome of its successor, which runs on
//! the runtime of the reader that watched.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    flight::replace,
    key_state::{CurrentFlight, KeyState, Phase, Progress, State},
    settings::{GRACE, Settings},
    shared::Shared,
    task_tracker::runtime,
    timer::Timer,
};
use crate::{Moment, Validator};

/// Watches the flight of a key for a reader that waits for its outcome, or for that of the next
/// one.
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
    /// Resolves when the flight has made no progress for too long since this was polled.
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
                    // Without a flight, the outcome is there, or known to be lost.
                    let Some(running) = &state.current else { return Poll::Pending };
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
    /// Returns how long a flight may make no progress while a reader waits.
    fn limit_of(&self, running: &CurrentFlight) -> (Overdue, Duration) {
        let limit = match running.phase {
            Phase::Queued => self.queue_timeout,
            Phase::LookingUp | Phase::Sent(_) | Phase::Publishing(_) => self.origin_timeout,
        };
        // A limit inside of the flight has to fire first.
        let limit = limit.saturating_add(GRACE);
        let may_be_replaced = matches!(running.phase, Phase::Sent(_)) && !running.origins.is_second;
        let patience = self.patience.filter(|patience| may_be_replaced && *patience < limit);
        let overdue = Overdue { progress: running.progress(), by_patience: patience.is_some() };
        (overdue, patience.unwrap_or(limit))
    }
}

impl CurrentFlight {
    /// Returns whether the flight has been in this phase for too long, as seen by readers that do
    /// not wait for it.
    pub(super) fn is_overdue(&mut self, now: Moment, settings: &Settings) -> Option<Overdue> {
        let phase = mem::discriminant(&self.phase);
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

/// Replaces an overdue flight, unless it has made progress. A flight of this very runtime, which is
/// driven, is not lost: the origin decides how long it takes.
pub(super) fn relieve<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &Arc<KeyState>,
    overdue: Overdue,
) {
    let Ok(runtime) = runtime() else { return };
    // If the key has another state by now, the flight has ended.
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
    // A publishing flight has its response; it waits for the backend.
    let is_landing = matches!(running.phase, Phase::Publishing(_));
    if running.origins.runtime == Some(runtime.id()) && !overdue.by_patience && !is_landing {
        return;
    }
    // A flight whose runtime is not driven never ends and would block its key.
    // mutant: replaces_stuck_flight
    replace(shared, &tracked, state, seq, &runtime);
    // Outside of the lock: a waker is foreign code.
    tracked.vacated.notify_waiters();
}
