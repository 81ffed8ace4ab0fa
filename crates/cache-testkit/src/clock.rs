//! A clock that is moved by hand.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::{Clock, Moment};

/// A clock that stands still until it is moved. Its date moves with it, from a fixed one on.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock at its zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        let later = self.now().saturating_add(span);
        self.0.store(later.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn date(&self) -> SystemTime {
        UNIX_EPOCH + DATE_AT_ZERO + Duration::from_nanos(self.now().as_nanos())
    }
}

/// 2025-01-01T00:00:00Z.
const DATE_AT_ZERO: Duration = Duration::from_secs(1_735_689_600);
