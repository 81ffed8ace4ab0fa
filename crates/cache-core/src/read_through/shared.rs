//! The state that all handles, flights and writes share.

use std::{sync::Arc, time::Duration};

use super::{
    epochs::Epochs,
    key_table::KeyTable,
    limiter::{RequestLimiter, Waits},
    negative::NegativeBudget,
    served::{Served, Status},
    settings::Settings,
    sweeper::Sweeper,
    task_tracker::TaskTracker,
    trace::Warnings,
};
use crate::{
    Backend, Clock, Error, ErrorKind, Freshness, Result,
    stats::{Count, Counters},
};

/// What all handles, flights and writes share.
pub(super) struct Shared<V: ?Sized> {
    pub(super) settings: Settings,
    pub(super) epochs: Epochs,
    pub(super) table: Arc<KeyTable>,
    pub(super) counters: Counters,
    pub(super) warnings: Warnings,
    pub(super) tasks: TaskTracker,
    /// Held by the `clear` that counts what the backend drops. Nothing waits for it.
    pub(super) clearing: tokio::sync::Mutex<()>,
    pub(super) sweeper: Sweeper,
    pub(super) negative_budget: NegativeBudget,
    pub(super) limiter: Arc<RequestLimiter>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) origin: Arc<V>,
}

impl<V: ?Sized> Shared<V> {
    /// The rule that a read goes by.
    #[inline]
    pub(super) fn rule<'a>(&'a self, key: &str, freshness: Option<&'a Freshness>) -> &'a Freshness {
        freshness.unwrap_or_else(|| self.settings.rules.resolve(key))
    }

    /// How long an entry for `key` may stay unconfirmed.
    pub(super) fn time_to_live(&self, key: &str) -> Option<Duration> {
        self.settings.time_to_live.filter(|_| !self.settings.rules.resolve(key).is_immutable())
    }

    /// `key` as traces and errors show it.
    pub(super) fn display_key<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(self.settings.key_prefix).unwrap_or(key)
    }

    /// The error, about the object that the caller knows: every error of a key leaves through this.
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
                    self.counters.add_hit(count, served.entry.body().len() as u64, served.age());
                };
                let fetched = |count| {
                    self.count(count);
                    let bytes = served.entry.body().len() as u64;
                    self.counters.add(Count::BytesFetchedServed, bytes);
                };
                match served.status {
                    Status::Fresh => hit(Count::Fresh),
                    Status::Revalidated => hit(Count::Revalidated),
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

    /// One more waits for a place, until what is returned is dropped.
    pub(super) fn begin_to_wait(&self) -> Waits<'_> {
        // Who parks a flight from here on sees that one waits.
        if self.limiter.begin_to_wait() {
            self.table.request_handoffs();
        }
        Waits::new(&self.limiter, &self.counters, &*self.clock)
    }
}
