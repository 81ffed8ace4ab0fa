//! How long it takes, on the wall clock.

use std::time::{Duration, Instant};

/// Runs since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the program")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn minutes(self) -> u64 {
        self.read().as_secs() / 60
    }

    pub(crate) fn seconds(self) -> f64 {
        self.read().as_secs_f64()
    }

    fn read(self) -> Duration {
        self.0.elapsed()
    }
}
