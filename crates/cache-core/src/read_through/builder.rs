//! The builder of a cache.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    ReadThrough, epochs::Epochs, key_table::Table, limiter::Places, negative::Absences,
    settings::Settings, shared::Shared, sweeper::Sweeper, task_tracker::Tasks, trace::Warnings,
};
use crate::{
    Backend, Clock, Freshness, FreshnessRules, Namespace, Result, SystemClock, Validator,
    stats::Counters,
};

/// Sets up a [`ReadThrough`].
#[must_use]
pub struct ReadThroughBuilder<V: ?Sized> {
    origin: Arc<V>,
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl<V: Validator + ?Sized> ReadThrough<V> {
    /// Starts a cache that asks `origin` and holds copies in `backend`.
    ///
    /// The backend must be this cache's alone: what another cache put there is not served (see
    /// [`identity`](ReadThroughBuilder::identity)), and both would push it out.
    pub fn builder(origin: Arc<V>, backend: Arc<dyn Backend>) -> ReadThroughBuilder<V> {
        ReadThroughBuilder {
            origin,
            backend,
            clock: Arc::new(SystemClock::new()),
            settings: Settings::default(),
        }
    }
}

impl<V: Validator + ?Sized> ReadThroughBuilder<V> {
    /// Names the cache in metrics and traces. Empty is an error. Default: `"default"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Arc::from(name.into());
        self
    }

    /// What all keys begin with that is no part of an object's name; traces and errors leave it
    /// out. For those who keep other things beside objects in one backend. Default: nothing.
    pub fn key_prefix(mut self, prefix: &'static str) -> Self {
        self.settings.key_prefix = prefix;
        self
    }

    /// Sets how fresh an entry must be to be served without a request, where no prefix has a rule
    /// of its own. Default: [`Freshness::strong`], under which every read is one request.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.settings.rules.set_default(freshness);
        self
    }

    /// Sets the freshness of keys that begin with `prefix`, byte for byte. The longest prefix wins;
    /// a second rule for the same prefix replaces the first.
    pub fn freshness_for(mut self, prefix: &str, freshness: Freshness) -> Self {
        self.settings.rules.set(prefix, freshness);
        self
    }

    /// Replaces all rules of [`freshness`](Self::freshness) and
    /// [`freshness_for`](Self::freshness_for).
    pub fn freshness_rules(mut self, rules: FreshnessRules) -> Self {
        self.settings.rules = rules;
        self
    }

    /// How long a copy is held without being confirmed; each confirmation starts the span anew.
    /// Copies under an immutable rule do not expire. `None`, and spans of nine years or more: none
    /// expires. Default: 300 s. Zero is an error.
    pub fn time_to_live(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.time_to_live = span.into();
        self
    }

    /// How long it may be remembered that an object does not exist, within what freshness allows;
    /// never under a strong rule. Such a memory takes its place in the backend like any entry; all
    /// together take at most a sixteenth of its capacity, if it frees what has expired when it is
    /// swept; what would be more is not remembered. Default: zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.settings.negative_ttl = span;
        self
    }

    /// How long a question may stay unanswered, with somebody waiting, before it is dropped and
    /// asked once more. The second question is not replaced. Default: `None`, which is off. Zero is
    /// an error.
    pub fn patience(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.patience = span.into();
        self
    }

    /// How long the origin takes at most to answer a read, as far as others rely on it. It does not
    /// end a request: that is for the origin to do, which should have the same limit.
    ///
    /// A reader that waits for a request from another runtime gives it up when it has made no
    /// progress for so long, and a tenth of a second, for that runtime may not be driven any more:
    /// the request is sent once more, from the reader's own. `put`, `delete`, `invalidate` and
    /// their like that are polled in another runtime than the one they began on wait as long for
    /// that. Half of it is how long a write, or an answer that is to be kept, waits for a call of
    /// the backend that the same key has under way. [`close`](ReadThrough::close) waits as long for
    /// requests that do not end.
    ///
    /// Counted by the timers of the runtime where somebody waits; in one without time there is no
    /// limit. `Duration::MAX` is none either; zero is an error. Default: 30 s.
    pub fn origin_timeout(mut self, span: Duration) -> Self {
        self.settings.origin_timeout = span;
        self
    }

    /// The store, and the rights, that entries are read with: the cache serves what it finds in its
    /// backend only if it is of this identity. To be named where the backend's medium outlives the
    /// process, for nothing on it would be found again without a name. Two caches of one name must
    /// not be over one backend at the same time: neither sees what the other writes or invalidates.
    /// Default: [`Namespace::unique`].
    pub fn namespace(mut self, identity: Namespace) -> Self {
        self.settings.identity = identity;
        self
    }

    /// How many questions may be at the origin at once, each for another key, until what they
    /// brought is published. A read that finds so many waits for its turn, in the order of arrival,
    /// and asks only if somebody still waits for it: one that is dropped while it waits asks
    /// nothing. A refresh behind a stale copy is left out. An origin that never answers keeps its
    /// place, so it should have a limit of its own. A validator that reads through the cache which
    /// asks it may wait for a place for ever. `usize::MAX` is no limit, zero an error. Writes are
    /// not counted; what is sent with a [`request_permit`](ReadThrough::request_permit) is.
    /// Default: 1024.
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.settings.max_in_flight = n;
        self
    }

    /// How long a read may wait for its turn (see [`max_in_flight`](Self::max_in_flight)). Then it
    /// fails with `Timeout`, which is an outage: `stale_if_error` covers it. Zero lets none wait.
    /// Default: 10 s. Needs a runtime with time; without, there is no limit.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.settings.queue_timeout = span;
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The cache.
    ///
    /// # Errors
    ///
    /// `Config` for an empty `name`, for a `time_to_live`, `patience` or `max_in_flight` of zero,
    /// and for rules that contradict themselves.
    pub fn build(self) -> Result<ReadThrough<V>> {
        self.settings.check()?;
        Ok(ReadThrough {
            shared: Arc::new(Shared {
                origin: self.origin,
                backend: self.backend,
                clock: self.clock,
                sweeper: Sweeper::new(&self.settings),
                absences: Absences::new(
                    self.settings.negative_ttl,
                    Sweeper::every(&self.settings).unwrap_or_default(),
                ),
                places: Arc::new(Places::new(self.settings.max_in_flight)),
                settings: self.settings,
                epochs: Epochs::default(),
                table: Table::new(),
                counters: Counters::default(),
                warnings: Warnings::new(),
                tasks: Tasks::default(),
                clearing: tokio::sync::Mutex::default(),
            }),
        })
    }
}

impl<V: ?Sized> fmt::Debug for ReadThroughBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThroughBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
