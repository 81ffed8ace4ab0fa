//! What the protocol promises to a backend.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use cache_core::{Admission, Backend, Entry, EvictionListener, Moment, Result, TierStats, Usage};

/// Sees whether the calls that change a key come one after the other, and whether their futures are
/// dropped.
pub(super) struct Watched {
    inner: Arc<dyn Backend>,
    changing: Mutex<BTreeSet<String>>,
    overlapped: AtomicBool,
}

impl Watched {
    pub(super) fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, changing: Mutex::default(), overlapped: AtomicBool::new(false) }
    }

    pub(super) fn has_overlapped(&self) -> bool {
        self.overlapped.load(Ordering::Relaxed)
    }

    fn begin(&self, key: &str) {
        // A call whose future is dropped stays on record, and overlaps the next.
        if !self.changing.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
            self.overlapped.store(true, Ordering::Relaxed);
        }
    }

    fn end(&self, key: &str) {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Watched {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.inner.get_now(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.inner.peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        let key = entry.key().to_owned();
        self.begin(&key);
        let inserted = self.inner.insert_now(entry);
        self.end(&key);
        inserted
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let key = entry.key().to_owned();
        self.begin(&key);
        let inserted = self.inner.insert(entry).await;
        self.end(&key);
        inserted
    }

    fn contains(&self, key: &str) -> Option<bool> {
        self.inner.contains(key)
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.begin(key);
        let removed = self.inner.remove(key).await;
        self.end(key);
        removed
    }

    async fn mark_stale(&self, key: &str) -> Result<()> {
        // At any time: a response of the store that shows another version marks without a lock.
        self.inner.mark_stale(key).await
    }

    fn renewed(&self, entry: &Entry) {
        self.inner.renewed(entry);
    }

    fn on_eviction(&self, listener: EvictionListener) -> bool {
        self.inner.on_eviction(listener)
    }

    fn lower_tier(&self) -> Option<TierStats> {
        self.inner.lower_tier()
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.inner.sweep(now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn negative_entries(&self) -> u64 {
        self.inner.negative_entries()
    }
}
