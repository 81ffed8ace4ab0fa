//! Voiding many entries at once, in constant time.
//!
//! One number, the *epoch*, is raised by `clear` and `invalidate_prefix`. Entries and flights carry the epoch of
//! their question. A *floor* says "what is under this prefix and was asked before epoch n is void". There are at
//! most [`FLOORS_MAX`] floors; one more and all of them become a floor under the whole cache. Nothing is walked:
//! void entries are found out when they are read, and leave by eviction or expiry otherwise.

use std::sync::{PoisonError, atomic as unchecked};

use crate::{
    Entry,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The number that `clear` and `invalidate_prefix` raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u64);

/// Those of a cache begin where those of no other cache of this process are: a stamp of an earlier cache of the same
/// name, on the same backend, is of another clock, and no floor here is above it.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// The first one.
    first: u64,
    /// The epoch of questions asked now.
    latest: AtomicU64,
    floors: RwLock<Floors>,
}

#[derive(Debug, Default)]
struct Floors {
    whole: u64,
    prefixes: Vec<(Scope, u64)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Prefix(Box<str>),
    Key(Box<str>),
}

impl Default for Epochs {
    fn default() -> Self {
        static CACHES: unchecked::AtomicU64 = unchecked::AtomicU64::new(1);
        let first = CACHES.fetch_add(1, unchecked::Ordering::Relaxed) << EPOCH_BITS;
        Self {
            first,
            latest: AtomicU64::new(first),
            floors: RwLock::new(Floors { whole: first, ..Floors::default() }),
        }
    }
}

impl Epochs {
    pub(crate) fn latest(&self) -> Epoch {
        Epoch(self.latest.load(Ordering::Acquire))
    }

    /// Whether `entry` may not be used any more. One that may is held against each floor once.
    #[inline]
    pub(crate) fn is_void(&self, entry: &Entry) -> bool {
        let latest = self.latest();
        entry.epoch() != latest && self.is_void_at(entry, latest)
    }

    #[cold]
    fn is_void_at(&self, entry: &Entry, latest: Epoch) -> bool {
        // What no cache of this process has stamped was there at the begin.
        let epoch = if entry.vouched_at().is_none() { Epoch(self.first) } else { entry.epoch() };
        // A later one is of a later cache, which does not tell what this one has voided.
        if epoch > latest || self.voids(entry.key(), epoch) {
            return true;
        }
        // A floor that goes up from here on is above `latest`.
        entry.outlive(latest);
        false
    }

    /// Whether an answer for `key` to a question asked in `epoch` may not be used any more.
    #[inline]
    pub(crate) fn voids(&self, key: &str, epoch: Epoch) -> bool {
        epoch != self.latest() && self.is_under_a_floor(key, epoch)
    }

    #[cold]
    fn is_under_a_floor(&self, key: &str, epoch: Epoch) -> bool {
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        epoch.0 < floors.whole
            || floors.prefixes.iter().any(|(scope, floor)| epoch.0 < *floor && scope.covers(key))
    }

    /// Voids everything asked until now.
    pub(crate) fn raise_whole(&self) {
        self.raise(None);
    }

    /// Voids what was asked until now under keys that begin with `prefix`.
    pub(crate) fn raise_prefix(&self, prefix: &str) {
        self.raise(Some(Scope::Prefix(prefix.into())));
    }

    /// Voids what was asked until now under `key`.
    pub(crate) fn raise_key(&self, key: &str) {
        self.raise(Some(Scope::Key(key.into())));
    }

    fn raise(&self, scope: Option<Scope>) {
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        // The floor is up before the number is: a question that reads the old number is void.
        let epoch = self.latest.load(Ordering::Relaxed) + 1;
        match scope {
            Some(scope) => {
                floors.prefixes.retain(|(held, _)| *held != scope);
                floors.prefixes.push((scope, epoch));
                if floors.prefixes.len() > FLOORS_MAX {
                    floors.prefixes.clear();
                    floors.whole = epoch;
                }
            }
            None => {
                floors.prefixes.clear();
                floors.whole = epoch;
            }
        }
        self.latest.store(epoch, Ordering::Release);
    }
}

impl Scope {
    fn covers(&self, key: &str) -> bool {
        match self {
            Self::Prefix(prefix) => key.starts_with(&**prefix),
            Self::Key(held) => **held == *key,
        }
    }
}

const FLOORS_MAX: usize = 16;

/// A trillion epochs for each of 16 million caches.
const EPOCH_BITS: u32 = 40;

#[cfg(all(test, object_cache_loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// Whoever reads the number before a clear has ended is void once it has; whoever sees a clear's end asks in its
    /// epoch or a later one.
    #[test]
    fn what_was_asked_before_a_floor_is_void_after_it() {
        loom::model(|| {
            let epochs = Arc::new(Epochs::default());
            let asking = thread::spawn({
                let epochs = Arc::clone(&epochs);
                move || {
                    let asked = epochs.latest();
                    (asked, epochs.voids("a/b", asked))
                }
            });
            let before = epochs.latest();
            epochs.raise_prefix("a/");
            assert!(epochs.voids("a/b", before) && !epochs.voids("b", before));
            let after = epochs.latest();
            let (asked, _) = asking.join().unwrap();
            assert_eq!(epochs.voids("a/b", asked), asked < after);
        });
    }

    #[test]
    fn two_floors_at_once_both_stand() {
        loom::model(|| {
            let epochs = Arc::new(Epochs::default());
            let before = epochs.latest();
            let other = thread::spawn({
                let epochs = Arc::clone(&epochs);
                move || epochs.raise_key("a")
            });
            epochs.raise_prefix("b");
            other.join().unwrap();
            assert!(epochs.voids("a", before) && epochs.voids("b", before) && !epochs.voids("c", before));
            assert!(!epochs.voids("a", epochs.latest()));
        });
    }
}

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_floor_voids_what_was_asked_before_under_its_prefix_only() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        epochs.raise_prefix("static/");
        assert!(epochs.voids("static/a", before));
        assert!(!epochs.voids("a", before));
        assert!(!epochs.voids("static/a", epochs.latest()));
        epochs.raise_key("b");
        assert!(epochs.voids("b", before));
        assert!(!epochs.voids("b/c", before));
    }

    #[test]
    fn one_floor_too_many_voids_the_whole() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        for n in 0..FLOORS_MAX {
            epochs.raise_prefix(&format!("{n}/"));
            epochs.raise_prefix(&format!("{n}/"));
        }
        assert!(!epochs.voids("a", before));
        epochs.raise_prefix("one more/");
        assert!(epochs.voids("a", before));
        assert!(!epochs.voids("a", epochs.latest()));
    }

    #[test]
    fn clear_voids_everything_asked_before() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        epochs.raise_prefix("a/");
        epochs.raise_whole();
        assert!(epochs.voids("b", before));
        assert!(!epochs.voids("b", epochs.latest()));
    }
}
