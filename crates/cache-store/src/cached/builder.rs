//! The settings of a cached store.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{
    Backend, ChangeBus, Clock, Error, ErrorKind, Freshness, FreshnessRules, IntoBackend, LowerTier,
    Namespace, ReadThrough, Result, SystemClock, TierContext, Validator,
};
use object_store::{Attributes, ObjectMeta, ObjectStore};

use super::{
    CachedStore,
    blocks::Blocks,
    fetch_table::{FetchTable, Limits},
    head::{self, CacheIf, Heads},
    readahead::Readahead,
    shared::Shared,
    stats::Counters,
    upstream::Upstream,
    version::{PREFIX, path_of, prefix_of},
};
use crate::{ValidatorStrength, lists::ListKind};

/// Builds a [`CachedStore`]. A setting that is wrong is a `Config` error of [`build`](Self::build).
#[must_use = "nothing happens before `build`"]
pub struct CachedStoreBuilder {
    store: Arc<dyn ObjectStore>,
    /// An error of its settings is one of `build`.
    backend: Result<Arc<dyn Backend>>,
    tier: Option<Box<dyn LowerTier>>,
    clock: Option<Arc<dyn Clock>>,
    name: Option<String>,
    rules: FreshnessRules,
    /// `None`: the default, which depends on whether there is a lower tier.
    time_to_live: Option<Option<Duration>>,
    /// `None`: one of its own.
    identity: Option<Namespace>,
    bus: Option<Arc<dyn ChangeBus>>,
    bus_namespace: Option<Namespace>,
    announce_within: Option<Duration>,
    strength: Option<ValidatorStrength>,
    origin_timeout: Duration,
    negative_ttl: Duration,
    max_in_flight: Option<usize>,
    queue_timeout: Option<Duration>,
    block_size: u64,
    max_object_size: Option<u64>,
    cache_if: Option<Arc<CacheIf>>,
    coalesce_gap: u64,
    parallel: usize,
    readahead: u64,
    max_in_flight_bytes: u64,
}

impl CachedStore {
    /// Returns a builder of a cache over `store` that keeps heads and blocks in `backend`.
    ///
    /// The backend is an argument because there is no cache without one. It is an `Arc` of a
    /// [`Backend`](cache_core::Backend), or settings that one is made from, such as
    /// `cache_facade::Memory`. It should be this cache's alone: entries of another cache are never
    /// served, but they take room.
    pub fn builder(store: Arc<dyn ObjectStore>, backend: impl IntoBackend) -> CachedStoreBuilder {
        CachedStoreBuilder::new(store, backend)
    }
}

impl CachedStoreBuilder {
    fn new(store: Arc<dyn ObjectStore>, backend: impl IntoBackend) -> Self {
        Self {
            store,
            backend: backend.into_backend(),
            tier: None,
            clock: None,
            name: None,
            rules: FreshnessRules::default(),
            time_to_live: None,
            identity: None,
            bus: None,
            bus_namespace: None,
            announce_within: None,
            strength: None,
            origin_timeout: TIMEOUT,
            negative_ttl: Duration::ZERO,
            max_in_flight: None,
            queue_timeout: None,
            block_size: BLOCK_SIZE,
            max_object_size: None,
            cache_if: None,
            coalesce_gap: COALESCE_GAP,
            parallel: PARALLEL,
            readahead: 0,
            max_in_flight_bytes: IN_FLIGHT_BYTES,
        }
    }

    /// Names the store in metrics and traces. Empty is an error of [`build`](Self::build). Default:
    /// `"default"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many bytes a block has, the last one of an object aside. Bytes are fetched and held by
    /// whole blocks. Zero is an error of [`build`](Self::build), and so is more than the backend
    /// may hold at all, unless there is a lower tier ([`disk`](Self::disk)): blocks that are too
    /// large for memory are read from there. Default: 1 MiB.
    pub fn block_size(mut self, bytes: u64) -> Self {
        self.block_size = bytes;
        self
    }

    /// Limits the size of objects that are cached, in bytes; a larger one is read from the store
    /// each time. With zero only empty ones are cached. Default: `None`, no limit.
    pub fn max_object_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_object_size = bytes.into();
        self
    }

    /// Caches only the objects for which `predicate` returns true, such as those whose attributes
    /// do not forbid it. It is called with each response of the store that describes an object's
    /// current version. Other objects are read from the store each time, and what was cached of
    /// them is dropped. A panic fails the read. Default: all objects.
    pub fn cache_if(
        mut self,
        predicate: impl Fn(&ObjectMeta, &Attributes) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.cache_if = Some(Arc::new(predicate));
        self
    }

    /// Sets how many bytes may lie between missing blocks that one request fetches, with those
    /// bytes. With zero it fetches adjacent blocks only. Default: 1 MiB.
    pub fn coalesce_gap(mut self, bytes: u64) -> Self {
        self.coalesce_gap = bytes;
        self
    }

    /// For `get_ranges`: how many requests one call makes at a time. Zero is an error of
    /// [`build`](Self::build). Default: 10.
    pub fn parallel(mut self, requests: usize) -> Self {
        self.parallel = requests;
        self
    }

    /// For ranges of one object that follow each other, with less than a block between them: how
    /// many bytes behind the last one are read before they are asked for, in whole blocks, by a
    /// task, with `If-Match`. The next are read when half of those are used up. What is not asked
    /// for after all was read in vain. Nor does it help where the backend does not keep such bytes
    /// until then, as eviction policies that resist scans may not: what comes twice is at most an
    /// eighth of what is read, and so many bytes once. At most 64 tasks read ahead at a time; of
    /// one object, four sequences are told apart. Several ranges at once, by `get_ranges`, are
    /// none.
    ///
    /// Suits those who read a large object in order by small ranges under a `max_age`; a body that
    /// is read as a stream needs none. More than the backend may hold is an error of
    /// [`build`](Self::build), unless there is a lower tier. Default: zero, which reads none.
    pub fn readahead(mut self, bytes: u64) -> Self {
        self.readahead = bytes;
        self
    }

    /// How many bytes of blocks reads under way may hold beside what the backend holds: blocks that
    /// are being fetched, blocks on their way to a slow backend, and, for up to a quarter of it,
    /// blocks for readers that have not got there yet. A paused stream holds up to two blocks.
    /// Where there is no room, reads go on, and blocks that come are passed on and not cached
    /// (`blocks_refused`). Each block counts in whole KiB. Less than a block caches nothing; zero
    /// is an error of [`build`](Self::build). Default: 1 GiB.
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.max_in_flight_bytes = bytes;
        self
    }

    /// Sets how fresh a cached object must be to be served without a request, where no prefix has a
    /// rule of its own. Default: [`Freshness::strong`], under which every read is one request.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.rules.set_default(freshness);
        self
    }

    /// Sets the freshness of paths that begin with `prefix`, byte for byte: `"static/"` rather than
    /// `"static"`. The longest prefix wins; a second rule for one prefix replaces the first.
    pub fn freshness_for(mut self, prefix: &str, freshness: Freshness) -> Self {
        self.rules.set(&prefix_of(prefix), freshness);
        self
    }

    /// Sets how long a head stays cached after it was last validated; each revalidation extends it.
    /// Blocks do not expire, they are only evicted. `None`: none expires. Default: 300 s; with
    /// [`disk`](Self::disk) `None`. Zero is an error of [`build`](Self::build).
    pub fn time_to_live(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.time_to_live = Some(span.into());
        self
    }

    /// Adds a tier below the backend: heads and blocks that memory has no room for are read from
    /// there, without a request for their bytes. Rules and pins of the tier are about paths of
    /// objects. [`build`](Self::build) opens it. Default: none.
    ///
    /// Nothing is found again after a restart unless [`namespace`](Self::namespace) is set, to the
    /// same name in each process. An entry that is found is revalidated before it is served: one
    /// request for an object of any size, and no bytes. With a tier, heads do not expire unless
    /// [`time_to_live`](Self::time_to_live) is set.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cache_core::{Backend, LowerTier, Namespace, Result, TierContext};
    /// use cache_store::CachedStore;
    /// use cache_testkit::MapBackend;
    /// use object_store::memory::InMemory;
    ///
    /// /// Stands for the settings of a disk, such as `cache_disk::DiskTier`.
    /// struct Disk;
    ///
    /// impl LowerTier for Disk {
    ///     fn under(
    ///         self: Box<Self>,
    ///         memory: Arc<dyn Backend>,
    ///         context: TierContext,
    ///     ) -> Result<Arc<dyn Backend>> {
    ///         assert_eq!((context.path_of)("b/1048576/models/a"), "models/a");
    ///         Ok(memory)
    ///     }
    /// }
    ///
    /// let bucket = Arc::new(InMemory::new());
    /// let cached = CachedStore::builder(bucket, Arc::new(MapBackend::new()))
    ///     .disk(Disk)
    ///     .namespace(Namespace::named("s3://bucket as reader"))
    ///     .build()?;
    /// # Ok::<(), cache_core::Error>(())
    /// ```
    pub fn disk(mut self, tier: impl LowerTier + 'static) -> Self {
        self.tier = Some(Box::new(tier));
        self
    }

    /// Sets the bus by which caches tell each other of changes: each write through this cache is
    /// announced, and each message marks the cached object, so that a rule
    /// [`Freshness::until_notified`] serves without a request. A message can only cost a request:
    /// reads under other rules are as right without it. Needs a [`namespace`](Self::namespace),
    /// the same in all caches of the store. Runs on the runtime that the cache is built on, or on
    /// that of its first request. Default: none.
    pub fn bus(mut self, bus: Arc<dyn ChangeBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Sets the namespace of messages on the bus, for caches of one store whose
    /// [`namespace`](Self::namespace) differs because their rights do. Default: the namespace.
    pub fn bus_namespace(mut self, namespace: Namespace) -> Self {
        self.bus_namespace = Some(namespace);
        self
    }

    /// Sets for how long a write waits, after the store has acknowledged it, until it was
    /// announced; it succeeds in any case. Deletions do not wait. Default: `None`: up to 10,000
    /// changes wait in the background, and then one message for all objects takes their place.
    pub fn announce_within(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.announce_within = span.into();
        self
    }

    /// Sets the store *and* the rights that cached objects were read with, such as
    /// `Namespace::named("s3://bucket as reader")`. Entries of another namespace are never served.
    /// Needed only with a disk or a backend that outlives the process. Default:
    /// [`Namespace::unique`].
    pub fn namespace(mut self, identity: Namespace) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets how far a "not modified" (304) of the store is trusted. Default:
    /// [`ValidatorStrength::of`] the store.
    pub fn validator_strength(mut self, strength: ValidatorStrength) -> Self {
        self.strength = Some(strength);
        self
    }

    /// Limits how long the store may be silent: until the response to a request for a head, and
    /// between two parts of a body while a reader waits for the next one. Then the request is
    /// dropped, and all its readers get a `Generic` error. Writes, and reads that pass through, may
    /// take as long as the store lets them. Zero is an error of [`build`](Self::build). Default:
    /// 30 s.
    pub fn origin_timeout(mut self, limit: Duration) -> Self {
        self.origin_timeout = limit;
        self
    }

    /// How long it may be remembered that an object does not exist, within what its [`Freshness`]
    /// allows: never under [`Freshness::strong`]. A write through this cache ends that memory, and
    /// so does any answer of the store that shows the object. All such memories together take at
    /// most a sixteenth of the backend's capacity; what would be more is not remembered.
    /// `Duration::MAX` is no limit of its own. Default: zero, which is off.
    pub fn negative_ttl(mut self, span: Duration) -> Self {
        self.negative_ttl = span;
        self
    }

    /// How many requests that reads cause may be unanswered by the store at once: for heads and for
    /// blocks, of all readers, of `warm` and of readahead. One counts from its sending until its
    /// answer begins; its body does not count, so a body that is read slowly keeps nobody waiting.
    /// Further requests wait, in the order of arrival, and those who need the same bytes join them.
    /// No request waits for another while it counts itself, so that one at a time suffices. A body
    /// of which the next bytes were asked for, and which is then not polled, counts until it is
    /// polled or dropped. Not limited: writes, lists, and what passes through.
    ///
    /// `usize::MAX` is no limit. Zero is an error of [`build`](Self::build). Default: 1024.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = Some(requests);
        self
    }

    /// How long a request may wait to be sent (see [`max_in_flight`](Self::max_in_flight)); this
    /// comes before [`origin_timeout`](Self::origin_timeout). Then the reads that need it fail with
    /// a `Generic` error whose source has the kind `Timeout`, or serve a stale copy where
    /// `stale_if_error` allows it. Zero lets none wait. `Duration::MAX` is no limit. Default: 10 s.
    pub fn queue_timeout(mut self, span: Duration) -> Self {
        self.queue_timeout = Some(span);
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The store. Sends no request; for a store on local disk it looks up which file system that
    /// is.
    ///
    /// # Errors
    ///
    /// Of kind `Config`, if a setting is zero that may not be, if a block or the readahead is
    /// larger than the backend, if a freshness rule contradicts itself, or if the settings of the
    /// backend or of the lower tier are wrong.
    pub fn build(self) -> Result<CachedStore> {
        let backend = self.backend?;
        // Blocks that are too large for memory are found in the lower tier.
        let capacity = match self.tier {
            None => backend.usage().capacity_bytes,
            Some(_) => None,
        };
        if self.origin_timeout.is_zero() {
            return Err(wrong("origin_timeout is zero: no request could be answered"));
        }
        if self.strength == Some(ValidatorStrength::Timestamp(Duration::ZERO)) {
            return Err(wrong(
                "a timestamp has a grain: set it, or take ValidatorStrength::Strong",
            ));
        }
        if self.block_size == 0 || usize::try_from(self.block_size).is_err() {
            return Err(wrong("block_size is zero, or more than memory can have"));
        }
        if capacity.is_some_and(|capacity| self.block_size > capacity) {
            return Err(wrong(
                "block_size is more than the backend may hold: no block could be kept",
            ));
        }
        if capacity.is_some_and(|capacity| self.readahead > capacity) {
            return Err(wrong(
                "readahead is more than the backend may hold: it would push itself out",
            ));
        }
        if self.parallel == 0 {
            return Err(wrong("parallel is zero: get_ranges could make no request"));
        }
        if self.max_in_flight_bytes == 0 {
            return Err(wrong(
                "max_in_flight_bytes is zero: no block could be cached; u64::MAX is no limit",
            ));
        }
        let settings = head::Settings {
            strength: self.strength.unwrap_or_else(|| ValidatorStrength::of(&self.store)),
            max_object_size: self.max_object_size,
            cache_if: self.cache_if,
        };
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let identity = self.identity.unwrap_or_else(Namespace::unique);
        let default_time_to_live = self.tier.is_none().then_some(TIME_TO_LIVE);
        let backend = match self.tier {
            None => backend,
            Some(tier) => {
                let context = TierContext::new(identity, Arc::clone(&clock));
                tier.under(backend, context.with_path_of(path_of))?
            }
        };
        let counters = Arc::new(Counters::default());
        let blocks =
            Blocks::new(Arc::clone(&backend), identity, self.block_size, Arc::clone(&counters));
        let name = self.name.as_deref().unwrap_or("default");
        let upstream = Arc::new(Upstream {
            cache: name.into(),
            store: self.store,
            clock: Arc::clone(&clock),
            timeout: self.origin_timeout,
            counters,
        });
        let limits = Limits {
            max_in_flight_bytes: self.max_in_flight_bytes,
            coalesce_gap: self.coalesce_gap,
        };
        let fetch_table =
            Arc::new(FetchTable::new(Arc::clone(&upstream), Arc::new(blocks), limits));
        let validator =
            Arc::new(Heads::new(Arc::clone(&fetch_table), Arc::clone(&clock), settings));
        let origin: Arc<dyn Validator> = Arc::clone(&validator) as _;
        let mut heads = ReadThrough::builder(origin, backend)
            .name(name)
            .key_prefix(PREFIX)
            .freshness_rules(self.rules)
            .time_to_live(self.time_to_live.unwrap_or(default_time_to_live))
            .negative_ttl(self.negative_ttl)
            .announce_within(self.announce_within)
            .origin_timeout(self.origin_timeout)
            .clock(clock);
        heads = match self.identity {
            Some(identity) => heads.namespace(identity),
            None => heads.private_namespace(identity),
        };
        if let Some(bus) = self.bus {
            heads = heads.bus(bus);
        }
        if let Some(namespace) = self.bus_namespace {
            heads = heads.bus_namespace(namespace);
        }
        if let Some(requests) = self.max_in_flight {
            heads = heads.max_in_flight(requests);
        }
        if let Some(span) = self.queue_timeout {
            heads = heads.queue_timeout(span);
        }
        let heads = heads.build()?;
        fetch_table.limit_by(&heads);
        let (parallel, readahead) = (self.parallel, Readahead::new(self.readahead));
        let list_kind = ListKind::of(&upstream.store);
        let shared =
            Shared { upstream, heads, validator, fetch_table, parallel, readahead, list_kind };
        Ok(CachedStore { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for CachedStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStoreBuilder")
            .field("store", &format_args!("{}", self.store))
            .field("backend", &self.backend.as_ref().map(|backend| backend.usage()))
            .field("disk", &self.tier.is_some())
            .field("block_size", &self.block_size)
            .field("rules", &self.rules)
            .field("time_to_live", &self.time_to_live)
            .field("strength", &self.strength)
            .field("origin_timeout", &self.origin_timeout)
            .field("negative_ttl", &self.negative_ttl)
            .field("max_in_flight", &self.max_in_flight)
            .field("queue_timeout", &self.queue_timeout)
            .finish_non_exhaustive()
    }
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

const TIME_TO_LIVE: Duration = Duration::from_secs(300);
const TIMEOUT: Duration = Duration::from_secs(30);
const BLOCK_SIZE: u64 = 1024 * 1024;
const COALESCE_GAP: u64 = 1024 * 1024;
const PARALLEL: usize = 10;
const IN_FLIGHT_BYTES: u64 = 1 << 30;
