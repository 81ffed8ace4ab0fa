//! The settings of a cache.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{
    Backend, ChangeBus, Clock, Freshness, FreshnessRules, IntoBackend, LowerTier, Namespace,
    Origin, ReadThrough, Result, SystemClock, TierContext,
};
use cache_store::{EtagValidator, EtagValidatorBuilder, ValidatorStrength};
use object_store::ObjectStore;

use crate::{Memory, ObjectCache};

/// Builds an [`ObjectCache`]. An invalid setting is a `Config` error of [`build`](Self::build).
///
/// `O` is what the cache is over. [`ObjectCache::builder`] makes one over an object store, which
/// has settings for the requests to that store; [`ObjectCache::builder_with_origin`] makes one over
/// an origin of your own, which has settings of its own.
#[must_use = "nothing happens before `build`"]
pub struct ObjectCacheBuilder<O = OverStore> {
    over: O,
    settings: Settings,
}

/// The settings that do not depend on what the cache is over.
struct Settings {
    name: Option<String>,
    rules: FreshnessRules,
    /// `None`: the default, which depends on whether there is a lower tier.
    time_to_live: Option<Option<Duration>>,
    negative_ttl: Duration,
    patience: Option<Duration>,
    max_in_flight: Option<usize>,
    queue_timeout: Option<Duration>,
    /// `None`: one of its own.
    identity: Option<Namespace>,
    clock: Arc<dyn Clock>,
    /// `None`: memory. An error of its settings is one of `build`.
    backend: Option<Result<Arc<dyn Backend>>>,
    tier: Option<Box<dyn LowerTier>>,
    bus: Option<Arc<dyn ChangeBus>>,
    bus_namespace: Option<Namespace>,
    announce_within: Option<Duration>,
    /// Prefixes that are listed at intervals.
    refreshes: Vec<(String, Duration)>,
}

/// An object store, with the settings of the requests to it.
pub struct OverStore {
    store: EtagValidatorBuilder,
    origin_timeout: Option<Duration>,
}

/// An origin of the user's own.
pub struct OverOrigin(Arc<dyn Origin>);

impl ObjectCache {
    /// Returns a builder of a cache in front of `store`.
    pub fn builder(store: Arc<dyn ObjectStore>) -> ObjectCacheBuilder {
        ObjectCacheBuilder::over_store(store)
    }

    /// Returns a builder of a cache in front of your own [`Origin`], without the settings for
    /// object stores.
    pub fn builder_with_origin(origin: Arc<dyn Origin>) -> ObjectCacheBuilder<OverOrigin> {
        ObjectCacheBuilder::over_origin(origin)
    }
}

impl ObjectCacheBuilder<OverStore> {
    pub(crate) fn over_store(store: Arc<dyn ObjectStore>) -> Self {
        Self::new(OverStore { store: EtagValidator::builder(store), origin_timeout: None })
    }

    /// Limits how long a request to the store may take, with the reading of its body and
    /// object_store's own retries. Then it is dropped, with a `Timeout` error. Reads wait as long
    /// for a request that another runtime sent before they send their own, since that runtime may
    /// not be driven any more. Zero is an error. Default: 30 s.
    pub fn origin_timeout(mut self, span: Duration) -> Self {
        self.over.origin_timeout = Some(span);
        self.store(|store| store.origin_timeout(span))
    }

    /// Sets how far a "not modified" (304) of the store is trusted. Default:
    /// [`ValidatorStrength::of`] the store.
    pub fn validator_strength(self, strength: ValidatorStrength) -> Self {
        self.store(|store| store.validator_strength(strength))
    }

    /// Sets whether a weak ETag (`W/"…"`) validates a cached object, although the bytes may differ
    /// (RFC 9110, section 8.8.1). Default: no: an object with a weak ETag is fetched again each
    /// time it would be revalidated.
    pub fn accept_weak_validators(self, accept: bool) -> Self {
        self.store(|store| store.accept_weak_validators(accept))
    }

    /// Limits the size of objects that are read, in bytes; a larger one is a `TooLarge` error. Puts
    /// are not limited. Zero is an error. Default: `None`, no limit.
    pub fn max_object_size(self, bytes: impl Into<Option<u64>>) -> Self {
        self.store(|store| store.max_object_size(bytes))
    }

    /// Limits the bytes of bodies that are read from the store at once. A response beyond it waits
    /// before its body is read, within its `origin_timeout`; a body that is larger by itself is
    /// read alone. `u64::MAX` is no limit; zero is an error. Default: 1 GiB.
    pub fn max_in_flight_bytes(self, bytes: u64) -> Self {
        self.store(|store| store.max_in_flight_bytes(bytes))
    }

    /// Sets whether the store's behaviour is tested before it is relied on, by small requests under
    /// `object-cache-probe/` before the first read and the first conditional put of each kind.
    /// Where the store does not keep its promises, reads or conditional puts are `Config` errors
    /// that say why; see [`probe_capabilities`](crate::probe_capabilities). The credentials need
    /// the rights to put and get there, and to delete, or a few small objects stay. A failed probe
    /// is not repeated by each read: its error stands for 1 s, and for twice as long after each
    /// further failure, up to 60 s. Default: no.
    pub fn verify_store(self, verify: bool) -> Self {
        self.store(|store| store.verify_store(verify))
    }

    /// Sets whether a revalidation compares an object's metadata too. S3 makes the ETag of the
    /// bytes alone: after a change of `Content-Type`, `Cache-Control` or user metadata it is the
    /// same, and without this setting a cached object keeps the old metadata until its bytes change
    /// or it leaves the cache.
    ///
    /// With it, a cached object is revalidated by a HEAD instead of a conditional GET: the same
    /// price, and the response has all metadata. A changed object then costs two requests instead
    /// of one. Default: no.
    pub fn validate_metadata(self, validate: bool) -> Self {
        self.store(|store| store.validate_metadata(validate))
    }

    fn store(mut self, set: impl FnOnce(EtagValidatorBuilder) -> EtagValidatorBuilder) -> Self {
        self.over.store = set(self.over.store);
        self
    }

    /// Returns the cache. Sends no request; for a store on local disk it looks up which file system
    /// that is.
    ///
    /// # Errors
    ///
    /// `Config`, naming the setting: a value that is zero or empty where that makes no sense, a
    /// freshness that contradicts itself or needs a bus that is not set, a bus without a namespace,
    /// or wrong settings of the backend or of the lower tier.
    pub fn build(self) -> Result<ObjectCache> {
        let Self { over: OverStore { store, origin_timeout }, settings } = self;
        let origin = store.clock(Arc::clone(&settings.clock)).build()?;
        settings.build(Arc::new(origin), origin_timeout)
    }
}

impl ObjectCacheBuilder<OverOrigin> {
    pub(crate) fn over_origin(origin: Arc<dyn Origin>) -> Self {
        Self::new(OverOrigin(origin))
    }

    /// Returns the cache. Sends no request.
    ///
    /// # Errors
    ///
    /// `Config`, naming the setting: a value that is zero or empty where that makes no sense, a
    /// freshness that contradicts itself or needs a bus that is not set, a bus without a namespace,
    /// or wrong settings of the backend or of the lower tier.
    pub fn build(self) -> Result<ObjectCache> {
        self.settings.build(self.over.0, None)
    }
}

impl<O> ObjectCacheBuilder<O> {
    fn new(over: O) -> Self {
        Self { over, settings: Settings::default() }
    }

    /// Names the cache in metrics and traces. Empty is an error. Default: `"default"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Sets how fresh a cached object must be to be served without a request, where no prefix has a
    /// rule of its own. Default: [`Freshness::strong`], under which every read is one request.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.settings.rules.set_default(freshness);
        self
    }

    /// Sets the freshness of keys that begin with `prefix`, byte for byte: `"static/"` rather than
    /// `"static"`. The longest prefix wins; a second rule for the same prefix replaces the first.
    pub fn freshness_for(mut self, prefix: &str, freshness: Freshness) -> Self {
        self.settings.rules.set(prefix, freshness);
        self
    }

    /// Sets how long an object stays cached after it was last validated; reads do not extend it,
    /// each revalidation does. Objects under [`Freshness::immutable`] do not expire, they are only
    /// evicted. `None`, and spans of nine years or more: no object expires. Zero is an error.
    /// Default: 300 s; with [`disk`](Self::disk) `None`.
    pub fn time_to_live(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.time_to_live = Some(span.into());
        self
    }

    /// Sets how long a missing object is cached as missing, within its freshness; never under
    /// [`Freshness::strong`]. Such negative entries take at most 1/16 of the capacity. Default:
    /// zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.settings.negative_ttl = span;
        self
    }

    /// Sets how long a request of a read may stay unanswered, while a reader waits for it, before
    /// it is dropped and sent once more: for stores that now and then lose a request. The second
    /// request is not replaced. Zero is an error. Default: `None`, which is off.
    pub fn patience(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.patience = span.into();
        self
    }

    /// Limits how many requests of reads are in flight at once, each for another key; further ones
    /// wait in the order of arrival. `usize::MAX` is no limit; zero is an error. Default: 1024.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = Some(requests);
        self
    }

    /// Limits how long a read waits to send its request (see
    /// [`max_in_flight`](Self::max_in_flight)). Then it fails with `Timeout`, or serves a stale
    /// object where `stale_if_error` allows it. With zero no read waits. Default: 10 s.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.settings.queue_timeout = Some(span);
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Sets where objects are cached: [`Memory`] with its limits and eviction, or an `Arc` of any
    /// [`Backend`]. A backend must be this cache's alone. Default: [`Memory::new`].
    pub fn backend(mut self, backend: impl IntoBackend) -> Self {
        self.settings.backend = Some(backend.into_backend());
        self
    }

    /// Adds a tier below memory: objects that memory has no room for are read from there, and
    /// validated like those in memory. `build` opens it. Default: none.
    ///
    /// Nothing is found again after a restart unless [`namespace`](Self::namespace) is set, to the
    /// same name in each process. An object that is found is revalidated before it is served: one
    /// request, without a body unless it has changed. With a tier, objects do not expire unless
    /// [`time_to_live`](Self::time_to_live) is set.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cache_facade::{
    ///     Backend, Memory, Namespace, ObjectCache, Result,
    ///     cache_core::{LowerTier, TierContext},
    ///     object_store::memory::InMemory,
    /// };
    ///
    /// /// Stands for the settings of a disk, such as `cache_disk::DiskTier`.
    /// struct Disk;
    ///
    /// impl LowerTier for Disk {
    ///     fn under(
    ///         self: Box<Self>,
    ///         memory: Arc<dyn Backend>,
    ///         _: TierContext,
    ///     ) -> Result<Arc<dyn Backend>> {
    ///         Ok(memory)
    ///     }
    /// }
    ///
    /// let cache = ObjectCache::builder(Arc::new(InMemory::new()))
    ///     .backend(Memory::new().max_capacity(1 << 30))
    ///     .disk(Disk)
    ///     .namespace(Namespace::named("s3://bucket as reader"))
    ///     .build()?;
    /// # Ok::<(), cache_facade::Error>(())
    /// ```
    pub fn disk(mut self, tier: impl LowerTier + 'static) -> Self {
        self.settings.tier = Some(Box::new(tier));
        self
    }

    /// Sets the bus by which caches tell each other of changes: each write through this cache is
    /// announced, and each message marks the cached object, so that a rule
    /// [`Freshness::until_notified`] serves without a request. A message can only cost a request:
    /// reads under other rules are as right without it. Needs a [`namespace`](Self::namespace),
    /// the same in all caches of the store. Runs on the runtime that the cache is built on, or on
    /// that of its first request. Default: none.
    pub fn bus(mut self, bus: Arc<dyn ChangeBus>) -> Self {
        self.settings.bus = Some(bus);
        self
    }

    /// Sets the namespace of messages on the bus, for caches of one store whose
    /// [`namespace`](Self::namespace) differs because their rights do. Default: the namespace.
    pub fn bus_namespace(mut self, namespace: Namespace) -> Self {
        self.settings.bus_namespace = Some(namespace);
        self
    }

    /// Sets for how long a write waits, after the store has acknowledged it, until it was
    /// announced; it succeeds in any case. Default: `None`, it does not wait: up to 10,000 changes
    /// wait in the background, and then one message for all objects takes their place.
    pub fn announce_within(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.announce_within = span.into();
        self
    }

    /// Lists the objects whose keys begin with `prefix` about every `every`, for as long as the
    /// cache lives, so that cached objects below it stay fresh: see
    /// [`ObjectCache::refresh_by_list`]. The lists run on the runtime that the cache is built on,
    /// or on that of its first request. Each call adds one. Zero is an error. Default: none.
    pub fn refresh_by_list(mut self, prefix: &str, every: Duration) -> Self {
        self.settings.refreshes.push((prefix.to_owned(), every));
        self
    }

    /// Sets the store *and* the rights that cached objects were read with, such as
    /// `Namespace::named("s3://bucket as reader")`. Entries of another namespace are never served.
    /// Needed only with a disk, a bus, or a backend that outlives the process. Default:
    /// [`Namespace::unique`].
    pub fn namespace(mut self, identity: Namespace) -> Self {
        self.settings.identity = Some(identity);
        self
    }
}

impl Settings {
    fn build(
        self,
        origin: Arc<dyn Origin>,
        origin_timeout: Option<Duration>,
    ) -> Result<ObjectCache> {
        let mut backend = self.backend.unwrap_or_else(|| Memory::new().into_backend())?;
        let identity = self.identity.unwrap_or_else(Namespace::unique);
        let default_time_to_live = self.tier.is_none().then_some(TIME_TO_LIVE);
        if let Some(tier) = self.tier {
            let context = TierContext::new(identity, Arc::clone(&self.clock));
            backend = tier.under(backend, context)?;
        }
        let mut inner = ReadThrough::builder(origin, backend)
            .freshness_rules(self.rules)
            .time_to_live(self.time_to_live.unwrap_or(default_time_to_live))
            .negative_ttl(self.negative_ttl)
            .patience(self.patience)
            .announce_within(self.announce_within)
            .clock(self.clock);
        // A cache of several tiers has one either way; for a bus it has to be the caller's.
        inner = match self.identity {
            Some(identity) => inner.namespace(identity),
            None => inner.private_namespace(identity),
        };
        if let Some(bus) = self.bus {
            inner = inner.bus(bus);
        }
        if let Some(namespace) = self.bus_namespace {
            inner = inner.bus_namespace(namespace);
        }
        if let Some(name) = self.name {
            inner = inner.name(name);
        }
        if let Some(span) = origin_timeout {
            inner = inner.origin_timeout(span);
        }
        if let Some(requests) = self.max_in_flight {
            inner = inner.max_in_flight(requests);
        }
        if let Some(span) = self.queue_timeout {
            inner = inner.queue_timeout(span);
        }
        let inner = inner.build()?;
        for (prefix, every) in self.refreshes {
            inner.refresh_by_list(&prefix, every)?.detach();
        }
        Ok(ObjectCache::new(inner))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            rules: FreshnessRules::default(),
            time_to_live: None,
            negative_ttl: Duration::ZERO,
            patience: None,
            max_in_flight: None,
            queue_timeout: None,
            identity: None,
            clock: Arc::new(SystemClock::new()),
            backend: None,
            tier: None,
            bus: None,
            bus_namespace: None,
            announce_within: None,
            refreshes: Vec::new(),
        }
    }
}

impl<O: fmt::Debug> fmt::Debug for ObjectCacheBuilder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { name, rules, time_to_live, negative_ttl, patience, backend, tier, .. } =
            &self.settings;
        let backend = backend.as_ref().map(|backend| backend.as_ref().map(|made| made.usage()));
        f.debug_struct("ObjectCacheBuilder")
            .field("over", &self.over)
            .field("name", name)
            .field("rules", rules)
            .field("time_to_live", time_to_live)
            .field("negative_ttl", negative_ttl)
            .field("patience", patience)
            .field("backend", &backend)
            .field("disk", &tier.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OverStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl fmt::Debug for OverOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin of the user's own")
    }
}

const TIME_TO_LIVE: Duration = Duration::from_secs(300);
