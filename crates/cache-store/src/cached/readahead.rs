//! Readahead: who has read on where the last read ended will do so again.
//!
//! A task reads the next bytes of the version at hand into the cache, as any reader does; the reads to come find their
//! blocks held, or join the request. There is one place for each object, so two who read it at once, each in order, are
//! taken for readers at random.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use object_store::path::Path;
use tokio::runtime::Handle;

use super::{CacheStatus, Shared, reader::Reader, snapshot::Snapshot};

/// How far ahead to read, and where the reads of each object are.
pub(super) struct Readahead {
    /// Zero: not at all.
    bytes: u64,
    places: Mutex<HashMap<Path, Place>>,
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
        Self { bytes, places: Mutex::default() }
    }

    /// What is to be read now, since somebody reads `range`.
    fn due(&self, shared: &Shared, snapshot: &Snapshot, range: &Range<u64>) -> Option<Range<u64>> {
        let (blocks, size) = (shared.blocks(), snapshot.size);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX && !places.contains_key(&snapshot.location) {
            places.clear();
        }
        let place = places.entry(snapshot.location.clone()).or_insert(Place { next: u64::MAX, ahead: 0 });
        let is_next = place.next == range.start;
        // What this read asks for itself ends with a block.
        let ahead = blocks.end_of(range.end - 1, size);
        let ahead = if is_next { ahead.max(place.ahead.min(size)) } else { ahead };
        *place = Place { next: range.end, ahead };
        if !is_next || ahead - range.end > self.bytes / 2 {
            return None;
        }
        let end = blocks.end_of(range.end.saturating_add(self.bytes - 1), size);
        place.ahead = ahead.max(end);
        (ahead < end).then_some(ahead..end)
    }
}

impl Shared {
    /// Somebody reads `range`, which is not empty, of `snapshot`.
    pub(super) fn read_ahead(self: &Arc<Self>, snapshot: &Arc<Snapshot>, range: &Range<u64>) {
        if self.readahead.bytes == 0 || !snapshot.is_pinned() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(due) = self.readahead.due(self, snapshot, range) else { return };
        let reader = Reader::new(self, Arc::clone(snapshot), due, CacheStatus::bypass(), None);
        runtime.spawn(async move {
            // Who reads on finds out for himself.
            let _ = reader.read_in().await;
        });
    }
}

/// For so many objects it is known where their reads are. One more, and all are forgotten.
const PLACES_MAX: usize = 1024;
