//! Clocks for tests.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::{Clock, Moment};
use tokio::time::Instant;

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

    fn wall_time(&self) -> SystemTime {
        UNIX_EPOCH + DATE_AT_ZERO + Duration::from_nanos(self.now().as_nanos())
    }
}

/// Tokio's clock: a paused one too, which goes on when every task waits for time. Its date moves
/// with it, from a fixed one on.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    zero: Instant,
}

impl TokioClock {
    /// A clock whose zero is now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { zero: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Moment {
        Moment::from_nanos(0).saturating_add(Instant::now().saturating_duration_since(self.zero))
    }

    fn wall_time(&self) -> SystemTime {
        UNIX_EPOCH + DATE_AT_ZERO + Duration::from_nanos(self.now().as_nanos())
    }
}

/// [`TokioClock`], but its window lies between two ticks, as that of a machine's cheap clock does.
#[derive(Debug, Clone, Copy)]
pub struct TickingClock {
    exact: TokioClock,
    tick: Duration,
}

impl TickingClock {
    /// The clock with a tick, which is not zero.
    pub const fn new(exact: TokioClock, tick: Duration) -> Self {
        Self { exact, tick }
    }
}

impl Clock for TickingClock {
    fn now(&self) -> Moment {
        self.exact.now()
    }

    fn coarse_bounds(&self) -> (Moment, Moment) {
        let past_tick = u128::from(self.now().as_nanos()) % self.tick.as_nanos().max(1);
        let past_tick = u64::try_from(past_tick).unwrap_or(0);
        let earlier = Moment::from_nanos(self.now().as_nanos() - past_tick);
        (earlier, earlier.saturating_add(self.tick))
    }

    fn wall_time(&self) -> SystemTime {
        self.exact.wall_time()
    }
}

/// How long a program takes, on the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of a program")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn minutes(self) -> u64 {
        self.0.elapsed().as_secs() / 60
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// 2025-01-01T00:00:00Z.
const DATE_AT_ZERO: Duration = Duration::from_secs(1_735_689_600);
