//! The caches in memory, ours and the peers', behind one small trait, so that the work is written
//! once.

use std::{
    hint::black_box,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use bytes::Bytes;
use cache_core::{Backend, Entry, EvictionPolicy, Key};
use cache_facade::{Memory, ObjectCache, object_store::memory::InMemory};
use cache_policy::{Gdsf, Lru, MemoryBackend, S3Fifo, Sieve, Ttl, WTinyLfu};
use foyer_memory::{CacheProperties, EvictionConfig, LfuConfig, S3FifoConfig};

use crate::{Run, Subject};

/// Bodies by key. A trait for static dispatch: only the cache is measured.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// Looks the key up and uses the body. Returns whether it was found.
    fn get(&self, key: &str) -> bool;
}

/// A cache of bodies.
pub(crate) trait Table: Lookup {
    /// Makes an entry of the kind that the table holds, and inserts it.
    fn insert(&self, key: &Key, body: Bytes);
    /// Does pending maintenance, if the table defers any.
    fn settle(&self) {}
    /// The bytes that the table accounts for; zero if it counts none.
    fn accounted_bytes(&self) -> f64 {
        0.0
    }
}

/// Work on any table.
pub(crate) trait Work: Clone + 'static {
    /// How many entries the table has room for.
    fn capacity(&self) -> u64;
    /// Fills the table, and returns the work to repeat.
    fn start<T: Table>(self, table: T) -> Run;
}

/// Our backend.
struct Ours<B>(B);
/// One look-up and one handle, without a lock: the lower bound for every cache.
pub(crate) struct Floor(Map);
/// A map under a lock, without eviction.
struct Locked(RwLock<Map>);
struct QuickCache(quick_cache::sync::Cache<String, Bytes>);
struct QuickCacheArc(quick_cache::sync::Cache<String, Arc<Copy>>);
struct Moka(moka::sync::Cache<String, Bytes>);
struct Foyer(foyer_memory::Cache<String, Bytes>);

type Map = hashbrown::HashMap<String, Arc<Copy>, foldhash::quality::RandomState>;

/// An entry as an object cache built on a plain map would keep it: the body, and the data that
/// validation needs.
struct Copy {
    body: Bytes,
    e_tag: Box<str>,
    validated_at: AtomicU64,
}

/// Every cache; the default of ours first.
pub(crate) fn all(work: &impl Work) -> Vec<Subject> {
    let mut subjects = vec![subject("ours", work, ours)];
    subjects.extend(peers(work));
    subjects
}

/// The peers.
pub(crate) fn peers(work: &impl Work) -> Vec<Subject> {
    vec![
        subject("quick_cache", work, |n| QuickCache(quick_cache::sync::Cache::new(count(n)))),
        subject("quick_cache-arc", work, |n| {
            QuickCacheArc(quick_cache::sync::Cache::new(count(n)))
        }),
        subject("foyer", work, |n| Foyer::new(n, S3FifoConfig::default().into())),
        subject("foyer:lfu", work, |n| Foyer::new(n, LfuConfig::default().into())),
        subject("moka", work, |n| Moka(moka::sync::Cache::new(n))),
    ]
}

/// Our backend under each of the policies.
fn ours_under_each_policy(work: &impl Work) -> Vec<Subject> {
    vec![
        subject("ours:lru", work, |n| under(n, Lru::new())),
        subject("ours:sieve", work, |n| under(n, Sieve::new())),
        subject("ours:s3-fifo", work, |n| under(n, S3Fifo::new())),
        subject("ours:w-tiny-lfu", work, |n| under(n, WTinyLfu::new())),
        subject("ours:gdsf", work, |n| under(n, Gdsf::new())),
        subject("ours:ttl-lru", work, |n| under(n, Ttl::new(Lru::new()))),
    ]
}

/// Every cache, ours under each policy too.
pub(crate) fn all_policies(work: &impl Work) -> Vec<Subject> {
    let mut subjects = all(work);
    subjects.extend(ours_under_each_policy(work));
    subjects
}

/// A map under a lock. It evicts nothing.
pub(crate) fn locked_map(work: &impl Work) -> Subject {
    subject("rwlock-map", work, |_| Locked(RwLock::default()))
}

fn subject<T: Table>(name: &str, work: &impl Work, table: impl Fn(u64) -> T + 'static) -> Subject {
    let work = work.clone();
    Subject::new(name, move || work.clone().start(table(work.capacity())))
}

/// The backend that [`ObjectCache`] makes by default.
fn ours(capacity: u64) -> Ours<Arc<dyn Backend>> {
    let cache = ObjectCache::builder(Arc::new(InMemory::new()))
        .backend(Memory::new().max_capacity(CAPACITY_BYTES).max_entries(capacity))
        .build()
        .expect("settings are in bounds");
    Ours(Arc::clone(cache.read_through().backend()))
}

fn under<P: EvictionPolicy>(capacity: u64, policy: P) -> Ours<MemoryBackend<P>> {
    let builder = MemoryBackend::builder(policy).max_capacity(CAPACITY_BYTES);
    Ours(builder.max_entries(capacity).build().expect("settings are in bounds"))
}

impl Foyer {
    fn new(capacity: u64, eviction: EvictionConfig) -> Self {
        let builder = foyer_memory::CacheBuilder::new(count(capacity));
        Self(builder.with_eviction_config(eviction).build::<CacheProperties>())
    }
}

impl<B: Backend> Lookup for Ours<B> {
    fn get(&self, key: &str) -> bool {
        self.0.get_now(key).is_some_and(|entry| used(entry.body()))
    }
}

impl<B: Backend> Table for Ours<B> {
    fn insert(&self, key: &Key, body: Bytes) {
        let entry = Entry::builder(key, body).e_tag(E_TAG).build();
        let stored = self.0.insert(entry).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(stored.is_ready(), "a backend in memory never waits");
    }

    fn accounted_bytes(&self) -> f64 {
        self.0.usage().bytes as f64
    }
}

impl Floor {
    /// With all of `keys`, and a body for each.
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| (key.clone(), Copy::new(body()))).collect())
    }
}

impl Lookup for Floor {
    fn get(&self, key: &str) -> bool {
        self.0.get(key).cloned().is_some_and(|copy| copy.is_used())
    }
}

impl Lookup for Locked {
    fn get(&self, key: &str) -> bool {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).cloned().is_some_and(|copy| copy.is_used())
    }
}

impl Table for Locked {
    fn insert(&self, key: &Key, body: Bytes) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(key.as_str().to_owned(), Copy::new(body));
    }
}

impl Lookup for QuickCache {
    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|body| used(&body))
    }
}

impl Table for QuickCache {
    fn insert(&self, key: &Key, body: Bytes) {
        self.0.insert(key.as_str().to_owned(), body);
    }
}

impl Lookup for QuickCacheArc {
    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|copy| copy.is_used())
    }
}

impl Table for QuickCacheArc {
    fn insert(&self, key: &Key, body: Bytes) {
        self.0.insert(key.as_str().to_owned(), Copy::new(body));
    }
}

impl Lookup for Foyer {
    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|entry| used(entry.value()))
    }
}

impl Table for Foyer {
    fn insert(&self, key: &Key, body: Bytes) {
        self.0.insert(key.as_str().to_owned(), body);
    }
}

impl Lookup for Moka {
    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|body| used(&body))
    }
}

impl Table for Moka {
    fn insert(&self, key: &Key, body: Bytes) {
        self.0.insert(key.as_str().to_owned(), body);
    }

    fn settle(&self) {
        self.0.run_pending_tasks();
    }
}

impl Copy {
    fn new(body: Bytes) -> Arc<Self> {
        Arc::new(Self { body, e_tag: E_TAG.into(), validated_at: AtomicU64::new(1) })
    }

    fn is_used(&self) -> bool {
        black_box((&self.e_tag, self.validated_at.load(Ordering::Relaxed)));
        used(&self.body)
    }
}

fn used(body: &Bytes) -> bool {
    black_box(body.len()) == BODY_BYTES
}

/// A body in an allocation of its own, like one from the network.
pub(crate) fn body() -> Bytes {
    Bytes::from(vec![b'x'; BODY_BYTES])
}

fn count(entries: u64) -> usize {
    usize::try_from(entries).unwrap_or(usize::MAX)
}

/// The length of each body.
pub(crate) const BODY_BYTES: usize = 100;

/// As S3 writes it: 34 bytes.
pub(crate) const E_TAG: &str = "\"9e107d9d372bb6826bd81d3542a419d6\"";

/// Enough for every workload: the limit is the number of entries, which all caches support.
const CAPACITY_BYTES: u64 = 16 << 30;
