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
    /// Now, on a clock that never goes back. Read once for each question to the origin, and on a
    /// `get` whose answer [`coarse_bounds`](Self::coarse_bounds) leaves open.
    fn now(&self) -> Moment;

    /// Two moments that [`now`](Self::now) lies between, the earlier one first. Read on every
    /// `get`: cheaper than `now`, or the same. Must not go back either.
    ///
    /// What is fresh at both ends is fresh, and `now` is not asked. Ages are counted to the earlier
    /// end, so one that is reported may be too low by as much as the window is wide.
    fn coarse_bounds(&self) -> (Moment, Moment) {
        let now = self.now();
        (now, now)
    }

    /// The date, comparable with an origin's `Last-Modified`. Read once before each read of the
    /// origin; used only to tell whether a tag that is made of a timestamp can be trusted.
    fn wall_time(&self) -> SystemTime;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn coarse_bounds(&self) -> (Moment, Moment) {
        (**self).coarse_bounds()
    }

    fn wall_time(&self) -> SystemTime {
        (**self).wall_time()
    }
}

const _: fn(&dyn Clock) = |_| ();

/// The machine's clocks. Does not follow tokio's paused clock.
///
/// On Linux a fresh hit is judged by `CLOCK_MONOTONIC_COARSE`, the moment of the last timer tick,
/// which costs a fifth of reading the precise clock (a sixth of a whole hit). The tick is 1 to 10
/// ms; 50 ms are allowed for, and within 50 ms of a limit the precise clock decides. So a copy is
/// served past its `max_age` only where a kernel runs this program for more than 50 ms without a
/// tick on any processor: a virtual machine whose timekeeping processor is taken away from it for
/// so long. Elsewhere every reading is precise.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    zero: machine::Zero,
}

impl SystemClock {
    /// A clock whose zero is now.
    pub fn new() -> Self {
        Self { zero: machine::zero() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        machine::now(self.zero)
    }

    fn coarse_bounds(&self) -> (Moment, Moment) {
        machine::window(self.zero)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn wall_time(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(target_os = "linux")]
mod machine {
    use rustix::time::{ClockId, clock_gettime};

    use super::Moment;

    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) type Zero = u64;

    /// How far the coarse clock is taken to lag: several ticks of any kernel.
    const LAG_MAX: u64 = 50_000_000;

    pub(super) fn zero() -> Zero {
        nanos(ClockId::Monotonic)
    }

    pub(super) fn now(zero: Zero) -> Moment {
        Moment::from_nanos(nanos(ClockId::Monotonic).saturating_sub(zero))
    }

    pub(super) fn window(zero: Zero) -> (Moment, Moment) {
        // Right after the start, the last tick may be before the zero.
        let coarse = nanos(ClockId::MonotonicCoarse);
        let earlier = Moment::from_nanos(coarse.saturating_sub(zero));
        (earlier, Moment::from_nanos((coarse + LAG_MAX).saturating_sub(zero)))
    }

    #[allow(
        clippy::useless_conversion,
        reason = "seconds and nanoseconds are of other widths on other machines"
    )]
    fn nanos(clock: ClockId) -> u64 {
        let since_boot = clock_gettime(clock);
        // Neither is negative.
        let [secs, nanos] = [i64::from(since_boot.tv_sec), i64::from(since_boot.tv_nsec)];
        secs.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(nanos.cast_unsigned())
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::time::Instant;

    use super::{Moment, nanos};

    pub(super) type Zero = Instant;

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(super) fn zero() -> Zero {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(super) fn now(zero: Zero) -> Moment {
        Moment::from_nanos(nanos(Instant::now().saturating_duration_since(zero)))
    }

    pub(super) fn window(zero: Zero) -> (Moment, Moment) {
        let now = now(zero);
        (now, now)
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
        let window = clock.coarse_bounds();
        assert!(clock.coarse_bounds() >= window);
    }

    #[test]
    fn now_lies_in_the_window() {
        let clock = SystemClock::new();
        let holds = |_| {
            let before = clock.now();
            let (earlier, later) = clock.coarse_bounds();
            assert!(earlier <= later);
            assert!(earlier <= clock.now(), "the window begins in the future");
            before <= later
        };
        // A machine that stands still for long enough can miss it once, but not always.
        assert!((0..1000).any(holds), "the window always ends in the past");
    }
}
