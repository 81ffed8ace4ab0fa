//! A distribution of times.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;

use crate::Result;

/// A distribution of times, in microseconds, to three digits.
#[derive(Clone, PartialEq)]
pub struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        Self(Histogram::new(3).expect("the number of digits is valid"))
    }

    /// Adds a time in nanoseconds.
    pub(super) fn record(&mut self, nanos: u64) -> Result<()> {
        Ok(self.0.record(nanos / 1_000)?)
    }

    /// Adds all of the others.
    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// The number of times.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of all is not above. Zero if there is none.
    pub fn percentile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// The longest. Zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, max) = (self.percentile(0.5), self.max());
        write!(f, "{} times, p50 {median:?}, max {max:?}", self.count())
    }
}
