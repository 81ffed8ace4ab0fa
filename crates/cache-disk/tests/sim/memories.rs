//! Memory above the tier.

use std::{
    future::Future,
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use cache_core::{Admission, Backend, Entry, EvictionListener, Moment, Rejection, Result, Usage};
use cache_policy::{Lru, MemoryBackend, Ttl};
use cache_testkit::Random;

/// A memory backend that keeps an evicted entry to itself, refuses some, or has some wait, if it is
/// told to.
pub(crate) struct Memory {
    inner: MemoryBackend<Ttl<Lru>>,
    random: Random,
    tells: bool,
    /// Of 16 entries.
    refuses: usize,
    waits: usize,
    /// Called once, after the next entry has been stored.
    after_insert: Mutex<Option<Action>>,
}

type Action = Box<dyn FnOnce() + Send>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryKind {
    pub(crate) entries: u64,
    pub(crate) tells: bool,
    pub(crate) refuses: usize,
    pub(crate) waits: usize,
}

impl Memory {
    pub(crate) fn new(kind: MemoryKind, seed: u64) -> Self {
        let MemoryKind { entries, tells, refuses, waits } = kind;
        let builder = MemoryBackend::builder(Ttl::new(Lru::new())).max_capacity(16 << 20);
        let inner = builder.max_entries(entries).shards(1).build().expect("the settings are right");
        let random = Random::new(seed);
        Self { inner, random, tells, refuses, waits, after_insert: Mutex::default() }
    }

    /// Has `action` called within the next insert, once the entry is stored.
    pub(crate) fn after_insert(&self, action: Action) {
        *self.after_insert.lock().unwrap() = Some(action);
    }

    fn act(&self) {
        let action = self.after_insert.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
    }

    fn happens(&self, of_16: usize) -> bool {
        self.random.index(16) < of_16
    }
}

#[async_trait]
impl Backend for Memory {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.inner.get_now(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.inner.peek(key)
    }

    async fn get(&self, _: &str) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        if self.happens(self.waits) {
            return Err(entry);
        }
        if self.happens(self.refuses) {
            let removed = pin!(self.inner.remove(entry.key()));
            let Poll::Ready(removed) = poll(removed) else { panic!("memory does not wait") };
            removed.expect("memory does not fail");
            return Ok(Admission::rejected(Rejection::Policy));
        }
        let inserted = self.inner.insert_now(entry);
        self.act();
        inserted
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        if self.happens(self.waits) {
            tokio::task::yield_now().await;
        }
        if self.happens(self.refuses) {
            self.inner.remove(entry.key()).await?;
            return Ok(Admission::rejected(Rejection::Policy));
        }
        self.inner.insert(entry).await
    }

    fn contains(&self, key: &str) -> Option<bool> {
        self.inner.contains(key)
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.inner.remove(key).await
    }

    fn on_eviction(&self, listener: EvictionListener) -> bool {
        self.tells && self.inner.on_eviction(listener)
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
}

/// Polls once.
pub(crate) fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
