//! Reads of what is not held: the whole object comes from the store, and is kept.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bench_harness::{Run, Subject, Workload};
use bytes::Bytes;
use cache_facade::{
    ObjectCache,
    object_store::{self, ObjectStore, ObjectStoreExt, path::Path},
};
use foyer_memory::CacheProperties;
use tokio::runtime::Runtime;

use super::{objects::runtime, stores::Store};

/// Objects that are asked for once and then, after the cache was emptied, again.
#[derive(Clone)]
pub struct Misses {
    workload: Workload,
    store: Store,
    runtime: Arc<Runtime>,
}

impl Misses {
    /// `n_keys` objects of `body_bytes` each. A cache is emptied once they all are held.
    pub fn new(n_keys: usize, body_bytes: usize, store: Store) -> Self {
        let workload = Workload::cycle(n_keys);
        let runtime = runtime();
        store.fill(&runtime, workload.keys(), body_bytes);
        Self { workload, store, runtime: Arc::new(runtime) }
    }

    /// The reads through our cache, through each peer that reads through, and without any.
    pub fn subjects(&self) -> Vec<Subject> {
        let one = |name, make: fn(&Self) -> Run| {
            let misses = self.clone();
            Subject::new(name, move || make(&misses))
        };
        vec![
            one("ours", Self::ours),
            one("bare", |misses| {
                misses.repeat(misses.origin(), async |origin, key| get(&**origin, key).await, |_| ())
            }),
            one("bare, kept", Self::kept),
            one("quick_cache", Self::quick_cache),
            one("foyer", Self::foyer),
            one("moka", Self::moka),
        ]
    }

    fn ours(&self) -> Run {
        let cache = ObjectCache::builder(self.origin()).build().expect("settings are in bounds");
        let read = async |cache: &ObjectCache, key: &str| {
            cache.get(key).await.expect("the object is there").into_bytes()
        };
        let runtime = Arc::clone(&self.runtime);
        self.repeat(cache, read, move |cache| {
            runtime.block_on(cache.clear()).expect("a cache can be emptied");
        })
    }

    /// The bare GET, whose bodies are held until all were read: what keeping them costs whoever does. An allocator
    /// that gets no body back has to take new pages for the next one.
    fn kept(&self) -> Run {
        let read = async |(kept, origin): &(Mutex<Vec<Bytes>>, Arc<dyn ObjectStore>), key: &str| {
            let body = get(&**origin, key).await;
            kept.lock().expect("no holder panics").push(body.clone());
            body
        };
        let empty = |(kept, _): &(Mutex<Vec<Bytes>>, _)| kept.lock().expect("no holder panics").clear();
        self.repeat((Mutex::default(), self.origin()), read, empty)
    }

    fn quick_cache(&self) -> Run {
        let cache = quick_cache::sync::Cache::<String, Bytes>::new(self.room());
        let read = async |(cache, origin): &(quick_cache::sync::Cache<_, _>, Arc<dyn ObjectStore>),
                          key: &str| {
            let fetch = async { Ok::<_, object_store::Error>(get(&**origin, key).await) };
            cache.get_or_insert_async(key, fetch).await.expect("the object is there")
        };
        self.repeat((cache, self.origin()), read, |(cache, _)| cache.clear())
    }

    fn moka(&self) -> Run {
        let cache = moka::future::Cache::<String, Bytes>::new(self.room() as u64);
        let runtime = Arc::clone(&self.runtime);
        let read = async |(cache, origin): &(moka::future::Cache<_, _>, Arc<dyn ObjectStore>), key: &str| {
            cache.get_with_by_ref(key, get(&**origin, key)).await
        };
        self.repeat((cache, self.origin()), read, move |(cache, _)| {
            cache.invalidate_all();
            runtime.block_on(cache.run_pending_tasks());
        })
    }

    fn foyer(&self) -> Run {
        let builder = foyer_memory::CacheBuilder::new(self.room());
        let cache = builder.build::<CacheProperties>();
        let read = async |(cache, origin): &(foyer_memory::Cache<String, Bytes>, Arc<dyn ObjectStore>),
                          key: &str| {
            let (origin, owned) = (Arc::clone(origin), key.to_owned());
            let fetch = move || async move { Ok::<_, object_store::Error>(get(&*origin, &owned).await) };
            cache.get_or_fetch(key, fetch).await.expect("the object is there").value().clone()
        };
        self.repeat((cache, self.origin()), read, |(cache, _)| cache.clear())
    }

    /// Reads one key after the other; empties the cache whenever all were read.
    fn repeat<C: Send + Sync + 'static>(
        &self,
        cache: C,
        read: impl AsyncFn(&C, &str) -> Bytes + Send + Sync + 'static,
        empty: impl Fn(&C) + Send + Sync + 'static,
    ) -> Run {
        let (keys, runtime, next) = (self.workload.clone(), Arc::clone(&self.runtime), AtomicU64::new(0));
        Run::new(move |_, ops| {
            let n_keys = keys.keys().len() as u64;
            let mut left = ops;
            while left > 0 {
                let start = next.load(Ordering::Relaxed);
                let n = left.min(n_keys - start);
                runtime.block_on(async {
                    for number in keys.requests(start, n) {
                        black_box(read(&cache, &keys.keys()[number]).await);
                    }
                });
                left -= n;
                next.store((start + n) % n_keys, Ordering::Relaxed);
                if start + n == n_keys {
                    empty(&cache);
                }
            }
        })
    }

    fn origin(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store.store)
    }

    fn room(&self) -> usize {
        self.workload.keys().len() * 2
    }
}

async fn get(origin: &dyn ObjectStore, key: &str) -> Bytes {
    let path = Path::parse(key).expect("keys are canonical");
    let answer = origin.get(&path).await.expect("the object is there");
    answer.bytes().await.expect("the body comes")
}
