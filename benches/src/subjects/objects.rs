//! Reads of whole objects through [`ObjectCache`], and the same without a cache.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use cache_disk::DiskTier;
use cache_facade::{
    Freshness, ObjectCache,
    object_store::{Error as StoreError, GetOptions, ObjectStoreExt, path::Path},
};
use cache_testkit::MemoryOrigin;
use tokio::runtime::{Builder, Runtime};

use super::{
    hits::Hits,
    stores::{Store, location},
    tables::BODY_BYTES,
};
use crate::{Run, Subject, workload::Workload};

/// Objects in a store, and the requests for them.
#[derive(Clone)]
pub(crate) struct Objects {
    workload: Workload,
    store: Store,
    runtime: Arc<Runtime>,
}

impl Objects {
    /// Puts the objects of the workload into the store.
    pub(crate) fn new(hits: &Hits, store: Store) -> Self {
        let (workload, runtime) = (hits.workload().clone(), runtime());
        store.fill(&runtime, workload.keys(), BODY_BYTES);
        Self { workload, store, runtime: Arc::new(runtime) }
    }

    /// Reads that the cache answers without a request.
    pub(crate) fn fresh(&self) -> Subject {
        self.fresh_beside("ours", |_| ())
    }

    /// The same as `name`, while what `make` makes of the cache is alive.
    pub(crate) fn fresh_beside<T: Send + Sync + 'static>(
        &self,
        name: &str,
        make: impl Fn(&ObjectCache) -> T + 'static,
    ) -> Subject {
        let objects = self.clone();
        let rule = Freshness::immutable();
        Subject::new(name, move || objects.clone().through_cache(rule, None, &make))
    }

    /// The same with a tier on disk, which these reads do not reach.
    pub(crate) fn fresh_over_disk(&self) -> Subject {
        let objects = self.clone();
        Subject::new("ours:disk", move || {
            let directory = tempfile::tempdir().expect("the temporary folder is writable");
            let tier = DiskTier::new(directory.path());
            objects.clone().through_cache(Freshness::immutable(), Some(tier), |_| directory)
        })
    }

    /// Reads that the cache answers after the store has confirmed that its copy is current.
    pub(crate) fn validated(&self) -> Subject {
        let objects = self.clone();
        Subject::new("ours", move || {
            objects.clone().through_cache(Freshness::strong(), None, |_| ())
        })
    }

    /// Reads of all objects of an origin in memory, which one list validates, or one request each.
    /// An operation is one object.
    pub(crate) fn prefix(&self, name: &str, by_list: bool) -> Subject {
        let objects = self.clone();
        Subject::new(name, move || {
            let (runtime, origin) = (Arc::clone(&objects.runtime), Arc::new(MemoryOrigin::new()));
            for key in objects.workload.keys() {
                origin.write(key, vec![0; BODY_BYTES]);
            }
            let cache = ObjectCache::builder_with_origin(origin).build();
            let cache = cache.expect("settings are in bounds");
            let n_objects = objects.workload.keys().len() as u64;
            let keys = objects.workload.keys().to_vec();
            let read = async move |cache: &ObjectCache| {
                if by_list {
                    let mut objects = cache.get_prefix("");
                    while let Some(object) = objects.next().await {
                        black_box(object.expect("the object exists").bytes());
                    }
                    return;
                }
                for key in &keys {
                    black_box(cache.get(key).await.expect("the object exists").bytes());
                }
            };
            runtime.block_on(read(&cache));
            Run::new(move |_, ops| {
                let n_misses = cache.stats().misses();
                for _ in 0..ops.div_ceil(n_objects) {
                    runtime.block_on(read(&cache));
                }
                assert_eq!(cache.stats().misses(), n_misses, "every read is a hit");
            })
        })
    }

    /// The request that validates a copy, without a cache.
    pub(crate) fn conditional_get(&self) -> Subject {
        let objects = self.clone();
        Subject::new("bare", move || {
            let (objects, copies) = (objects.clone(), objects.copies());
            Run::new(move |_, ops| {
                objects.runtime.block_on(async {
                    for number in objects.workload.requests(0, ops) {
                        let key = &objects.workload.keys()[number];
                        let (tag, body) = &copies[number];
                        let path = Path::parse(key).expect("keys are canonical");
                        let options = GetOptions::new().with_if_none_match(Some(tag.clone()));
                        let response = objects.store.store.get_opts(&path, options).await;
                        let is_current = matches!(response, Err(StoreError::NotModified { .. }));
                        assert!(is_current, "{response:?}");
                        black_box(body.clone());
                    }
                });
            })
        })
    }

    fn through_cache<T: Send + Sync + 'static>(
        self,
        freshness: Freshness,
        tier: Option<DiskTier>,
        beside: impl FnOnce(&ObjectCache) -> T,
    ) -> Run {
        let mut builder = ObjectCache::builder(self.store.store).freshness(freshness);
        if let Some(tier) = tier {
            builder = builder.disk(tier);
        }
        let cache = builder.build().expect("settings are in bounds");
        let (workload, runtime) = (self.workload, self.runtime);
        runtime.block_on(async {
            for key in workload.keys() {
                cache.get(key).await.expect("the object exists");
            }
        });
        let n_misses = cache.stats().misses();
        let beside = beside(&cache);
        Run::new(move |thread, ops| {
            let _alive = &beside;
            runtime.block_on(async {
                for key in workload.of_thread(thread, ops) {
                    let object = cache.get(key).await.expect("the object exists");
                    black_box(object.bytes());
                }
            });
            assert_eq!(cache.stats().misses(), n_misses, "every read is a hit");
        })
    }

    /// ETags and bodies by the number of the key: the state that a reader without a cache keeps.
    fn copies(&self) -> Vec<(String, Bytes)> {
        self.runtime.block_on(async {
            let mut copies = Vec::new();
            for key in self.workload.keys() {
                let response = self.store.store.get(&location(key)).await;
                let response = response.expect("the object exists");
                let tag = response.meta.e_tag.clone().expect("the store sends ETags");
                copies.push((tag, response.bytes().await.expect("the body is whole")));
            }
            copies
        })
    }
}

/// A runtime of one thread, with I/O and timers.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}
