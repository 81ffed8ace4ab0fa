//! Whether the tier works: it goes off after an error, and is tried again after a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Moment, TierState};

/// The state of the tier.
pub(crate) struct Health {
    clock: Arc<dyn Clock>,
    phase: AtomicU8,
    /// Nanoseconds of the moment at which the tier is tried again; zero while it works.
    off_until: AtomicU64,
    n_failures: AtomicU32,
}

/// How far the tier is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The segments of earlier processes are being read.
    Starting,
    Open,
    /// Nothing is stored or promoted any more; the entries of memory are queued.
    Closing,
    /// The queue is written, and then the writer ends.
    Ending,
    Closed,
}

impl Health {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            phase: AtomicU8::new(Phase::Starting as u8),
            off_until: AtomicU64::new(0),
            n_failures: AtomicU32::new(0),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Open,
            2 => Phase::Closing,
            3 => Phase::Ending,
            _ => Phase::Closed,
        }
    }

    /// Moves on to `phase`, never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Returns when the tier is tried again; `None` while it works.
    pub(crate) fn off_until(&self) -> Option<Moment> {
        let until = self.off_until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        Some(Moment::from_nanos(until)).filter(|until| self.clock.now() < *until)
    }

    pub(crate) fn state(&self) -> TierState {
        match self.phase() {
            Phase::Closed => TierState::Closed,
            _ if self.off_until().is_some() => TierState::Off,
            Phase::Starting => TierState::Starting,
            Phase::Open | Phase::Closing | Phase::Ending => TierState::On,
        }
    }

    /// Returns whether records can be read.
    pub(crate) fn can_read(&self) -> bool {
        self.phase() == Phase::Open && self.off_until().is_none()
    }

    /// Takes note of an error of the file system: the tier is left alone for 1 s, and for twice as
    /// long after each further error, up to 5 min.
    pub(crate) fn fail(&self) {
        // Calls that began before the tier went off have failed of the same fault.
        if self.off_until().is_some() {
            return;
        }
        let n_failures = self.n_failures.fetch_add(1, Ordering::Relaxed);
        let span = Duration::from_secs(1 << n_failures.min(9)).min(OFF_MAX);
        let until = self.clock.now().saturating_add(span).as_nanos().max(1);
        self.off_until.store(until, Ordering::Relaxed);
    }

    /// Takes note that a write has succeeded.
    pub(crate) fn succeed(&self) {
        if self.n_failures.load(Ordering::Relaxed) != 0 {
            self.n_failures.store(0, Ordering::Relaxed);
            self.off_until.store(0, Ordering::Relaxed);
        }
    }
}

const OFF_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[derive(Debug, Default)]
    struct At(AtomicU64);

    impl Clock for At {
        fn now(&self) -> Moment {
            Moment::from_nanos(self.0.load(Relaxed))
        }

        fn wall_time(&self) -> std::time::SystemTime {
            std::time::UNIX_EPOCH
        }
    }

    #[test]
    fn many_calls_that_fail_at_once_are_one_failure() {
        let clock = Arc::new(At::default());
        let health = Health::new(Arc::clone(&clock) as Arc<_>);
        for seconds in [1, 2, 4] {
            for _ in 0..100 {
                health.fail();
            }
            let span = Duration::from_secs(seconds);
            assert_eq!(health.off_until(), Some(health.now().saturating_add(span)));
            clock.0.store(health.now().saturating_add(span).as_nanos(), Relaxed);
            assert_eq!(health.off_until(), None);
        }
    }
}
