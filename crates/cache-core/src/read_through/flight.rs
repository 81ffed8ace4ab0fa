//! A flight: one question about one key, whose answer several readers share.
//!
//! It looks up what to ask about, asks, publishes what was answered, and then wakes its waiters.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::{runtime::Handle, sync::watch};

use super::{
    Shared, Status, absent,
    drive::Flying,
    held::{Dropped, Held, is_same_version},
    request::{Outcome, Request},
    table::{Drive, KeyUse, Phase, Running, State, Ticket, Waiting},
    tasks::{Counted, runtime},
    trace::Cause,
};
use crate::{
    Entry, Error, ErrorKind, Keep, Key, Moment, Result, Validation, Validator,
    fence::Epoch,
    stats::{Count, Op},
    sync::MutexGuard,
};

/// What a flight brought its waiters.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// An entry, vouched for by a question asked at the moment.
    Entry(Entry, Status, Moment),
    Failed(Error),
    /// The question was given up; the answer will be there instead.
    Moved(Ticket),
}

/// The flight `seq`, which nobody waits for yet but its reader, to be polled by it or by a task.
pub(super) fn flight<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    counted: Counted,
    runtime: &Handle,
    tracked: KeyUse,
    seq: u64,
    looked: Option<Held>,
    trigger: Trigger,
) -> Flying {
    shared.sweeper.ensure(shared, runtime);
    Flight::new(shared, counted, tracked, seq, trigger).fly(looked, true).boxed()
}

/// The read that a flight is started for.
pub(super) struct Trigger {
    pub(super) cause: Cause,
    /// Sends the request in the origin's place.
    pub(super) validator: Option<Arc<dyn Validator>>,
}

/// A flight in the air. If it is dropped before it landed, the running place is free again and its waiters learn
/// that there will be no answer.
pub(super) struct Flight<V: ?Sized> {
    pub(super) shared: Arc<Shared<V>>,
    pub(super) tracked: KeyUse,
    pub(super) seq: u64,
    trigger: Trigger,
    /// The question, once it was sent, until it is answered.
    request: Option<Request<V>>,
    /// It has a place at the origin.
    placed: bool,
    /// The backend is being changed.
    publishing: bool,
    /// Its place is another's, or free.
    left: bool,
    _counted: Counted,
}

impl<V: Validator + ?Sized> Flight<V> {
    fn new(shared: &Arc<Shared<V>>, counted: Counted, tracked: KeyUse, seq: u64, trigger: Trigger) -> Self {
        Self {
            shared: Arc::clone(shared),
            tracked,
            seq,
            trigger,
            request: None,
            placed: false,
            publishing: false,
            left: false,
            _counted: counted,
        }
    }

    /// What it brought; `None` if its place is another's already.
    async fn fly(mut self, looked: Option<Held>, impatient: bool) -> Option<Landed> {
        // The generation and the epoch were noted when the flight began, before this look.
        let held = match looked {
            Some(held) => held,
            None => self.shared.look_up(self.tracked.key.as_str()).await,
        };
        // The second question has the place of the first.
        let has_place = self.placed || self.shared.places.try_take();
        if !has_place && let Err(landed) = self.wait_for_a_place().await {
            return landed;
        }
        self.placed = true;
        let asked_at = self.shared.clock.now();
        let held_copy = held.entry.filter(|entry| !entry.is_absent());
        let expired = held_copy.as_ref().is_some_and(|copy| copy.has_expired(asked_at));
        let known = held_copy.filter(|_| !expired);
        let pinned = known.clone().filter(|entry| entry.keep() == Keep::Confirmable);

        self.ask_from(asked_at);
        let Some(answer) = self.answer(pinned.as_ref(), impatient).await else {
            return self.give_up();
        };
        let question = Question { known, void: held.void, expired, pinned, asked_at };
        self.land(question, answer).await
    }

    /// From here on only readers that take an older answer may join. Who joins between the reading of the clock and
    /// this arrives before the question is sent.
    fn ask_from(&mut self, asked_at: Moment) {
        if let Some(running) = self.tracked.lock().flight(self.seq) {
            running.phase = Phase::Asked(asked_at);
        }
        let key = self.tracked.key.as_str();
        self.request = Some(Request::send(&self.shared, Op::Read, key, asked_at, &self.trigger.cause));
    }

    /// The origin's answer; `None` if patience ran out while somebody waited.
    async fn answer(&self, pinned: Option<&Entry>, impatient: bool) -> Option<Result<Validation>> {
        // Within, so that a panic is caught also where the call itself does the work.
        let question = async {
            match &self.trigger.validator {
                Some(validator) => validator.validate(&self.tracked.key, pinned).await,
                None => self.shared.origin.validate(&self.tracked.key, pinned).await,
            }
        };
        let question = self.request.as_ref()?.answer(question);
        let Some(patience) = self.shared.settings.patience.filter(|_| impatient) else {
            return Some(question.await);
        };
        tokio::pin!(question);
        loop {
            match tokio::time::timeout(patience, &mut question).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.is_awaited() => break,
                Err(_) => {}
            }
        }
        None
    }

    fn is_awaited(&self) -> bool {
        self.tracked.lock().flight(self.seq).is_some_and(|running| running.is_awaited())
    }

    async fn land(mut self, question: Question, answer: Result<Validation>) -> Option<Landed> {
        let answer = self.check(&question, answer);
        if let Some(request) = self.request.take() {
            let n_joined = || self.tracked.lock().flight(self.seq).map_or(0, |running| running.n_joined);
            let outcome = Outcome::of_read(&answer, question.pinned.as_ref(), &*self.shared.origin);
            request.end(outcome, n_joined);
        }
        if let (Ok(Validation::Unchanged), Some(pinned)) = (&answer, &question.pinned) {
            let landed = self.confirm(pinned.clone(), question.asked_at);
            self.left = true;
            return landed;
        }
        if let Some(running) = self.tracked.lock().flight(self.seq) {
            running.phase = Phase::Landing;
        }
        let landed = {
            let _turn = self.tracked.turn.lock().await;
            self.publishing = true;
            let shown = answer.as_ref().ok().and_then(changed);
            let (fenced, epoch) = self.is_fenced(&mut self.tracked.lock(), shown);
            publish(&self.shared, &self.tracked.key, &question, answer, fenced, epoch).await
        };
        self.publishing = false;
        let landed = self.leave(self.tracked.lock(), landed);
        self.left = true;
        landed
    }

    /// The origin confirmed `pinned`. Only that one, and only in place: if it left meanwhile, it stays gone. This
    /// changes no backend, so it needs no turn: a write fences under the same lock.
    fn confirm(&self, pinned: Entry, asked_at: Moment) -> Option<Landed> {
        let mut state = self.tracked.lock();
        if let (false, epoch) = self.is_fenced(&mut state, Some(&pinned)) {
            if pinned.vouched_at().is_some() {
                pinned.renew(asked_at, epoch);
            } else {
                // From a medium that outlives the process: nobody has said how long it lives.
                let key = self.tracked.key.as_str();
                pinned.publish(asked_at, self.shared.time_to_live(key), epoch);
            }
        }
        self.leave(state, Landed::Entry(pinned, Status::Revalidated, asked_at))
    }

    /// The answer, unless it answers no question of ours.
    fn check(&self, question: &Question, answer: Result<Validation>) -> Result<Validation> {
        match answer? {
            Validation::Unchanged if question.pinned.is_none() => Err(Error::new(
                ErrorKind::Other,
                "the validator answered \"unchanged\" although nothing was held; its origin answers a 304 to a \
                 question without a tag",
            )),
            Validation::Changed(entry) if entry.key() != self.tracked.key.as_str() => {
                Err(Error::new(ErrorKind::Other, "the validator answered about another key"))
            }
            answer => Ok(answer),
        }
    }

    /// Whether a fence went up since the flight began, or another answer has shown something else
    /// than `shown`, which this one did; and the flight's epoch.
    fn is_fenced(&self, state: &mut State, shown: Option<&Entry>) -> (bool, Epoch) {
        let (generation, writes) = (state.generation, state.writes);
        let Some(running) = state.flight(self.seq) else { return (true, Epoch(0)) };
        let fenced = running.generation != generation
            || writes > 0
            || !running.heard.allows(shown)
            || self.shared.epochs.voids(self.tracked.key.as_str(), running.epoch);
        (fenced, running.epoch)
    }

    /// Published: frees the running place, starts the waiting flight if somebody waits for it, and then wakes the
    /// waiters. `None` if the flight had left already.
    pub(super) fn leave(&self, mut state: MutexGuard<'_, State>, landed: Landed) -> Option<Landed> {
        let Running { answer, .. } = state.vacate(self.seq)?;
        match state.waiting.take().filter(|next| next.answer.receiver_count() > 0) {
            Some(next) => self.start(state, next, false),
            None => drop(state),
        }
        if let Some(waiters) = answer {
            waiters.send_replace(Some(landed.clone()));
        }
        Some(landed)
    }

    /// The question has been dropped: moves the waiters to the waiting flight, which starts at once and is not
    /// replaced itself. It has this one's place at the origin.
    fn give_up(mut self) -> Option<Landed> {
        let here = runtime().ok()?;
        let mut state = self.tracked.lock();
        let Running { answer, .. } = state.vacate(self.seq)?;
        let next = state.waiting.take().unwrap_or_else(|| Waiting {
            answer: watch::channel(None).0,
            runtime: here,
            trigger: Trigger {
                cause: self.trigger.cause.of_replacement(),
                validator: self.trigger.validator.clone(),
            },
        });
        let moved = Landed::Moved(next.answer.subscribe());
        self.placed = false;
        self.start(state, next, true);
        if let Some(waiters) = answer {
            waiters.send_replace(Some(moved.clone()));
        }
        Some(moved)
    }

    /// Starts the flight that waited, on the runtime of one who waits for it: this one's may not be driven any
    /// longer. One that takes this one's place at the origin is not impatient.
    fn start(&self, mut state: MutexGuard<'_, State>, next: Waiting, is_second: bool) {
        let Waiting { answer, runtime, trigger } = next;
        let seq = state.begin_flight(self.shared.epochs.latest(), Some(answer), Drive::Task);
        drop(state);
        self.shared.sweeper.ensure(&self.shared, &runtime);
        // Also once the cache is closed, which waits for this one.
        let counted = self.shared.tasks.count();
        let mut flight = Self::new(&self.shared, counted, self.tracked.clone(), seq, trigger);
        flight.placed = is_second;
        runtime.spawn(flight.fly(None, !is_second).boxed());
    }
}

impl<V: ?Sized> Drop for Flight<V> {
    fn drop(&mut self) {
        if self.publishing {
            // A backend call was dropped half-way: what is held is in doubt.
            self.shared.epochs.raise_key(self.tracked.key.as_str());
        }
        if self.placed {
            self.shared.places.give_back();
        }
        if self.left {
            return;
        }
        let mut state = self.tracked.lock();
        let lost = state.vacate(self.seq);
        let waiting = lost.as_ref().and_then(|_| state.waiting.take());
        drop(state);
        // Only now do the waiters of both learn that there is no answer.
        drop((lost, waiting));
    }
}

/// The version that an answer brought.
fn changed(answer: &Validation) -> Option<&Entry> {
    if let Validation::Changed(entry) = answer { Some(entry) } else { None }
}

/// What was asked.
struct Question {
    /// The copy that was held, neither void nor expired.
    known: Option<Entry>,
    /// A void copy was held.
    void: bool,
    /// An expired copy was held.
    expired: bool,
    /// The entry whose version was sent.
    pinned: Option<Entry>,
    /// When it was sent.
    asked_at: Moment,
}

/// Publishes an answer that confirms nothing, in the key's turn: inserts, or removes. What the waiters get.
async fn publish<V: ?Sized>(
    shared: &Shared<V>,
    key: &Key,
    question: &Question,
    answer: Result<Validation>,
    fenced: bool,
    epoch: Epoch,
) -> Landed {
    let asked_at = question.asked_at;
    let entry = match answer {
        // One that was handed out before is somebody else's to stamp.
        Ok(Validation::Changed(entry)) => {
            let entry = entry.unstamped();
            // Also where it is not kept: whatever reads it can tell whose it is.
            entry.give_to(shared.settings.identity);
            entry
        }
        Ok(Validation::Unchanged | Validation::Gone) => {
            let dropped = forget(shared, key, Count::InvalidatedGone).await;
            remember_absence(shared, key, asked_at, epoch, dropped, fenced).await;
            return Landed::Failed(absent().with_key(key));
        }
        Err(error) => {
            // What failed to answer says nothing of the entry; what answered does.
            if error.drops_entry() || (fenced && !error.is_outage()) {
                forget(shared, key, Count::InvalidatedGone).await;
            }
            return Landed::Failed(error.with_key(key));
        }
    };
    let status = if question.known.is_some() { Status::Refetched } else { Status::Fetched };
    if fenced || entry.keep() == Keep::Never {
        if entry.keep() == Keep::Never {
            shared.count(Count::Unvalidatable);
        }
        forget(shared, key, Count::InvalidatedChanged).await;
    } else {
        let replaced = question.known.as_ref().is_some_and(|known| !is_same_version(known, &entry));
        entry.publish(asked_at, shared.time_to_live(key.as_str()), epoch);
        shared.keep(key, entry.clone()).await;
        if replaced {
            shared.count(Count::InvalidatedChanged);
        } else if question.void {
            shared.count(Count::InvalidatedByApi);
        }
        if question.expired {
            shared.count(Count::Expirations);
        }
    }
    Landed::Entry(entry, status, asked_at)
}

/// Removes what is held, whatever it is, and counts a copy under `cause`.
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
    if fenced || span.is_zero() {
        return;
    }
    let identity = Some(shared.settings.identity);
    let absence = Entry::builder(key, Default::default()).identity(identity).absent().build();
    let replaced = if let Dropped::Absence(at) = dropped { Some(at) } else { None };
    if !shared.absences.admit(absence.weight(), shared.clock.now(), replaced, &*shared.backend) {
        return;
    }
    absence.publish(asked_at, Some(span), epoch);
    shared.keep(key, absence).await;
}
