//! Whole reads, through [`ObjectCache`] over a store, and the same without a cache.

use std::{hint::black_box, sync::Arc};

use bench_harness::{Run, Subject, Workload};
use bytes::Bytes;
use cache_facade::{
    Freshness, ObjectCache,
    object_store::{Error as StoreError, GetOptions, ObjectStoreExt, path::Path},
};
use tokio::runtime::{Builder, Runtime};

use super::{
    hits::Hits,
    stores::{Store, location},
    tables::BODY_BYTES,
};

/// Objects in a store, and who asks for them.
#[derive(Clone)]
pub struct Objects {
    workload: Workload,
    store: Store,
    runtime: Arc<Runtime>,
}

impl Objects {
    /// Puts `n_keys` objects into the store. They are asked for as in [`Hits::new`].
    pub fn new(n_keys: usize, store: Store) -> Self {
        Self::asked(Hits::new(n_keys).workload(), store)
    }

    /// The same, asked for as in [`Hits::to_count`].
    pub fn to_count(n_keys: usize, store: Store) -> Self {
        Self::asked(Hits::to_count(n_keys).workload(), store)
    }

    fn asked(workload: &Workload, store: Store) -> Self {
        let workload = workload.clone();
        let runtime = runtime();
        store.fill(&runtime, workload.keys(), BODY_BYTES);
        Self { workload, store, runtime: Arc::new(runtime) }
    }

    /// Reads that the cache answers without asking.
    pub fn fresh(&self) -> Subject {
        let objects = self.clone();
        Subject::new("ours", move || objects.clone().through_cache(Freshness::immutable(), |_| ()))
    }

    /// The same as `name`, beside what `make` makes of the cache, for as long as it is asked.
    pub fn fresh_beside<T: Send + Sync + 'static>(
        &self,
        name: &str,
        make: impl Fn(&ObjectCache) -> T + 'static,
    ) -> Subject {
        let objects = self.clone();
        Subject::new(name, move || objects.clone().through_cache(Freshness::immutable(), &make))
    }

    /// Reads that the cache answers after the store has confirmed its copy.
    pub fn validated(&self) -> Subject {
        let objects = self.clone();
        Subject::new("ours", move || objects.clone().through_cache(Freshness::strong(), |_| ()))
    }

    /// The request by which a copy is confirmed, without a cache.
    pub fn conditional_get(&self) -> Subject {
        let objects = self.clone();
        Subject::new("bare", move || {
            let (objects, held) = (objects.clone(), objects.held());
            Run::new(move |_, ops| {
                objects.runtime.block_on(async {
                    for number in objects.workload.requests(0, ops) {
                        let (key, (tag, body)) = (&objects.workload.keys()[number], &held[number]);
                        let path = Path::parse(key).expect("keys are canonical");
                        let options = GetOptions::new().with_if_none_match(Some(tag.clone()));
                        let answer = objects.store.store.get_opts(&path, options).await;
                        assert!(matches!(answer, Err(StoreError::NotModified { .. })), "{answer:?}");
                        black_box(body.clone());
                    }
                });
            })
        })
    }

    fn through_cache<T: Send + Sync + 'static>(
        self,
        freshness: Freshness,
        beside: impl FnOnce(&ObjectCache) -> T,
    ) -> Run {
        let cache = ObjectCache::builder(self.store.store).freshness(freshness).build();
        let cache = cache.expect("settings are in bounds");
        let (workload, runtime) = (self.workload, self.runtime);
        runtime.block_on(async {
            for key in workload.keys() {
                cache.get(key).await.expect("the object is there");
            }
        });
        let n_misses = cache.stats().misses();
        let beside = beside(&cache);
        Run::new(move |thread, ops| {
            let _held = &beside;
            runtime.block_on(async {
                for key in workload.of_thread(thread, ops) {
                    let object = cache.get(key).await.expect("the object is there");
                    black_box(object.bytes());
                }
            });
            assert_eq!(cache.stats().misses(), n_misses, "a hit was none");
        })
    }

    /// Tags and bodies, by number of key: what one without a cache would keep.
    fn held(&self) -> Vec<(String, Bytes)> {
        let one = async |key: &String| {
            let answer = self.store.store.get(&location(key)).await.expect("the object is there");
            let tag = answer.meta.e_tag.clone().expect("the store gives tags");
            (tag, answer.bytes().await.expect("the body comes"))
        };
        self.runtime.block_on(async {
            let mut held = Vec::new();
            for key in self.workload.keys() {
                held.push(one(key).await);
            }
            held
        })
    }
}

/// One thread, with all that a store may need.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be had")
}
