//! A place where callers are held until the test lets them go on.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{oneshot, watch};

/// A gate. Open until it is closed; while closed, everybody who comes is held, in the order of
/// coming.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    held: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    queue: VecDeque<oneshot::Sender<()>>,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        Self { state: Mutex::default(), held: watch::Sender::new(0) }
    }

    /// Holds everybody who comes from now on.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Lets everybody go, and those who come from now on.
    pub fn open(&self) {
        let mut state = self.lock();
        state.closed = false;
        for held in state.queue.drain(..) {
            // Who has gone away meanwhile does not mind.
            let _ = held.send(());
        }
        self.held.send_replace(0);
    }

    /// Lets the first of those held go; the gate stays closed. Whether there was one.
    pub fn release_one(&self) -> bool {
        let mut state = self.lock();
        while let Some(first) = state.queue.pop_front() {
            self.held.send_replace(state.queue.len());
            if first.send(()).is_ok() {
                return true;
            }
        }
        false
    }

    /// Waits until at least `n` have come and are held.
    pub async fn wait_held(&self, n: usize) {
        let mut held = self.held.subscribe();
        // The sender is this gate's own.
        let _ = held.wait_for(|held| *held >= n).await;
    }

    /// Goes through, or waits to be let through. A dropped future leaves the queue at the next
    /// release.
    pub async fn pass(&self) {
        let turn = {
            let mut state = self.lock();
            if !state.closed {
                return;
            }
            let (held, turn) = oneshot::channel();
            state.queue.push_back(held);
            self.held.send_replace(state.queue.len());
            turn
        };
        // A gate that is dropped lets everybody go.
        let _ = turn.await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
