//! The calls to the backend: a panic becomes an error, and an error never leaves an entry in doubt.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{served::Tier, shared::Shared};
use crate::{
    Admission, Entry, Key, Moment, Rejection, Result,
    stats::Count,
    sync::{caught, panicked},
};

/// What the backend has of a key.
#[derive(Default)]
pub(super) struct LookedUp {
    /// The entry that a request may be made conditional on.
    pub(super) entry: Option<Entry>,
    /// Where that entry was found.
    pub(super) tier: Option<Tier>,
    /// There is an entry, but it is void.
    pub(super) void: bool,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// No entry of this cache.
    Nothing,
    /// A negative entry, validated at the moment.
    Absence(Moment),
    /// An entry.
    Copy,
    /// An expired entry.
    Expired,
}

impl<V: ?Sized> Shared<V> {
    /// Returns this cache's own entry if it is available without waiting. Counts a use of it.
    ///
    /// # Errors
    ///
    /// If the backend panics: it may have an entry all the same.
    #[inline]
    pub(super) fn get_now(&self, key: &str) -> Result<Option<Entry>> {
        self.looked(|| self.backend.get_now(key)).map(|shown| self.own(shown))
    }

    /// Returns this cache's own entry, for a call that changes it and is no use of it.
    ///
    /// # Errors
    ///
    /// If the backend fails or panics: it may have an entry all the same.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Entry>> {
        let shown = match self.peek(key)? {
            None if self.has_none(key) => None,
            None => self.backend_call(self.backend.get(key)).await?,
            shown => shown,
        };
        Ok(self.own(shown))
    }

    /// Returns whether the backend knows without I/O that it has no entry of `key`.
    pub(super) fn has_none(&self, key: &str) -> bool {
        self.looked(|| self.backend.contains(key)).is_ok_and(|found| found == Some(false))
    }

    /// Returns the entry, also another cache's, without counting a use.
    pub(super) fn peek(&self, key: &str) -> Result<Option<Entry>> {
        self.looked(|| self.backend.peek(key))
    }

    #[inline]
    fn looked<T>(&self, look: impl FnOnce() -> T) -> Result<T> {
        catch_unwind(AssertUnwindSafe(look)).map_err(|panic| {
            self.count(Count::BackendErrors);
            panicked(panic)
        })
    }

    /// Returns `shown` unless it has another namespace.
    #[inline]
    pub(super) fn own(&self, shown: Option<Entry>) -> Option<Entry> {
        shown.filter(|entry| self.is_own(entry))
    }

    #[inline]
    pub(super) fn is_own(&self, entry: &Entry) -> bool {
        // A shared backend may hold the same key of another store.
        // mutant: own_namespace
        entry.namespace() == Some(self.settings.identity)
    }

    /// Looks up `key`. A backend that fails has no entry.
    pub(super) async fn look_up(&self, key: &str) -> LookedUp {
        let (shown, tier) = match self.get_now(key) {
            Ok(None) => {
                let shown = self.backend_call(self.backend.get(key)).await.unwrap_or(None);
                (self.own(shown), Tier::Disk)
            }
            shown => (shown.unwrap_or(None), Tier::Memory),
        };
        match shown {
            // A negative entry has no body, so a void one is not a copy.
            // mutant: void_copy
            Some(entry) if self.epochs.is_void(&entry) => {
                LookedUp { entry: None, tier: None, void: !entry.is_negative() }
            }
            entry => LookedUp { tier: entry.is_some().then_some(tier), entry, void: false },
        }
    }

    /// Stores `entry`, or removes the older one. Under the backend lock.
    pub(super) async fn keep(&self, key: &Key, entry: Entry) {
        if !self.tasks.is_closed() {
            let (bytes, is_copy) = (entry.body().len(), !entry.is_negative());
            self.note_key(key.as_str());
            // In an async block, so that a panic of either call is caught.
            let insert = async {
                match self.backend.insert_now(entry) {
                    Ok(admission) => Ok(admission),
                    Err(entry) => self.backend.insert(entry).await,
                }
            };
            let why = match self.backend_call(insert).await {
                Ok(Admission::Stored) => return,
                Ok(Admission::Rejected(why)) => Some(why),
                Err(_) => None,
            };
            if is_copy {
                self.count_rejected(key.as_str(), bytes, why);
            }
        }
        self.drop_held(key).await;
    }

    /// Notes in the index of keys that the entry of `key` is about to be stored or renewed. Returns
    /// whether the key was noted before.
    pub(super) fn note_key(&self, key: &str) -> bool {
        self.key_index.note(key, || self.n_entries())
    }

    /// Removes the entry of `key`, or voids it if the backend fails. Under the backend lock.
    pub(super) async fn drop_held(&self, key: &Key) -> Dropped {
        let shown = match self.peek(key.as_str()).unwrap_or(None) {
            // Worth a wait only where it may be a negative entry; else one that is not at hand
            // counts as an object.
            None if !self.settings.negative_ttl.is_zero() => {
                self.backend_call(self.backend.get(key.as_str())).await.unwrap_or(None)
            }
            at_hand => at_hand,
        };
        match self.backend_call(self.backend.remove(key.as_str())).await {
            Ok(false) => Dropped::Nothing,
            Ok(true) => match shown {
                Some(entry) if !self.is_own(&entry) => Dropped::Nothing,
                Some(entry) if entry.is_negative() => {
                    entry.validated_at().map_or(Dropped::Nothing, Dropped::Absence)
                }
                Some(entry) if entry.has_expired(self.clock.now()) => Dropped::Expired,
                _ => Dropped::Copy,
            },
            Err(_) => {
                // If a remove failed, the entry may still be in the backend and must not be served.
                // mutant: failed_remove_voids
                self.epochs.void_key(key.as_str());
                Dropped::Nothing
            }
        }
    }

    /// Tells the backend that `entry` was renewed. Under the key's lock.
    pub(super) fn renewed(&self, entry: &Entry) {
        let renewed = || self.backend.renewed(entry);
        if catch_unwind(AssertUnwindSafe(renewed)).is_err() {
            self.count(Count::BackendErrors);
        }
    }

    /// Returns how many entries the backend has, in all tiers; an entry may count twice.
    pub(super) fn n_entries(&self) -> u64 {
        let below = self.backend.lower_tier().map_or(0, |tier| tier.entries);
        self.backend.usage().entries.saturating_add(below)
    }

    /// Returns how many objects the backend has.
    pub(super) fn n_copies(&self) -> u64 {
        self.backend.usage().entries.saturating_sub(self.backend.negative_entries())
    }

    /// Counts a body that was not stored: the backend rejected it for this reason, or failed.
    pub(super) fn count_rejected(&self, key: &str, bytes: usize, why: Option<Rejection>) {
        self.count(match why {
            Some(Rejection::TooLarge) => Count::RejectedTooLarge,
            Some(Rejection::Policy) => Count::RejectedByPolicy,
            Some(Rejection::Unavailable) | None => Count::RejectedByBackend,
        });
        let (now, _) = self.clock.coarse_bounds();
        self.warnings.refused(&self.settings.name, self.display_key(key), bytes, why, now);
    }

    /// Counts what was removed, an object under `cause`.
    pub(super) fn count_dropped(&self, dropped: Dropped, cause: Count) {
        match dropped {
            Dropped::Nothing | Dropped::Absence(_) => {}
            Dropped::Copy => self.count(cause),
            Dropped::Expired => self.count(Count::Expirations),
        }
    }

    pub(super) async fn backend_call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let result = caught(call).await;
        if result.is_err() {
            self.count(Count::BackendErrors);
        }
        result
    }
}

/// Returns whether two entries are of one version.
pub(super) fn is_same_version(one: &Entry, other: &Entry) -> bool {
    one.is_same(other)
        || (one.e_tag(), one.version_id()) == (other.e_tag(), other.version_id())
            && (one.e_tag().is_some()
                || one.version_id().is_some()
                || (one.last_modified(), one.body().len())
                    == (other.last_modified(), other.body().len()))
}
