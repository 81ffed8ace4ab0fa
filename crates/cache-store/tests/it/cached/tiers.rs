//! A backend of two tiers: a map in memory over a map of bytes that takes waiting, as a disk does.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Admission, Backend, Entry, LowerTier, Moment, Rejection, Result, TierContext, TierStats, Usage,
};
use cache_testkit::Gate;

/// A clone is another handle, so that a test can look into the backend that a cache uses.
#[derive(Clone, Default)]
pub(crate) struct Tiers {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    memory: Mutex<HashMap<String, Entry>>,
    disk: Mutex<HashMap<String, Bytes>>,
    /// The keys that `get` was called with.
    gets: Mutex<Vec<String>>,
    /// These are found in the index, and cannot be read.
    unreadable: Mutex<HashSet<String>>,
    /// The index shows the unreadable ones also after they were read.
    is_forgetful: AtomicBool,
    /// Nothing is stored in memory.
    has_no_memory: AtomicBool,
    rejects: AtomicBool,
    reads: Gate,
    inserts: Gate,
    lower: Mutex<TierStats>,
    context: Mutex<Option<TierContext>>,
}

impl Tiers {
    /// One whose memory stores nothing.
    pub(crate) fn of_disk_alone() -> Self {
        let tiers = Self::default();
        tiers.inner.has_no_memory.store(true, Ordering::Relaxed);
        tiers
    }

    /// Loses what is in memory, as the end of a process does.
    pub(crate) fn lose_memory(&self) {
        self.inner.memory.lock().unwrap().clear();
    }

    /// From now on `get` does not find the entry, though the index does.
    pub(crate) fn spoil(&self, key: &str) {
        assert!(self.inner.disk.lock().unwrap().contains_key(key), "{key}");
        self.inner.unreadable.lock().unwrap().insert(key.to_owned());
    }

    /// The index goes on showing entries that cannot be read.
    pub(crate) fn forget_failures(&self) {
        self.inner.is_forgetful.store(true, Ordering::Relaxed);
    }

    /// From now on every entry is rejected.
    pub(crate) fn reject(&self) {
        self.inner.rejects.store(true, Ordering::Relaxed);
    }

    /// Returns the keys that `get` was called with since the last call of this.
    pub(crate) fn gets(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.gets.lock().unwrap())
    }

    /// Returns how many blocks `get` was called for since the last call of this.
    pub(crate) fn blocks_read(&self) -> usize {
        self.gets().iter().filter(|key| key.starts_with("b/")).count()
    }

    /// Returns how many blocks are on disk.
    pub(crate) fn blocks(&self) -> usize {
        self.inner.disk.lock().unwrap().keys().filter(|key| key.starts_with("b/")).count()
    }

    /// Where `get` waits.
    pub(crate) fn reads(&self) -> &Gate {
        &self.inner.reads
    }

    /// Where inserts of blocks wait.
    pub(crate) fn inserts(&self) -> &Gate {
        &self.inner.inserts
    }

    /// The counters that the backend reports of its lower tier.
    pub(crate) fn lower(&self, set: impl FnOnce(&mut TierStats)) {
        set(&mut self.inner.lower.lock().unwrap());
    }

    /// Returns the context that the builder gave the tier.
    pub(crate) fn context(&self) -> Option<TierContext> {
        self.inner.context.lock().unwrap().clone()
    }
}

impl LowerTier for Tiers {
    fn under(
        self: Box<Self>,
        _memory: Arc<dyn Backend>,
        context: TierContext,
    ) -> Result<Arc<dyn Backend>> {
        *self.inner.context.lock().unwrap() = Some(context);
        Ok(Arc::new(*self))
    }
}

#[async_trait]
impl Backend for Tiers {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.peek(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.inner.memory.lock().unwrap().get(key).cloned()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.gets.lock().unwrap().push(key.to_owned());
        self.inner.reads.pass().await;
        tokio::task::yield_now().await;
        if self.inner.unreadable.lock().unwrap().contains(key) {
            if !self.inner.is_forgetful.load(Ordering::Relaxed) {
                self.inner.disk.lock().unwrap().remove(key);
            }
            return Ok(None);
        }
        let record = self.inner.disk.lock().unwrap().get(key).cloned();
        let Some(record) = record else { return Ok(None) };
        let entry = Entry::from_bytes(&record)?;
        if !self.inner.has_no_memory.load(Ordering::Relaxed) {
            self.inner.memory.lock().unwrap().insert(key.to_owned(), entry.clone());
        }
        Ok(Some(entry))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let key = entry.key().to_owned();
        if key.starts_with("b/") {
            self.inner.inserts.pass().await;
        }
        self.remove(&key).await?;
        if self.inner.rejects.load(Ordering::Relaxed) {
            return Ok(Admission::rejected(Rejection::TooLarge));
        }
        self.inner.unreadable.lock().unwrap().remove(&key);
        self.inner.disk.lock().unwrap().insert(key.clone(), entry.to_bytes());
        if !self.inner.has_no_memory.load(Ordering::Relaxed) {
            self.inner.memory.lock().unwrap().insert(key, entry);
        }
        Ok(Admission::stored())
    }

    fn contains(&self, key: &str) -> Option<bool> {
        let is_on_disk = self.inner.disk.lock().unwrap().contains_key(key);
        Some(is_on_disk || self.inner.memory.lock().unwrap().contains_key(key))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let was_in_memory = self.inner.memory.lock().unwrap().remove(key).is_some();
        let was_on_disk = self.inner.disk.lock().unwrap().remove(key).is_some();
        Ok(was_in_memory || was_on_disk)
    }

    fn lower_tier(&self) -> Option<TierStats> {
        Some(*self.inner.lower.lock().unwrap())
    }

    async fn clear(&self) -> Result<()> {
        self.inner.disk.lock().unwrap().clear();
        self.lose_memory();
        Ok(())
    }

    /// Keeps the disk.
    async fn close(&self) -> Result<()> {
        self.lose_memory();
        Ok(())
    }

    async fn sweep(&self, _now: Moment) -> Result<()> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        let memory = self.inner.memory.lock().unwrap();
        Usage::new(memory.len() as u64, memory.values().map(Entry::weight).sum())
    }
}

/// A tier with a setting that is wrong.
pub(crate) struct Wrong;

impl LowerTier for Wrong {
    fn under(self: Box<Self>, _: Arc<dyn Backend>, _: TierContext) -> Result<Arc<dyn Backend>> {
        Err(cache_core::Error::new(cache_core::ErrorKind::Config, "the disk's setting is wrong"))
    }
}

/// The key of the block that begins at `start`.
pub(crate) fn key(start: u64) -> String {
    format!("b/{start}/{}", crate::path())
}
