//! The clocks of the benchmarks.

use std::time::{Duration, Instant, SystemTime};

/// Whose CPU time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuTime {
    /// That of the thread that asks.
    Thread,
    /// That of all threads of this process: where a runtime of several threads does the work.
    Process,
}

impl CpuTime {
    /// The CPU time used so far. Where a system does not tell, the time on the wall.
    #[cfg(unix)]
    pub fn now(self) -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        let time = clock_gettime(match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        });
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        Duration::new(time.tv_sec.unsigned_abs(), nanos)
    }

    /// The CPU time used so far. Where a system does not tell, the time on the wall.
    #[cfg(not(unix))]
    pub fn now(self) -> Duration {
        use std::sync::LazyLock;
        static START: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::start);
        START.elapsed()
    }
}

/// The time on the wall.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A date on the machine's clock, as the date of a file that is not young any more.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}
