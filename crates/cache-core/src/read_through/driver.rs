//! A reader that drives its own flight.
//!
//! A task for each flight would cost more than an origin in memory takes to answer. So the reader
//! that begins a flight polls it, in its own task, and watches it (see `watchdog.rs`). Between two
//! polls the flight is *parked* in the key's state, and the moment somebody else needs it, it is
//! handed to a task of the runtime that it began on, for good: somebody who joins it or waits
//! behind it, a write (the flight may hold the key's turn), the end of the cache, a reader that is
//! polled on another runtime, and the reader's own end. So nobody ever waits for a reader to be
//! polled, and a reader that goes away stops nothing.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::{
    key_state::{Drive, KeyState},
    outcome::{FlightOutcome, OutcomeReceiver},
    parked::{BoxedFlight, Parked, spawn, spawn_parked},
    shared::Shared,
    watchdog::{Watchdog, relieve},
};
use crate::Validator;

/// The reader of a flight that was begun with [`Drive::Reader`], until the flight has landed or a
/// task goes on with it.
pub(super) struct Driver<'a, V: ?Sized> {
    shared: &'a Arc<Shared<V>>,
    key: Arc<KeyState>,
    seq: u64,
    runtime: Handle,
    /// Before the first poll.
    flight: Option<BoxedFlight>,
    /// From the first time on that the flight was parked.
    ticket: Option<OutcomeReceiver>,
    watchdog: Watchdog,
}

/// How a drive ends.
pub(super) enum Arrival {
    /// With what the flight brought; `None` if it ended without landing.
    Finished(Option<FlightOutcome>),
    /// A task goes on, or another flight. `None` if it is lost.
    Elsewhere(Option<(Arc<KeyState>, OutcomeReceiver)>),
}

impl<'a, V: Validator + ?Sized> Driver<'a, V> {
    pub(super) fn new(
        shared: &'a Arc<Shared<V>>,
        key: Arc<KeyState>,
        seq: u64,
        runtime: Handle,
        flight: BoxedFlight,
    ) -> Self {
        let watchdog = Watchdog::default();
        Self { shared, key, seq, runtime, flight: Some(flight), ticket: None, watchdog }
    }

    /// The flight, if it is parked and this is its runtime. Anywhere else a task of its runtime
    /// goes on with it: the flight may use that runtime at any poll. If it is gone, the flight is
    /// lost with it.
    fn take_back(&self) -> Option<BoxedFlight> {
        let is_at_home = Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id());
        let parked = {
            let mut state = self.key.lock();
            let running = state.flight(self.seq)?;
            match mem::replace(&mut running.drive, Drive::Task) {
                Drive::Parked(parked) => {
                    if is_at_home {
                        running.drive = Drive::Reader { handoff_requested: false };
                    }
                    parked
                }
                other => {
                    running.drive = other;
                    return None;
                }
            }
        };
        // Out of the lock: what is dropped here is not ours.
        if is_at_home {
            return Some(parked.flight);
        }
        spawn_parked(Some(parked));
        None
    }

    /// Leaves the flight where others find it, or hands it on if they have asked for it.
    fn park(&mut self, flight: BoxedFlight, context: &Context<'_>) -> Poll<Arrival> {
        let (reader, runtime) = (context.waker().clone(), self.runtime.clone());
        let mut state = self.key.lock();
        if let Some(running) = state.flight(self.seq) {
            self.ticket.get_or_insert_with(|| running.subscribe());
            let is_wanted = matches!(running.drive, Drive::Reader { handoff_requested: true });
            // A flight that waits for a place has called for all that were begun before. A cache
            // that is closed has too, and none begins after that. An unpolled reader would keep its
            // permit while other requests wait for it.
            // mutant: parks_when_permits_wanted
            if !is_wanted && !self.shared.limiter.has_waiters() {
                running.drive = Drive::Parked(Parked { flight, reader, runtime });
                return Poll::Pending;
            }
            running.drive = Drive::Task;
        }
        drop(state);
        spawn(flight, &runtime);
        Poll::Ready(self.elsewhere())
    }

    fn elsewhere(&mut self) -> Arrival {
        Arrival::Elsewhere(self.ticket.take().map(|ticket| (Arc::clone(&self.key), ticket)))
    }

    /// Whether the flight that was parked is late, and was vacated. That it is on this runtime,
    /// which is driven, leaves patience to be counted.
    fn is_relieved(&mut self, context: &mut Context<'_>) -> bool {
        if self.shared.settings.patience.is_none() {
            return false;
        }
        let Poll::Ready(overdue) = self.watchdog.poll(&self.shared.settings, &self.key, context)
        else {
            return false;
        };
        relieve(self.shared, &self.key, overdue);
        self.key.lock().flight(self.seq).is_none()
    }
}

impl<V: Validator + ?Sized> Future for Driver<'_, V> {
    type Output = Arrival;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Arrival> {
        // The first poll is where the flight was begun; later ones may come from anywhere.
        let Some(mut flight) = self.flight.take().or_else(|| self.take_back()) else {
            return Poll::Ready(self.elsewhere());
        };
        match flight.poll_unpin(context) {
            // Another has its place.
            Poll::Ready(None) if self.ticket.is_some() => Poll::Ready(self.elsewhere()),
            Poll::Ready(landed) => Poll::Ready(Arrival::Finished(landed)),
            Poll::Pending => match self.park(flight, context) {
                Poll::Pending if self.is_relieved(context) => Poll::Ready(self.elsewhere()),
                parked => parked,
            },
        }
    }
}

impl<V: ?Sized> Drop for Driver<'_, V> {
    fn drop(&mut self) {
        if self.flight.is_none() && self.ticket.is_none() {
            // It landed at the first poll.
            return;
        }
        let mut state = self.key.lock();
        let Some(running) = state.flight(self.seq) else { return };
        let parked = mem::replace(&mut running.drive, Drive::Task);
        drop(state);
        match (parked, self.flight.take()) {
            (Drive::Parked(parked), _) => spawn_parked(Some(parked)),
            (_, Some(flight)) => spawn(flight, &self.runtime),
            _ => {}
        }
    }
}
