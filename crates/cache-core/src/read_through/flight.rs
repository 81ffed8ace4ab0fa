//! Flights: one question about one key, whose answer several readers share.
//!
//! At most two a key: one running, one waiting that starts when the first has landed. So a burst of any number of
//! strong readers costs at most two requests a round trip.

use std::sync::{Arc, MutexGuard};

use tokio::{runtime::Handle, sync::watch};

use super::{
    Served, Shared, Status, Use, absent,
    held::{Held, caught, is_same_version},
    table::{Answer, KeyUse, Phase, Stamp, State, Waiting},
    tasks::runtime,
};
use crate::{
    Entry, Error, ErrorKind, Freshness, Keep, Key, Moment, Result, Validation, Validator, fence::Epoch,
    stats::Count,
};

/// What a flight brought its waiters.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// An entry, vouched for by a question asked at the moment.
    Entry(Entry, Status, Moment),
    Failed(Error),
    /// The question was given up; the answer will be there instead.
    Moved(watch::Receiver<Option<Landed>>),
}

/// Reads `key` when what is at hand was not fresh: looks once more, joins or starts a flight, waits for it.
pub(super) async fn read<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    freshness: &Freshness,
) -> Result<Served> {
    let key = &Key::parse(key)?;
    for _ in 0..LOST_MAX {
        shared.check_open()?;
        let ticket = match approach(shared, key, freshness).await? {
            Approach::Served(served) => return Ok(served),
            Approach::Wait(ticket) => ticket,
        };
        match wait(ticket).await {
            Some(Ok((entry, status, asked_at))) => {
                let age = shared.clock.now().saturating_since(asked_at);
                return Ok(Served { entry, status, age });
            }
            Some(Err(error)) => return cover(shared, key, freshness, error).await,
            // Its runtime was shut down, or a backend panicked. Ask from here.
            None => {}
        }
    }
    Err(Error::new(ErrorKind::Other, "the task that carried the request ended before the answer")
        .with_key(key))
}

/// What a reader does at a key.
enum Approach {
    Served(Served),
    Wait(watch::Receiver<Option<Landed>>),
}

/// What a reader saw of a key before it looked up what is held.
#[derive(PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    epoch: Epoch,
}

async fn approach<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &Key,
    freshness: &Freshness,
) -> Result<Approach> {
    let tracked = shared.table.enter(key);
    let mut looks = 1;
    loop {
        let seen = Seen { stamp: tracked.lock().stamp(), epoch: shared.epochs.latest() };
        let held = shared.look_up(key).await;
        let at_hand = if freshness.is_strong() { None } else { held.entry.clone() };
        if let Some(entry) = at_hand {
            match shared.usable(key.as_str(), entry, freshness)? {
                Some(Use::Fresh(served)) => return Ok(Approach::Served(served)),
                Some(Use::Refresh(served)) => {
                    refresh(shared, &tracked, held, &seen);
                    return Ok(Approach::Served(served));
                }
                None => {}
            }
        }
        let runtime = runtime()?;
        let now = shared.clock.now();
        let mut state = tracked.lock();
        if let Some(ticket) = join(shared, &mut state, key, now, freshness, &runtime) {
            return Ok(Approach::Wait(ticket));
        }
        let current = Seen { stamp: state.stamp(), epoch: shared.epochs.latest() };
        if current != seen && !freshness.is_strong() && looks < LOOKS_MAX {
            // A flight landed or a fence went up since the look: there may be a fresh entry now.
            looks += 1;
            continue;
        }
        let (answer, ticket) = watch::channel(None);
        let seq = state.begin_flight(current.epoch, Arc::new(answer));
        drop(state);
        let looked = (current == seen).then_some(held);
        launch(shared, &runtime, tracked, seq, looked, true);
        return Ok(Approach::Wait(ticket));
    }
}

/// Starts a flight behind a reader that is served already, unless one is in the air.
fn refresh<V: Validator + ?Sized>(shared: &Arc<Shared<V>>, tracked: &KeyUse, held: Held, seen: &Seen) {
    let Ok(runtime) = runtime() else { return };
    let mut state = tracked.lock();
    if state.running.is_some() || state.stamp() != seen.stamp {
        return;
    }
    let seq = state.begin_flight(seen.epoch, Arc::new(watch::channel(None).0));
    drop(state);
    launch(shared, &runtime, tracked.clone(), seq, Some(held), true);
}

/// Joins the running flight if its answer will be good enough, else the waiting one. `None` if nothing runs.
fn join<V: ?Sized>(
    shared: &Shared<V>,
    state: &mut State,
    key: &Key,
    now: Moment,
    freshness: &Freshness,
    runtime: &Handle,
) -> Option<watch::Receiver<Option<Landed>>> {
    let running = state.running.as_ref()?;
    let unfenced =
        running.generation == state.generation && !shared.epochs.voids(key.as_str(), running.epoch);
    let in_time = match running.phase {
        Phase::Looking => true,
        Phase::Asked(sent_at) => freshness.accepts(sent_at, now),
        Phase::Landing => false,
    };
    if unfenced && in_time {
        shared.count(Count::Coalesced);
        return Some(running.answer.subscribe());
    }
    Some(match &mut state.waiting {
        Some(waiting) => {
            shared.count(Count::Coalesced);
            // Who came last is the likeliest to be there when it starts.
            waiting.runtime = runtime.clone();
            waiting.answer.subscribe()
        }
        None => {
            let (answer, ticket) = watch::channel(None);
            state.waiting = Some(Waiting { answer: Arc::new(answer), runtime: runtime.clone() });
            ticket
        }
    })
}

/// What the flight brought; `None` if it ended without landing.
async fn wait(mut ticket: watch::Receiver<Option<Landed>>) -> Option<Result<(Entry, Status, Moment)>> {
    loop {
        let landed = ticket.wait_for(Option::is_some).await.ok()?.clone();
        match landed? {
            Landed::Entry(entry, status, asked_at) => return Some(Ok((entry, status, asked_at))),
            Landed::Failed(error) => return Some(Err(error)),
            Landed::Moved(next) => ticket = next,
        }
    }
}

/// The held entry, if it may be served because the origin failed to answer; else the error.
async fn cover<V: ?Sized>(
    shared: &Shared<V>,
    key: &Key,
    freshness: &Freshness,
    error: Error,
) -> Result<Served> {
    if error.is_outage() {
        // Looked up now: what was dropped since the question was sent is not served.
        if let Some(entry) = shared.look_up(key).await.entry.filter(|entry| !entry.is_absent()) {
            let now = shared.clock.now();
            if freshness.covers_outage(&entry, now) {
                let age = entry.vouched_at().map_or_else(Default::default, |at| now.saturating_since(at));
                return Ok(Served { entry, status: Status::Stale, age });
            }
        }
    }
    Err(error.with_key(key))
}

fn launch<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    runtime: &Handle,
    tracked: KeyUse,
    seq: u64,
    looked: Option<Held>,
    impatient: bool,
) {
    shared.sweeper.ensure(shared, runtime);
    let flight = Flight { shared: Arc::clone(shared), tracked, seq, asked: false, publishing: false };
    shared.tasks.spawn(runtime, flight.fly(looked, impatient));
}

/// A flight in the air. If it is dropped before it landed, the running place is free again and its waiters learn
/// that there will be no answer.
struct Flight<V: ?Sized> {
    shared: Arc<Shared<V>>,
    tracked: KeyUse,
    seq: u64,
    /// The question was sent, and its outcome has not been counted.
    asked: bool,
    /// The backend is being changed.
    publishing: bool,
}

impl<V: Validator + ?Sized> Flight<V> {
    async fn fly(mut self, looked: Option<Held>, impatient: bool) {
        // The generation and the epoch were noted when the flight began, before this look.
        let held = match looked {
            Some(held) => held,
            None => self.shared.look_up(&self.tracked.key).await,
        };
        let now = self.shared.clock.now();
        let expired = held.entry.as_ref().is_some_and(|entry| entry.has_expired(now));
        let known = held.entry.filter(|entry| !expired && !entry.is_absent());
        let pinned = known.clone().filter(|entry| entry.keep() == Keep::Confirmable);

        let asked_at = self.ask_from_now();
        let Some(answer) = self.answer(pinned.as_ref(), impatient).await else {
            return self.give_up();
        };
        let question = Question { known, void: held.void, expired, pinned, asked_at };
        self.land(question, answer).await;
    }

    /// From here on only readers that take an older answer may join.
    fn ask_from_now(&mut self) -> Moment {
        // Who joins between this and the next line arrives before the question is sent.
        let asked_at = self.shared.clock.now();
        if let Some(running) = self.tracked.lock().flight(self.seq) {
            running.phase = Phase::Asked(asked_at);
        }
        self.asked = true;
        asked_at
    }

    /// The origin's answer; `None` if patience ran out while somebody waited.
    async fn answer(&mut self, pinned: Option<&Entry>, impatient: bool) -> Option<Result<Validation>> {
        let shared = Arc::clone(&self.shared);
        let key = self.tracked.key.clone();
        let question = caught(async { shared.origin.validate(&key, pinned).await });
        let Some(patience) = shared.settings.patience.filter(|_| impatient) else {
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
        self.tracked.lock().flight(self.seq).is_some_and(|running| running.answer.receiver_count() > 0)
    }

    async fn land(mut self, question: Question, answer: Result<Validation>) {
        let answer = self.check(&question, answer);
        self.count(&answer);
        if let Some(running) = self.tracked.lock().flight(self.seq) {
            running.phase = Phase::Landing;
        }
        let landed = {
            let _turn = self.tracked.turn.lock().await;
            self.publishing = true;
            let fenced = self.is_fenced();
            publish(&self.shared, &self.tracked.key, &question, answer, fenced, self.epoch()).await
        };
        self.publishing = false;
        // Published; now the place is free, and the waiters are woken.
        let Some(waiters) = self.leave() else { return };
        waiters.send_replace(Some(landed));
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

    fn count(&mut self, answer: &Result<Validation>) {
        self.asked = false;
        let count = match answer {
            Ok(Validation::Unchanged) => Count::OriginUnchanged,
            Ok(Validation::Changed(entry)) => {
                self.shared.counters.add(Count::BytesFromOrigin, entry.body().len() as u64);
                Count::OriginChanged
            }
            Ok(Validation::Gone) => Count::OriginGone,
            Err(error) if error.kind() == ErrorKind::NotFound => Count::OriginGone,
            Err(error) if error.is_outage() || error.kind() == ErrorKind::Panicked => Count::OriginFailed,
            Err(_) => Count::OriginRefused,
        };
        self.shared.count(count);
    }

    /// Whether a fence went up since the flight began. In the key's turn.
    fn is_fenced(&self) -> bool {
        let mut state = self.tracked.lock();
        let (generation, writes) = (state.generation, state.writes);
        state.flight(self.seq).is_none_or(|running| {
            running.generation != generation
                || writes > 0
                || self.shared.epochs.voids(self.tracked.key.as_str(), running.epoch)
        })
    }

    fn epoch(&self) -> Epoch {
        self.tracked.lock().flight(self.seq).map_or(Epoch(0), |running| running.epoch)
    }

    /// Frees the running place, and starts the waiting flight if somebody waits for it. Where the answer belongs;
    /// `None` if the flight had left already.
    fn leave(&self) -> Option<Arc<Answer>> {
        let mut state = self.tracked.lock();
        let answer = state.vacate(self.seq)?;
        if let Some(next) = state.waiting.take().filter(|next| next.answer.receiver_count() > 0) {
            self.start(state, next, true);
        }
        Some(answer)
    }

    /// The question has been dropped: moves the waiters to the waiting flight, which starts at once and is not
    /// replaced itself.
    fn give_up(self) {
        let Ok(here) = runtime() else { return };
        let mut state = self.tracked.lock();
        let Some(answer) = state.vacate(self.seq) else { return };
        let next = state
            .waiting
            .take()
            .unwrap_or_else(|| Waiting { answer: Arc::new(watch::channel(None).0), runtime: here });
        let ticket = next.answer.subscribe();
        self.start(state, next, false);
        answer.send_replace(Some(Landed::Moved(ticket)));
    }

    /// Starts the flight that waited, on the runtime of one who waits for it: this one's may not be driven any
    /// longer.
    fn start(&self, mut state: MutexGuard<'_, State>, next: Waiting, impatient: bool) {
        let seq = state.begin_flight(self.shared.epochs.latest(), next.answer);
        drop(state);
        launch(&self.shared, &next.runtime, self.tracked.clone(), seq, None, impatient);
    }
}

impl<V: ?Sized> Drop for Flight<V> {
    fn drop(&mut self) {
        if self.publishing {
            // A backend call was dropped half-way: what is held is in doubt.
            self.shared.epochs.raise_key(self.tracked.key.as_str());
        }
        if self.asked {
            self.shared.count(Count::OriginAbandoned);
        }
        let mut state = self.tracked.lock();
        // After a landing the place is another's, or free.
        let lost = state.vacate(self.seq);
        let waiting = lost.as_ref().and_then(|_| state.waiting.take());
        drop(state);
        // Only now do the waiters of both learn that there is no answer.
        drop((lost, waiting));
    }
}

/// What was asked.
struct Question {
    /// What was held and neither void nor expired.
    known: Option<Entry>,
    /// Something void was held.
    void: bool,
    /// Something expired was held.
    expired: bool,
    /// The entry whose version was sent.
    pinned: Option<Entry>,
    /// When it was sent.
    asked_at: Moment,
}

/// Publishes the answer, in the key's turn: inserts, renews in place, or removes. What the waiters get.
async fn publish<V: ?Sized>(
    shared: &Shared<V>,
    key: &Key,
    question: &Question,
    answer: Result<Validation>,
    fenced: bool,
    epoch: Epoch,
) -> Landed {
    let asked_at = question.asked_at;
    let entry = match (answer, &question.pinned) {
        (Ok(Validation::Unchanged), Some(pinned)) => {
            // Only the entry whose version was sent, and only in place: if it left meanwhile, it stays gone.
            if !fenced {
                pinned.renew(asked_at, epoch);
            }
            return Landed::Entry(pinned.clone(), Status::Revalidated, asked_at);
        }
        // One that was handed out before is somebody else's to stamp.
        (Ok(Validation::Changed(entry)), _) => entry.unstamped(),
        (Ok(Validation::Unchanged | Validation::Gone), _) => {
            forget(shared, key).await;
            remember_absence(shared, key, asked_at, epoch, fenced).await;
            return Landed::Failed(absent().with_key(key));
        }
        (Err(error), _) => {
            // What failed to answer says nothing of the entry; what answered does.
            if error.drops_entry() || (fenced && !error.is_outage()) {
                forget(shared, key).await;
            }
            return Landed::Failed(error.with_key(key));
        }
    };
    let status = if question.known.is_some() { Status::Refetched } else { Status::Fetched };
    if fenced || entry.keep() == Keep::Never {
        if entry.keep() == Keep::Never {
            shared.count(Count::Unvalidatable);
        }
        forget(shared, key).await;
    } else {
        let replaced = question.known.as_ref().is_some_and(|known| !is_same_version(known, &entry));
        entry.publish(asked_at, shared.time_to_live(key.as_str()), epoch);
        shared.keep(key, entry.clone()).await;
        if replaced || question.void {
            shared.count(Count::Invalidations);
        }
        if question.expired {
            shared.count(Count::Expirations);
        }
    }
    Landed::Entry(entry, status, asked_at)
}

/// Removes what is held, whatever it is, and counts it.
async fn forget<V: ?Sized>(shared: &Shared<V>, key: &Key) {
    let dropped = shared.drop_held(key).await;
    shared.count_dropped(dropped);
}

async fn remember_absence<V: ?Sized>(
    shared: &Shared<V>,
    key: &Key,
    asked_at: Moment,
    epoch: Epoch,
    fenced: bool,
) {
    let span = shared.settings.negative_ttl;
    if fenced || span.is_zero() {
        return;
    }
    let absence = Entry::builder(key, Default::default()).absent().build();
    absence.publish(asked_at, Some(span), epoch);
    shared.keep(key, absence).await;
}

/// How often a reader asks anew when flights are lost under it. A flight of its own is lost only with its runtime.
const LOST_MAX: usize = 3;

/// How often a reader looks at what is held, if something happened to the key while it looked.
const LOOKS_MAX: usize = 2;
