//! The clock of waits: that of the timers, so that a paused runtime pauses it too.

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
