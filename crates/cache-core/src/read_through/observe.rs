//! Responses of the store outside of flights: lists, reads past the cache, rejected requests.
//!
//! Fence first, then look. A request that was sent before the observation can bring an older
//! version, so it is fenced for every version but the observed one. Only then is the cached entry
//! compared: an entry that is published after that look has passed the fence. A key without a state
//! gets none, since a list shows thousands of keys: a flight that starts later sends its request
//! later.

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
    // Before the fence: an entry requested after this moment was requested after the observation.
    let heard_at = shared.clock.now();
    let tracked = shared.table.find(key);
    let is_changing = tracked.as_ref().is_some_and(|tracked| {
        let mut state = tracked.lock();
        let is_changing = state.observe(&observation);
        // A parked flight may hold the backend lock.
        let parked = if is_changing { state.request_handoff() } else { None };
        drop(state);
        spawn_parked(parked);
        is_changing
    });
    let mut doubt = Doubt { epochs: &shared.epochs, key, is_open: true };
    let held = {
        let _turn = match &tracked {
            // An entry that is being published has passed its checks: wait, then look at it.
            Some(tracked) if is_changing => {
                let turn = tracked.lock_backend(shared.settings.backend_lock_limit()).await;
                // A stuck call may still change the backend.
                let Some(turn) = turn else { return };
                Some(turn)
            }
            _ => None,
        };
        let held = shared.find(key).await;
        // There may be an entry all the same, and it cannot be marked.
        let Ok(held) = held else { return };
        let is_older = |entry: &Entry| entry.validated_at().is_none_or(|at| at <= heard_at);
        // A copy that does not match a newer response is revalidated before it is served.
        // mutant: marks_older_copy
        let held = held.filter(|entry| is_older(entry) && !observation.fits(entry));
        if let Some(entry) = &held {
            // In every tier, and this handle: it may have been evicted since it was looked up.
            entry.mark_stale();
            let mark = async { shared.backend.mark_stale(key).await };
            if shared.backend_call(mark).await.is_err() {
                return;
            }
        }
        held
    };
    doubt.is_open = false;
    if held.is_some() && observation.is_gone() && write::drop_gone(shared, key).await.is_err() {
        doubt.is_open = true;
    }
}

/// While it is open, the cached entry may be one that must not be served. Dropped open, it voids
/// it.
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
