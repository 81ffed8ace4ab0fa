//! The settings of a cache.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{
    Backend, Clock, Error, ErrorKind, Freshness, FreshnessRules, Namespace, Origin, ReadThrough, Result,
    SystemClock,
};
use cache_policy::Objective;
use cache_store::{EtagValidator, ValidatorStrength};
use object_store::ObjectStore;

use crate::{
    ObjectCache,
    eviction::{Eviction, Limits},
};

/// Sets up an [`ObjectCache`]. A setting that is wrong is a `Config` error of [`build`](Self::build).
#[must_use = "nothing happens before `build`"]
pub struct ObjectCacheBuilder {
    source: Source,
    name: Option<String>,
    rules: FreshnessRules,
    time_to_live: Duration,
    negative_ttl: Duration,
    patience: Option<Duration>,
    max_in_flight: Option<usize>,
    queue_timeout: Option<Duration>,
    identity: Namespace,
    clock: Option<Arc<dyn Clock>>,
    memory: Memory,
    backend: Option<Arc<dyn Backend>>,
    of_store: OfStore,
}

impl ObjectCacheBuilder {
    pub(crate) fn over_store(store: Arc<dyn ObjectStore>) -> Self {
        Self::new(Source::Store(store))
    }

    pub(crate) fn over_origin(origin: Arc<dyn Origin>) -> Self {
        Self::new(Source::Origin(origin))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            name: None,
            rules: FreshnessRules::default(),
            time_to_live: TIME_TO_LIVE,
            negative_ttl: Duration::ZERO,
            patience: None,
            max_in_flight: None,
            queue_timeout: None,
            identity: Namespace::unique(),
            clock: None,
            memory: Memory::default(),
            backend: None,
            of_store: OfStore::default(),
        }
    }

    /// What the cache is called, in metrics and traces. Empty is an error. Default: `"default"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long a copy may be served without asking, where no prefix says otherwise. Default:
    /// [`Freshness::strong`], which asks on every read.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.rules.set_default(freshness);
        self
    }

    /// The same for keys that begin with `prefix`, byte for byte: `"static/"` rather than `"static"`. The longest
    /// prefix wins; a second rule for one prefix replaces the first.
    pub fn freshness_for(mut self, prefix: &str, freshness: Freshness) -> Self {
        self.rules.set(prefix, freshness);
        self
    }

    /// How long a copy is held that nobody asks about; each confirmation starts the span anew. Copies under
    /// [`Freshness::immutable`] do not expire, they are only evicted. `Duration::MAX`: none expires. Zero is an
    /// error. Default: 300 s.
    pub fn time_to_live(mut self, span: Duration) -> Self {
        self.time_to_live = span;
        self
    }

    /// How long it may be remembered that an object does not exist, within what freshness allows; never under
    /// [`Freshness::strong`]. Such memories take at most a sixteenth of the capacity. Default: zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.negative_ttl = span;
        self
    }

    /// How long a request of a read may stay unanswered, with somebody waiting, before it is dropped and sent once
    /// more: for stores that now and then lose one. The second is not replaced. Zero is an error. Default: off.
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = Some(span);
        self
    }

    /// How many reads may ask the store at once, each for another key; more wait for their turn, in the order of arrival.
    /// `usize::MAX` is no limit, zero an error. Default: 1024.
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = Some(n);
        self
    }

    /// How long a read may wait for its turn to ask. Then it fails with `Timeout`, or serves a stale copy where
    /// `stale_if_error` allows it. Zero lets none wait. Default: 10 s.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.queue_timeout = Some(span);
        self
    }

    /// How many bytes of bodies may be on their way from the store at once; more wait before they are read, which counts to
    /// their `origin_timeout`. A larger body comes alone. `u64::MAX` is no limit; zero is an error, and so is the setting with an origin of your own.
    /// Default: 1 GiB.
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.of_store.max_in_flight_bytes = Some(bytes);
        self
    }

    /// Where time comes from. Default: the machine's clocks.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The most bytes that may be held: keys, bodies, tags and bookkeeping. A body that does not fit is served and
    /// not kept. Zero is an error. Default: 256 MiB.
    pub fn max_capacity(mut self, bytes: u64) -> Self {
        self.memory.limits.max_capacity = Some(bytes);
        self
    }

    /// The most copies that may be held. Zero is an error. Default: no limit.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.memory.limits.max_entries = Some(entries);
        self
    }

    /// Who leaves when the cache is full: an [`Eviction`], or any
    /// [`EvictionPolicy`](crate::EvictionPolicy). Default: [`Eviction::Adaptive`].
    pub fn eviction(mut self, eviction: impl Into<Eviction>) -> Self {
        self.memory.eviction = Some(eviction.into());
        self
    }

    /// What eviction is to save where objects differ in size: requests to the store, or bytes from it. Under
    /// [`Eviction::Adaptive`] and [`Eviction::Gdsf`]; an error under any other, which weighs no sizes. Default:
    /// [`Objective::HitRatio`], because stores bill requests, and a reader waits for each.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use cache_facade::{ObjectCache, Objective};
    /// # let store = Arc::new(cache_facade::object_store::memory::InMemory::new());
    ///
    /// let cache = ObjectCache::builder(store).optimize_for(Objective::ByteHitRatio).build()?;
    /// # Ok::<(), cache_facade::Error>(())
    /// ```
    pub fn optimize_for(mut self, saving: Objective) -> Self {
        self.memory.saving = Some(saving);
        self
    }

    /// Whose copies they are: a name for the store *and* the rights that it is asked with, such as `"s3://bucket as
    /// reader"`. Copies of another identity are never served. To be given with a backend whose medium outlives the
    /// process; else it is better left out. Default: one that no other cache has.
    pub fn namespace(mut self, name: &str) -> Self {
        self.identity = Namespace::named(name);
        self
    }

    /// Where copies live: a backend of your own, or one that is set up in another way. It must be this cache's
    /// alone. It has limits and eviction of its own, so `max_capacity`, `max_entries`, `eviction` and `saving` are errors
    /// beside it. Default: memory.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// How long a request to the store may take, the reading of its body and object_store's own retries included.
    /// Then it is dropped, with a `Timeout` error. Reads also wait so long for a request that another runtime sent,
    /// which may not be driven any more, before they send their own. Zero is an error, and so is the setting with an
    /// origin of your own. Default: 30 s.
    pub fn origin_timeout(mut self, span: Duration) -> Self {
        self.of_store.origin_timeout = Some(span);
        self
    }

    /// What a "not modified" of the store is worth. An error with an origin of your own. Default:
    /// [`ValidatorStrength::of`] the store.
    pub fn validator_strength(mut self, strength: ValidatorStrength) -> Self {
        self.of_store.strength = Some(strength);
        self
    }

    /// Whether a weak ETag (`W/"…"`) confirms a copy, although the bytes may differ. An error with an origin of your
    /// own. Default: no: an object with a weak tag is fetched anew whenever the store must be asked.
    pub fn accept_weak_validators(mut self, accept: bool) -> Self {
        self.of_store.accept_weak = Some(accept);
        self
    }

    /// The largest object that is read, in bytes; a larger one is a `TooLarge` error. Puts are not limited. Zero is
    /// an error, and so is the setting with an origin of your own. Default: no limit.
    pub fn max_object_size(mut self, bytes: u64) -> Self {
        self.of_store.max_object_size = Some(bytes);
        self
    }

    /// Whether to find out what the store really does before it is relied upon, by small requests
    /// under `object-cache-probe/` before the first read and the first conditional put of each
    /// kind. Where it does not keep what it must, reads or conditional puts are `Config` errors
    /// that say why; see [`probe_capabilities`](crate::probe_capabilities). The credentials need
    /// the rights to put and to get there, and to delete, lest a few small objects stay. A probe
    /// that fails is not repeated by each read: its error stands for 1 s, then for twice as long
    /// after each further failure, 60 s at most. An error with an origin of your own. Default: no.
    pub fn verify_store(mut self, verify: bool) -> Self {
        self.of_store.verify = Some(verify);
        self
    }

    /// Whether a validation compares an object's metadata beside its ETag. On S3 the tag is made of
    /// the bytes alone: after a change of `Content-Type`, `Cache-Control` or user metadata it is
    /// the same, and without this setting a copy keeps the old ones until its bytes change, or it
    /// leaves the cache.
    ///
    /// With it, a copy is validated by a HEAD instead of a conditional GET: the same price, and all
    /// metadata in the answer. A changed object then costs two requests instead of one. An error
    /// with an origin of your own. Default: no.
    pub fn validate_metadata(mut self, validate: bool) -> Self {
        self.of_store.validate_metadata = Some(validate);
        self
    }

    /// The cache. Asks nothing of the store.
    ///
    /// # Errors
    ///
    /// `Config`, naming the setting: a value that is zero or empty where that makes no sense, a freshness that
    /// contradicts itself, or two settings that exclude each other.
    pub fn build(self) -> Result<ObjectCache> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let backend = self.memory.or(self.backend)?;
        let origin_timeout = self.of_store.origin_timeout;
        let origin = match self.source {
            Source::Store(store) => self.of_store.origin(store, Arc::clone(&clock))?,
            Source::Origin(origin) => self.of_store.unless_set(origin)?,
        };
        let mut inner = ReadThrough::builder(origin, backend)
            .freshness(self.rules)
            .time_to_live(Some(self.time_to_live))
            .negative_ttl(self.negative_ttl)
            .patience(self.patience)
            .namespace(self.identity)
            .clock(clock);
        if let Some(name) = &self.name {
            inner = inner.name(name);
        }
        if let Some(span) = origin_timeout {
            inner = inner.origin_timeout(span);
        }
        if let Some(n) = self.max_in_flight {
            inner = inner.max_in_flight(n);
        }
        if let Some(span) = self.queue_timeout {
            inner = inner.queue_timeout(span);
        }
        inner.build().map(ObjectCache::new)
    }
}

impl fmt::Debug for ObjectCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCacheBuilder")
            .field("source", &self.source)
            .field("name", &self.name)
            .field("rules", &self.rules)
            .field("time_to_live", &self.time_to_live)
            .field("negative_ttl", &self.negative_ttl)
            .field("patience", &self.patience)
            .field("memory", &self.memory)
            .field("of_store", &self.of_store)
            .finish_non_exhaustive()
    }
}

/// What is cached.
enum Source {
    Store(Arc<dyn ObjectStore>),
    Origin(Arc<dyn Origin>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(store) => write!(f, "{store}"),
            Self::Origin(_) => f.write_str("an origin of the user's own"),
        }
    }
}

/// Settings of the backend in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) limits: Limits,
    pub(crate) eviction: Option<Eviction>,
    pub(crate) saving: Option<Objective>,
}

impl Memory {
    /// The backend: `own`, if there is one, and nothing was set beside it.
    pub(crate) fn or(self, own: Option<Arc<dyn Backend>>) -> Result<Arc<dyn Backend>> {
        match own {
            Some(backend) => self.unless_set(backend),
            None => self.eviction.unwrap_or_default().backend(self.limits, self.saving),
        }
    }

    fn unless_set<T>(&self, backend: T) -> Result<T> {
        let set = [
            ("max_capacity", self.limits.max_capacity.is_some()),
            ("max_entries", self.limits.max_entries.is_some()),
            ("eviction", self.eviction.is_some()),
            ("saving", self.saving.is_some()),
        ];
        exclude(&set, "a backend of your own; set it up there").map(|()| backend)
    }
}

/// Settings of the origin over an object store.
#[derive(Debug, Default)]
struct OfStore {
    origin_timeout: Option<Duration>,
    strength: Option<ValidatorStrength>,
    accept_weak: Option<bool>,
    max_object_size: Option<u64>,
    max_in_flight_bytes: Option<u64>,
    verify: Option<bool>,
    validate_metadata: Option<bool>,
}

impl OfStore {
    fn origin(self, store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Result<Arc<dyn Origin>> {
        let mut builder = EtagValidator::builder(store).clock(clock);
        if let Some(span) = self.origin_timeout {
            builder = builder.origin_timeout(span);
        }
        if let Some(strength) = self.strength {
            builder = builder.strength(strength);
        }
        if let Some(accept) = self.accept_weak {
            builder = builder.accept_weak(accept);
        }
        if let Some(bytes) = self.max_object_size {
            builder = builder.max_object_size(bytes);
        }
        if let Some(bytes) = self.max_in_flight_bytes {
            builder = builder.max_in_flight_bytes(bytes);
        }
        if let Some(verify) = self.verify {
            builder = builder.verify_store(verify);
        }
        if let Some(validate) = self.validate_metadata {
            builder = builder.validate_metadata(validate);
        }
        Ok(Arc::new(builder.build()?))
    }

    fn unless_set<T>(&self, origin: T) -> Result<T> {
        let set = [
            ("origin_timeout", self.origin_timeout.is_some()),
            ("validator_strength", self.strength.is_some()),
            ("accept_weak_validators", self.accept_weak.is_some()),
            ("max_object_size", self.max_object_size.is_some()),
            ("max_in_flight_bytes", self.max_in_flight_bytes.is_some()),
            ("verify_store", self.verify.is_some()),
            ("validate_metadata", self.validate_metadata.is_some()),
        ];
        exclude(&set, "an origin of your own; set it up there").map(|()| origin)
    }
}

/// An error for the first setting that is set, and cannot be beside `other`.
fn exclude(settings: &[(&str, bool)], other: &str) -> Result<()> {
    match settings.iter().find(|(_, set)| *set) {
        Some((setting, _)) => Err(wrong(format!("{setting} cannot be set beside {other}"))),
        None => Ok(()),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

const TIME_TO_LIVE: Duration = Duration::from_secs(300);
