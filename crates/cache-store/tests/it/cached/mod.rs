//! `CachedStore`: what it asks the wrapped store for, and what its callers get.

mod get;

use std::sync::Arc;

use cache_store::{CachedStore, CachedStoreBuilder};
use cache_testkit::{FaultyStore, MapBackend};

fn cached_builder(store: &FaultyStore) -> CachedStoreBuilder {
    CachedStore::builder(Arc::new(store.clone())).backend(Arc::new(MapBackend::new()))
}

fn cached(store: &FaultyStore) -> CachedStore {
    cached_builder(store).build().unwrap()
}
