//! Voiding entries, or marking them stale, many at once and in constant time.
//!
//! Every invalidation raises one number, the *epoch*. Entries and flights carry the epoch in which
//! their request began. A *floor* covers a key, a prefix or the whole cache, and applies to all
//! that was requested before its epoch. Under a hard floor an entry is void; under a soft floor it
//! has to be revalidated before it is next served, and its bytes stay.
//!
//! A floor replaces the older ones of its kind below it. There are at most [`KEYS_MAX`] floors of
//! single keys and [`PREFIXES_MAX`] of prefixes of each kind; beyond that, those that share most of
//! their names are merged into one floor under the shared part. No entry is visited: an entry under
//! a floor is found when it is read, and a void one leaves by eviction or expiry otherwise.

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
pub(super) struct Epochs {
    /// The epoch of requests that begin now.
    latest: AtomicU64,
    floors: RwLock<ByKind>,
}

#[derive(Debug, Default)]
struct ByKind {
    hard: Floors,
    soft: Floors,
}

/// What the floors say of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No floor applies.
    Valid,
    /// A soft floor applies: the entry has to be revalidated before it is next served.
    Stale,
    /// A hard floor applies: the entry must not be used.
    Void,
}

/// Each scope with the epoch of its floor, which applies to all that was requested earlier.
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
            floors: RwLock::new(ByKind {
                hard: Floors { whole: first, ..Floors::default() },
                soft: Floors::default(),
            }),
        }
    }
}

impl Epochs {
    pub(super) fn latest(&self) -> Epoch {
        Epoch(self.latest.load(Ordering::Acquire))
    }

    /// Returns what the floors say of `entry`. A valid entry is compared with each floor once.
    #[inline]
    pub(super) fn standing(&self, entry: &Entry) -> Standing {
        let latest = self.latest();
        if entry.epoch() == latest { Standing::Valid } else { self.standing_at(entry, latest) }
    }

    /// Returns whether `entry` must not be used.
    pub(super) fn is_void(&self, entry: &Entry) -> bool {
        self.standing(entry) == Standing::Void
    }

    #[cold]
    fn standing_at(&self, entry: &Entry, latest: Epoch) -> Standing {
        // An entry of an earlier process has no epoch and is revalidated before it is served. It
        // covers no outage either, so no floor need void it, and its request is conditional.
        // mutant: unstamped_is_not_void
        if entry.validated_at().is_none() && entry.epoch() == Epoch::NONE {
            return Standing::Valid;
        }
        let epoch = entry.epoch();
        // A later epoch is of a later cache, which does not tell what this one has voided.
        if epoch > latest {
            return Standing::Void;
        }
        match self.standing_of(entry.key(), epoch) {
            Standing::Valid => {}
            // A floor writes nothing: only a renewal that began after it lifts the entry above it.
            // mutant: soft_floor_stays
            Standing::Stale => return Standing::Stale,
            Standing::Void => return Standing::Void,
        }
        // `latest` was read before the floors were compared, so a floor raised since is above it.
        entry.outlive(latest);
        Standing::Valid
    }

    /// Returns whether a response for `key` must not be used if its request began in `epoch`.
    #[inline]
    pub(super) fn voids(&self, key: &str, epoch: Epoch) -> bool {
        epoch != self.latest() && self.standing_of(key, epoch) == Standing::Void
    }

    /// Returns whether a flight for `key` that began in `epoch` is too old for new readers: a hard
    /// or soft floor was raised since.
    pub(super) fn predates_a_floor(&self, key: &str, epoch: Epoch) -> bool {
        epoch != self.latest() && self.standing_of(key, epoch) != Standing::Valid
    }

    #[cold]
    fn standing_of(&self, key: &str, epoch: Epoch) -> Standing {
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        if floors.hard.apply_to(key, epoch) {
            Standing::Void
        } else if floors.soft.apply_to(key, epoch) {
            Standing::Stale
        } else {
            Standing::Valid
        }
    }

    /// Voids everything requested until now.
    pub(super) fn void_all(&self) {
        self.raise(|floors| &mut floors.hard, Scope::Whole);
    }

    /// Voids everything requested until now under keys that begin with `prefix`.
    pub(super) fn void_prefix(&self, prefix: &str) {
        self.raise(|floors| &mut floors.hard, Scope::Prefix(prefix));
    }

    /// Voids everything requested until now under `key`.
    pub(super) fn void_key(&self, key: &str) {
        self.raise(|floors| &mut floors.hard, Scope::Key(key));
    }

    /// Marks everything requested until now under keys that begin with `prefix` as stale; an empty
    /// prefix is the whole cache.
    pub(super) fn mark_stale_prefix(&self, prefix: &str) {
        self.raise(|floors| &mut floors.soft, Scope::Prefix(prefix));
    }

    fn raise(&self, kind: impl FnOnce(&mut ByKind) -> &mut Floors, scope: Scope<'_>) {
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        // The floor is raised before the number is: a request that reads the old number is below.
        let epoch = self.latest.load(Ordering::Relaxed) + 1;
        kind(&mut floors).raise(scope, epoch);
        self.latest.store(epoch, Ordering::Release);
    }
}

impl Floors {
    fn apply_to(&self, key: &str, Epoch(epoch): Epoch) -> bool {
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
            epochs.void_prefix("a/");
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
                move || epochs.void_key("a")
            });
            epochs.void_prefix("b");
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
    use crate::{Key, Moment};

    #[test]
    fn a_floor_voids_what_was_asked_before_under_its_prefix_only() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        epochs.void_prefix("static/");
        assert!(epochs.voids("static/a", before));
        assert!(!epochs.voids("a", before));
        assert!(!epochs.voids("static/a", epochs.latest()));
        epochs.void_key("b");
        assert!(epochs.voids("b", before));
        assert!(!epochs.voids("b/c", before));
    }

    #[test]
    fn a_wider_floor_takes_the_place_of_the_narrower_ones() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        for n in 0..PREFIXES_MAX {
            epochs.void_prefix(&format!("a/{n}/"));
            epochs.void_key(&format!("a/{n}"));
        }
        epochs.void_key("b");
        epochs.void_prefix("a/");
        let lens = |floors: &Floors| (floors.prefixes.len(), floors.keys.len());
        assert_eq!(lens(&epochs.floors.read().unwrap().hard), (1, 1));
        assert!(
            epochs.voids("a/c", before) && epochs.voids("b", before) && !epochs.voids("c", before)
        );
        // What is requested after the wider one can still be void by a narrower one that is
        // younger.
        let between = epochs.latest();
        epochs.void_key("a/0");
        assert!(epochs.voids("a/0", between) && !epochs.voids("a/1", between));
    }

    #[test]
    fn keys_too_many_void_the_folder_that_most_of_them_are_in() {
        let epochs = Epochs::default();
        let before = epochs.latest();
        for n in 0..=KEYS_MAX {
            epochs.void_key(&if n % 4 == 0 { format!("{n}/x") } else { format!("busy/{n}") });
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
            epochs.void_prefix(&format!("{:02}/", n));
        }
        epochs.void_prefix("tables/ä/");
        epochs.void_prefix("tables/ö/");
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
                0 => epochs.void_prefix(name),
                _ => epochs.void_key(name),
            }
            let floors = &epochs.floors.read().unwrap().hard;
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
        epochs.void_prefix("a/");
        epochs.void_all();
        assert!(epochs.voids("b", before));
        assert!(!epochs.voids("b", epochs.latest()));
    }

    #[test]
    fn a_soft_floor_marks_entries_until_a_later_request_renews_them() {
        let epochs = Epochs::default();
        let entry = |key| {
            let key = Key::parse(key).unwrap();
            let entry = Entry::builder(&key, bytes::Bytes::new()).build();
            entry.publish(Moment::from_nanos(1), None, epochs.latest());
            entry
        };
        let (below, beside) = (entry("a/b"), entry("b"));
        let before = epochs.latest();
        epochs.mark_stale_prefix("a/");
        for _ in 0..2 {
            assert_eq!(epochs.standing(&below), Standing::Stale);
            assert_eq!(epochs.standing(&beside), Standing::Valid);
        }
        assert!(!epochs.voids("a/b", before) && epochs.predates_a_floor("a/b", before));
        below.renew(Moment::from_nanos(2), before);
        assert_eq!(epochs.standing(&below), Standing::Stale);
        below.renew(Moment::from_nanos(3), epochs.latest());
        assert_eq!(epochs.standing(&below), Standing::Valid);
        epochs.mark_stale_prefix("");
        assert_eq!(epochs.standing(&beside), Standing::Stale);
        epochs.void_all();
        assert_eq!(epochs.standing(&beside), Standing::Void);
    }
}
