//! A backend that takes its time.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use cache_core::{Admission, Backend, Entry, Error, ErrorKind, Moment, Result, Usage};
use cache_testkit::{Gate, MapBackend};

/// Keeps nothing at hand while the gate for look-ups is closed, and takes no block while that for
/// blocks is.
#[derive(Default)]
pub(crate) struct Slow {
    pub(crate) look_ups: Gate,
    pub(crate) blocks: Gate,
    pub(crate) fails: AtomicBool,
    /// Two blocks came at once for one key.
    pub(crate) overlapped: AtomicBool,
    pub(crate) n_blocks: AtomicUsize,
    pub(crate) n_removed: AtomicUsize,
    taking: Mutex<HashSet<String>>,
    inner: MapBackend,
}

#[async_trait]
impl Backend for Slow {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.inner.get_now(key).filter(|_| key.starts_with("b/"))
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.inner.peek(key).filter(|_| key.starts_with("b/"))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.look_ups.pass().await;
        Ok(self.inner.peek(key))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let key = entry.key().to_owned();
        if key.starts_with("b/") {
            self.n_blocks.fetch_add(1, Ordering::Relaxed);
            if !self.taking.lock().unwrap().insert(key.clone()) {
                self.overlapped.store(true, Ordering::Relaxed);
            }
            self.blocks.pass().await;
            self.taking.lock().unwrap().remove(&key);
        }
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Backend, "the backend was told to fail"));
        }
        self.inner.insert(entry).await
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.n_removed.fetch_add(1, Ordering::Relaxed);
        self.inner.remove(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.inner.sweep(now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}
