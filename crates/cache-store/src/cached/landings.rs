//! The blocks of one fetch on their way to the backend, and those that it has not kept.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Shared by a fetch, its tasks, and the reads that load blocks ahead of time.
pub(super) struct Landings {
    state: Mutex<State>,
    /// A block has landed.
    landed: Notify,
    /// A permit for each block that may be on its way before such a read waits.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    in_flight: Vec<Range<u64>>,
    /// In the order of the object, adjacent ones joined.
    not_kept: Vec<Range<u64>>,
}

/// A block on its way to the backend. Dropped before it has landed, it was not kept.
pub(super) struct Landing {
    landings: Arc<Landings>,
    block: Range<u64>,
    is_kept: bool,
    _room: Option<OwnedSemaphorePermit>,
}

impl Landings {
    pub(super) fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(LANDING_MAX));
        Arc::new(Self { state: Mutex::default(), landed: Notify::new(), room })
    }

    /// These bytes go to the backend, which lets them wait.
    pub(super) fn begin(self: &Arc<Self>, block: Range<u64>) -> Landing {
        self.lock().in_flight.push(block.clone());
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        Landing { landings: Arc::clone(self), block, is_kept: false, _room: room }
    }

    /// The backend has not kept these bytes.
    pub(super) fn lose(&self, block: Range<u64>) {
        let not_kept = &mut self.lock().not_kept;
        match not_kept.last_mut() {
            Some(last) if last.end == block.start => last.end = block.end,
            _ => not_kept.push(block),
        }
    }

    /// Waits until there is room for another block.
    pub(super) async fn room(&self) {
        let _ = self.room.acquire().await;
    }

    /// Waits until none of these bytes is on its way.
    pub(super) async fn settled(&self, range: &Range<u64>) {
        loop {
            // Before the look, so that no landing is missed between the two.
            let landed = self.landed.notified();
            if !self.lock().in_flight.iter().any(|block| overlap(block, range) > 0) {
                return;
            }
            landed.await;
        }
    }

    /// Returns how many bytes of `range` are not known to be kept.
    pub(super) fn not_kept(&self, range: &Range<u64>) -> u64 {
        let state = self.lock();
        let blocks = state.in_flight.iter().chain(&state.not_kept);
        blocks.map(|block| overlap(block, range)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Landing {
    /// The backend has answered.
    pub(super) fn end(mut self, is_kept: bool) {
        self.is_kept = is_kept;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.is_kept {
            self.landings.lose(self.block.clone());
        }
        let mut state = self.landings.lock();
        if let Some(at) = state.in_flight.iter().position(|block| *block == self.block) {
            state.in_flight.swap_remove(at);
        }
        drop(state);
        self.landings.landed.notify_waiters();
    }
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> u64 {
    one.end.min(other.end).saturating_sub(one.start.max(other.start))
}

/// Blocks of one fetch that may be on their way to a slow backend before a read that loads blocks
/// ahead of time waits. Other readers do not wait: their blocks take room of `max_in_flight_bytes`.
const LANDING_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_on_their_way_are_not_known_to_be_kept() {
        let landings = Landings::new();
        landings.lose(0..5);
        landings.lose(5..10);
        let (one, other) = (landings.begin(10..15), landings.begin(15..20));
        assert_eq!((landings.not_kept(&(0..20)), landings.not_kept(&(8..12))), (20, 4));
        one.end(true);
        assert_eq!(landings.not_kept(&(0..20)), 15);
        landings.settled(&(0..15)).await;
        drop(other);
        landings.settled(&(0..20)).await;
        assert_eq!((landings.not_kept(&(0..20)), landings.not_kept(&(10..15))), (15, 0));
    }
}
