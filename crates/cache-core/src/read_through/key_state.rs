//! The state of one key: its current flight, the next one, and its open writes.
//!
//! The lock of a key is blocking, held for short sections, never across an await or a call of code
//! that was plugged in.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

use super::{
    observation::{Heard, Observation},
    outcome::{FlightOutcome, OutcomeReceiver, OutcomeSender, OutcomeSenders},
    parked::Parked,
    task_tracker::TaskToken,
    timer::within,
    trace::Cause,
};
use crate::{
    Key, Moment, Validator,
    epoch::Epoch,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

/// One key. Its turn orders the calls that change the backend: held across backend calls only,
/// never across the origin.
pub(super) struct KeyState {
    pub(super) key: Key,
    pub(super) hash: u64,
    backend_lock: tokio::sync::Mutex<()>,
    /// The turn was waited for in vain: whatever holds it may be on a runtime that is not driven.
    is_backend_lock_stuck: AtomicBool,
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

/// The flight that is in the air.
pub(super) struct Running {
    pub(super) seq: u64,
    pub(super) generation: u64,
    pub(super) epoch: Epoch,
    pub(super) phase: Phase,
    /// Empty until there is a waiter. More than one if it took the place of a flight that had
    /// waiters.
    answers: OutcomeSenders,
    /// How many have joined it.
    pub(super) n_joined: usize,
    pub(super) drive: Drive,
    /// What other answers have shown since its request was sent.
    pub(super) heard: Heard,
    pub(super) origins: Origins,
    /// When a reader that does not wait for it first found it in this phase.
    pub(super) noticed: Option<(mem::Discriminant<Phase>, Moment)>,
    token: TaskToken,
}

/// How a flight came about.
pub(super) struct Origins {
    /// The runtime that polls it.
    pub(super) runtime: Option<Id>,
    /// It took the place of one that made no progress.
    pub(super) is_second: bool,
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
    Reader { handoff_requested: bool },
    /// The reader that began it, when that one is polled next.
    Parked(Parked),
}

/// The flight that starts when the running one has landed.
pub(super) struct Waiting {
    pub(super) answer: OutcomeSender,
    /// Where it will run: the runtime of the last who joined.
    pub(super) runtime: Handle,
    /// The first reader that waited for it.
    pub(super) trigger: Trigger,
}

/// The read that a flight is started for.
pub(super) struct Trigger {
    pub(super) cause: Cause,
    /// Sends the request in the origin's place.
    pub(super) validator: Option<Arc<dyn Validator>>,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Looks up what is held: the question has not been sent.
    LookingUp,
    /// Waits for a place at the origin: the question has not been sent.
    Queued,
    /// The question was sent.
    Sent(Moment),
    /// The answer to the question sent at the moment is there and is being published.
    Publishing(Moment),
}

/// What tells that nothing happened to a key between two looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeySnapshot {
    generation: u64,
    seq: u64,
    pub(super) landings: u64,
    observations: u64,
}

impl KeyState {
    pub(super) fn new(key: Key, hash: u64) -> Self {
        Self {
            key,
            hash,
            backend_lock: tokio::sync::Mutex::new(()),
            is_backend_lock_stuck: AtomicBool::new(false),
            vacated: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Takes the key's turn, waiting for at most `limit`. `None`: whatever holds it did not let go,
    /// and what it leaves in the backend is in doubt. Then nothing is waited for again until the
    /// turn was free once.
    pub(super) async fn lock_backend(
        &self,
        limit: Duration,
    ) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if let Ok(turn) = self.backend_lock.try_lock() {
            self.is_backend_lock_stuck.store(false, Ordering::Release);
            return Some(turn);
        }
        if self.is_backend_lock_stuck.load(Ordering::Acquire) {
            return None;
        }
        let turn = within(limit, self.backend_lock.lock()).await;
        if turn.is_none() {
            self.give_up_backend_lock();
        }
        turn
    }

    /// Nobody waits for the turn until it was free once.
    pub(super) fn give_up_backend_lock(&self) {
        self.is_backend_lock_stuck.store(true, Ordering::Release);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    pub(super) fn stamp(&self) -> KeySnapshot {
        KeySnapshot {
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
            None | Some(Running { phase: Phase::LookingUp | Phase::Queued, .. }) => false,
            Some(running) => {
                running.heard.add(observation);
                matches!(running.phase, Phase::Publishing(_))
            }
        };
        is_landing || self.writes > 0
    }

    /// A flight begins; the caller has it polled.
    pub(super) fn begin_flight(
        &mut self,
        epoch: Epoch,
        answers: OutcomeSenders,
        drive: Drive,
        origins: Origins,
        token: TaskToken,
    ) -> u64 {
        debug_assert!(self.running.is_none(), "at most one flight of a key is in the air");
        self.seq += 1;
        let (seq, generation) = (self.seq, self.generation);
        // The first who waited for it did not join.
        let n_joined = answers.receivers().saturating_sub(1);
        let (phase, noticed) = (Phase::LookingUp, None);
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
            token,
        });
        seq
    }

    /// Somebody waits for the running flight who does not poll it: a task has to go on with it. A
    /// flight that was parked is the caller's to hand on, when it has let the lock go.
    #[must_use]
    pub(super) fn request_handoff(&mut self) -> Option<Parked> {
        let running = self.running.as_mut()?;
        match mem::replace(&mut running.drive, Drive::Task) {
            Drive::Task => None,
            Drive::Reader { .. } => {
                running.drive = Drive::Reader { handoff_requested: true };
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
    pub(super) fn subscribe(&mut self) -> OutcomeReceiver {
        self.answers.subscribe()
    }

    /// Whether somebody waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        // The reader that drives it waits, also before it has a ticket.
        !matches!(self.drive, Drive::Task) || self.awaited().is_some()
    }

    /// Where somebody waits for the answer.
    pub(super) fn awaited(&self) -> Option<&OutcomeSender> {
        self.answers.iter().find(|answer| answer.receiver_count() > 0)
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { seq: self.seq, phase: mem::discriminant(&self.phase) }
    }

    /// Tells those who wait.
    pub(super) fn tell(&self, landed: &FlightOutcome) {
        for answer in self.answers.iter() {
            answer.send_replace(Some(landed.clone()));
        }
    }

    /// What is left of one that was vacated: where its answer was expected, and how it was polled.
    pub(super) fn into_parts(self) -> (OutcomeSenders, Drive, TaskToken) {
        (self.answers, self.drive, self.token)
    }
}
