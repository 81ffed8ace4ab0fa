//! What is put between a client and its store.

use std::sync::Arc;

use object_store::ObjectStore;

/// One way to use a store. Every client runs over each of [`WRAPPINGS`], and each time from a store that is new.
#[derive(Debug, Clone, Copy)]
pub struct Wrapping {
    /// The `store` of its rows.
    pub name: &'static str,
    /// Wraps a store, once for all sessions of a client.
    pub wrap: fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
}

/// A caching store is a line here.
pub const WRAPPINGS: &[Wrapping] = &[Wrapping { name: "bare", wrap: bare }];

fn bare(store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    store
}
