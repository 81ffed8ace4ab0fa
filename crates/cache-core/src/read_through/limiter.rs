//! How many questions may be at the origin at once.
//!
//! A flight that finds no place waits for one, in the order of arrival, before it asks: whoever
//! wants its key meanwhile joins it, a strong reader too. It goes when nobody waits for its answer
//! any more, so what waits is no more than those who do. While one waits, no flight is left to a
//! reader, who may not be polled for long, and keep its place.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::sync::Notify;

use super::timer::Timer;
use crate::{
    Clock, Moment,
    stats::Counters,
    sync::atomic::{AtomicU64, Ordering},
};

/// The permits. A free one is taken in one step; the queue is for when there is none.
#[derive(Debug)]
pub(super) struct RequestLimiter {
    most: u64,
    /// How many are in use; and in units of `WAITING`, how many flights wait.
    word: AtomicU64,
    /// Tells the first that waits of a free place. It takes that when it is polled, and not before:
    /// its runtime may not be driven.
    queue: Notify,
}

impl RequestLimiter {
    pub(super) fn new(most: usize) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX).min(WAITING - 1);
        Self { most, word: AtomicU64::new(0), queue: Notify::new() }
    }

    /// Takes one, if one is free that nobody waits for.
    pub(super) fn try_take(&self) -> bool {
        self.take(|word| self.is_spare(word))
    }

    /// One more is free. Whether something waits for it, which is to be told.
    fn free(&self) -> bool {
        // A permit that is not released is lost to all later requests.
        // mutant: permit_released
        self.word.fetch_sub(1, Ordering::AcqRel) >= WAITING
    }

    /// Takes one more than there are.
    fn take_beyond(&self) {
        self.word.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether one is free that nobody waits for.
    pub(super) fn has_spare(&self) -> bool {
        self.is_spare(self.word.load(Ordering::Acquire))
    }

    /// Whether more are free than flights wait for. A flight on a runtime that nobody drives waits
    /// for ever: it keeps one place, not all.
    fn is_spare(&self, word: u64) -> bool {
        // Each waiter claims one permit, so the other free permits can still be taken.
        // mutant: waiters_count
        word % WAITING + word / WAITING < self.most
    }

    /// Whether a flight waits for one.
    pub(super) fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Acquire) >= WAITING
    }

    /// One more waits. Whether it is the first. Either he who gives a place back sees this, or this
    /// sees the place.
    pub(super) fn begin_to_wait(&self) -> bool {
        let before = self.word.fetch_add(WAITING, Ordering::AcqRel);
        if before % WAITING < self.most {
            self.queue.notify_one();
        }
        before < WAITING
    }

    fn end_to_wait(&self) {
        self.word.fetch_sub(WAITING, Ordering::AcqRel);
    }

    /// Takes one for a flight that waits.
    fn take_waiting(&self) -> bool {
        self.take(|word| word % WAITING < self.most)
    }

    /// Waits in the order of arrival, and takes one. To be polled first before it begins to wait.
    pub(super) async fn taken(&self) {
        loop {
            self.queue.notified().await;
            if self.take_waiting() {
                return;
            }
        }
    }

    fn take(&self, is_free: impl Fn(u64) -> bool) -> bool {
        let one_more = |word| is_free(word).then_some(word + 1);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<RequestLimiter>,
    /// Set when it was given back: whether something that waits is to be told.
    freed: Option<bool>,
}

impl Permit {
    pub(super) fn try_take(limiter: &Arc<RequestLimiter>) -> Option<Self> {
        limiter.try_take().then(|| Self::taken(limiter))
    }

    /// One that was taken already.
    pub(super) fn taken(limiter: &Arc<RequestLimiter>) -> Self {
        Self { limiter: Arc::clone(limiter), freed: None }
    }

    /// One more than there are: for what takes the place of a flight that keeps its own.
    pub(super) fn beyond_limit(limiter: &Arc<RequestLimiter>) -> Self {
        limiter.take_beyond();
        Self::taken(limiter)
    }

    /// Gives the place back, and wakes nobody before this is dropped: may be called under a lock.
    pub(super) fn free(&mut self) {
        let Self { limiter, freed } = self;
        freed.get_or_insert_with(|| limiter.free());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.free();
        if self.freed == Some(true) {
            self.limiter.queue.notify_one();
        }
    }
}

/// How long something waits for a place.
pub(super) struct QueueTimer {
    timer: Timer,
    remaining: Duration,
}

impl QueueTimer {
    pub(super) fn new(queue_timeout: Duration) -> Self {
        Self { timer: Timer::default(), remaining: queue_timeout }
    }

    /// Resolves when a place was taken that was left to something whose runtime is not driven:
    /// true; or when it has waited too long: false. Never in a runtime without time.
    pub(super) fn poll(
        &mut self,
        limiter: &RequestLimiter,
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        loop {
            let span = self.remaining.min(LOOKS_EVERY);
            ready!(self.timer.poll(span, context));
            self.timer.stop();
            self.remaining -= span;
            // A free permit is taken here, because the waiter's own flight may not be polled.
            // mutant: unclaimed_permit
            if limiter.take_waiting() {
                return Poll::Ready(true);
            }
            if self.remaining.is_zero() {
                return Poll::Ready(false);
            }
        }
    }
}

/// A flight that waits, or another request.
pub(super) struct Waits<'a> {
    limiter: &'a RequestLimiter,
    counters: &'a Counters,
    clock: &'a dyn Clock,
    begun: Moment,
}

impl<'a> Waits<'a> {
    /// Counts the wait from now on. The caller has called [`RequestLimiter::begin_to_wait`].
    pub(super) fn new(
        limiter: &'a RequestLimiter,
        counters: &'a Counters,
        clock: &'a dyn Clock,
    ) -> Self {
        Self { limiter, counters, clock, begun: clock.now() }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.limiter.end_to_wait();
        self.counters.add_queued(self.clock.now().saturating_since(self.begun));
    }
}

/// How often a flight that waits looks for a place that nobody takes.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Above the number of places in use.
const WAITING: u64 = 1 << 32;

#[cfg(all(test, object_cache_loom))]
mod model {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use loom::{future::block_on, thread};

    use super::*;

    /// Who waits for the only place gets it, however he and the one who gives it back meet.
    #[test]
    fn a_place_that_is_given_back_finds_who_waits_for_it() {
        loom::model(|| {
            let places = Arc::new(RequestLimiter::new(1));
            assert!(limiter.try_take() && !limiter.try_take());
            let giver = thread::spawn({
                let places = Arc::clone(&limiter);
                move || drop(Permit::taken(&limiter))
            });
            if !limiter.try_take() {
                // As a flight waits.
                let mut taken = Box::pin(limiter.taken());
                assert!((&mut taken).now_or_never().is_none());
                limiter.begin_to_wait();
                block_on(taken);
                limiter.end_to_wait();
            }
            giver.join().unwrap();
            assert!(!limiter.try_take(), "there is one place");
            drop(Permit::taken(&limiter));
            assert!(limiter.try_take());
        });
    }
}
