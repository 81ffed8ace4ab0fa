//! Ranges of an object, read over and over through the drop-in store.

use std::{hint::black_box, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_facade::{
    Freshness,
    cache_policy::{Lru, MemoryBackend},
    cache_store::CachedStore,
    object_store::{
        self, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload,
        memory::InMemory, path::Path,
    },
};
use cache_testkit::FaultyStore;
use foyer_memory::{CacheEntry, CacheProperties};
use futures_util::TryStreamExt;
use tokio::runtime::Runtime;

use super::objects::runtime;
use crate::{Run, Subject};

/// A range of an object of `len` bytes.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    len: u64,
    range: Range<u64>,
}

/// Names, ranges, and how often a round reads each.
pub(crate) const WARM: [(&str, Object, u64); 3] = [
    ("4 KiB of 4 MiB", Object { len: 4 << 20, range: 5 << 12..6 << 12 }, 20_000),
    ("256 KiB of 4 MiB", Object { len: 4 << 20, range: 1 << 18..2 << 18 }, 20_000),
    ("8 MiB of 8 MiB", Object { len: 8 << 20, range: 0..8 << 20 }, 1_000),
];

impl Object {
    /// The whole of an object.
    pub(crate) fn whole(len: u64) -> Self {
        Self { len, range: 0..len }
    }

    /// Reads of a cached range. The peers cache the whole object under its path, without a version.
    pub(crate) fn warm(&self) -> Vec<Subject> {
        let mut subjects = Vec::from(freshness_rules().map(|(name, freshness)| {
            self.subject(name, move |runtime, store, range| {
                let cached = cached(store, freshness);
                Box::new(move || runtime.block_on(read(&cached, range.clone())))
            })
        }));
        let object = self.clone();
        subjects.push(Subject::new("moka", move || {
            let cache = moka::sync::Cache::<Path, _>::new(100);
            cache.insert(path(), object.body());
            object.peer(move |path| cache.get(path))
        }));
        let object = self.clone();
        subjects.push(Subject::new("foyer", move || {
            let cache = foyer_memory::CacheBuilder::new(100).build::<CacheProperties>();
            cache.insert(path(), object.body());
            object.peer(move |path| {
                cache.get(path).map(|entry: CacheEntry<Path, Bytes>| entry.value().clone())
            })
        }));
        subjects.push(self.uncached());
        subjects
    }

    /// Reads of a range that is not cached, as a stream.
    pub(crate) fn cold(&self) -> Vec<Subject> {
        let ours = self.subject("ours:strong", |runtime, store, range| {
            let cached = cached(store, Freshness::strong());
            Box::new(move || {
                runtime.block_on(async {
                    let len = read(&cached, range.clone()).await;
                    cached.clear().await.expect("the cache is open");
                    len
                })
            })
        });
        vec![ours, self.uncached()]
    }

    fn uncached(&self) -> Subject {
        self.subject("bare", |runtime, store, range| {
            let store = store.clone();
            Box::new(move || runtime.block_on(read(&store, range.clone())))
        })
    }

    /// Reads twice before the measurement, and counts the requests of the second read.
    fn subject(
        &self,
        name: &str,
        reader: impl Fn(Runtime, &FaultyStore, Range<u64>) -> Reader + 'static,
    ) -> Subject {
        let object = self.clone();
        Subject::new(name, move || {
            let (runtime, store) = (runtime(), FaultyStore::new(Arc::new(InMemory::new())));
            let (path, body) = (path(), PutPayload::from(object.body()));
            let put = runtime.block_on(store.inner().put(&path, body));
            put.expect("the store accepts objects");
            let len = object.range.end - object.range.start;
            let read = reader(runtime, &store, object.range.clone());
            assert_eq!(read(), len, "the range is whole");
            store.reset();
            read();
            let n_requests = store.count() as f64;
            let run = Run::new(move |_, ops| {
                (0..ops).for_each(|_| assert_eq!(read(), len, "the range is whole"));
                // The store records its requests; the record must not grow while it is measured.
                store.reset();
            });
            run.with_figure(move || n_requests)
        })
    }

    fn peer(&self, get: impl Fn(&Path) -> Option<Bytes> + Send + Sync + 'static) -> Run {
        let bound = |bound| usize::try_from(bound).expect("the object fits into memory");
        let (path, range) = (path(), bound(self.range.start)..bound(self.range.end));
        Run::new(move |_, ops| {
            for _ in 0..ops {
                black_box(get(&path).expect("the object is cached").slice(range.clone()));
            }
        })
    }

    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(vec![b'x'; usize::try_from(self.len).expect("the object fits into memory")])
    }
}

/// Reads a range and returns its length.
type Reader = Box<dyn Fn() -> u64 + Send + Sync>;

async fn read(store: &dyn ObjectStore, range: Range<u64>) -> u64 {
    let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
    drained(store.get_opts(&path(), options).await).await
}

/// Drops the chunks of a body as they arrive. Returns how many bytes there were.
pub(crate) async fn drained(response: object_store::Result<GetResult>) -> u64 {
    let mut chunks = response.expect("the object exists").into_stream();
    let mut len = 0;
    while let Some(chunk) = chunks.try_next().await.expect("the body is whole") {
        len += black_box(chunk).len() as u64;
    }
    len
}

/// A cache with room for every object here.
pub(crate) fn cached(store: &FaultyStore, freshness: Freshness) -> CachedStore {
    let backend = MemoryBackend::builder(Lru::new()).max_capacity(256 << 20).build();
    let backend = Arc::new(backend.expect("settings are in bounds"));
    let builder = CachedStore::builder(Arc::new(store.clone()), backend);
    builder.freshness(freshness).build().expect("settings are in bounds")
}

/// Our cache under each kind of rule.
pub(crate) fn freshness_rules() -> [(&'static str, Freshness); 3] {
    [
        ("ours:immutable", Freshness::immutable()),
        ("ours:max_age", Freshness::max_age(Duration::from_secs(3600))),
        ("ours:strong", Freshness::strong()),
    ]
}

/// The path of the object.
pub(crate) fn path() -> Path {
    Path::from("tables/part-0.parquet")
}
