//! How many questions may be at the origin at once.
//!
//! A flight that finds no place waits for one, in the order of arrival, before it asks: whoever wants its key meanwhile
//! joins it, a strong reader too. It goes when nobody waits for its answer any more, so what waits is no more than those
//! who do. While one waits, no flight is left to a reader, who may not be polled for long, and keep its place.

use std::{future::poll_fn, pin::pin, task::Poll};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Semaphore;

use super::{flight::Flight, table::Drive};
use crate::{
    Validator,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The places.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
    /// Flights that wait.
    waiting: AtomicUsize,
}

impl Places {
    pub(super) fn new(n: usize) -> Self {
        Self { free: Semaphore::new(n.min(Semaphore::MAX_PERMITS)), waiting: AtomicUsize::new(0) }
    }

    /// Takes one, if one is free and nobody waits for it.
    pub(super) fn try_take(&self) -> bool {
        self.free.try_acquire().map(|place| place.forget()).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.free.add_permits(1);
    }

    /// Whether a flight waits for one.
    pub(super) fn are_wanted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}

impl<V: Validator + ?Sized> Flight<V> {
    /// Waits for a place and takes it. `false` if nobody waits for the answer any more: then the flight has left.
    pub(super) async fn wait_for_a_place(&self) -> bool {
        let places = &self.shared.places;
        let mut place = pin!(places.free.acquire());
        let mut waits = None;
        let mut deserted: Option<BoxFuture<'static, ()>> = None;
        poll_fn(|context| {
            if let Poll::Ready(place) = place.as_mut().poll(context) {
                place.expect("it is never closed").forget();
                return Poll::Ready(true);
            }
            waits.get_or_insert_with(|| self.begin_to_wait());
            loop {
                if let Some(last_left) = &mut deserted {
                    if last_left.poll_unpin(context).is_pending() {
                        return Poll::Pending;
                    }
                    // Somebody may have come since.
                    deserted = None;
                }
                let mut state = self.tracked.lock();
                let Some(running) = state.flight(self.seq) else { return Poll::Ready(false) };
                if !running.is_awaited() {
                    self.leave_unanswered(state);
                    return Poll::Ready(false);
                }
                // The reader that polls it now hands it to a task, which polls it anew.
                let (Drive::Task, Some(answer)) = (&running.drive, &running.answer) else {
                    return Poll::Pending;
                };
                let answer = answer.clone();
                deserted = Some(async move { answer.closed().await }.boxed());
            }
        })
        .await
    }

    fn begin_to_wait(&self) -> Waits<'_> {
        // Who parks a flight from here on sees this.
        if self.shared.places.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.shared.table.want_all();
        }
        Waits(&self.shared.places)
    }
}

/// A flight that waits.
struct Waits<'a>(&'a Places);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
