//! Readahead: who has read on where the last read ended will do so again.
//!
//! A task reads the next bytes of the version at hand into the cache, as any reader does; the reads to come find their
//! blocks held, or join the request. Several may read one object at a time, each in order: of each object the ends of the
//! last few reads are known. So many bytes are read ahead once; where they are not kept, the reader asks for them again.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use object_store::path::Path;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{CacheStatus, Shared, blocks::Blocks, reader::Reader, snapshot::Snapshot};

/// How far ahead to read, and where the reads of each object are.
pub(super) struct Readahead {
    /// Zero: not at all.
    bytes: u64,
    /// Of each object; the one that moved last is the last.
    places: Mutex<HashMap<Path, Vec<Place>>>,
    /// A permit for each task.
    tasks: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// Where the last read ended.
    next: u64,
    /// What is before it was asked for.
    ahead: u64,
}

impl Readahead {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, places: Mutex::default(), tasks: Arc::new(Semaphore::new(TASKS_MAX)) }
    }

    /// What is to be read now, since somebody reads `range`; and the permit for that.
    fn due(
        &self,
        blocks: &Blocks,
        snapshot: &Snapshot,
        range: &Range<u64>,
    ) -> Option<(Range<u64>, OwnedSemaphorePermit)> {
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
        // What this read asks for itself ends with a block.
        let asked = blocks.end_of(range.end - 1, size);
        let ahead = before.map_or(asked, |before| asked.max(before.ahead.min(size)));
        let end = blocks.end_of(range.end.saturating_add(self.bytes - 1), size);
        let is_due = before.is_some() && ahead - range.end <= self.bytes / 2 && ahead < end;
        let permit = is_due.then(|| Arc::clone(&self.tasks).try_acquire_owned().ok()).flatten();
        if places.len() == PLACES_MAX {
            places.remove(0);
        }
        places.push(Place { next: range.end, ahead: if permit.is_some() { end } else { ahead } });
        permit.map(|permit| (ahead..end, permit))
    }
}

impl Shared {
    /// Somebody reads `range`, which is not empty, of `snapshot`.
    pub(super) fn read_ahead(self: &Arc<Self>, snapshot: &Arc<Snapshot>, range: &Range<u64>) {
        if self.readahead.bytes == 0 || !snapshot.is_pinned() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Some((due, permit)) = self.readahead.due(self.blocks(), snapshot, range) else { return };
        let reader = Reader::new(self, Arc::clone(snapshot), due, CacheStatus::bypass(), None);
        runtime.spawn(async move {
            // Who reads on finds out for himself.
            let _ = reader.read_in().await;
            drop(permit);
        });
    }
}

/// For so many objects it is known where their reads are. One more, and all are forgotten.
const OBJECTS_MAX: usize = 1024;

/// So many reads of one object are told apart.
const PLACES_MAX: usize = 4;

/// How many tasks read ahead at a time. While there are so many, others do without.
const TASKS_MAX: usize = 64;
