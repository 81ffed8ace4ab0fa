//! Where the clients read the time.

use std::time::{Duration, Instant};

/// Runs since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the clients")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn read(self) -> Duration {
        self.0.elapsed()
    }
}
