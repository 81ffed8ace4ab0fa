//! Reads of objects that are not cached: each comes from the store, and is cached.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use cache_facade::{ObjectCache, object_store::ObjectStore};
use tokio::runtime::Runtime;

use super::{objects::runtime, stores::Store};
use crate::{
    Run, Subject,
    read_through::{Foyer, Moka, QuickCache, ReadThrough, Result, Source, Uncached},
    workload::Workload,
};

/// Objects that are read once and then, after the cache was cleared, again.
#[derive(Clone)]
pub(crate) struct Misses {
    workload: Workload,
    store: Store,
    runtime: Arc<Runtime>,
}

impl Misses {
    /// `n_keys` objects of `body_bytes` each. A cache is cleared once it holds them all.
    pub(crate) fn new(n_keys: usize, body_bytes: usize, store: Store) -> Self {
        let workload = Workload::cycle(n_keys);
        let runtime = runtime();
        store.fill(&runtime, workload.keys(), body_bytes);
        Self { workload, store, runtime: Arc::new(runtime) }
    }

    /// Reads through our cache, through each peer that reads through, and without a cache.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let room = self.workload.keys().len() * 2;
        vec![
            self.subject("ours", |store| {
                ObjectCache::builder(store).build().expect("settings are in bounds")
            }),
            self.subject("bare", Uncached),
            self.subject("bare, kept", |store| Kept(Mutex::default(), store)),
            self.subject("quick_cache", move |store| QuickCache::new(room, store)),
            self.subject("foyer", move |store| Foyer::new(room, store)),
            self.subject("moka", move |store| Moka::new(room, store)),
        ]
    }

    /// Reads one key after the other; clears the cache whenever all were read.
    fn subject<C: ReadThrough>(
        &self,
        name: &str,
        make: impl Fn(Arc<dyn ObjectStore>) -> C + 'static,
    ) -> Subject {
        let misses = self.clone();
        Subject::new(name, move || {
            let Misses { workload, store, runtime } = misses.clone();
            let (cache, next) = (make(store.store), AtomicU64::new(0));
            Run::new(move |_, ops| {
                let n_keys = workload.keys().len() as u64;
                let mut left = ops;
                while left > 0 {
                    let start = next.load(Ordering::Relaxed);
                    let n = left.min(n_keys - start);
                    runtime.block_on(async {
                        for number in workload.requests(start, n) {
                            let body = cache.get(&workload.keys()[number]).await;
                            black_box(body.expect("the object exists"));
                        }
                        if start + n == n_keys {
                            cache.clear().await;
                        }
                    });
                    left -= n;
                    next.store((start + n) % n_keys, Ordering::Relaxed);
                }
            })
        })
    }
}

/// The bodies are kept until all were read: the cost of keeping them, whichever cache does. An
/// allocator that gets no body back has to take new pages for the next one.
struct Kept<S>(Mutex<Vec<Bytes>>, S);

impl<S: Source> ReadThrough for Kept<S> {
    async fn get(&self, key: &str) -> Result<Bytes> {
        let body = self.1.fetch(key).await?;
        self.0.lock().expect("nothing panics under this lock").push(body.clone());
        Ok(body)
    }

    async fn clear(&self) {
        self.0.lock().expect("nothing panics under this lock").clear();
    }
}
