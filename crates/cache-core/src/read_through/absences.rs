//! How much is remembered of objects that do not exist.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Backend, Moment};

/// Sees to it that absences take no more than a sixteenth of the backend, in bytes and in entries, so that those who ask
/// for keys that strangers chose push nothing else out. In each window at most a thirty-second is kept; what was kept
/// before the window that ended last has been swept, if the backend does sweep.
#[derive(Debug)]
pub(super) struct Absences {
    /// As long as an absence is held: its time to live, and until the next sweep.
    window: Duration,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    window: Option<Range<Moment>>,
    share: Share,
}

/// What may be kept yet.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    bytes: u64,
    entries: u64,
}

impl Absences {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, spent: Mutex::default() }
    }

    /// Whether one that weighs so much may be kept now, in the place of one that was kept at `replaced`. A backend
    /// without a limit keeps all.
    pub(super) fn admit(
        &self,
        weight: u64,
        now: Moment,
        replaced: Option<Moment>,
        backend: &dyn Backend,
    ) -> bool {
        let is_over = |spent: &Spent| spent.window.as_ref().is_none_or(|window| window.end <= now);
        let share = is_over(&self.lock());
        // Not under the lock: it is code that was plugged in.
        let share = share.then(|| Share::of(backend));
        let mut spent = self.lock();
        if let (Some(share), true) = (share, is_over(&spent)) {
            *spent = Spent { window: Some(now..now.saturating_add(self.window)), share };
        }
        // Paid for in this window.
        let is_paid_for = replaced.zip(spent.window.as_ref()).is_some_and(|(at, window)| at >= window.start);
        is_paid_for || spent.share.take(weight)
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// What may be kept in a window. Nothing, if the backend panics.
    fn of(backend: &dyn Backend) -> Self {
        let Ok(usage) = catch_unwind(AssertUnwindSafe(|| backend.usage())) else { return Self::default() };
        let share = |capacity: Option<u64>| capacity.map_or(u64::MAX, |most| most / SHARE);
        Self { bytes: share(usage.capacity_bytes), entries: share(usage.capacity_entries) }
    }

    fn take(&mut self, weight: u64) -> bool {
        let (Some(bytes), Some(entries)) = (self.bytes.checked_sub(weight), self.entries.checked_sub(1))
        else {
            return false;
        };
        *self = Self { bytes, entries };
        true
    }
}

/// Two windows' worth may be there at once.
const SHARE: u64 = 32;
