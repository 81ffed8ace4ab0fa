//! Running totals.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::TierDrops;

use crate::index::{IN_MEMORY, PINNED, Slot};

/// Counts of events.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Count,
    pub(crate) hit_bytes: Count,
    pub(crate) misses: Count,
    pub(crate) recovered: Count,
    pub(crate) written: Count,
    pub(crate) payload_bytes: Count,
    pub(crate) written_bytes: Count,
    pub(crate) rewritten: Count,
    pub(crate) corrupt: Count,
    pub(crate) foreign: Count,
    pub(crate) read_errors: Count,
    pub(crate) write_errors: Count,
    pub(crate) dropped: Drops,
    pub(crate) pins_lost: Drops,
}

/// Entries that were dropped, by cause.
#[derive(Debug, Default)]
pub(crate) struct Drops([Count; CAUSES]);

/// Why an entry was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    QueueFull,
    NotAdmitted,
    TooLarge,
    Unavailable,
    WriteError,
    Recycled,
    Corrupt,
    PinLimit,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts the entry of `slot`, which was dropped, unless memory has it: it is offered again
    /// when it leaves memory, and counted once.
    pub(crate) fn drop_slot(&self, cause: Cause, slot: &Slot) {
        if !slot.is(IN_MEMORY) {
            self.drop_entry(cause, slot.is(PINNED));
        }
    }

    /// Counts an entry that was dropped.
    pub(crate) fn drop_entry(&self, cause: Cause, is_pinned: bool) {
        if cause != Cause::PinLimit {
            self.dropped.0[cause as usize].add(1);
        }
        if is_pinned {
            self.pins_lost.0[cause as usize].add(1);
        }
    }
}

impl Drops {
    pub(crate) fn snapshot(&self) -> TierDrops {
        let mut drops = TierDrops::default();
        let of = |cause: Cause| self.0[cause as usize].get();
        drops.queue_full = of(Cause::QueueFull);
        drops.not_admitted = of(Cause::NotAdmitted);
        drops.too_large = of(Cause::TooLarge);
        drops.unavailable = of(Cause::Unavailable);
        drops.write_error = of(Cause::WriteError);
        drops.recycled = of(Cause::Recycled);
        drops.corrupt = of(Cause::Corrupt);
        drops.pin_limit = of(Cause::PinLimit);
        drops
    }
}

const CAUSES: usize = Cause::PinLimit as usize + 1;
