//! The stores to compare.

use std::{sync::Arc, time::Duration};

use cache_core::Freshness;
use cache_policy::{Lru, MemoryBackend};
use cache_store::CachedStore;
use object_store::ObjectStore;

/// One way to use a store. Every client runs over each of [`WRAPPINGS`], each time with a new
/// store.
#[derive(Debug, Clone, Copy)]
pub struct Wrapping {
    /// The name in the table.
    pub name: &'static str,
    /// A read may miss writes of others that are younger than this.
    pub max_age: Duration,
    /// Wraps the store, once for all sessions of a client.
    pub wrap: fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
}

/// Add a line to compare another store.
pub const WRAPPINGS: &[Wrapping] = &[
    Wrapping { name: "uncached", max_age: Duration::ZERO, wrap: uncached },
    Wrapping { name: "cached, strong", max_age: Duration::ZERO, wrap: strong },
    Wrapping { name: "cached, max_age 2 s", max_age: MAX_AGE, wrap: lasting },
];

fn uncached(store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    store
}

fn strong(store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    cached(store, Freshness::strong())
}

fn lasting(store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    cached(store, Freshness::max_age(MAX_AGE))
}

fn cached(store: Arc<dyn ObjectStore>, freshness: Freshness) -> Arc<dyn ObjectStore> {
    let backend =
        MemoryBackend::builder(Lru::new()).max_capacity(1 << 30).build().expect("the settings are \
            right");
    let cached = CachedStore::builder(store, Arc::new(backend)).freshness(freshness).build();
    Arc::new(cached.expect("the settings are right"))
}

const MAX_AGE: Duration = Duration::from_secs(2);
