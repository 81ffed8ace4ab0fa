//! What answers of the store show that are no answers to a flight: lists, reads that went past the
//! cache, refused requests.
//!
//! Fence first, then look. What was requested before the answer was heard can bring something older
//! than it showed, so it is fenced for all but the version shown. Only then is the cached copy
//! compared: what is published after that look has passed the fence. No state is made for a key
//! that has none, since a list shows thousands of keys: what begins later sends its request later.

use std::sync::Arc;

use super::{
    epochs::Epochs, observation::Observation, parked::spawn_parked, shared::Shared, write,
};
use crate::{Entry, Validator};

pub(super) async fn observe<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    observation: Observation,
) {
    // Before the fence: a copy that was requested after this moment was requested after the answer.
    let heard_at = shared.clock.now();
    let tracked = shared.table.find(key);
    let is_changing = tracked.as_ref().is_some_and(|tracked| {
        let mut state = tracked.lock();
        let is_changing = state.observe(&observation);
        // A flight that its reader has left alone may hold the turn.
        let parked = if is_changing { state.request_handoff() } else { None };
        drop(state);
        spawn_parked(parked);
        is_changing
    });
    let mut doubt = Doubt { epochs: &shared.epochs, key, is_open: true };
    let held = {
        let _turn = match &tracked {
            // What is being published has passed its checks: it is looked at when it is there.
            Some(tracked) if is_changing => {
                let turn = tracked.lock_backend(shared.settings.backend_lock_limit()).await;
                // A call that is stuck may still change the backend.
                let Some(turn) = turn else { return };
                Some(turn)
            }
            _ => None,
        };
        let held = shared.find(key).await;
        // It may be there all the same, and cannot be marked.
        let Ok(held) = held else { return };
        let is_older = |entry: &Entry| entry.validated_at().is_none_or(|at| at <= heard_at);
        // A copy that does not match a newer response is revalidated before it is served.
        // mutant: marks_older_copy
        held.filter(|entry| is_older(entry) && !observation.fits(entry)).inspect(Entry::mark_stale)
    };
    doubt.is_open = false;
    if held.is_some() && observation.is_gone() && write::drop_gone(shared, key).await.is_err() {
        doubt.is_open = true;
    }
}

/// While it is open, the key's copy may be one that must not be served. Dropped open, it voids it.
struct Doubt<'a> {
    epochs: &'a Epochs,
    key: &'a str,
    is_open: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.epochs.void_key(self.key);
        }
    }
}
