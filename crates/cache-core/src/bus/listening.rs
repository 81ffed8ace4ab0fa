//! Whether a cache listens to its bus, and since when.

use crate::{
    Moment,
    sync::atomic::{AtomicU64, Ordering},
};

/// Since when the cache has listened without a gap, as its readers see it.
///
/// A message that is sent while the cache listens is heard, or a gap is. So an entry that was
/// validated after `since` is as fresh as the messages.
#[derive(Debug)]
pub(crate) struct Listening {
    /// Up to this moment the cache has proof that it listens; zero without one.
    until: AtomicU64,
    /// `NEVER` if it does not listen.
    since: AtomicU64,
}

impl Listening {
    /// Returns whether the cache has listened since before `validated_at`, and listens at `now`.
    #[inline]
    pub(crate) fn covers(&self, validated_at: Moment, now: Moment) -> bool {
        // In this order: a proof that is seen is of this `since` or a later one.
        // mutant: proof_before_since
        let until = self.until.load(Ordering::Acquire);
        let since = self.since.load(Ordering::Relaxed);
        // The reader compares, not only a timer: a listener that lags would be too late.
        // mutant: reader_tests_proof
        now.as_nanos() < until
            // Strictly: of the same moment, the validation may be the earlier one.
            // mutant: strictly_before
            && since < validated_at.as_nanos()
    }

    /// Returns whether it listens at `now`.
    #[cfg(test)]
    pub(crate) fn is_on(&self, now: Moment) -> bool {
        self.covers(Moment::MAX, now)
    }

    /// It listens without a gap from `since` on, at least until `until`.
    pub(super) fn set(&self, since: Moment, until: Moment) {
        self.since.store(since.as_nanos(), Ordering::Relaxed);
        self.until.store(until.as_nanos(), Ordering::Release);
    }

    /// It does not listen.
    pub(super) fn lose(&self) {
        self.since.store(NEVER, Ordering::Relaxed);
        self.until.store(0, Ordering::Release);
    }
}

impl Default for Listening {
    fn default() -> Self {
        Self { until: AtomicU64::new(0), since: AtomicU64::new(NEVER) }
    }
}

const NEVER: u64 = u64::MAX;

#[cfg(all(test, object_cache_loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// A reader that lags between its two looks does not take a new proof for an old `since`.
    #[test]
    fn a_proof_belongs_to_its_since() {
        loom::model(|| {
            let at = Moment::from_nanos;
            let listening = Arc::new(Listening::default());
            listening.set(at(1), at(10));
            let listener = thread::spawn({
                let listening = Arc::clone(&listening);
                move || {
                    listening.lose();
                    listening.set(at(20), at(30));
                }
            });
            // At 25, the entry was validated before the gap.
            assert!(!listening.covers(at(5), at(25)));
            listener.join().unwrap();
            assert!(listening.covers(at(21), at(25)) && !listening.covers(at(20), at(25)));
        });
    }
}

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_covered_between_since_and_until() {
        let at = Moment::from_nanos;
        let listening = Listening::default();
        assert!(!listening.covers(at(5), at(5)) && !listening.is_on(at(0)));
        listening.set(at(5), at(10));
        assert!(listening.covers(at(6), at(9)) && listening.is_on(at(9)));
        assert!(!listening.covers(at(5), at(9)) && !listening.covers(at(6), at(10)));
        listening.lose();
        assert!(!listening.covers(at(6), at(9)));
    }
}
