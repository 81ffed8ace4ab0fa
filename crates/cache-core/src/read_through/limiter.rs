//! Limits how many requests are at the origin at the same time.
//!
//! A flight beyond the limit waits for a permit, first come first served, before it sends its
//! request. Readers join it meanwhile, strong ones too, and it ends when no reader waits any more.
//! While one waits no flight stays parked, since a reader that is not polled would keep its permit.

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
    /// The permits in use; and, in units of `WAITING`, the flights that wait for one.
    word: AtomicU64,
    /// Tells the first waiter of a free permit. It takes the permit when it is polled and not
    /// before, since its runtime may not be driven.
    queue: Notify,
}

impl RequestLimiter {
    pub(super) fn new(most: usize) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX).min(WAITING - 1);
        Self { most, word: AtomicU64::new(0), queue: Notify::new() }
    }

    /// Takes a permit if one is free beyond those that flights wait for.
    pub(super) fn try_take(&self) -> bool {
        self.take(|word| self.is_spare(word))
    }

    /// Releases a permit. Returns whether a waiter has to be told.
    fn free(&self) -> bool {
        // A permit that is not released is lost to all later requests.
        // mutant: permit_released
        self.word.fetch_sub(1, Ordering::AcqRel) >= WAITING
    }

    /// Takes a permit beyond the limit.
    fn take_beyond(&self) {
        self.word.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether a permit is free beyond those that flights wait for.
    pub(super) fn has_spare(&self) -> bool {
        self.is_spare(self.word.load(Ordering::Acquire))
    }

    /// Returns whether more permits are free than flights wait for. A flight on a runtime that is
    /// not driven waits for ever: it reserves one permit, not all.
    fn is_spare(&self, word: u64) -> bool {
        // Each waiter claims one permit, so the other free permits can still be taken.
        // mutant: waiters_count
        word % WAITING + word / WAITING < self.most
    }

    /// Returns whether a flight waits for a permit.
    pub(super) fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Acquire) >= WAITING
    }

    /// Registers a waiter, and returns whether it is the first. Pairs with the release of a permit:
    /// either the releaser sees the waiter or this call sees the permit.
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

    /// Takes a permit for a flight that waits.
    fn take_waiting(&self) -> bool {
        self.take(|word| word % WAITING < self.most)
    }

    /// Waits in the order of arrival, and takes a permit. Must be polled once before
    /// [`begin_to_wait`](Self::begin_to_wait).
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

/// A permit for one request, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<RequestLimiter>,
    /// Set when it was released: whether a waiter has to be told.
    freed: Option<bool>,
}

impl Permit {
    pub(super) fn try_take(limiter: &Arc<RequestLimiter>) -> Option<Self> {
        limiter.try_take().then(|| Self::taken(limiter))
    }

    /// Wraps a permit that was taken already.
    pub(super) fn taken(limiter: &Arc<RequestLimiter>) -> Self {
        Self { limiter: Arc::clone(limiter), freed: None }
    }

    /// Takes a permit beyond the limit: for a flight that replaces one which keeps its own.
    pub(super) fn beyond_limit(limiter: &Arc<RequestLimiter>) -> Self {
        limiter.take_beyond();
        Self::taken(limiter)
    }

    /// Releases the permit, but wakes no waiter before this is dropped: may be called under a lock.
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

/// Measures how long a request waits for a permit.
pub(super) struct QueueTimer {
    timer: Timer,
    remaining: Duration,
}

impl QueueTimer {
    pub(super) fn new(queue_timeout: Duration) -> Self {
        Self { timer: Timer::default(), remaining: queue_timeout }
    }

    /// Resolves to true when a permit was taken that its waiter did not claim, since that one's
    /// runtime is not driven; to false when the time is up. Never in a runtime without time.
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

/// A request that waits for a permit.
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

/// How often a waiting flight looks for an unclaimed permit.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Above the number of permits in use.
const WAITING: u64 = 1 << 32;

#[cfg(all(test, object_cache_loom))]
mod model {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use loom::{future::block_on, thread};

    use super::*;

    /// A waiter for the only permit gets it, however it meets the releaser.
    #[test]
    fn a_released_permit_reaches_its_waiter() {
        loom::model(|| {
            let limiter = Arc::new(RequestLimiter::new(1));
            assert!(limiter.try_take() && !limiter.try_take());
            let giver = thread::spawn({
                let limiter = Arc::clone(&limiter);
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
            assert!(!limiter.try_take(), "there is one permit");
            drop(Permit::taken(&limiter));
            assert!(limiter.try_take());
        });
    }
}
