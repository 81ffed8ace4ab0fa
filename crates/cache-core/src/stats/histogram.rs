//! How large what was measured is, counted in buckets.

use std::{
    array,
    ops::{Add, Sub},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How often spans of time of about one length were seen: a running total, like any counter. Bucket
/// `i` has those of at most `bounds[i]` that the bucket before it has not; the last one those above
/// all bounds. Which bounds those are says whoever made it:
/// [`Stats::ORIGIN_BOUNDS`](super::Stats::ORIGIN_BOUNDS),
/// [`Stats::AGE_BOUNDS`](super::Stats::AGE_BOUNDS).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [Bucket; BUCKETS],
}

/// Spans of time of about one length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// How many.
    pub count: u64,
    /// How long they are together, in microseconds, each rounded up: so the mean of a bucket is
    /// within its bounds.
    pub micros: u64,
}

/// The upper bounds of the buckets but the last, rising, each a whole number of microseconds.
pub type Bounds = [Duration; BUCKETS - 1];

impl Histogram {
    /// The buckets, from the shortest spans on: one more than there are bounds.
    pub const fn buckets(&self) -> &[Bucket; BUCKETS] {
        &self.buckets
    }

    /// How many spans there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// How long they are together, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        let micros =
            self.buckets.iter().fold(0, |sum: u64, bucket| sum.wrapping_add(bucket.micros));
        micros as f64 / MICROS_PER_SECOND
    }
}

impl Bucket {
    /// The mean of its spans in seconds, zero if there are none.
    pub fn mean_seconds(&self) -> f64 {
        match self.count {
            0 => 0.0,
            count => self.micros as f64 / count as f64 / MICROS_PER_SECOND,
        }
    }
}

impl Histogram {
    pub(super) fn zip(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            buckets: array::from_fn(|i| Bucket {
                count: combine(self.buckets[i].count, other.buckets[i].count),
                micros: combine(self.buckets[i].micros, other.buckets[i].micros),
            }),
        }
    }

    /// The totals, none of them lower than in `earlier`.
    #[must_use]
    pub fn at_least(self, earlier: Self) -> Self {
        self.zip(earlier, u64::max)
    }
}

impl Sub for Histogram {
    type Output = Self;

    /// What came since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }
}

impl Add for Histogram {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

/// A [`Histogram`] that is being counted, by any number of threads.
#[derive(Debug, Default)]
pub struct AtomicHistogram {
    buckets: [[AtomicU64; 2]; BUCKETS],
}

impl AtomicHistogram {
    /// Counts `span` in its bucket. The bounds are the same each time.
    pub fn add(&self, span: Duration, bounds: &Bounds) {
        let i = bounds.partition_point(|bound| *bound < span);
        let [count, micros] = &self.buckets[i];
        count.fetch_add(1, Ordering::Relaxed);
        let rounded_up = u64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        micros.fetch_add(rounded_up, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Histogram {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Histogram {
            buckets: array::from_fn(|i| {
                let [count, micros] = &self.buckets[i];
                Bucket { count: of(count), micros: of(micros) }
            }),
        }
    }
}

const BUCKETS: usize = 16;
const MICROS_PER_SECOND: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stats;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let measured = AtomicHistogram::default();
        let bounds = &Stats::ORIGIN_BOUNDS;
        for span in [Duration::ZERO, bounds[0], bounds[0] + Duration::from_nanos(1), Duration::MAX]
        {
            measured.add(span, bounds);
        }
        let counts = measured.snapshot().buckets.map(|bucket| bucket.count);
        assert_eq!((counts[0], counts[1], counts[BUCKETS - 1]), (2, 1, 1));
        assert_eq!(measured.snapshot().count(), 4);
    }

    /// Whoever hands the mean on to another histogram of the same bounds finds it in the same
    /// bucket.
    #[test]
    fn a_mean_is_within_its_bucket() {
        for bounds in [&Stats::ORIGIN_BOUNDS, &Stats::AGE_BOUNDS] {
            for (i, bound) in bounds.iter().enumerate() {
                let measured = AtomicHistogram::default();
                for nanos in [0, 1, 700] {
                    measured.add(*bound + Duration::from_nanos(nanos), bounds);
                }
                let buckets = measured.snapshot().buckets;
                let bound = bound.as_secs_f64();
                assert!(
                    buckets[i].mean_seconds() <= bound && buckets[i + 1].mean_seconds() > bound,
                    "{bound}"
                );
            }
        }
    }

    #[test]
    fn an_interval_is_a_difference() {
        let measured = AtomicHistogram::default();
        measured.add(Duration::from_millis(3), &Stats::ORIGIN_BOUNDS);
        let earlier = measured.snapshot();
        measured.add(Duration::from_millis(4), &Stats::ORIGIN_BOUNDS);
        let between = measured.snapshot() - earlier;
        assert_eq!(between.count(), 1);
        assert!((between.sum_seconds() - 0.004).abs() < 1e-12);
    }
}
