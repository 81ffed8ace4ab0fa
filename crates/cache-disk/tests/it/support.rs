//! Tiers on real directories.

use std::{path::Path, sync::Arc};

use cache_core::{Backend, Entry, Key, Namespace, SystemClock, TierContext, TierState, TierStats};
use cache_disk::{DiskTier, TieredBackend};
use cache_policy::{Lru, MemoryBackend, Ttl};

pub(crate) type Memory = MemoryBackend<Ttl<Lru>>;

pub(crate) fn memory(entries: u64, bytes: u64) -> Memory {
    let builder = MemoryBackend::builder(Ttl::new(Lru::new()));
    builder.max_entries(entries).max_capacity(bytes).build().expect("the settings are right")
}

pub(crate) fn tier(path: &Path) -> DiskTier {
    DiskTier::new(path).max_capacity(64 << 20).segment_bytes(1 << 20).write_budget(None)
}

pub(crate) fn context() -> TierContext {
    TierContext::new(Namespace::named("test"), Arc::new(SystemClock::new()))
}

/// Opens the tier and waits until it has started.
pub(crate) async fn open<M: Backend>(memory: M, tier: DiskTier) -> TieredBackend<M> {
    let backend = TieredBackend::new(memory, &tier, context()).expect("the directory is usable");
    until(&backend, |stats| stats.state != TierState::Starting).await;
    backend
}

/// Yields until the tier's counters are as `is_so` says.
pub(crate) async fn until(backend: &impl Backend, is_so: impl Fn(&TierStats) -> bool) {
    while !is_so(&backend.lower_tier().expect("it has a tier")) {
        tokio::task::yield_now().await;
    }
}

/// Yields until all that waited was written or dropped.
pub(crate) async fn written(backend: &impl Backend) {
    until(backend, |stats| stats.queue_entries == 0).await;
}

pub(crate) fn entry(key: &str, e_tag: &str, body: Vec<u8>) -> Entry {
    let key = Key::parse(key).expect("the key is right");
    let builder = Entry::builder(&key, body.into()).e_tag(e_tag.to_owned());
    builder.namespace(Some(Namespace::named("test"))).build()
}

/// A body that tells its key and version.
pub(crate) fn body_of(key: &str, len: usize) -> Vec<u8> {
    let mut body = key.repeat(len / key.len() + 1).into_bytes();
    body.truncate(len);
    body
}

pub(crate) async fn look_up(backend: &impl Backend, key: &str) -> Option<Entry> {
    match backend.get_now(key) {
        None => backend.get(key).await.expect("the tier does not fail"),
        shown => shown,
    }
}
