//! The builder of a cache.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::FutureExt as _;

use super::{
    ReadThrough,
    background::Background,
    bus,
    bus_state::{BusState, no_bus},
    epochs::Epochs,
    key_index::KeyIndex,
    key_table::KeyTable,
    limiter::RequestLimiter,
    negative::NegativeBudget,
    settings::Settings,
    shared::Shared,
    sweeper::Sweeper,
    task_tracker::TaskTracker,
    trace::Warnings,
};
use crate::{
    Backend, ChangeBus, Clock, Freshness, FreshnessRules, Namespace, Result, SystemClock,
    Validator, bus::Listening, stats::Counters,
};

/// Builds a [`ReadThrough`].
#[must_use]
pub struct ReadThroughBuilder<V: ?Sized> {
    origin: Arc<V>,
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    bus: Option<Arc<dyn ChangeBus>>,
    settings: Settings,
}

impl<V: Validator + ?Sized> ReadThrough<V> {
    /// Starts a cache in front of `origin` that keeps its entries in `backend`.
    ///
    /// The backend must belong to this cache alone: entries of another cache are not served (see
    /// [`namespace`](ReadThroughBuilder::namespace)), and both would evict each other's.
    pub fn builder(origin: Arc<V>, backend: Arc<dyn Backend>) -> ReadThroughBuilder<V> {
        ReadThroughBuilder {
            origin,
            backend,
            clock: Arc::new(SystemClock::new()),
            bus: None,
            settings: Settings::default(),
        }
    }
}

impl<V: Validator + ?Sized> ReadThroughBuilder<V> {
    /// Sets the name in metrics and traces. Empty is an error. Default: `"default"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Arc::from(name.into());
        self
    }

    /// Sets a prefix of all keys that is no part of an object's name; traces and errors leave it
    /// out. For caches that keep other things beside objects in one backend. Default: nothing.
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

    /// Sets how long an entry is cached without being validated; each validation starts the span
    /// again. Entries under an immutable rule do not expire. `None`, and spans of nine years or
    /// more: no entry expires. Default: 300 s. Zero is an error.
    pub fn time_to_live(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.time_to_live = span.into();
        self
    }

    /// Sets how long a missing object is remembered, within the limits of its freshness; under a
    /// strong rule it never is. Such negative entries occupy the backend like any entry, at most a
    /// sixteenth of its capacity if the backend frees expired entries when it is swept; beyond that
    /// none is cached. Default: zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.settings.negative_ttl = span;
        self
    }

    /// Sets how long a request may take, while a reader waits for it, before it is dropped and sent
    /// once more. The second request is not replaced. Default: `None`, which is off. Zero is an
    /// error.
    pub fn patience(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.patience = span.into();
        self
    }

    /// Sets the longest time that the origin takes to answer a read, as far as other calls rely on
    /// it. It does not end a request: the origin should have the same limit and end it itself.
    ///
    /// A reader that waits for a request on another runtime gives it up after this span and 100 ms
    /// without progress, since that runtime may not be driven any more, and sends the request again
    /// from its own. `put`, `delete`, `invalidate` and the like wait as long for the runtime that
    /// they began on, when they are polled on another one. A write, or a response that is to be
    /// cached, waits for half of the span for a running backend call of the same key.
    /// [`close`](ReadThrough::close) waits for the whole span for requests that do not end.
    ///
    /// Measured by the timer of the waiting runtime; one without time has no limit, and neither
    /// does `Duration::MAX`. Zero is an error. Default: 30 s.
    pub fn origin_timeout(mut self, span: Duration) -> Self {
        self.settings.origin_timeout = span;
        self
    }

    /// Sets the namespace: the store and the credentials that entries are read with. The cache
    /// serves an entry of its backend only if it has this namespace. Set a name where the backend
    /// outlives the process; without one, its entries would not be found again. Two caches with one
    /// name must not share a backend at the same time: neither sees the writes and invalidations of
    /// the other. Default: [`Namespace::unique`].
    pub fn namespace(mut self, identity: Namespace) -> Self {
        self.settings.identity = identity;
        self.settings.is_named = true;
        self
    }

    /// Sets the namespace to one that no other cache has: as the default, for builders that need to
    /// know it. A [`bus`](Self::bus) is a `Config` error then.
    #[doc(hidden)]
    pub fn private_namespace(mut self, identity: Namespace) -> Self {
        self.settings.identity = identity;
        self.settings.is_named = false;
        self
    }

    /// Sets how many requests may be at the origin at the same time, each for another key, until
    /// their responses are published. A read beyond the limit waits, first come first served, and
    /// sends its request only if a reader still waits for it: one that was dropped meanwhile sends
    /// nothing. A background revalidation is skipped instead. A request that never ends keeps its
    /// permit, so the origin should have a time limit. A validator that reads through its own cache
    /// may wait for a permit for ever. `usize::MAX` is no limit, zero an error. Writes are not
    /// counted; requests with a [`request_permit`](ReadThrough::request_permit) are. Default: 1024.
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.settings.max_in_flight = n;
        self
    }

    /// Sets how long a read may wait for a permit (see [`max_in_flight`](Self::max_in_flight)).
    /// After that it fails with `Timeout`, which is an outage and may be covered by
    /// `stale_if_error`. With zero no read waits. A runtime without time has no limit. Default: 10
    /// s.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.settings.queue_timeout = span;
        self
    }

    /// Sets the bus by which caches tell each other of changes. Every write through this cache is
    /// announced, and every message heard marks the cached object, so that a rule
    /// [`until_notified`](Freshness::until_notified) can serve without a request. Strong reads do
    /// not depend on it. Needs a [`namespace`](Self::namespace) with a name, the same in all caches
    /// of the store. Its task runs on the runtime that the cache is built on, or on that of the
    /// first request. Default: none.
    pub fn bus(mut self, bus: Arc<dyn ChangeBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Sets the namespace of messages on the bus, for caches of one store whose
    /// [`namespace`](Self::namespace) differs because their rights do. Default: the namespace.
    pub fn bus_namespace(mut self, namespace: Namespace) -> Self {
        self.settings.bus_namespace = Some(namespace);
        self
    }

    /// Sets for how long a write waits, after the origin has acknowledged it, until its change was
    /// announced. The write succeeds in any case. Default: `None`, it does not wait: changes are
    /// announced in the background, in order. Up to 10,000 wait; then one message for all objects
    /// takes their place.
    pub fn announce_within(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.announce_within = span.into();
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// `Config` for an empty `name`, for a `time_to_live`, `patience`, `origin_timeout` or
    /// `max_in_flight` of zero, for rules that contradict themselves or need a bus that is not set,
    /// and for a bus without a namespace.
    pub fn build(self) -> Result<ReadThrough<V>> {
        self.settings.check()?;
        if self.bus.is_none() && self.settings.rules.need_bus() {
            return Err(no_bus());
        }
        let bus = match self.bus {
            None => None,
            Some(bus) => {
                let namespace = self.settings.bus_namespace()?;
                let now = self.clock.now();
                Some(Arc::new(BusState::new(bus, self.settings.announce_within, namespace, now)))
            }
        };
        let has_bus = bus.is_some();
        let cache = ReadThrough {
            shared: Arc::new(Shared {
                origin: self.origin,
                has_lower_tier: self.backend.lower_tier().is_some(),
                backend: self.backend,
                clock: self.clock,
                sweeper: Sweeper::new(&self.settings),
                negative_budget: NegativeBudget::new(
                    self.settings.negative_ttl,
                    Sweeper::every(&self.settings).unwrap_or_default(),
                ),
                limiter: Arc::new(RequestLimiter::new(self.settings.max_in_flight)),
                settings: self.settings,
                epochs: Epochs::default(),
                table: KeyTable::new(),
                background: Background::default(),
                listening: Listening::default(),
                signals: Arc::default(),
                bus,
                marks: Arc::default(),
                key_index: KeyIndex::default(),
                counters: Counters::default(),
                warnings: Warnings::new(),
                tasks: TaskTracker::default(),
                clearing: tokio::sync::Mutex::default(),
            }),
        };
        if has_bus {
            let shared = &cache.shared;
            let weak = Arc::downgrade(shared);
            let start = move |progress| bus::run(Weak::clone(&weak), progress).boxed();
            shared.background.add(start, shared.clock.now());
        }
        Ok(cache)
    }
}

impl<V: ?Sized> fmt::Debug for ReadThroughBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThroughBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
