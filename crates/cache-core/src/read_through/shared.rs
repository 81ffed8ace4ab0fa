//! The state that all handles, flights and writes share.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    background::Background,
    bus_state::{BusState, no_bus},
    changes::Signals,
    epochs::{Epochs, Standing},
    key_index::KeyIndex,
    key_table::KeyTable,
    limiter::{RequestLimiter, Waits},
    marks::Marks,
    negative::NegativeBudget,
    served::{Served, Status, Tier},
    settings::Settings,
    sweeper::Sweeper,
    task_tracker::TaskTracker,
    trace::Warnings,
};
use crate::{
    Backend, Change, Clock, Entry, Error, ErrorKind, Freshness, Key, Moment, Result,
    bus::Listening,
    stats::{Count, Counters},
};

/// What all handles, flights and writes share.
pub(super) struct Shared<V: ?Sized> {
    pub(super) settings: Settings,
    pub(super) epochs: Epochs,
    pub(super) table: Arc<KeyTable>,
    pub(super) marks: Arc<Marks>,
    pub(super) key_index: KeyIndex,
    pub(super) counters: Counters,
    pub(super) warnings: Warnings,
    pub(super) tasks: TaskTracker,
    /// Locked by the `clear` that counts the removed entries; no call waits for it.
    pub(super) clearing: tokio::sync::Mutex<()>,
    pub(super) sweeper: Sweeper,
    pub(super) background: Background,
    pub(super) bus: Option<Arc<BusState>>,
    /// Whether it listens to the bus.
    pub(super) listening: Listening,
    pub(super) signals: Arc<Signals>,
    pub(super) negative_budget: NegativeBudget,
    pub(super) limiter: Arc<RequestLimiter>,
    pub(super) backend: Arc<dyn Backend>,
    /// The backend keeps stamps apart from the entries that it shows.
    pub(super) has_lower_tier: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) origin: Arc<V>,
}

impl<V: ?Sized> Shared<V> {
    /// Returns the rule for a read.
    #[inline]
    pub(super) fn rule<'a>(&'a self, key: &str, freshness: Option<&'a Freshness>) -> &'a Freshness {
        freshness.unwrap_or_else(|| self.settings.rules.resolve(key))
    }

    /// Returns the rule that holds for an entry that was validated at `validated_at`.
    pub(super) fn resolved(
        &self,
        freshness: &Freshness,
        validated_at: Option<Moment>,
        now: Moment,
    ) -> Freshness {
        let covers = |at| self.listening.covers(at, now);
        freshness.resolved(freshness.is_until_notified() && validated_at.is_some_and(covers))
    }

    /// Returns how long an entry for `key` may stay without validation.
    pub(super) fn time_to_live(&self, key: &str) -> Option<Duration> {
        self.settings.time_to_live.filter(|_| !self.settings.rules.resolve(key).is_immutable())
    }

    /// Returns whether no floor applies to `entry`.
    pub(super) fn is_valid(&self, entry: &Entry) -> bool {
        self.epochs.standing(entry) == Standing::Valid
    }

    /// Returns `key` as traces and errors show it.
    pub(super) fn display_key<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(self.settings.key_prefix).unwrap_or(key)
    }

    /// Returns the error with the object's own key: every error about a key passes through this.
    pub(super) fn about(&self, key: &str, error: Error) -> Error {
        // Callers know the object's path, not the inner key.
        // mutant: display_key
        error.with_shown_key(key, self.display_key(key))
    }

    pub(super) fn count(&self, count: Count) {
        self.counters.add(count, 1);
    }

    pub(super) fn count_read(&self, read: &Result<Served>) {
        match read {
            Ok(served) => {
                let hit = |count| {
                    let bytes = served.entry.body().len() as u64;
                    self.counters.add_hit(count, bytes, served.age());
                    // Beside the hit, which is counted whatever tier it came from.
                    if served.tier == Some(Tier::Disk) {
                        self.count(Count::HitsFromDisk);
                        self.counters.add(Count::BytesFromDisk, bytes);
                    }
                };
                let fetched = |count| {
                    self.count(count);
                    let bytes = served.entry.body().len() as u64;
                    self.counters.add(Count::BytesFetchedServed, bytes);
                };
                match served.status {
                    Status::Fresh => hit(Count::Fresh),
                    Status::Revalidated => hit(Count::Revalidated),
                    Status::RevalidatedByList => {
                        hit(Count::Revalidated);
                        self.count(Count::RevalidatedByList);
                    }
                    Status::Stale => hit(Count::Stale),
                    Status::Fetched => fetched(Count::Fetched),
                    Status::Refetched => fetched(Count::Refetched),
                    // No read of this cache goes past it.
                    Status::Bypass => {}
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.count(Count::NotFound),
            Err(error) => self.counters.add_error(error.kind()),
        }
    }

    /// Registers a waiter for a permit, until the returned value is dropped.
    pub(super) fn begin_to_wait(&self) -> Waits<'_> {
        // Flights that are parked from here on see the waiter.
        if self.limiter.begin_to_wait() {
            self.table.request_handoffs();
        }
        Waits::new(&self.limiter, &self.counters, &*self.clock)
    }
}

impl<V: ?Sized> Shared<V> {
    /// A write of `key` has ended: wakes those that wait for a change of it, and announces it.
    pub(super) fn written(
        &self,
        key: &Key,
        e_tag: Option<&str>,
    ) -> Option<oneshot::Receiver<bool>> {
        let path = self.display_key(key.as_str());
        self.signals.key(path);
        let bus = self.bus.as_ref()?;
        let key = match self.settings.key_prefix.is_empty() {
            true => key.clone(),
            false => Key::parse(path).ok()?,
        };
        Some(bus.announce(Change::Key { key, e_tag: e_tag.map(Into::into) }))
    }

    /// Checks that there is a bus for a rule that needs one.
    pub(super) fn check_bus(&self, is_needed: bool) -> Result<()> {
        if is_needed && self.bus.is_none() {
            return Err(no_bus());
        }
        Ok(())
    }
}
