//! Time, as the protocol sees it. The one place where a clock is read.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Nanoseconds since the clock's zero, monotonic. Made by a [`Clock`] alone; fits an `AtomicU64`.
///
/// Arithmetic saturates: a duration too long to count means "never".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The last moment that can be told. Nothing that expires then ever expires.
    pub const MAX: Self = Self((u64::MAX >> 1) - 1);

    /// The moment `nanos` nanoseconds after the clock's zero. For implementors of [`Clock`].
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MAX.0 { Self::MAX } else { Self(nanos) }
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `span` more, at most [`Moment::MAX`].
    pub fn saturating_add(self, span: Duration) -> Self {
        Self::from_nanos(self.0.saturating_add(nanos(span)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", Duration::from_nanos(self.0))
    }
}

/// Where time comes from. [`SystemClock`] in production; a manual one in tests.
pub trait Clock: Send + Sync + 'static {
    /// Now, on a clock that never goes back. Read on every `get`: keep it cheap.
    fn now(&self) -> Moment;

    /// The date, comparable with an origin's `Last-Modified`. Read once before each read of the origin;
    /// used only to tell whether a tag that is made of a timestamp can be trusted.
    fn date(&self) -> SystemTime;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn date(&self) -> SystemTime {
        (**self).date()
    }
}

const _: fn(&dyn Clock) = |_| ();

/// The machine's clocks. Follows tokio's paused clock in tests that pause it.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    zero: tokio::time::Instant,
}

impl SystemClock {
    /// A clock whose zero is now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { zero: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Moment {
        Moment::from_nanos(nanos(tokio::time::Instant::now().saturating_duration_since(self.zero)))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn date(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// `span` in nanoseconds, at most [`Moment::MAX`]'s: some 292 years.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).min(Moment::MAX.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let one = Moment::from_nanos(1);
        assert_eq!(one.saturating_add(Duration::MAX), Moment::MAX);
        assert_eq!(one.saturating_since(Moment::MAX), Duration::ZERO);
        assert_eq!(Moment::from_nanos(u64::MAX), Moment::MAX);
    }

    #[test]
    fn the_system_clock_does_not_go_back() {
        let clock = SystemClock::new();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
    }
}
