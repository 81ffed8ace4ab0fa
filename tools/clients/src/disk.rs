//! A cache with a disk below it, for a client that runs in two processes.

use std::{path::Path, sync::Arc};

use cache_core::{Freshness, Namespace, TierState};
use cache_disk::DiskTier;
use cache_policy::{Lru, MemoryBackend};
use cache_store::CachedStore;
use object_store::ObjectStore;

use crate::Result;

/// Returns a cache over `store` with the disk in `directory`, which it has read: objects that an
/// earlier process has cached there are revalidated by one request each.
///
/// # Errors
///
/// If the directory cannot be used.
pub async fn disk_cache(store: Arc<dyn ObjectStore>, directory: &Path) -> Result<CachedStore> {
    let memory = MemoryBackend::builder(Lru::new()).max_capacity(MEMORY_BYTES).build()?;
    let cached = CachedStore::builder(store, Arc::new(memory))
        .freshness(Freshness::immutable())
        .disk(DiskTier::new(directory).max_capacity(DISK_BYTES).write_budget(None))
        // The same in each process.
        .namespace(Namespace::named("the store of the clients"))
        .build()?;
    while cached.lower_tier().is_some_and(|tier| tier.state == TierState::Starting) {
        tokio::task::yield_now().await;
    }
    Ok(cached)
}

/// Less than the tables have.
const MEMORY_BYTES: u64 = 32 << 20;
const DISK_BYTES: u64 = 4 << 30;
