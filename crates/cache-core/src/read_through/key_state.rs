//! The state of one key: its current flight, the next one, and its open writes.
//!
//! The lock of a key is blocking, held for short sections, never across an await or a call into a
//! backend, an origin or a caller's code.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

use super::{
    outcome::{FlightOutcome, OutcomeReceiver, OutcomeSender, OutcomeSenders},
    parked::Parked,
    task_tracker::TaskToken,
    timer::within,
    trace::Cause,
};
use crate::{
    Key, Moment, Observation, Validator,
    epoch::Epoch,
    observation::Heard,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

/// One key. Its backend lock orders the calls that change the backend: it is held across backend
/// calls only, never across a request to the origin.
pub(super) struct KeyState {
    pub(super) key: Key,
    pub(super) hash: u64,
    backend_lock: tokio::sync::Mutex<()>,
    /// A wait for the lock timed out: its holder may be on a runtime that is not driven.
    is_backend_lock_stuck: AtomicBool,
    /// Notified when another call took a flight's place: that flight drops its request.
    pub(super) vacated: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Raised by every fence.
    pub(super) generation: u64,
    /// Open writes.
    pub(super) writes: usize,
    /// Raised by every flight that starts.
    pub(super) seq: u64,
    /// Raised by every flight that ends.
    pub(super) n_finished: u64,
    /// Raised by every observation.
    observations: u64,
    pub(super) current: Option<CurrentFlight>,
    // At most one flight waits for the current one of a key.
    // mutant: key_state_fields
    pub(super) next: Option<NextFlight>,
}

/// The flight that is running.
pub(super) struct CurrentFlight {
    pub(super) seq: u64,
    pub(super) generation: u64,
    pub(super) epoch: Epoch,
    pub(super) phase: Phase,
    /// Empty until there is a waiter. More than one if it took the place of a flight that had
    /// waiters.
    senders: OutcomeSenders,
    /// How many readers have joined it.
    pub(super) n_joined: usize,
    pub(super) drive: Drive,
    /// What other responses have shown since its request was sent.
    pub(super) heard: Heard,
    pub(super) origins: Origins,
    /// When a reader that does not wait for it first found it in this phase.
    pub(super) noticed: Option<(mem::Discriminant<Phase>, Moment)>,
    token: TaskToken,
}

/// Where and why a flight was started.
pub(super) struct Origins {
    /// The runtime that polls it.
    pub(super) runtime: Option<Id>,
    /// It replaced a flight without progress.
    pub(super) is_second: bool,
}

/// The progress of a flight: two equal values mean that it made none in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) seq: u64,
    phase: mem::Discriminant<Phase>,
}

/// Which task polls the running flight.
pub(super) enum Drive {
    /// A task of its own.
    Task,
    /// The reader that started it, at this moment. On a hand-off request it moves to a task.
    Reader { handoff_requested: bool },
    /// The reader that started it, at its next poll.
    Parked(Parked),
}

/// The flight that starts when the running one has ended.
pub(super) struct NextFlight {
    pub(super) sender: OutcomeSender,
    /// The runtime that it will run on: that of the last reader that joined.
    pub(super) runtime: Handle,
    /// The first reader that waited for it.
    pub(super) trigger: Trigger,
}

/// The read that a flight is started for.
pub(super) struct Trigger {
    pub(super) cause: Cause,
    /// Sends the request instead of the origin.
    pub(super) validator: Option<Arc<dyn Validator>>,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Looks up the cached entry; the request was not sent yet.
    LookingUp,
    /// Waits for a permit; the request was not sent yet.
    Queued,
    /// The request was sent.
    Sent(Moment),
    /// The response to the request that was sent at this moment is being published.
    Publishing(Moment),
}

/// Equal at two moments if nothing happened to the key in between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeySnapshot {
    generation: u64,
    seq: u64,
    pub(super) n_finished: u64,
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

    /// Locks the backend for this key, waiting for at most `limit`. `None`: the holder did not let
    /// go, and what it leaves in the backend is in doubt. No call waits again until the lock was
    /// free once.
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

    /// No call waits for the lock until it was free once.
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
            n_finished: self.n_finished,
            observations: self.observations,
        }
    }

    /// Raises a fence: no flight that started earlier publishes or is joined any more.
    pub(super) fn fence(&mut self) {
        self.generation += 1;
    }

    /// Another response has shown something of the key. A request that was sent before may be
    /// answered with something older, so its flight takes no more readers and publishes only what
    /// matches. An open write publishes nothing. Returns whether a call that has already passed
    /// these checks may be changing the backend.
    pub(super) fn observe(&mut self, observation: &Observation, heard_at: Moment) -> bool {
        self.observations += 1;
        let is_landing = match &mut self.current {
            None => false,
            Some(running) => match running.phase {
                // Its request will be sent after this.
                Phase::LookingUp | Phase::Queued => false,
                // Its request was sent after what was observed.
                Phase::Sent(at) | Phase::Publishing(at) if at > heard_at => false,
                Phase::Sent(_) => {
                    running.heard.add(observation);
                    false
                }
                Phase::Publishing(_) => {
                    running.heard.add(observation);
                    true
                }
            },
        };
        is_landing || self.writes > 0
    }

    /// Starts a flight, which the caller then polls or spawns.
    pub(super) fn begin_flight(
        &mut self,
        epoch: Epoch,
        answers: OutcomeSenders,
        drive: Drive,
        origins: Origins,
        token: TaskToken,
    ) -> u64 {
        debug_assert!(self.current.is_none(), "at most one flight of a key is in the air");
        self.seq += 1;
        let (seq, generation) = (self.seq, self.generation);
        // The first waiter started the flight and did not join it.
        let n_joined = answers.receivers().saturating_sub(1);
        let (phase, noticed) = (Phase::LookingUp, None);
        self.current = Some(CurrentFlight {
            seq,
            generation,
            epoch,
            phase,
            senders: answers,
            n_joined,
            drive,
            origins,
            noticed,
            heard: Heard::default(),
            token,
        });
        seq
    }

    /// A caller that does not poll the running flight waits for it: it moves to a task. The caller
    /// spawns the parked flight that this returns, after it has released the lock.
    #[must_use]
    pub(super) fn request_handoff(&mut self) -> Option<Parked> {
        let running = self.current.as_mut()?;
        match mem::replace(&mut running.drive, Drive::Task) {
            Drive::Task => None,
            Drive::Reader { .. } => {
                running.drive = Drive::Reader { handoff_requested: true };
                None
            }
            Drive::Parked(parked) => Some(parked),
        }
    }

    /// Removes the flight `seq` if it is still the running one.
    pub(super) fn vacate(&mut self, seq: u64) -> Option<CurrentFlight> {
        self.flight(seq)?;
        // A counted landing tells an open write that a flight ended during it.
        // mutant: takes_current
        self.n_finished += 1;
        self.current.take()
    }

    /// Returns the flight `seq` if it is still the running one.
    pub(super) fn flight(&mut self, seq: u64) -> Option<&mut CurrentFlight> {
        // A flight with another number was replaced and has no say here.
        // mutant: flight_by_seq
        self.current.as_mut().filter(|running| running.seq == seq)
    }
}

impl CurrentFlight {
    /// Returns a receiver of the outcome.
    pub(super) fn subscribe(&mut self) -> OutcomeReceiver {
        self.senders.subscribe()
    }

    /// Returns whether any reader waits for the outcome.
    pub(super) fn is_awaited(&self) -> bool {
        // The reader that drives it waits, also before it has a receiver.
        !matches!(self.drive, Drive::Task) || self.awaited().is_some()
    }

    /// Returns a sender with a waiting receiver.
    pub(super) fn awaited(&self) -> Option<&OutcomeSender> {
        self.senders.iter().find(|answer| answer.receiver_count() > 0)
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { seq: self.seq, phase: mem::discriminant(&self.phase) }
    }

    /// Sends the outcome to all waiters.
    pub(super) fn tell(&self, landed: &FlightOutcome) {
        for answer in self.senders.iter() {
            answer.send_replace(Some(landed.clone()));
        }
    }

    /// Returns what outlives a removed flight: its senders and how it was polled.
    pub(super) fn into_parts(self) -> (OutcomeSenders, Drive, TaskToken) {
        (self.senders, self.drive, self.token)
    }
}
