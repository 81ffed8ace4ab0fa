//! Errors, counted by kind.

use std::{
    ops::{Add, Sub},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::ErrorKind;

/// How many errors there were of each [`ErrorKind`]: running totals.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorCounts([u64; ErrorKind::ALL.len()]);

impl ErrorCounts {
    /// How many errors were of `kind`.
    pub const fn of(&self, kind: ErrorKind) -> u64 {
        self.0[kind as usize]
    }

    /// Counts `n` more errors of `kind`: for caches that count their own.
    pub const fn add_of(&mut self, kind: ErrorKind, n: u64) {
        let count = &mut self.0[kind as usize];
        *count = count.saturating_add(n);
    }

    /// Each kind, with how many errors were of it, zero too.
    pub fn iter(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        ErrorKind::ALL.into_iter().zip(self.0)
    }

    /// How many errors there were of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn zip(mut self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine = combine(*mine, others);
        }
        self
    }

    /// The totals, none of them lower than in `earlier`.
    #[must_use]
    pub fn at_least(self, earlier: Self) -> Self {
        self.zip(earlier, u64::max)
    }
}

impl Sub for ErrorCounts {
    type Output = Self;

    /// What came since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }
}

impl Add for ErrorCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

/// An [`ErrorCounts`] that is being counted, by any number of threads.
#[derive(Debug, Default)]
pub struct AtomicErrorCounts([AtomicU64; ErrorKind::ALL.len()]);

impl AtomicErrorCounts {
    /// Counts an error of `kind`.
    pub fn add(&self, kind: ErrorKind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> ErrorCounts {
        ErrorCounts(self.0.each_ref().map(|n| n.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_count_of_its_own() {
        let counted = AtomicErrorCounts::default();
        for (n, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n, "{kind:?} is not where ALL has it");
            (0..=n).for_each(|_| counted.add(kind));
        }
        let counts = counted.snapshot();
        for (n, (kind, count)) in counts.iter().enumerate() {
            assert_eq!((counts.of(kind), count), (n as u64 + 1, n as u64 + 1), "{kind:?}");
        }
        let names: std::collections::BTreeSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert_eq!(
            (counts - counts, counts + ErrorCounts::default()),
            (ErrorCounts::default(), counts)
        );
    }
}
