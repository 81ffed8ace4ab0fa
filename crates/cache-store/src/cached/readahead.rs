//! Readahead: who has read on where the last read ended will do so again.
//!
//! A task reads the next bytes of the version at hand into the cache, as any reader does; the reads
//! to come find their blocks held, or join the request. Several may read one object at a time, each
//! in order: of each object the ends of the last few reads are known. Where the backend does not
//! keep what was read ahead until it is asked for, every byte would come twice; so a reader pauses
//! who found more than an eighth of what it has read since to be gone.

use std::{
    collections::HashMap,
    mem,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{blocks::Blocks, version::ObjectVersion};

/// How far ahead to read, and where the reads of each object are.
pub(super) struct Readahead {
    /// Zero: not at all.
    pub(super) bytes: u64,
    /// Of each object; the one that moved last is the last.
    places: Mutex<HashMap<Path, Vec<Place>>>,
    /// A permit for each task.
    tasks: Arc<Semaphore>,
}

#[derive(Default)]
struct Place {
    /// Where the last read ended.
    next: u64,
    /// What is before it was asked for.
    ahead: u64,
    /// What was read ahead began here.
    since: u64,
    /// What of it is before this has come.
    came: Arc<AtomicU64>,
    /// What of that was gone when it was asked for, in bytes.
    gone: u64,
}

/// What a task is to read.
pub(super) struct Due {
    pub(super) range: Range<u64>,
    pub(super) came: Arc<AtomicU64>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Readahead {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, places: Mutex::default(), tasks: Arc::new(Semaphore::new(TASKS_MAX)) }
    }

    /// What is to be read now, since somebody reads `range`, and asked the store for what begins at
    /// `asked_at`.
    pub(super) fn due(
        &self,
        blocks: &Blocks,
        snapshot: &ObjectVersion,
        range: &Range<u64>,
        asked_at: Option<u64>,
    ) -> Option<Due> {
        let size = snapshot.size;
        let mut objects = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.len() >= OBJECTS_MAX && !objects.contains_key(&snapshot.location) {
            objects.clear();
        }
        let places = objects.entry(snapshot.location.clone()).or_default();
        // No block lies between the two.
        let is_before = |place: &Place| {
            (place.next..=blocks.end_of(place.next, size.max(place.next))).contains(&range.start)
        };
        let before = places.iter().rposition(is_before).map(|at| places.remove(at));
        if before.is_none() && places.iter().any(|place| place.next == range.end) {
            // Somebody has read the same, and may go on from there.
            return None;
        }
        let is_next = before.is_some();
        let mut place = before.unwrap_or_default();
        let came = place.came.load(Ordering::Relaxed);
        if let Some(at) = asked_at.filter(|at| *at < came) {
            place.gone += came.min(range.end) - at;
        }
        let is_in_vain = place.gone > range.end.saturating_sub(place.since) / 8;
        place.next = range.end;
        // What this read asks for itself ends with a block.
        place.ahead = place.ahead.clamp(blocks.end_of(range.end - 1, size), size);
        let end = blocks.end_of(range.end.saturating_add(self.bytes - 1), size);
        let is_due = is_next
            && !is_in_vain
            && place.ahead - range.end <= self.bytes / 2
            && place.ahead < end;
        let permit = is_due.then(|| Arc::clone(&self.tasks).try_acquire_owned().ok()).flatten();
        let due = permit.map(|permit| {
            let range = mem::replace(&mut place.ahead, end)..end;
            if place.since == 0 {
                place.since = range.start;
            }
            Due { range, came: Arc::clone(&place.came), permit }
        });
        if places.len() == PLACES_MAX {
            places.remove(0);
        }
        places.push(place);
        due
    }
}

/// For so many objects it is known where their reads are. One more, and all are forgotten.
const OBJECTS_MAX: usize = 1024;

/// So many reads of one object are told apart.
const PLACES_MAX: usize = 4;

/// How many tasks read ahead at a time. While there are so many, others do without.
const TASKS_MAX: usize = 64;
