//! How many questions may be at the origin at once.
//!
//! A flight that finds no place waits for one, in the order of arrival, before it asks: whoever wants its key meanwhile
//! joins it, a strong reader too. It goes when nobody waits for its answer any more, so what waits is no more than those
//! who do. While one waits, no flight is left to a reader, who may not be polled for long, and keep its place.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Semaphore;

use super::{
    Settings, Shared,
    flight::{Flight, Landed},
    held::caught,
    table::Drive,
};
use crate::{
    Error, ErrorKind, Validator,
    sync::atomic::{AtomicU64, Ordering},
};

/// The places. Whoever finds one free takes it in one step; the queue is for when there is none.
#[derive(Debug)]
pub(super) struct Places {
    most: u64,
    /// How many are in use, or were handed to the queue; and in units of `WAITING`, how many flights wait.
    word: AtomicU64,
    /// A permit is a place that was taken for the first who waits. One that nobody took in the end is the next one's.
    pub(super) queue: Semaphore,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX).min(WAITING - 1);
        Self { most, word: AtomicU64::new(0), queue: Semaphore::new(0) }
    }

    /// Takes one, if one is free and nobody waits for it.
    pub(super) fn try_take(&self) -> bool {
        self.take(|word| word < self.most)
    }

    pub(super) fn give_back(&self) {
        if self.word.fetch_sub(1, Ordering::AcqRel) >= WAITING {
            self.hand_on();
        }
    }

    /// Whether one is free, and nobody waits for it.
    pub(super) fn is_one_free(&self) -> bool {
        self.word.load(Ordering::Acquire) < self.most
    }

    /// Whether a flight waits for one.
    pub(super) fn are_wanted(&self) -> bool {
        self.word.load(Ordering::Acquire) >= WAITING
    }

    /// One more waits. Whether it is the first. Either he who gives a place back sees this, or this sees the place.
    fn begin_to_wait(&self) -> bool {
        let before = self.word.fetch_add(WAITING, Ordering::AcqRel);
        if before % WAITING < self.most {
            self.hand_on();
        }
        before < WAITING
    }

    fn end_to_wait(&self) {
        self.word.fetch_sub(WAITING, Ordering::AcqRel);
    }

    /// A place that is free goes to the first who waits.
    fn hand_on(&self) {
        if self.take(|word| word % WAITING < self.most) {
            self.queue.add_permits(1);
        }
    }

    fn take(&self, is_free: impl Fn(u64) -> bool) -> bool {
        let one_more = |word| is_free(word).then_some(word + 1);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

impl<V: Validator + ?Sized> Flight<V> {
    /// Waits for a place and takes it. Else the flight has left, with what its waiters have got: nobody waited for the
    /// answer any more, or there was no place for too long.
    pub(super) async fn wait_for_a_place(&self) -> Result<(), Option<Landed>> {
        let mut place = pin!(self.shared.places.queue.acquire());
        let mut late = pin!(late(self.shared.settings.queue_timeout));
        let mut waits = None;
        let mut deserted: Option<BoxFuture<'static, ()>> = None;
        poll_fn(|context| {
            if let Poll::Ready(place) = place.as_mut().poll(context) {
                place.expect("it is never closed").forget();
                return Poll::Ready(Ok(()));
            }
            loop {
                if let Some(last_left) = &mut deserted {
                    if last_left.poll_unpin(context).is_ready() {
                        // Somebody may have come since.
                        deserted = None;
                        continue;
                    }
                } else {
                    let mut state = self.tracked.lock();
                    let Some(running) = state.flight(self.seq) else { return Poll::Ready(Err(None)) };
                    if !running.is_awaited() {
                        return Poll::Ready(Err(self.leave(state, Landed::Failed(unwanted()))));
                    }
                    // The reader that polls it now hands it to a task, which polls it anew.
                    if let (Drive::Task, Some(answer)) = (&running.drive, &running.answer) {
                        let answer = answer.clone();
                        deserted = Some(async move { answer.closed().await }.boxed());
                        continue;
                    }
                }
                waits.get_or_insert_with(|| self.shared.begin_to_wait());
                ready!(late.as_mut().poll(context));
                let error = too_many(&self.shared.settings).with_key(&self.tracked.key);
                return Poll::Ready(Err(self.leave(self.tracked.lock(), Landed::Failed(error))));
            }
        })
        .await
    }
}

impl<V: ?Sized> Shared<V> {
    /// One more waits for a place, until what is returned is dropped.
    pub(super) fn begin_to_wait(&self) -> Waits<'_> {
        // Who parks a flight from here on sees that one waits.
        if self.places.begin_to_wait() {
            self.table.want_all();
        }
        Waits(&self.places)
    }
}

/// Resolves when something has waited too long. Never in a runtime without time.
pub(super) async fn late(limit: Duration) {
    let slept = async {
        tokio::time::sleep(limit).await;
        Ok(())
    };
    if caught(slept).await.is_err() {
        pending::<()>().await;
    }
}

/// The error for one that has waited too long.
pub(super) fn too_many(settings: &Settings) -> Error {
    let Settings { max_in_flight, queue_timeout, .. } = settings;
    let message = format!(
        "{max_in_flight} other questions kept the origin busy for {queue_timeout:?} (max_in_flight, queue_timeout)"
    );
    Error::new(ErrorKind::Timeout, message)
}

fn unwanted() -> Error {
    Error::new(ErrorKind::Other, "nobody waited for the answer")
}

/// A flight that waits, or another request.
pub(super) struct Waits<'a>(&'a Places);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.end_to_wait();
    }
}

/// Above the number of places in use.
const WAITING: u64 = 1 << 32;

#[cfg(all(test, object_cache_loom))]
mod model {
    use std::sync::Arc;

    use loom::{future::block_on, thread};

    use super::*;

    /// Who waits for the only place gets it, however he and the one who gives it back meet.
    #[test]
    fn a_place_that_is_given_back_finds_who_waits_for_it() {
        loom::model(|| {
            let places = Arc::new(Places::new(1));
            assert!(places.try_take() && !places.try_take());
            let giver = thread::spawn({
                let places = Arc::clone(&places);
                move || places.give_back()
            });
            if !places.try_take() {
                // As a flight waits.
                places.begin_to_wait();
                block_on(places.queue.acquire()).unwrap().forget();
                places.end_to_wait();
            }
            giver.join().unwrap();
            assert!(!places.try_take(), "there is one place");
            places.give_back();
            assert!(places.try_take());
        });
    }
}
