//! How much is remembered of objects that do not exist.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Backend, Moment};

/// Sees to it that absences take no more than a sixteenth of the backend: those who ask for keys that strangers chose
/// push nothing else out. In each window at most a thirty-second is kept; what was kept before the window that ended
/// last has been swept.
#[derive(Debug)]
pub(super) struct Absences {
    /// As long as an absence is held: its time to live, and until the next sweep.
    window: Duration,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    until: Option<Moment>,
    left: u64,
}

impl Absences {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, spent: Mutex::default() }
    }

    /// Whether one that weighs so much may be kept now. A backend without a limit keeps all.
    pub(super) fn admit(&self, weight: u64, now: Moment, backend: &dyn Backend) -> bool {
        let is_over = self.lock().until.is_none_or(|until| until <= now);
        // Not under the lock: it is code that was plugged in.
        let share = is_over.then(|| share_of(backend));
        let mut spent = self.lock();
        if let (Some(share), true) = (share, spent.until.is_none_or(|until| until <= now)) {
            *spent = Spent { until: Some(now.saturating_add(self.window)), left: share };
        }
        let left = spent.left.checked_sub(weight);
        spent.left = left.unwrap_or(spent.left);
        left.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be kept in a window. Nothing, if the backend panics.
fn share_of(backend: &dyn Backend) -> u64 {
    let usage = catch_unwind(AssertUnwindSafe(|| backend.usage()));
    usage.map_or(0, |usage| usage.capacity_bytes.map_or(u64::MAX, |most| most / SHARE))
}

/// Two windows' worth may be there at once.
const SHARE: u64 = 32;
