//! The state of the keys that have flights or writes.
//!
//! Only such keys have one; a fresh hit never comes here. The table's locks and a key's lock are
//! blocking, held for short sections, never across an await or code that was plugged in.

use std::{
    fmt,
    hash::BuildHasher,
    mem,
    ops::Deref,
    sync::{Arc, PoisonError},
    time::Duration,
};

use hashbrown::{HashTable, hash_table::Entry};
use tokio::{
    runtime::{Handle, Id},
    sync::{Notify, watch},
};

use super::{
    drive::{Parked, hand_on},
    flight::{Landed, Trigger},
    observe::{Heard, Observation},
    tasks::Counted,
    timeouts::within,
};
use crate::{
    Key, Moment, Result,
    epoch::Epoch,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// All keys with flights or writes.
pub(super) struct Table {
    hasher: foldhash::quality::RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = HashTable<Tracked>;

struct Tracked {
    state: Arc<KeyState>,
    users: usize,
}

/// One key. Its turn orders the calls that change the backend: held across backend calls only,
/// never across the origin.
pub(super) struct KeyState {
    pub(super) key: Key,
    hash: u64,
    turn: tokio::sync::Mutex<()>,
    /// The turn was waited for in vain: whatever holds it may be on a runtime that is not driven.
    is_turn_stuck: AtomicBool,
    /// Notified when a flight was vacated by another call than its own: it has to give its request
    /// up.
    pub(super) vacated: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Raised by every fence.
    pub(super) generation: u64,
    /// Writes that are open.
    pub(super) writes: usize,
    /// Raised by every flight that begins.
    pub(super) seq: u64,
    /// Raised by every flight that lands.
    pub(super) landings: u64,
    /// Raised by every observation.
    observations: u64,
    pub(super) running: Option<Running>,
    // At most one flight waits for the current one of a key.
    // mutant: key_state_fields
    pub(super) waiting: Option<Waiting>,
}

/// Where the answer of a flight will be. Its receivers are the flight's waiters.
pub(super) type Answer = watch::Sender<Option<Landed>>;

/// Brings the answer of a flight.
pub(super) type Ticket = watch::Receiver<Option<Landed>>;

/// The flight that is in the air.
pub(super) struct Running {
    pub(super) seq: u64,
    pub(super) generation: u64,
    pub(super) epoch: Epoch,
    pub(super) phase: Phase,
    /// Empty until there is a waiter. More than one if it took the place of a flight that had
    /// waiters.
    answers: Answers,
    /// How many have joined it.
    pub(super) n_joined: usize,
    pub(super) drive: Drive,
    /// What other answers have shown since its request was sent.
    pub(super) heard: Heard,
    pub(super) origins: Origins,
    /// When a reader that does not wait for it first found it in this phase.
    pub(super) noticed: Option<(mem::Discriminant<Phase>, Moment)>,
    counted: Counted,
}

/// How a flight came about.
pub(super) struct Origins {
    /// The runtime that polls it.
    pub(super) runtime: Option<Id>,
    /// It took the place of one that made no progress.
    pub(super) is_second: bool,
}

/// Where the answer of a flight will be: one place, mostly.
#[derive(Default)]
pub(super) struct Answers {
    first: Option<Answer>,
    others: Vec<Answer>,
}

/// How far a flight has come. Equal at two looks, if it made no progress between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) seq: u64,
    phase: mem::Discriminant<Phase>,
}

/// Who polls the flight that is in the air.
pub(super) enum Drive {
    /// A task.
    Task,
    /// The reader that began it, at this moment. Once it is wanted by somebody else, a task goes
    /// on.
    Reader { wanted: bool },
    /// The reader that began it, when that one is polled next.
    Parked(Parked),
}

/// The flight that starts when the running one has landed.
pub(super) struct Waiting {
    pub(super) answer: Answer,
    /// Where it will run: the runtime of the last who joined.
    pub(super) runtime: Handle,
    /// The first reader that waited for it.
    pub(super) trigger: Trigger,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Looks up what is held: the question has not been sent.
    Looking,
    /// Waits for a place at the origin: the question has not been sent.
    Queued,
    /// The question was sent.
    Asked(Moment),
    /// The answer to the question sent at the moment is there and is being published.
    Landing(Moment),
}

/// What tells that nothing happened to a key between two looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    generation: u64,
    seq: u64,
    landings: u64,
    observations: u64,
}

impl Table {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            hasher: Default::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Uses the key's state until the guard is dropped.
    ///
    /// # Errors
    ///
    /// `InvalidKey`. What is in the table need not be looked at.
    pub(super) fn enter(self: &Arc<Self>, key: &str) -> Result<KeyUse> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let mut shard = self.shard(hash);
        let is_it = |tracked: &Tracked| tracked.state.key.as_str() == key;
        let tracked = match shard.entry(hash, is_it, |tracked| tracked.state.hash) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let state = Arc::new(KeyState::new(Key::parse(key)?, hash));
                place.insert(Tracked { state, users: 0 }).into_mut()
            }
        };
        tracked.users += 1;
        Ok(KeyUse { table: Arc::clone(self), state: Arc::clone(&tracked.state) })
    }

    /// The same for a key that has a state already; one that has none gets none.
    pub(super) fn find(self: &Arc<Self>, key: &str) -> Option<KeyUse> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let mut shard = self.shard(hash);
        let tracked = shard.find_mut(hash, |tracked| tracked.state.key.as_str() == key)?;
        tracked.users += 1;
        Some(KeyUse { table: Arc::clone(self), state: Arc::clone(&tracked.state) })
    }

    /// How many keys have a state. Zero when nothing is in the air.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Tasks go on with the flights that readers drive.
    pub(super) fn want_all(&self) {
        for state in self.states() {
            let parked = state.lock().want();
            hand_on(parked);
        }
    }

    /// Ends all flights with `landed`, for those who wait for them; none publishes any more.
    pub(super) fn vacate_all(&self, landed: &Landed) {
        for state in self.states() {
            let (running, waiting) = {
                let mut state = state.lock();
                let seq = state.seq;
                (state.vacate(seq), state.waiting.take())
            };
            if let Some(running) = running {
                running.tell(landed);
            }
            if let Some(Waiting { answer, .. }) = waiting {
                answer.send_replace(Some(landed.clone()));
            }
            state.vacated.notify_waiters();
        }
    }

    fn states(&self) -> impl Iterator<Item = Arc<KeyState>> {
        let of_shard = |shard: &Mutex<Shard>| -> Vec<_> {
            lock(shard).iter().map(|tracked| Arc::clone(&tracked.state)).collect()
        };
        self.shards.iter().flat_map(of_shard)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // hashbrown uses the top bits and the low ones.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Keeps a key's state in the table.
pub(super) struct KeyUse {
    table: Arc<Table>,
    state: Arc<KeyState>,
}

impl KeyUse {
    /// The state, whether or not the table keeps it.
    pub(super) fn state(&self) -> Arc<KeyState> {
        Arc::clone(&self.state)
    }

    /// Whether it is this very state.
    pub(super) fn is(&self, state: &Arc<KeyState>) -> bool {
        Arc::ptr_eq(&self.state, state)
    }

    fn is_of(&self, tracked: &Tracked) -> bool {
        Arc::ptr_eq(&tracked.state, &self.state)
    }
}

impl Clone for KeyUse {
    fn clone(&self) -> Self {
        // It is there, as long as this use lasts.
        if let Some(tracked) =
            self.table.shard(self.hash).find_mut(self.hash, |held| self.is_of(held))
        {
            tracked.users += 1;
        }
        Self { table: Arc::clone(&self.table), state: Arc::clone(&self.state) }
    }
}

impl Deref for KeyUse {
    type Target = KeyState;

    fn deref(&self) -> &KeyState {
        &self.state
    }
}

impl Drop for KeyUse {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.state.hash);
        // While this use lasts the table holds this very state. Dropped here, it is not the last
        // handle to it.
        if let Ok(mut found) = shard.find_entry(self.state.hash, |held| self.is_of(held)) {
            // The last user removes the state of the key, or the table grows without bound.
            // mutant: key_users
            found.get_mut().users -= 1;
            if found.get().users == 0 {
                found.remove();
            }
        }
    }
}

impl KeyState {
    fn new(key: Key, hash: u64) -> Self {
        Self {
            key,
            hash,
            turn: tokio::sync::Mutex::new(()),
            is_turn_stuck: AtomicBool::new(false),
            vacated: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Takes the key's turn, waiting for at most `limit`. `None`: whatever holds it did not let go,
    /// and what it leaves in the backend is in doubt. Then nothing is waited for again until the
    /// turn was free once.
    pub(super) async fn turn(&self, limit: Duration) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if let Ok(turn) = self.turn.try_lock() {
            self.is_turn_stuck.store(false, Ordering::Release);
            return Some(turn);
        }
        if self.is_turn_stuck.load(Ordering::Acquire) {
            return None;
        }
        let turn = within(limit, self.turn.lock()).await;
        if turn.is_none() {
            self.turn_is_stuck();
        }
        turn
    }

    /// Nobody waits for the turn until it was free once.
    pub(super) fn turn_is_stuck(&self) {
        self.is_turn_stuck.store(true, Ordering::Release);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            generation: self.generation,
            // A flight that began or ended during a write shows in these two numbers.
            // mutant: stamp_fields
            seq: self.seq,
            landings: self.landings,
            observations: self.observations,
        }
    }

    /// Puts up a fence: no flight begun earlier publishes, or is joined, any more.
    pub(super) fn fence(&mut self) {
        self.generation += 1;
    }

    /// Another answer has shown something of the key. A request that was sent before may be
    /// answered with something older, so its flight takes no more readers, and publishes only what
    /// fits. An open write publishes nothing. Returns whether the backend may be changed at this
    /// moment by what has passed these checks already.
    pub(super) fn observe(&mut self, observation: &Observation) -> bool {
        self.observations += 1;
        let is_landing = match &mut self.running {
            // Its request will be sent after this.
            None | Some(Running { phase: Phase::Looking | Phase::Queued, .. }) => false,
            Some(running) => {
                running.heard.add(observation);
                matches!(running.phase, Phase::Landing(_))
            }
        };
        is_landing || self.writes > 0
    }

    /// A flight begins; the caller has it polled.
    pub(super) fn begin_flight(
        &mut self,
        epoch: Epoch,
        answers: Answers,
        drive: Drive,
        origins: Origins,
        counted: Counted,
    ) -> u64 {
        debug_assert!(self.running.is_none(), "at most one flight of a key is in the air");
        self.seq += 1;
        let (seq, generation) = (self.seq, self.generation);
        // The first who waited for it did not join.
        let n_joined = answers.receivers().saturating_sub(1);
        let (phase, noticed) = (Phase::Looking, None);
        self.running = Some(Running {
            seq,
            generation,
            epoch,
            phase,
            answers,
            n_joined,
            drive,
            origins,
            noticed,
            heard: Heard::default(),
            counted,
        });
        seq
    }

    /// Somebody waits for the running flight who does not poll it: a task has to go on with it. A
    /// flight that was parked is the caller's to hand on, when it has let the lock go.
    #[must_use]
    pub(super) fn want(&mut self) -> Option<Parked> {
        let running = self.running.as_mut()?;
        match mem::replace(&mut running.drive, Drive::Task) {
            Drive::Task => None,
            Drive::Reader { .. } => {
                running.drive = Drive::Reader { wanted: true };
                None
            }
            Drive::Parked(parked) => Some(parked),
        }
    }

    /// Frees the place of the flight `seq`, if it is still the one in the air.
    pub(super) fn vacate(&mut self, seq: u64) -> Option<Running> {
        self.flight(seq)?;
        // A counted landing tells an open write that a flight ended during it.
        // mutant: takes_current
        self.landings += 1;
        self.running.take()
    }

    /// The flight `seq`, if it is still the one in the air.
    pub(super) fn flight(&mut self, seq: u64) -> Option<&mut Running> {
        // A flight with another number was replaced and has no say here.
        // mutant: flight_by_seq
        self.running.as_mut().filter(|running| running.seq == seq)
    }
}

impl Running {
    /// Waits for the answer.
    pub(super) fn subscribe(&mut self) -> Ticket {
        self.answers.first.get_or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Whether somebody waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        // The reader that drives it waits, also before it has a ticket.
        !matches!(self.drive, Drive::Task) || self.awaited().is_some()
    }

    /// Where somebody waits for the answer.
    pub(super) fn awaited(&self) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.receiver_count() > 0)
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { seq: self.seq, phase: mem::discriminant(&self.phase) }
    }

    /// Tells those who wait.
    pub(super) fn tell(&self, landed: &Landed) {
        for answer in self.answers.iter() {
            answer.send_replace(Some(landed.clone()));
        }
    }

    /// What is left of one that was vacated: where its answer was expected, and how it was polled.
    pub(super) fn into_parts(self) -> (Answers, Drive, Counted) {
        (self.answers, self.drive, self.counted)
    }
}

impl Answers {
    pub(super) fn add(&mut self, answer: Answer) {
        match &mut self.first {
            None => self.first = Some(answer),
            Some(_) => self.others.push(answer),
        }
    }

    fn receivers(&self) -> usize {
        self.iter().map(watch::Sender::receiver_count).sum()
    }

    fn iter(&self) -> impl Iterator<Item = &Answer> {
        self.first.iter().chain(&self.others)
    }
}

impl From<Answer> for Answers {
    fn from(answer: Answer) -> Self {
        Self { first: Some(answer), others: Vec::new() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No section under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 16;

#[cfg(all(test, object_cache_loom))]
mod model {
    use loom::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    /// Whoever uses a key while another does has the same state; nobody leaves one behind, nor
    /// takes another's away.
    #[test]
    fn users_of_a_key_share_its_state_and_the_last_one_takes_it_away() {
        loom::model(|| {
            let table = Table::new();
            let kept = table.enter("a").unwrap();
            let other = thread::spawn({
                let table = Arc::clone(&table);
                move || {
                    let one = table.enter("a").unwrap();
                    let two = one.clone();
                    drop(one);
                    two.lock().fence();
                }
            });
            let copy = kept.clone();
            drop(kept);
            copy.lock().fence();
            other.join().unwrap();
            // The other came while this use lasted, so there is one state.
            assert_eq!((copy.lock().generation, table.len()), (2, 1));
            drop(copy);
            assert_eq!(table.len(), 0);
        });
    }

    /// A flight and a write, as the protocol runs them, with a value at the origin and one that is
    /// held.
    #[test]
    fn what_is_kept_after_a_write_is_not_older_than_it() {
        loom::model(|| {
            let table = Table::new();
            let (origin, held) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(NOTHING)));
            let write = thread::spawn({
                let (table, origin, held) =
                    (Arc::clone(&table), Arc::clone(&origin), Arc::clone(&held));
                move || {
                    let key = table.enter("a").unwrap();
                    let mut state = key.lock();
                    state.fence();
                    state.writes += 1;
                    held.store(NOTHING, Ordering::Relaxed);
                    drop(state);
                    origin.store(2, Ordering::Relaxed);
                    let mut state = key.lock();
                    state.fence();
                    state.writes -= 1;
                }
            });
            let key = table.enter("a").unwrap();
            let seq = begin(&key);
            let answer = origin.load(Ordering::Relaxed);
            {
                let mut state = key.lock();
                let (generation, writes) = (state.generation, state.writes);
                let running = state.flight(seq).unwrap();
                if running.generation == generation && writes == 0 {
                    held.store(answer, Ordering::Relaxed);
                }
                assert!(state.vacate(seq).is_some() && state.vacate(seq).is_none());
            }
            drop(key);
            write.join().unwrap();
            let kept = held.load(Ordering::Relaxed);
            assert!(kept == NOTHING || kept == 2, "{kept} is held after 2 was written");
            assert_eq!(table.len(), 0);
        });
    }

    /// Who joins before the landing gets its answer; who comes later finds the place free.
    #[test]
    fn a_reader_joins_before_the_landing_or_finds_the_place_free() {
        loom::model(|| {
            let table = Table::new();
            let key = table.enter("a").unwrap();
            let seq = begin(&key);
            let reader = thread::spawn({
                let key = key.clone();
                move || {
                    let mut state = key.lock();
                    assert!(state.want().is_none(), "a task has it");
                    state.running.as_mut().map(Running::subscribe)
                }
            });
            let landed = key.lock().vacate(seq).unwrap();
            landed.tell(&Landed::Failed(crate::Error::new(crate::ErrorKind::Other, "landed")));
            if let Some(ticket) = reader.join().unwrap() {
                assert!(ticket.borrow().is_some(), "a waiter was not told");
            }
            assert_eq!(key.lock().stamp().landings, 1);
            drop(key);
            assert_eq!(table.len(), 0);
        });
    }

    /// A flight that was taken for lost goes on after all, beside the one that took its place.
    #[test]
    fn a_vacated_flight_publishes_nothing() {
        loom::model(|| {
            let table = Table::new();
            let held = Arc::new(AtomicU64::new(NOTHING));
            let key = table.enter("a").unwrap();
            let first = begin(&key);
            let lost = thread::spawn({
                let (key, held) = (key.clone(), Arc::clone(&held));
                move || publish(&key, first, 1, &held)
            });
            let was_there = key.lock().vacate(first).is_some();
            if was_there {
                publish(&key, begin(&key), 2, &held);
            }
            lost.join().unwrap();
            assert_eq!(held.load(Ordering::Relaxed), if was_there { 2 } else { 1 });
            drop(key);
            assert_eq!(table.len(), 0);
        });
    }

    fn begin(key: &KeyUse) -> u64 {
        let counted = super::super::tasks::Tasks::default().count();
        let origins = Origins { runtime: None, is_second: false };
        key.lock().begin_flight(Epoch(0), Answers::default(), Drive::Task, origins, counted)
    }

    fn publish(key: &KeyUse, seq: u64, answer: u64, held: &AtomicU64) {
        let mut state = key.lock();
        if state.flight(seq).is_some() {
            held.store(answer, Ordering::Relaxed);
            assert!(state.vacate(seq).is_some());
        }
    }

    const NOTHING: u64 = 0;
}
