//! Voiding many entries at once, in constant time.
//!
//! One number, the *epoch*, is raised by `clear` and `invalidate_prefix`. Entries and flights carry
//! the epoch of their request. A *floor* says "what is under this key or prefix and was requested
//! before epoch n is void". A floor covers the narrower ones that are older, so those are dropped.
//! There are at most [`KEYS_MAX`] floors of single keys and [`PREFIXES_MAX`] of prefixes; one more,
//! and those that have most of their names in common are merged into a floor under what they share.
//! Entries are not walked: void ones are found out when they are read, and leave by eviction or
//! expiry otherwise.

use std::{
    collections::HashMap,
    sync::{PoisonError, atomic as unchecked},
};

use crate::{
    Entry,
    epoch::Epoch,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Those of a cache begin where those of no other cache of this process are: a stamp of an earlier
/// cache of the same name, on the same backend, is of another clock, and no floor here is above it.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// The epoch of questions asked now.
    latest: AtomicU64,
    floors: RwLock<Floors>,
}

/// The scope with the epoch of its floor: what was requested in an earlier one is void.
#[derive(Debug, Default)]
struct Floors {
    whole: u64,
    prefixes: Vec<(Box<str>, u64)>,
    keys: HashMap<Box<str>, u64>,
}

#[derive(Debug, Clone, Copy)]
enum Scope<'a> {
    Whole,
    Prefix(&'a str),
    Key(&'a str),
}

impl Default for Epochs {
    fn default() -> Self {
        static CACHES: unchecked::AtomicU64 = unchecked::AtomicU64::new(1);
        let first = CACHES.fetch_add(1, unchecked::Ordering::Relaxed) << EPOCH_BITS;
        Self {
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
        // Stored by an earlier process: it has no epoch to compare. It is neither served without a
        // request nor covers an outage, so no floor need void it; and its version makes that
        // request a conditional one. An entry of an earlier process has no epoch and is revalidated
        // before it is served.
        // mutant: unstamped_is_not_void
        if entry.validated_at().is_none() && entry.epoch() == Epoch::NONE {
            return false;
        }
        let epoch = entry.epoch();
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
        floors.void(key, epoch)
    }

    /// Voids everything requested until now.
    pub(crate) fn raise_whole(&self) {
        self.raise(Scope::Whole);
    }

    /// Voids what was requested until now under keys that begin with `prefix`.
    pub(crate) fn raise_prefix(&self, prefix: &str) {
        self.raise(Scope::Prefix(prefix));
    }

    /// Voids what was requested until now under `key`.
    pub(crate) fn raise_key(&self, key: &str) {
        self.raise(Scope::Key(key));
    }

    fn raise(&self, scope: Scope<'_>) {
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        // The floor is up before the number is: a request that reads the old number is void.
        let epoch = self.latest.load(Ordering::Relaxed) + 1;
        floors.raise(scope, epoch);
        self.latest.store(epoch, Ordering::Release);
    }
}

impl Floors {
    fn void(&self, key: &str, Epoch(epoch): Epoch) -> bool {
        epoch < self.whole
            || self.keys.get(key).is_some_and(|floor| epoch < *floor)
            // An invalidated prefix voids every key below it, not only the key of that name.
            // mutant: prefix_floor
            || self.prefixes.iter().any(|(prefix, floor)| epoch < *floor && key.starts_with(&**prefix))
    }

    /// No floor that `scope` covers is above `epoch`.
    fn raise(&mut self, scope: Scope<'_>, epoch: u64) {
        match scope {
            Scope::Whole | Scope::Prefix("") => *self = Self { whole: epoch, ..Self::default() },
            Scope::Prefix(prefix) => {
                // They are older, so this one covers them.
                self.keys.retain(|key, _| !key.starts_with(prefix));
                self.prefixes.retain(|(narrower, _)| !narrower.starts_with(prefix));
                self.prefixes.push((prefix.into(), epoch));
                if self.prefixes.len() > PREFIXES_MAX {
                    self.merge_prefixes();
                }
            }
            Scope::Key(key) => {
                self.keys.insert(key.into(), epoch);
                if self.keys.len() > KEYS_MAX {
                    self.merge_keys();
                }
            }
        }
    }

    /// Makes one floor of the two prefixes that have most in common. Where none have anything in
    /// common, it is one under the whole cache.
    fn merge_prefixes(&mut self) {
        let mut prefixes: Vec<_> = self.prefixes.iter().map(|(prefix, _)| &**prefix).collect();
        prefixes.sort_unstable();
        // The longest common part of any two is that of two neighbours.
        let shared = prefixes.windows(2).map(|two| common_prefix(two[0], two[1]));
        let shared: Box<str> = shared.max_by_key(|shared| shared.len()).unwrap_or_default().into();
        self.merge_under(&shared);
    }

    /// Makes one floor of all keys in the folder that has most of them; where each is in another,
    /// of those that are neighbours in order, an eighth of all keys at a time.
    fn merge_keys(&mut self) {
        let mut keys: Vec<_> = self.keys.keys().map(|key| &**key).collect();
        keys.sort_unstable();
        let folders = keys.chunk_by(|one, other| folder(one) == folder(other));
        let largest = folders.max_by_key(|keys| keys.len()).unwrap_or_default();
        let shared = match largest {
            [one, _, ..] if !folder(one).is_empty() => folder(one),
            _ => {
                let runs =
                    keys.windows(KEYS_MAX / 8).map(|run| common_prefix(run[0], run[run.len() - 1]));
                runs.max_by_key(|shared| shared.len()).unwrap_or_default()
            }
        };
        let shared: Box<str> = shared.into();
        self.merge_under(&shared);
    }

    /// Makes one floor, under `shared`, of all whose scopes begin with it: the highest of them.
    fn merge_under(&mut self, shared: &str) {
        let of_keys = self.keys.iter().map(|(key, floor)| (key, *floor));
        let of_prefixes = self.prefixes.iter().map(|(prefix, floor)| (prefix, *floor));
        let merged = of_keys.chain(of_prefixes).filter(|(scope, _)| scope.starts_with(shared));
        // The highest floor wins: a lower one would let void entries be served again.
        // mutant: merged_floor
        if let Some(epoch) = merged.map(|(_, floor)| floor).max() {
            self.raise(Scope::Prefix(shared), epoch);
        }
    }
}

/// The part of `key` up to its last slash.
fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |at| &key[..=at])
}

fn common_prefix<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other);
    &one[..same.map(|(same, _)| same.len_utf8()).sum()]
}

const KEYS_MAX: usize = 1024;
const PREFIXES_MAX: usize = 64;

/// A trillion epochs for each of 16 million caches.
const EPOCH_BITS: u32 = 40;

#[cfg(all(test, object_cache_loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// Whoever reads the number before a clear has ended is void once it has; whoever sees a
    /// clear's end asks in its epoch or a later one.
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
            assert!(
                epochs.voids("a", before)
                    && epochs.voids("b", before)
                    && !epochs.voids("c", before)
            );
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
    fn a_wider_floor_takes_the_place_of_the_narrower_ones() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        for n in 0..PREFIXES_MAX {
            epochs.raise_prefix(&format!("a/{n}/"));
            epochs.raise_key(&format!("a/{n}"));
        }
        epochs.raise_key("b");
        epochs.raise_prefix("a/");
        let floors = epochs.floors.read().unwrap();
        assert_eq!((floors.prefixes.len(), floors.keys.len()), (1, 1));
        drop(floors);
        assert!(
            epochs.voids("a/c", before) && epochs.voids("b", before) && !epochs.voids("c", before)
        );
        // What is requested after the wider one can still be void by a narrower one that is
        // younger.
        let between = epochs.latest();
        epochs.raise_key("a/0");
        assert!(epochs.voids("a/0", between) && !epochs.voids("a/1", between));
    }

    #[test]
    fn keys_too_many_void_the_folder_that_most_of_them_are_in() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        for n in 0..=KEYS_MAX {
            epochs.raise_key(&if n % 4 == 0 { format!("{n}/x") } else { format!("busy/{n}") });
        }
        assert!(epochs.voids("busy/other", before) && epochs.voids("4/x", before));
        assert!(!epochs.voids("4/y", before) && !epochs.voids("a", before));
        assert!(!epochs.voids("busy/other", epochs.latest()));
    }

    #[test]
    fn prefixes_too_many_merge_those_that_have_most_in_common() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        for n in 0..PREFIXES_MAX - 1 {
            epochs.raise_prefix(&format!("{:02}/", n));
        }
        epochs.raise_prefix("tables/ä/");
        epochs.raise_prefix("tables/ö/");
        assert!(epochs.voids("tables/c/x", before) && epochs.voids("00/x", before));
        assert!(!epochs.voids("a", before) && !epochs.voids("tablet", before));
    }

    #[test]
    fn floors_without_end_take_a_bounded_place_and_none_is_lost() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        let names: Vec<_> = (0..20 * KEYS_MAX).map(|n| format!("{:x}/{n}", n % 7919)).collect();
        let mut asked = Vec::new();
        for (n, name) in names.iter().enumerate() {
            asked.push(epochs.latest());
            match n % 16 {
                0 => epochs.raise_prefix(name),
                _ => epochs.raise_key(name),
            }
            let floors = epochs.floors.read().unwrap();
            assert!(floors.prefixes.len() <= PREFIXES_MAX && floors.keys.len() <= KEYS_MAX);
        }
        // Up to the moment before each of them was put up.
        let voids = names.iter().zip(asked).all(|(name, asked)| epochs.voids(name, asked));
        assert!(voids && names.iter().all(|name| epochs.voids(name, before)));
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
