//! How many bytes of bodies may be on their way at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The room for bodies that have been announced and are not whole yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    free: Arc<Semaphore>,
    most: u32,
}

impl InFlight {
    pub(crate) fn new(bytes: u64) -> Self {
        let most = units(bytes);
        Self { free: Arc::new(Semaphore::new(most as usize)), most }
    }

    /// Waits for room for a body of `bytes`, in the order of arrival. It is free again when what is
    /// returned is dropped. One that is larger than all there is takes all.
    pub(crate) async fn room(&self, bytes: u64) -> SemaphorePermit<'_> {
        let room = self.free.acquire_many(units(bytes).min(self.most)).await;
        room.expect("it is never closed")
    }

    /// Room for `bytes`, if there is so much now.
    pub(crate) fn try_room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(units(bytes)).ok()
    }
}

/// Whole KiB. More than memory has are as good as no limit.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(1 << 28)
}
