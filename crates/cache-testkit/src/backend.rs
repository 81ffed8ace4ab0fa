//! A backend without limits, and one that waits, refuses and fails.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, Error, ErrorKind, EvictionListener, Moment, Rejection, Result,
    TierStats, Usage,
};

use crate::{Gate, random::Random};

/// A backend over a map, without limits: the plainest that keeps the contract.
#[derive(Debug, Default)]
pub struct MapBackend {
    entries: Mutex<HashMap<String, Entry>>,
    expired: AtomicU64,
}

impl MapBackend {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for MapBackend {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.peek(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.lock().get(key).cloned()
    }

    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        self.lock().insert(entry.key().to_owned(), entry);
        Ok(Admission::Stored)
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        self.lock().insert(entry.key().to_owned(), entry);
        Ok(Admission::Stored)
    }

    fn contains(&self, key: &str) -> Option<bool> {
        Some(self.lock().contains_key(key))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.lock().remove(key).is_some())
    }

    async fn clear(&self) -> Result<()> {
        self.lock().clear();
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut entries = self.lock();
        let n_copies = |entries: &HashMap<String, Entry>| {
            entries.values().filter(|entry| !entry.is_negative()).count() as u64
        };
        let before = n_copies(&entries);
        entries.retain(|_, entry| entry.expires_at().is_none_or(|at| now < at));
        self.expired.fetch_add(before - n_copies(&entries), Ordering::Relaxed);
        Ok(())
    }

    fn usage(&self) -> Usage {
        let entries = self.lock();
        Usage::new(entries.len() as u64, entries.values().map(Entry::weight).sum())
            .with_expired(self.expired.load(Ordering::Relaxed))
    }

    fn negative_entries(&self) -> u64 {
        self.lock().values().filter(|entry| entry.is_negative()).count() as u64
    }
}

/// A backend over another that keeps nothing at hand, waits at every call, and now and then, by a
/// seed, refuses or fails. It keeps the contract: what goes wrong costs requests, never an answer.
#[derive(Debug)]
pub struct WaitingBackend {
    /// Holds calls before they reach the inner backend. Open until closed.
    pub gate: Gate,
    inner: Arc<dyn BackendDebug>,
    /// Of 256 calls, how many go wrong.
    spoiled: u8,
    latency_max: Duration,
    random: Random,
}

/// A backend that can be shown.
trait BackendDebug: Backend + std::fmt::Debug {}

impl<T: Backend + std::fmt::Debug> BackendDebug for T {}

impl WaitingBackend {
    /// A backend over `inner`; of 256 calls that could, `spoiled` refuse or fail, chosen by `seed`.
    pub fn new(inner: impl Backend + std::fmt::Debug, spoiled: u8, seed: u64) -> Self {
        let (gate, random) = (Gate::new(), Random::new(seed));
        Self { gate, inner: Arc::new(inner), spoiled, latency_max: Duration::ZERO, random }
    }

    /// Also sleeps at every call, for up to `span`: for tests that pause tokio's clock. Default:
    /// zero, not at all.
    #[must_use]
    pub fn with_latency_max(mut self, span: Duration) -> Self {
        self.latency_max = span;
        self
    }

    /// Waits: at the gate, and for up to three turns of the scheduler.
    async fn wait(&self) -> u64 {
        let drawn = self.random.draw();
        for _ in 0..drawn % 4 {
            tokio::task::yield_now().await;
        }
        if !self.latency_max.is_zero() {
            tokio::time::sleep(
                self.latency_max.mul_f64((drawn >> 32) as f64 / f64::from(u32::MAX)),
            )
            .await;
        }
        self.gate.pass().await;
        drawn >> 8
    }

    fn is_spoiled(&self, drawn: u64) -> bool {
        drawn & 0xff < u64::from(self.spoiled)
    }
}

#[async_trait]
impl Backend for WaitingBackend {
    fn get_now(&self, _key: &str) -> Option<Entry> {
        None
    }

    fn peek(&self, _key: &str) -> Option<Entry> {
        None
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let drawn = self.wait().await;
        if self.is_spoiled(drawn) {
            return Err(failure());
        }
        let shown = self.inner.get_now(key);
        self.wait().await;
        Ok(shown)
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let drawn = self.wait().await;
        let admission = if self.is_spoiled(drawn) {
            self.inner.remove(entry.key()).await?;
            if drawn & 0x100 == 0 {
                Err(failure())
            } else {
                Ok(Admission::Rejected(Rejection::Unavailable))
            }
        } else {
            self.inner.insert(entry).await
        };
        self.wait().await;
        admission
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let drawn = self.wait().await;
        if self.is_spoiled(drawn) {
            return Err(failure());
        }
        let removed = self.inner.remove(key).await;
        self.wait().await;
        removed
    }

    async fn mark_stale(&self, key: &str) -> Result<()> {
        let drawn = self.wait().await;
        if self.is_spoiled(drawn) {
            return Err(failure());
        }
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
        let drawn = self.wait().await;
        if self.is_spoiled(drawn) {
            return Err(failure());
        }
        self.inner.clear().await
    }

    async fn close(&self) -> Result<()> {
        let drawn = self.wait().await;
        if self.is_spoiled(drawn) {
            return Err(failure());
        }
        self.inner.close().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.wait().await;
        self.inner.sweep(now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn negative_entries(&self) -> u64 {
        self.inner.negative_entries()
    }
}

fn failure() -> Error {
    Error::new(ErrorKind::Backend, "the backend was told to fail")
}
