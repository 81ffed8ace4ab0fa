//! How much memory reads under way may hold beside the backend's capacity, and how many tasks
//! finish their blocks.
//!
//! Nobody waits for room here: a reader that holds some may be paused for ever, so waiting could be
//! in vain. Without room a fetch passes its bytes on and collects no block; a cached block is
//! looked up again when its turn comes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::in_flight::InFlight;

/// The budget of one cache.
pub(super) struct Budget {
    all: InFlight,
    /// The part of it that blocks may take which wait for a reader to get there: else paused
    /// readers of what is at hand would keep others from collecting what is not.
    pinned: InFlight,
    tails: Arc<Semaphore>,
}

/// The room of one buffer. It is free again when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Permit {
    _room: Arc<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        let tails = Arc::new(Semaphore::new(TAILS_MAX));
        Self { all: InFlight::new(bytes), pinned: InFlight::new(bytes / PINNED_SHARE), tails }
    }

    /// Room for a block that is being fetched.
    pub(super) fn fetched(&self, bytes: u64) -> Option<Permit> {
        let all = self.all.try_room(bytes)?;
        Some(Permit { _room: Arc::new((all, None)) })
    }

    /// Room for a cached block that a reader holds until it gets there.
    pub(super) fn pinned(&self, bytes: u64) -> Option<Permit> {
        let pinned = self.pinned.try_room(bytes)?;
        let all = self.all.try_room(bytes)?;
        Some(Permit { _room: Arc::new((all, Some(pinned))) })
    }

    /// The same for a block that has room already, since it was fetched.
    pub(super) fn retained(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.pinned.try_room(bytes)
    }

    /// The right to read a block to its end in the background.
    pub(super) fn tail(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.tails).try_acquire_owned().ok()
    }
}

/// Blocks that wait for their reader may take one in so many bytes of the budget.
const PINNED_SHARE: u64 = 4;

/// How many blocks are read to their end in the background at a time. While there are so many, the
/// beginnings of others are dropped.
const TAILS_MAX: usize = 32;
