//! Ranges of an object, read over and over.

use std::{ops::Range, sync::Arc};

use bench_harness::{Run, Subject};
use bytes::Bytes;
use cache_facade::{
    Freshness,
    cache_core::Backend,
    cache_policy::{Lru, MemoryBackend},
    cache_store::CachedStore,
    object_store::{
        self, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload,
        local::LocalFileSystem, memory::InMemory, path::Path,
    },
};
use cache_testkit::FaultyStore;
use foyer_memory::CacheProperties;
use futures_util::TryStreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::objects::runtime;

/// What is read: a range of an object of that many bytes.
#[derive(Debug, Clone)]
pub struct Object {
    len: u64,
    range: Range<u64>,
}

/// By name, with how often a round reads it.
pub const WARM: [(&str, Object, u64); 3] = [
    ("4 KiB of 4 MiB", Object { len: 4 << 20, range: 5 << 12..6 << 12 }, 20_000),
    ("256 KiB of 4 MiB", Object { len: 4 << 20, range: 1 << 18..2 << 18 }, 20_000),
    ("8 MiB of 8 MiB", Object { len: 8 << 20, range: 0..8 << 20 }, 1_000),
];

impl Object {
    /// All of an object.
    pub fn whole(len: u64) -> Self {
        Self { len, range: 0..len }
    }

    /// Reads of what is held. The peers hold the whole object under its path, and know nothing of versions.
    pub fn warm(&self) -> Vec<Subject> {
        let rules = [
            ("ours:immutable", Freshness::immutable()),
            ("ours:max_age", Freshness::max_age(HOUR)),
            ("ours:strong", Freshness::strong()),
        ];
        let ours = rules.map(|(name, freshness)| {
            let object = self.clone();
            Subject::new(name, move || object.ours(freshness))
        });
        let (held, cached) = (self.clone(), self.clone());
        let mut subjects = Vec::from(ours);
        subjects.push(Subject::new("moka", move || {
            let cache = moka::sync::Cache::<Path, Bytes>::new(100);
            cache.insert(path(), held.body());
            held.peer(move |path| cache.get(path))
        }));
        subjects.push(Subject::new("foyer", move || {
            let cache = foyer_memory::CacheBuilder::new(100).build::<CacheProperties>();
            cache.insert(path(), cached.body());
            cached.peer(move |path| {
                cache.get(path).map(|entry: foyer_memory::CacheEntry<Path, Bytes>| entry.value().clone())
            })
        }));
        subjects.push(self.bare());
        subjects
    }

    /// Reads of what is not held, by the stream.
    pub fn cold(&self) -> Vec<Subject> {
        let object = self.clone();
        let ours = Subject::new("ours:strong", move || {
            let (runtime, store) = object.stored();
            let cached = cached(&store, Freshness::strong());
            object.run(runtime, store, move |runtime, range| {
                runtime.block_on(async {
                    let read = read(&cached, range).await;
                    cached.clear().await.expect("the cache is open");
                    read
                })
            })
        });
        vec![ours, self.bare()]
    }

    fn bare(&self) -> Subject {
        let object = self.clone();
        Subject::new("bare", move || {
            let (runtime, store) = object.stored();
            let bare = store.clone();
            object.run(runtime, store, move |runtime, range| runtime.block_on(read(&bare, range)))
        })
    }

    fn ours(&self, freshness: Freshness) -> Run {
        let (runtime, store) = self.stored();
        let cached = cached(&store, freshness);
        self.run(runtime, store, move |runtime, range| runtime.block_on(read(&cached, range)))
    }

    /// Reads, once before it is measured, and counts what the store is asked.
    fn run(
        &self,
        runtime: Runtime,
        store: FaultyStore,
        read: impl Fn(&Runtime, Range<u64>) -> u64 + Send + Sync + 'static,
    ) -> Run {
        let range = self.range.clone();
        let len = range.end - range.start;
        assert_eq!(read(&runtime, range.clone()), len, "the range is whole");
        let asked = {
            store.reset();
            read(&runtime, range.clone());
            store.count()
        };
        // What was asked is remembered by the store, which a measurement must not make grow.
        let run = Run::new(move |_, ops| {
            for _ in 0..ops {
                assert_eq!(read(&runtime, range.clone()), len, "the range is whole");
            }
            store.reset();
        });
        #[expect(clippy::cast_precision_loss, reason = "it is a handful")]
        run.with_figure(move || asked as f64)
    }

    fn peer(&self, get: impl Fn(&Path) -> Option<Bytes> + Send + Sync + 'static) -> Run {
        let (path, range) = (path(), self.range.clone());
        Run::new(move |_, ops| {
            for _ in 0..ops {
                let body = get(&path).expect("it is held");
                let range = usize::try_from(range.start).expect("it fits")
                    ..usize::try_from(range.end).expect("it fits");
                std::hint::black_box(body.slice(range));
            }
        })
    }

    fn stored(&self) -> (Runtime, FaultyStore) {
        let (runtime, store) = (runtime(), FaultyStore::new(Arc::new(InMemory::new())));
        let (path, body) = (path(), PutPayload::from(self.body()));
        runtime.block_on(store.inner().put(&path, body)).expect("the store takes objects");
        (runtime, store)
    }

    fn body(&self) -> Bytes {
        Bytes::from(vec![b'x'; usize::try_from(self.len).expect("it fits")])
    }
}

/// A stream of 64 MiB from local disk, through a cache that holds 8.
pub struct Streamed {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    _folder: TempDir,
}

impl Streamed {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let store = LocalFileSystem::new_with_prefix(folder.path()).expect("the folder is there");
        let (runtime, body) = (runtime(), Object::whole(64 << 20).body());
        runtime.block_on(store.put(&path(), body.into())).expect("the store takes objects");
        Self { runtime, store: Arc::new(store), _folder: folder }
    }

    /// The most that is `in_use` above what the cache holds, as seen with each part.
    pub fn peak_of_ours(&self, in_use: impl Fn() -> f64) -> f64 {
        let backend = MemoryBackend::builder(Lru::new()).max_capacity(8 * BLOCK).shards(1).build();
        let backend: Arc<dyn Backend> = Arc::new(backend.expect("settings are in bounds"));
        let builder = CachedStore::builder(Arc::clone(&self.store), Arc::clone(&backend));
        let cached = builder.block_size(BLOCK).build().expect("settings are in bounds");
        self.peak(&cached, || in_use() - backend.usage().bytes as f64)
    }

    pub fn peak_of_bare(&self, in_use: impl Fn() -> f64) -> f64 {
        self.peak(&self.store, in_use)
    }

    fn peak(&self, store: &dyn ObjectStore, in_use: impl Fn() -> f64) -> f64 {
        self.runtime.block_on(async {
            let before = in_use();
            let mut chunks = store.get(&path()).await.expect("it is there").into_stream();
            let mut peak: f64 = 0.0;
            while let Some(chunk) = chunks.try_next().await.expect("the body is whole") {
                peak = peak.max(in_use() - before);
                drop(chunk);
            }
            peak
        })
    }
}

/// How many bytes came.
async fn read(store: &dyn ObjectStore, range: Range<u64>) -> u64 {
    let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
    drained(store.get_opts(&path(), options).await).await
}

/// Takes a body as it comes, and keeps nothing. How many bytes came.
pub async fn drained(answer: object_store::Result<GetResult>) -> u64 {
    let mut chunks = answer.expect("the object is there").into_stream();
    let mut len = 0;
    while let Some(chunk) = chunks.try_next().await.expect("the body is whole") {
        len += std::hint::black_box(chunk).len() as u64;
    }
    len
}

/// A cache that has room for all.
pub fn cached(store: &FaultyStore, freshness: Freshness) -> CachedStore {
    let backend = MemoryBackend::builder(Lru::new()).max_capacity(256 << 20).build();
    let backend = Arc::new(backend.expect("settings are in bounds"));
    let cached = CachedStore::builder(Arc::new(store.clone()), backend).freshness(freshness).build();
    cached.expect("settings are in bounds")
}

/// Where the object is.
pub fn path() -> Path {
    Path::from("tables/part-0.parquet")
}

/// Bytes of a block, as by default.
pub const BLOCK: u64 = 1 << 20;

pub const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);
