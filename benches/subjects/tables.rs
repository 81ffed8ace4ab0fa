//! The caches in memory, ours and the peers', behind one small trait: what is asked of them is written once.

use std::{
    hint::black_box,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use bench_harness::{Run, Subject};
use bytes::Bytes;
use cache_core::{Backend, Entry, EvictionPolicy, Key};
use cache_facade::{ObjectCache, object_store::memory::InMemory};
use cache_policy::{Gdsf, Lru, MemoryBackend, S3Fifo, Sieve, Ttl, WTinyLfu};
use foyer_memory::{CacheProperties, EvictionConfig, LfuConfig, S3FifoConfig};

/// Bodies by key, to be looked up. Static calls: what is measured is the cache.
pub trait Lookup: Send + Sync + 'static {
    /// Looks the key up and uses the body. Whether it was there.
    fn get(&self, key: &str) -> bool;
}

/// A cache of bodies.
pub trait Table: Lookup {
    /// Makes what the table holds of this and puts it in.
    fn insert(&self, key: &Key, body: Bytes);
    /// Does what was put off, if anything ever is.
    fn settle(&self) {}
    /// The bytes that it says it holds, if it counts them.
    fn accounted_bytes(&self) -> f64 {
        0.0
    }
}

/// What is done with a table, whichever it is.
pub trait Work: Clone + 'static {
    /// How many entries the table is to have room for.
    fn capacity(&self) -> u64;
    /// Fills the table, and says what is to be repeated.
    fn start<T: Table>(self, table: T) -> Run;
}

/// Our backend, as [`ObjectCache`] makes it by default.
pub struct Ours(Arc<dyn Backend>);
/// Our backend, under a policy of choice.
struct Under<P>(MemoryBackend<P>);
/// One look-up and one handle, without a lock: what no cache can go below.
pub struct Floor(Map);
/// What one writes who needs no eviction.
struct Locked(RwLock<Map>);
struct QuickCache(quick_cache::sync::Cache<String, Bytes>);
struct QuickCacheArc(quick_cache::sync::Cache<String, Arc<Copy>>);
struct Moka(moka::sync::Cache<String, Bytes>);
struct Foyer(foyer_memory::Cache<String, Bytes>);

type Map = hashbrown::HashMap<String, Arc<Copy>, foldhash::quality::RandomState>;

/// What a cache of objects must know besides the body; who builds one on a bare map holds this.
struct Copy {
    body: Bytes,
    e_tag: Box<str>,
    validated_at: AtomicU64,
}

/// Every cache that can do the work, the default of ours first.
pub fn all(work: &impl Work) -> Vec<Subject> {
    let mut subjects = vec![subject("ours", work, Ours::new)];
    subjects.extend(peers(work));
    subjects
}

/// The caches of others.
pub fn peers(work: &impl Work) -> Vec<Subject> {
    vec![
        subject("quick_cache", work, |n| QuickCache(quick_cache::sync::Cache::new(count(n)))),
        subject("quick_cache-arc", work, |n| QuickCacheArc(quick_cache::sync::Cache::new(count(n)))),
        subject("foyer", work, |n| Foyer::new(n, S3FifoConfig::default().into())),
        subject("foyer:lfu", work, |n| Foyer::new(n, LfuConfig::default().into())),
        subject("moka", work, |n| Moka(moka::sync::Cache::new(n))),
    ]
}

/// Our backend under each of the policies.
pub fn ours_under_each_policy(work: &impl Work) -> Vec<Subject> {
    vec![
        subject("ours:lru", work, |n| Under::new(n, Lru::new())),
        subject("ours:sieve", work, |n| Under::new(n, Sieve::new())),
        subject("ours:s3-fifo", work, |n| Under::new(n, S3Fifo::new())),
        subject("ours:w-tiny-lfu", work, |n| Under::new(n, WTinyLfu::new())),
        subject("ours:gdsf", work, |n| Under::new(n, Gdsf::new())),
        subject("ours:ttl-lru", work, |n| Under::new(n, Ttl::new(Lru::new()))),
    ]
}

/// A map under a lock. It holds all it is given.
pub fn locked_map(work: &impl Work) -> Subject {
    subject("rwlock-map", work, |_| Locked(RwLock::default()))
}

fn subject<T: Table, W: Work>(name: &str, work: &W, table: impl Fn(u64) -> T + 'static) -> Subject {
    let work = work.clone();
    Subject::new(name, move || work.clone().start(table(work.capacity())))
}

impl Ours {
    /// One with room for that many entries.
    pub fn new(capacity: u64) -> Self {
        let cache = ObjectCache::builder(Arc::new(InMemory::new()))
            .backend(cache_facade::Memory::new().max_capacity(CAPACITY_BYTES).max_entries(capacity))
            .build()
            .expect("settings are in bounds");
        Self(Arc::clone(cache.read_through().backend()))
    }
}

impl<P: EvictionPolicy> Under<P> {
    fn new(capacity: u64, policy: P) -> Self {
        let builder = MemoryBackend::builder(policy).max_capacity(CAPACITY_BYTES).max_entries(capacity);
        Self(builder.build().expect("settings are in bounds"))
    }
}

impl Foyer {
    fn new(capacity: u64, eviction: EvictionConfig) -> Self {
        let builder = foyer_memory::CacheBuilder::new(count(capacity)).with_eviction_config(eviction);
        Self(builder.build::<CacheProperties>())
    }
}

impl Lookup for Ours {
    fn get(&self, key: &str) -> bool {
        hit(self.0.get_now(key))
    }
}

impl Table for Ours {
    fn insert(&self, key: &Key, body: Bytes) {
        insert(&*self.0, key, body);
    }

    fn accounted_bytes(&self) -> f64 {
        self.0.usage().bytes as f64
    }
}

impl<P: EvictionPolicy> Lookup for Under<P> {
    fn get(&self, key: &str) -> bool {
        hit(self.0.get_now(key))
    }
}

impl<P: EvictionPolicy> Table for Under<P> {
    fn insert(&self, key: &Key, body: Bytes) {
        insert(&self.0, key, body);
    }

    fn accounted_bytes(&self) -> f64 {
        self.0.usage().bytes as f64
    }
}

fn hit(found: Option<Entry>) -> bool {
    found.is_some_and(|entry| used(entry.body()))
}

fn insert(backend: &(impl Backend + ?Sized), key: &Key, body: Bytes) {
    let entry = Entry::builder(key, body).e_tag(E_TAG).build();
    let stored = backend.insert(entry).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(stored.is_ready(), "a backend in memory does not wait");
}

impl Floor {
    /// All of `keys`, with a body each.
    pub fn new(keys: &[String]) -> Self {
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

/// A body of its own allocation, as one that came over a network has.
pub fn body() -> Bytes {
    Bytes::from(vec![b'x'; BODY_BYTES])
}

fn count(entries: u64) -> usize {
    usize::try_from(entries).unwrap_or(usize::MAX)
}

/// The length of each body.
pub const BODY_BYTES: usize = 100;

/// As S3 writes it: 34 bytes.
pub const E_TAG: &str = "\"9e107d9d372bb6826bd81d3542a419d6\"";

/// Enough for every workload: what limits is the number of entries, the measure that all have in common.
const CAPACITY_BYTES: u64 = 16 << 30;
