//! A flight: one request for one key, whose response is shared by several readers.
//!
//! It looks up the cached entry, takes a permit, sends the request, publishes the response, and
//! then wakes its waiters.

use std::{
    future::poll_fn,
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::runtime::Handle;

use super::{
    backend_access::{Dropped, LookedUp, is_same_version},
    key_state::{Drive, NextFlight, Origins, Phase, State, Trigger},
    key_table::KeyGuard,
    limiter::{Permit, QueueTimer},
    outcome::{FlightOutcome, OutcomeSenders, not_found},
    parked::BoxedFlight,
    request::{Outcome, Request},
    served::{Status, Tier},
    shared::Shared,
    sweep,
    trace::Cause,
};
use crate::{
    Entry, Error, ErrorKind, Key, Moment, Result, Storability, Validation, Validator,
    epoch::Epoch,
    stats::{Count, Op},
    sync::MutexGuard,
};

/// Makes the flight `seq`, to be polled by its reader or by a task.
pub(super) fn flight<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    runtime: &Handle,
    tracked: KeyGuard,
    seq: u64,
    looked: Option<LookedUp>,
    trigger: Trigger,
) -> BoxedFlight {
    sweep::ensure(shared, runtime);
    Flight::new(shared, tracked, seq, trigger).run(looked, None).boxed()
}

/// A running flight. If it is dropped before it ends, the key has no flight any more, and its
/// waiters learn that there will be no outcome.
pub(super) struct Flight<V: ?Sized> {
    pub(super) shared: Arc<Shared<V>>,
    pub(super) tracked: KeyGuard,
    pub(super) seq: u64,
    trigger: Trigger,
    /// The request, from its sending to its response.
    request: Option<Request<V>>,
    /// A backend call is running.
    publishing: bool,
    /// It has ended or was replaced.
    left: bool,
}

impl<V: Validator + ?Sized> Flight<V> {
    fn new(shared: &Arc<Shared<V>>, tracked: KeyGuard, seq: u64, trigger: Trigger) -> Self {
        let shared = Arc::clone(shared);
        Self { shared, tracked, seq, trigger, request: None, publishing: false, left: false }
    }

    /// Runs the flight; `None` if it was replaced.
    async fn run(
        mut self,
        looked: Option<LookedUp>,
        permit: Option<Permit>,
    ) -> Option<FlightOutcome> {
        // The generation and the epoch were read when the flight started, before this look-up.
        let held = match looked {
            Some(held) => held,
            None => self.shared.look_up(self.tracked.key.as_str()).await,
        };
        let permit = match permit.or_else(|| Permit::try_take(&self.shared.limiter)) {
            Some(permit) => permit,
            None => match self.wait_for_permit().await {
                Ok(permit) => permit,
                Err(landed) => return landed,
            },
        };
        let asked_at = self.shared.clock.now();
        let held_copy = held.entry.filter(|entry| !entry.is_negative());
        let expired = held_copy.as_ref().is_some_and(|copy| copy.has_expired(asked_at));
        let known = held_copy.filter(|_| !expired);
        let pinned =
            known.clone().filter(|entry| entry.storability() == Storability::Revalidatable);

        let answer = self.ask(asked_at, pinned.as_ref()).await?;
        // The object may change after the store read it, so age counts from sending.
        // mutant: validated_at_sending
        let question = SentRequest {
            known,
            tier: held.tier,
            void: held.void,
            expired,
            pinned,
            sent_at: asked_at,
        };
        self.complete(question, answer, permit).await
    }

    /// Sends the request and returns the response; `None` if the flight is replaced before it
    /// comes.
    async fn ask(
        &mut self,
        asked_at: Moment,
        pinned: Option<&Entry>,
    ) -> Option<Result<Validation>> {
        // Created before the look at the state, so that no later notification is missed.
        let mut vacated = pin!(self.tracked.vacated.notified());
        // From here on only readers that accept an older response may join. A reader that joins
        // between the reading of the clock and this line arrives before the request is sent.
        self.tracked.lock().flight(self.seq)?.phase = Phase::Sent(asked_at);
        let key = &self.tracked.key;
        let request =
            Request::send(&self.shared, Op::Read, key.as_str(), asked_at, &self.trigger.cause);
        let request = self.request.insert(request);
        // In an async block, so that a panic is caught also where the call itself does the work.
        let mut question = pin!(request.answer(async {
            match &self.trigger.validator {
                Some(validator) => validator.validate(key, pinned).await,
                None => self.shared.origin.validate(key, pinned).await,
            }
        }));
        let (tracked, seq) = (&self.tracked, self.seq);
        let mut is_vacated = |context: &mut Context<'_>| {
            while vacated.as_mut().poll(context).is_ready() {
                vacated.set(tracked.vacated.notified());
                // A flight that was replaced no longer owns the key and must stop here.
                // mutant: replaced_before_sending
                if tracked.lock().flight(seq).is_none() {
                    return true;
                }
            }
            false
        };
        let mut is_first_poll = true;
        poll_fn(|context| {
            // Before the request is polled: a flight that was left alone for long must not send it
            // now.
            if !is_first_poll && is_vacated(context) {
                return Poll::Ready(None);
            }
            if let Poll::Ready(answer) = question.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            // Only now: a response that is ready at once needs no such waker.
            if mem::take(&mut is_first_poll) && is_vacated(context) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    async fn complete(
        mut self,
        question: SentRequest,
        answer: Result<Validation>,
        permit: Permit,
    ) -> Option<FlightOutcome> {
        let answer = self.check(&question, answer);
        // The request is taken, so however many readers joined it is counted once.
        // mutant: counts_once
        if let Some(request) = self.request.take() {
            let n_joined =
                || self.tracked.lock().flight(self.seq).map_or(0, |running| running.n_joined);
            let outcome = Outcome::of_read(&answer, question.pinned.as_ref(), &*self.shared.origin);
            request.end(outcome, n_joined);
        }
        if let (Ok(Validation::NotModified), Some(pinned)) = (&answer, &question.pinned) {
            let landed = self.confirm(pinned.clone(), question.tier, question.sent_at, permit);
            self.left = true;
            return landed;
        }
        // The outcome of a replaced flight says nothing of the backend.
        // A flight that was replaced while it waited has no right to publish.
        // mutant: replaced_before_publishing
        self.tracked.lock().flight(self.seq)?.phase = Phase::Publishing(question.sent_at);
        let (shared, key) = (&self.shared, &self.tracked.key);
        // A woken reader may read again at once and must find the published entry.
        // mutant: publishes_then_wakes
        let landed = match self.tracked.lock_backend(shared.settings.backend_lock_limit()).await {
            Some(_turn) => {
                let shown = answer.as_ref().ok().and_then(changed);
                // The flight may have been replaced while it waited for the backend.
                // mutant: replaced_at_lock
                let (fenced, epoch) = self.is_fenced(&mut self.tracked.lock(), shown)?;
                self.publishing = true;
                let landed = publish(shared, key, &question, answer, fenced, epoch).await;
                if self.tracked.lock().flight(self.seq).is_none() {
                    // Replaced in the meantime, so the entry that it stored is void.
                    // A flight replaced while it published may have stored an entry older than its
                    // successor's.
                    // mutant: replaced_while_publishing
                    shared.drop_held(key).await;
                }
                landed
            }
            None => {
                self.tracked.lock().flight(self.seq)?;
                // The cached entry, or the result of the stuck call, may be older than the
                // response. A stuck backend call may still store its entry later; the epoch makes
                // it void.
                // mutant: stuck_call_voids
                shared.epochs.void_key(key.as_str());
                question.landed(shared, key, answer)
            }
        };
        self.publishing = false;
        let landed = self.finish(self.tracked.lock(), landed, Some(permit));
        self.left = true;
        landed
    }

    /// The origin validated `pinned`: renews that entry in place. If it was evicted in the
    /// meantime, it stays so. Changes no backend, so it needs no backend lock: a write fences under
    /// the same lock.
    fn confirm(
        &self,
        pinned: Entry,
        tier: Option<Tier>,
        asked_at: Moment,
        permit: Permit,
    ) -> Option<FlightOutcome> {
        let mut state = self.tracked.lock();
        // After a fence, a 304 speaks of a moment before the write and renews nothing.
        // mutant: renews_unfenced
        if let Some((false, epoch)) = self.is_fenced(&mut state, Some(&pinned)) {
            // Before the renewal, for lists: the entry may be older than the index of keys.
            // mutant: notes_confirmed
            self.shared.note_key(self.tracked.key.as_str());
            if pinned.validated_at().is_some() {
                pinned.renew(asked_at, epoch);
            } else {
                // From a backend that outlives the process: the entry has no time to live yet.
                let key = self.tracked.key.as_str();
                pinned.publish(asked_at, self.shared.time_to_live(key), epoch);
            }
            // The backend may keep the stamp apart, with bytes that are on disk.
            // mutant: renews_every_tier
            self.shared.renewed(&pinned);
        }
        self.finish(
            state,
            FlightOutcome::Entry(pinned, Status::Revalidated, tier, asked_at),
            Some(permit),
        )
    }

    /// Returns the response, unless it does not fit the request.
    fn check(&self, question: &SentRequest, answer: Result<Validation>) -> Result<Validation> {
        match answer? {
            // A 304 to a request without a condition names no version.
            // mutant: unasked_not_modified
            Validation::NotModified if question.pinned.is_none() => Err(Error::new(
                ErrorKind::Other,
                "the validator answered \"not modified\" to an unconditional request; \
                 the origin must answer 304 only to a request with an ETag",
            )),
            Validation::Modified(entry) if entry.key() != self.tracked.key.as_str() => {
                Err(Error::new(ErrorKind::Other, "the validator returned an entry of another key"))
            }
            answer => Ok(answer),
        }
    }

    /// Returns whether a fence was raised since the flight started, or another response has shown
    /// something else than `shown`; and the flight's epoch. `None` if the flight was replaced.
    fn is_fenced(&self, state: &mut State, shown: Option<&Entry>) -> Option<(bool, Epoch)> {
        let (generation, writes) = (state.generation, state.writes);
        let running = state.flight(self.seq)?;
        let fenced = running.generation != generation
            // While a write is open, no response can be ordered before or after it.
            // mutant: open_write_fences
            || writes > 0
            || !running.heard.allows(shown)
            || self.shared.epochs.voids(self.tracked.key.as_str(), running.epoch);
        Some((fenced, running.epoch))
    }

    /// See [`finish`].
    pub(super) fn finish(
        &self,
        state: MutexGuard<'_, State>,
        landed: FlightOutcome,
        permit: Option<Permit>,
    ) -> Option<FlightOutcome> {
        finish(&self.shared, &self.tracked, state, self.seq, permit, landed)
    }
}

/// Ends the flight `seq`: removes it, starts the next flight if a reader waits for that, releases
/// the permit, and then wakes the waiters, so that one that sends its next request at once finds
/// the permit free. `None` if the flight was replaced before.
pub(super) fn finish<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    tracked: &KeyGuard,
    mut state: MutexGuard<'_, State>,
    seq: u64,
    mut permit: Option<Permit>,
    landed: FlightOutcome,
) -> Option<FlightOutcome> {
    let Some(running) = state.vacate(seq) else {
        // Before the permit, which wakes others.
        drop(state);
        return None;
    };
    // Under the lock: the key's next flight, which may start on another thread once that is
    // released, must not find the limit reached by this one.
    if let Some(permit) = &mut permit {
        // The permit is free before the key's next flight can ask for one.
        // mutant: frees_before_next
        permit.free();
    }
    // The next flight of the key begins only when the current one has left.
    // mutant: next_after_current
    match state.next.take().filter(|next| next.sender.receiver_count() > 0) {
        Some(NextFlight { sender: answer, runtime, trigger }) => {
            start(shared, tracked, state, answer.into(), &runtime, trigger, None);
        }
        None => drop(state),
    }
    // A woken reader may send at once and must find the permit free.
    // mutant: frees_before_waking
    drop(permit);
    running.tell(&landed);
    Some(landed)
}

/// Replaces the flight `seq`, which made no progress, by another one on `runtime`: also for the
/// readers that waited for the next one, since it starts after they came.
pub(super) fn replace<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    tracked: &KeyGuard,
    mut state: MutexGuard<'_, State>,
    seq: u64,
    runtime: &Handle,
) {
    let Some(running) = state.vacate(seq) else { return };
    if let Phase::Publishing(_) = running.phase {
        // It may hold the backend lock in a call that still takes effect. Its entry is void, and no
        // call waits for it. The stuck call may still complete, so its entry must be void.
        // mutant: stuck_turn_voids
        shared.epochs.void_key(tracked.key.as_str());
        tracked.give_up_backend_lock();
    }
    // Its request may still be at the origin and keeps its permit: the new one exceeds the limit
    // rather than wait behind others once more.
    let had_permit = matches!(running.phase, Phase::Sent(_) | Phase::Publishing(_));
    let permit = had_permit.then(|| Permit::beyond_limit(&shared.limiter));
    // Counted until the next one is.
    let (mut answers, drive, _counted) = running.into_parts();
    if let Some(waiting) = state.next.take() {
        answers.add(waiting.sender);
    }
    let trigger = Trigger { cause: Cause::background(), validator: None };
    start(shared, tracked, state, answers, runtime, trigger, Some(permit));
    // Its reader sees that it was replaced. Outside of the lock: dropping it may run foreign code.
    if let Drive::Parked(parked) = drive {
        parked.give_up();
    }
}

/// Starts a flight in a task of `runtime`, which a waiting reader is on: another one may not be
/// driven any more. `second` if it replaces a flight: with a permit, if that had one.
fn start<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    tracked: &KeyGuard,
    mut state: MutexGuard<'_, State>,
    answers: OutcomeSenders,
    runtime: &Handle,
    trigger: Trigger,
    second: Option<Option<Permit>>,
) {
    let origins = Origins { runtime: Some(runtime.id()), is_second: second.is_some() };
    // Also once the cache is closed, which waits for this one.
    let token = shared.tasks.count();
    let seq = state.begin_flight(shared.epochs.latest(), answers, Drive::Task, origins, token);
    drop(state);
    sweep::ensure(shared, runtime);
    let flight = Flight::new(shared, tracked.clone(), seq, trigger);
    runtime.spawn(flight.run(None, second.flatten()).boxed());
}

impl<V: Validator + ?Sized> Flight<V> {
    /// Waits for a permit. Otherwise the flight has ended, with this outcome: no reader waited any
    /// more, or no permit was free in time; or it was replaced.
    pub(super) async fn wait_for_permit(&self) -> Result<Permit, Option<FlightOutcome>> {
        let Shared { limiter, settings, .. } = &*self.shared;
        let mut waits = None;
        let mut place = pin!(limiter.taken());
        let mut vacated = pin!(self.tracked.vacated.notified());
        let mut queue_timer = QueueTimer::new(settings.queue_timeout);
        let mut deserted: Option<BoxFuture<'static, ()>> = None;
        poll_fn(|context| {
            let taken = || Poll::Ready(Ok(Permit::taken(limiter)));
            if place.as_mut().poll(context).is_ready() {
                return taken();
            }
            while vacated.as_mut().poll(context).is_ready() {
                vacated.set(self.tracked.vacated.notified());
                // A reader may have come, or another flight has replaced this one.
                deserted = None;
            }
            loop {
                if let Some(last_left) = &mut deserted {
                    if last_left.poll_unpin(context).is_ready() {
                        // A reader may have come since.
                        deserted = None;
                        continue;
                    }
                } else {
                    let mut state = self.tracked.lock();
                    let Some(running) = state.flight(self.seq) else {
                        return Poll::Ready(Err(None));
                    };
                    if !running.is_awaited() {
                        return Poll::Ready(Err(self.finish(
                            state,
                            FlightOutcome::Failed(unwanted()),
                            None,
                        )));
                    }
                    running.phase = Phase::Queued;
                    // The reader that polls it now moves it to a task, which polls it anew.
                    if let (Drive::Task, Some(answer)) = (&running.drive, running.awaited()) {
                        let answer = answer.clone();
                        deserted = Some(async move { answer.closed().await }.boxed());
                        continue;
                    }
                }
                waits.get_or_insert_with(|| self.shared.begin_to_wait());
                return match ready!(queue_timer.poll(limiter, context)) {
                    true => taken(),
                    false => {
                        let error = settings.queue_timed_out().with_key(&self.tracked.key);
                        Poll::Ready(Err(self.finish(
                            self.tracked.lock(),
                            FlightOutcome::Failed(error),
                            None,
                        )))
                    }
                };
            }
        })
        .await
    }
}

impl<V: ?Sized> Drop for Flight<V> {
    fn drop(&mut self) {
        if self.publishing {
            // A backend call was dropped half-way: the cached entry is in doubt.
            self.shared.epochs.void_key(self.tracked.key.as_str());
        }
        if self.left {
            return;
        }
        let mut state = self.tracked.lock();
        let lost = state.vacate(self.seq);
        let waiting = lost.as_ref().and_then(|_| state.next.take());
        drop(state);
        // Only now do the waiters of both learn that there is no outcome.
        drop((lost, waiting));
    }
}

/// Returns the entry of a response.
fn changed(answer: &Validation) -> Option<&Entry> {
    if let Validation::Modified(entry) = answer { Some(entry) } else { None }
}

/// The request, and what was cached when it was sent.
struct SentRequest {
    /// The cached entry, neither void nor expired.
    known: Option<Entry>,
    /// Where that was found.
    tier: Option<Tier>,
    /// A void entry was cached.
    void: bool,
    /// An expired entry was cached.
    expired: bool,
    /// The entry whose version was sent.
    pinned: Option<Entry>,
    /// When it was sent.
    sent_at: Moment,
}

impl SentRequest {
    /// Returns the outcome of a response that is not cached.
    fn landed<V: ?Sized>(
        &self,
        shared: &Shared<V>,
        key: &Key,
        answer: Result<Validation>,
    ) -> FlightOutcome {
        match answer {
            Ok(Validation::Modified(entry)) => self.brings(own(shared, entry)),
            Ok(Validation::NotModified | Validation::NotFound) => {
                FlightOutcome::Failed(not_found().with_key(key))
            }
            Err(error) => FlightOutcome::Failed(error.with_key(key)),
        }
    }

    fn brings(&self, entry: Entry) -> FlightOutcome {
        let status = if self.known.is_some() { Status::Refetched } else { Status::Fetched };
        FlightOutcome::Entry(entry, status, None, self.sent_at)
    }
}

/// Returns the validator's entry as one of this cache's, also where it is not cached, so that its
/// namespace can be told. An entry that was handed out before is copied, not stamped again.
fn own<V: ?Sized>(shared: &Shared<V>, entry: Entry) -> Entry {
    let entry = entry.unstamped();
    entry.give_to(shared.settings.identity);
    entry
}

/// Publishes a response other than "not modified", under the backend lock: inserts or removes.
/// Returns the outcome for the waiters.
async fn publish<V: ?Sized>(
    shared: &Shared<V>,
    key: &Key,
    question: &SentRequest,
    answer: Result<Validation>,
    fenced: bool,
    epoch: Epoch,
) -> FlightOutcome {
    let asked_at = question.sent_at;
    let entry = match answer {
        Ok(Validation::Modified(entry)) => own(shared, entry),
        Ok(Validation::NotModified | Validation::NotFound) => {
            // The store reported that the object is gone: its copy must not be served again.
            // mutant: drops_not_found
            let dropped = forget(shared, key, Count::InvalidatedNotFound).await;
            remember_absence(shared, key, asked_at, epoch, dropped, fenced).await;
            return FlightOutcome::Failed(not_found().with_key(key));
        }
        Err(error) => {
            // An outage says nothing of the entry; an answer does.
            if error.drops_entry() || (fenced && !error.is_outage()) {
                forget(shared, key, Count::InvalidatedNotFound).await;
            }
            return FlightOutcome::Failed(error.with_key(key));
        }
    };
    // A fenced response may be older than a finished write and must not be stored.
    // mutant: stores_unfenced
    if fenced || entry.storability() == Storability::NoStore {
        if entry.storability() == Storability::NoStore {
            shared.count(Count::NoValidator);
        }
        // The response shows another version, so the older entry goes even if nothing replaces it.
        // mutant: drops_replaced
        forget(shared, key, Count::InvalidatedModified).await;
    } else {
        let replaced = question.known.as_ref().is_some_and(|known| !is_same_version(known, &entry));
        // The sweep may have dropped and counted it since the look-up.
        let replaces_expired = question.expired && {
            let LookedUp { entry, void, .. } = shared.look_up(key.as_str()).await;
            entry.is_some() || void
        };
        entry.publish(asked_at, shared.time_to_live(key.as_str()), epoch);
        // The entry keeps the epoch of its request, or a clear in between would not void it.
        // mutant: insert_keeps_epoch
        shared.keep(key, entry.clone()).await;
        if replaced {
            shared.count(Count::InvalidatedModified);
        } else if question.void {
            shared.count(Count::InvalidatedByApi);
        }
        if replaces_expired {
            shared.count(Count::Expirations);
        }
    }
    question.brings(entry)
}

/// Removes the cached entry, whatever it is, and counts it under `cause`.
async fn forget<V: ?Sized>(shared: &Shared<V>, key: &Key, cause: Count) -> Dropped {
    let dropped = shared.drop_held(key).await;
    shared.count_dropped(dropped, cause);
    dropped
}

async fn remember_absence<V: ?Sized>(
    shared: &Shared<V>,
    key: &Key,
    asked_at: Moment,
    epoch: Epoch,
    dropped: Dropped,
    fenced: bool,
) {
    let span = shared.settings.negative_ttl;
    // After a fence the object may exist again, so its absence is not cached.
    // mutant: absence_unfenced
    if fenced || span.is_zero() {
        return;
    }
    let identity = Some(shared.settings.identity);
    let absence = Entry::builder(key, Default::default()).namespace(identity).absent().build();
    let replaced = if let Dropped::Absence(at) = dropped { Some(at) } else { None };
    let (now, swept_at) = (shared.clock.now(), shared.sweeper.swept_at());
    if !shared.negative_budget.admit(absence.weight(), now, replaced, swept_at, &*shared.backend) {
        return;
    }
    absence.publish(asked_at, Some(span), epoch);
    shared.keep(key, absence).await;
}

fn unwanted() -> Error {
    Error::new(ErrorKind::Other, "no reader waits for the response any more")
}
