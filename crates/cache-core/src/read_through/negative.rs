//! How much is remembered of objects that do not exist.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Backend, Moment};

/// Caps absences at a sixteenth of the backend, in bytes and in entries, so that requests for keys
/// that strangers chose push nothing else out. In each window at most a thirty-second is kept, and
/// a window begins only when those of the one before the last are swept: where the sweep is late,
/// what would be more is not kept.
#[derive(Debug)]
pub(super) struct NegativeBudget {
    /// How long an absence is held.
    time_to_live: Duration,
    /// That, and until the next sweep.
    window: Duration,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    window: Option<Range<Moment>>,
    share: Share,
    /// How many were kept in this window.
    kept: u64,
    /// Those kept in earlier ones that may still be there, and when the last of them expires.
    older: u64,
    older_expire_at: Option<Moment>,
}

/// What may be kept yet.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    bytes: u64,
    entries: u64,
}

impl NegativeBudget {
    pub(super) fn new(time_to_live: Duration, sweeps_every: Duration) -> Self {
        let window = time_to_live.saturating_add(sweeps_every);
        Self { time_to_live, window, spent: Mutex::default() }
    }

    /// Whether one that weighs so much may be kept now, in the place of one that was kept at
    /// `replaced`. The last sweep was as of `swept_at`. A backend without a limit keeps all.
    pub(super) fn admit(
        &self,
        weight: u64,
        now: Moment,
        replaced: Option<Moment>,
        swept_at: Moment,
        backend: &dyn Backend,
    ) -> bool {
        let ends = {
            let mut spent = self.lock();
            spent.leaves(replaced);
            spent.may_begin(now, swept_at)
        };
        // Not under the lock: it is code that was plugged in.
        let share = ends.then(|| Share::of(backend));
        let mut spent = self.lock();
        if let Some(share) = share
            && spent.may_begin(now, swept_at)
        {
            spent.begin(share, now..now.saturating_add(self.window), self.time_to_live);
        }
        // Paid for in this window.
        let is_paid_for =
            replaced.zip(spent.window.as_ref()).is_some_and(|(at, window)| at >= window.start);
        let is_admitted = is_paid_for || spent.share.take(weight);
        spent.kept += u64::from(is_admitted && !is_paid_for);
        is_admitted
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    /// One that was kept at the moment is gone.
    fn leaves(&mut self, replaced: Option<Moment>) {
        let is_older = |at| self.window.as_ref().is_some_and(|window| at < window.start);
        if replaced.is_some_and(is_older) {
            self.older = self.older.saturating_sub(1);
        }
    }

    /// Whether the window is over, and nothing is left of those before it.
    fn may_begin(&mut self, now: Moment, swept_at: Moment) -> bool {
        if self.older_expire_at.is_some_and(|at| at <= swept_at) {
            self.older = 0;
        }
        // Older negative entries still take room until a sweep has removed them.
        // mutant: swept_negatives
        self.older == 0 && self.window.as_ref().is_none_or(|window| window.end <= now)
    }

    fn begin(&mut self, share: Share, window: Range<Moment>, time_to_live: Duration) {
        // As of the beginning of this one none was kept after that.
        let older_expire_at =
            self.window.is_some().then(|| window.start.saturating_add(time_to_live));
        *self = Self { window: Some(window), share, kept: 0, older: self.kept, older_expire_at };
    }
}

impl Share {
    /// What may be kept in a window. Nothing, if the backend panics.
    fn of(backend: &dyn Backend) -> Self {
        let Ok(usage) = catch_unwind(AssertUnwindSafe(|| backend.usage())) else {
            return Self::default();
        };
        let share = |capacity: Option<u64>| capacity.map_or(u64::MAX, |most| most / SHARE);
        Self { bytes: share(usage.capacity_bytes), entries: share(usage.capacity_entries) }
    }

    fn take(&mut self, weight: u64) -> bool {
        let (Some(bytes), Some(entries)) =
            (self.bytes.checked_sub(weight), self.entries.checked_sub(1))
        else {
            return false;
        };
        *self = Self { bytes, entries };
        true
    }
}

/// Two windows' worth may be there at once.
const SHARE: u64 = 32;
