//! Where the tasks read the time.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Runs since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the tasks")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn read(self) -> Duration {
        self.0.elapsed()
    }
}

/// Prints as `12 min 3 s` or `4.2 s`.
impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.read();
        match span.as_secs() {
            secs @ 60.. => write!(f, "{} min {} s", secs / 60, secs % 60),
            _ => write!(f, "{:.1} s", span.as_secs_f64()),
        }
    }
}
