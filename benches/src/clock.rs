//! The clocks of the benchmarks.

use std::time::{Duration, Instant, SystemTime};

/// The threads whose CPU time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuTime {
    /// The calling thread.
    Thread,
    /// All threads of this process: for a runtime with several worker threads.
    Process,
}

impl CpuTime {
    /// Returns the CPU time used so far; the wall time where the system does not report it.
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

    /// Returns the CPU time used so far; the wall time where the system does not report it.
    #[cfg(not(unix))]
    pub fn now(self) -> Duration {
        use std::sync::LazyLock;
        static START: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::start);
        START.elapsed()
    }
}

/// Measures wall time.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns the wall-clock time of an hour ago, for the modification time of a file.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}
