//! Responses of the store outside of flights: lists, reads past the cache, rejected requests, and
//! what other caches announce.
//!
//! Fence first, then look. A request that was sent before the observation can bring an older
//! version, so it is fenced for every version but the observed one. Only then is the cached entry
//! compared: an entry that is published after that look has passed the fence. A key without a state
//! gets none, since a list shows thousands of keys: a flight that starts later sends its request
//! later.

use std::sync::Arc;

use super::{epochs::Epochs, parked::spawn_parked, shared::Shared, write};
use crate::{Entry, Moment, Observation, Validator, epoch::Epoch};

/// How something was observed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    /// When it was observed: entries that were requested later are newer.
    pub(super) heard_at: Moment,
    /// The request for the page of a list that showed it, which renews entries of that version.
    pub(super) request: Option<ListRequest>,
    /// It is a hint: an entry is marked, never removed, and an entry that is not in memory is not
    /// read to be compared.
    pub(super) is_hint: bool,
}

/// A request for a page of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListRequest {
    /// The moment before it was sent.
    pub(super) sent_at: Moment,
    /// The epoch at that moment.
    pub(super) epoch: Epoch,
    /// The number of the list.
    pub(super) list: u64,
}

impl ListRequest {
    /// Returns a request that is sent after this has returned.
    pub(super) fn now<V: ?Sized>(shared: &Shared<V>, list: u64) -> Self {
        // The moment first: an entry that a floor does not apply to was requested after it.
        let sent_at = shared.clock.now();
        Self { sent_at, epoch: shared.epochs.latest(), list }
    }
}

impl Sighting {
    /// Returns that of a response of the store to a request for the object.
    pub(super) fn response(heard_at: Moment) -> Self {
        Self { heard_at, request: None, is_hint: false }
    }

    /// Returns that of a hint.
    pub(super) fn hint(heard_at: Moment) -> Self {
        Self { heard_at, request: None, is_hint: true }
    }

    /// Returns that of a page of a list, which answers `request`.
    pub(super) fn listed(heard_at: Moment, request: ListRequest) -> Self {
        Self { heard_at, request: Some(request), is_hint: false }
    }
}

/// The effect on the cached entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Observed {
    /// There is no entry.
    NoEntry,
    /// The entry, if there is one, stays as it is.
    Kept,
    /// The entry was marked or removed, or is void.
    Marked,
    /// The entry was renewed.
    Renewed,
}

pub(super) async fn observe<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    observation: &Observation,
    sighting: Sighting,
) -> Observed {
    let Sighting { heard_at, request, is_hint } = sighting;
    // Before the look at the entry: a flight that is publishing is seen by one of the two.
    // mutant: fences_before_look
    let tracked = shared.table.find(key);
    let is_changing = tracked.as_ref().is_some_and(|tracked| {
        let mut state = tracked.lock();
        let is_changing = state.observe(observation, heard_at);
        // A parked flight may hold the backend lock.
        let parked = if is_changing { state.request_handoff() } else { None };
        drop(state);
        spawn_parked(parked);
        is_changing
    });
    let mut doubt = Doubt { epochs: &shared.epochs, key, is_open: true };
    {
        let _turn = match &tracked {
            // An entry that is being published has passed its checks: wait, then look at it.
            Some(tracked) if is_changing => {
                let turn = tracked.lock_backend(shared.settings.backend_lock_limit()).await;
                // A stuck call may still change the backend.
                let Some(turn) = turn else { return Observed::Marked };
                Some(turn)
            }
            _ => None,
        };
        // mutant: looks_after_fence
        let found = match is_hint {
            true => shared.peek(key).map(|shown| shared.own(shown)),
            false => shared.find(key).await,
        };
        // There may be an entry all the same, and it cannot be marked.
        let Ok(found) = found else { return Observed::Marked };
        match &found {
            None if !is_hint || shared.has_none(key) => {
                doubt.is_open = false;
                return Observed::NoEntry;
            }
            // It is in a lower tier, where it is marked without I/O.
            None => {}
            Some(entry) => {
                let is_newer = entry.validated_at().is_some_and(|at| at > heard_at);
                // A copy that does not match a newer response is revalidated before it is served.
                // mutant: marks_older_copy
                if is_newer || observation.fits(entry) {
                    doubt.is_open = false;
                    let is_renewed = request.is_some_and(|request| {
                        !is_newer && observation.renews(entry) && shared.renew(entry, request)
                    });
                    return if is_renewed { Observed::Renewed } else { Observed::Kept };
                }
            }
        }
        // Before the mark, so that no list lifts it.
        // mutant: notes_marks
        shared.marks.note(key, heard_at);
        if let Some(entry) = &found {
            // In every tier, and this handle: it may have been evicted since it was looked up.
            entry.mark_stale();
        }
        let mark = async { shared.backend.mark_stale(key).await };
        if shared.backend_call(mark).await.is_err() {
            return Observed::Marked;
        }
    }
    doubt.is_open = false;
    let is_removed = observation.is_gone() && !is_hint;
    if is_removed && write::drop_gone(shared, key).await.is_err() {
        doubt.is_open = true;
    }
    Observed::Marked
}

impl<V: ?Sized> Shared<V> {
    /// Renews `entry`, of which the answer to `request` has shown that it is current: moves it
    /// forward, and lifts a mark that is older than the request. Returns whether it did.
    fn renew(&self, entry: &Entry, request: ListRequest) -> bool {
        // A void entry stays void.
        // mutant: list_renews_void
        if self.epochs.is_void(entry) {
            return false;
        }
        // Before the renewal: a list that leaves the key out finds the entry, or is noted itself.
        // mutant: notes_renewed
        let was_noted = self.note_key(entry.key());
        // Without a mark or a lower tier, the entry's own stamp orders this and a mark.
        if !self.has_lower_tier && !entry.must_revalidate() && was_noted {
            return entry.renew_listed(request.sent_at, request.epoch, false);
        }
        // A mark is noted before it is put, so none is put while this is locked.
        let marks = self.marks.lock();
        // A younger mark says more than the list.
        // mutant: lifts_older_marks
        if marks.has_younger(entry.key(), request.sent_at)
            || !was_noted && marks.is_left_out(entry.key(), request.sent_at, request.list)
        {
            return false;
        }
        let is_renewed = match entry.validated_at() {
            Some(_) => entry.renew_listed(request.sent_at, request.epoch, true),
            None => {
                // From a backend that outlives the process: the entry has no time to live yet.
                entry.publish(request.sent_at, self.time_to_live(entry.key()), request.epoch);
                true
            }
        };
        if is_renewed {
            self.renewed(entry);
        }
        drop(marks);
        is_renewed
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
