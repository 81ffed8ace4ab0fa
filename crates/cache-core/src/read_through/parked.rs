//! A flight that its reader does not poll at this moment.

use std::task::Waker;

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::runtime::Handle;

use super::outcome::FlightOutcome;

/// A flight that is not polled at this moment. Handed on, or taken back by its reader; never
/// dropped under the lock of its key.
pub(super) struct Parked {
    pub(super) flight: BoxedFlight,
    pub(super) reader: Waker,
    pub(super) runtime: Handle,
}

/// A flight; `None` if it ended without landing.
pub(super) type BoxedFlight = BoxFuture<'static, Option<FlightOutcome>>;

/// Has a task go on with a flight that is wanted. Its reader waits for the answer from now on. Not
/// to be called under the lock of a key.
pub(super) fn spawn_parked(parked: Option<Parked>) {
    if let Some(Parked { flight, reader, runtime }) = parked {
        spawn(flight, &runtime);
        reader.wake();
    }
}

impl Parked {
    /// The flight was vacated: drops it, and tells its reader. Not to be called under the lock of a
    /// key.
    pub(super) fn give_up(self) {
        let Self { flight, reader, .. } = self;
        drop(flight);
        reader.wake();
    }
}

/// Polls `flight` in a task of `runtime` to its end.
pub(super) fn spawn(flight: BoxedFlight, runtime: &Handle) {
    runtime.spawn(flight.map(drop));
}
