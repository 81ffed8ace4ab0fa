//! Blocks: the bytes of one version of an object, cut at multiples of the block size.
//!
//! The key of a block says where it begins, its entry has the tag of its version. Beginning, length and tag say which
//! bytes it has, so a block never goes stale: one of another version is as good as none, and is replaced by the one that
//! is fetched in its stead.

use std::{
    collections::{HashMap, hash_map::Entry as Place},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use cache_core::{Backend, Entry, Identity, Keep, Key};
use futures_util::FutureExt;

use super::{
    snapshot::Snapshot,
    stats::{Count, Counters},
};
use crate::tag;

/// The blocks that are held.
pub(super) struct Blocks {
    pub(super) counters: Counters,
    backend: Arc<dyn Backend>,
    identity: Identity,
    size: u64,
    /// Those that are on their way to the backend, which takes one for a key at a time.
    landing: Mutex<HashMap<Key, Entry>>,
    closed: AtomicBool,
}

impl Blocks {
    /// `size` is not zero.
    pub(super) fn new(backend: Arc<dyn Backend>, identity: Identity, size: u64) -> Self {
        Self {
            counters: Counters::default(),
            backend,
            identity,
            size,
            landing: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Where the block begins that has the byte at `offset`.
    pub(super) fn start_of(&self, offset: u64) -> u64 {
        offset - offset % self.size
    }

    /// Where the block ends that has the byte at `offset`, in an object of `object_size` bytes.
    pub(super) fn end_of(&self, offset: u64, object_size: u64) -> u64 {
        self.start_of(offset).saturating_add(self.size).min(object_size)
    }

    /// How many blocks have bytes of `range`, which is not empty.
    pub(super) fn n_in(&self, range: &Range<u64>) -> u64 {
        (range.end - 1) / self.size - range.start / self.size + 1
    }

    /// So many blocks, in bytes.
    pub(super) fn bytes_of(&self, n_blocks: u64) -> u64 {
        self.size.saturating_mul(n_blocks)
    }

    /// The block of `snapshot` that begins at `start`, if it is held.
    pub(super) async fn look_up(&self, snapshot: &Snapshot, start: u64) -> Option<Bytes> {
        let key = key_of(snapshot, start);
        if let Some(block) = self.accept(self.peek(&key), snapshot, start) {
            return Some(block);
        }
        let landing = self.landing().get(key.as_str()).cloned();
        if let Some(block) = self.accept(landing, snapshot, start) {
            return Some(block);
        }
        self.accept(self.get(&key).await, snapshot, start)
    }

    /// The entry of the block of `snapshot` that begins at `start`. If there can be none (the path is too long), the
    /// body is given back.
    pub(super) fn entry_of(&self, snapshot: &Snapshot, start: u64, body: Bytes) -> Result<Entry, Bytes> {
        let (Ok(key), Some(e_tag)) = (Key::parse(&key_of(snapshot, start)), snapshot.e_tag()) else {
            return Err(body);
        };
        let entry = Entry::builder(&key, body).e_tag(e_tag);
        Ok(entry.keep(Keep::Confirmable).identity(Some(self.identity)).build())
    }

    /// Gives `entry` to the backend, unless another one for its key is on its way. Once polled, to be polled to its end.
    pub(super) async fn keep(self: Arc<Self>, entry: Entry) {
        let Some(turn) = Turn::take(&self, &entry) else { return };
        // Within, so that a panic is caught also where the call itself does the work.
        let insert = async { (*self.backend).insert(entry).await };
        let admission = AssertUnwindSafe(insert).catch_unwind().await;
        self.counters.add_refused(&admission);
        if !matches!(admission, Ok(Ok(_))) {
            self.counters.add(Count::BackendErrors, 1);
            let remove = async { (*self.backend).remove(turn.key.as_str()).await };
            // What cannot be removed is still of the version that it says.
            let _ = AssertUnwindSafe(remove).catch_unwind().await;
        }
    }

    /// From now on nothing is held.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The body of `shown`, if it is the block that was asked for.
    fn accept(&self, shown: Option<Entry>, snapshot: &Snapshot, start: u64) -> Option<Bytes> {
        let len = self.end_of(start, snapshot.size) - start;
        let shown = shown.filter(|entry| {
            entry.identity() == Some(self.identity)
                && tag::is_same(entry.e_tag(), snapshot.e_tag())
                && entry.body().len() as u64 == len
        })?;
        Some(shown.body().clone())
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        let peek = || self.backend.peek(key);
        catch_unwind(AssertUnwindSafe(peek)).unwrap_or_else(|_| self.failed())
    }

    async fn get(&self, key: &str) -> Option<Entry> {
        let get = async { (*self.backend).get(key).await };
        match AssertUnwindSafe(get).catch_unwind().await {
            Ok(Ok(shown)) => shown,
            Ok(Err(_)) | Err(_) => self.failed(),
        }
    }

    /// A backend that fails or panics holds nothing.
    fn failed(&self) -> Option<Entry> {
        self.counters.add(Count::BackendErrors, 1);
        None
    }

    fn landing(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.landing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to change what the backend holds under one key.
struct Turn<'a> {
    blocks: &'a Blocks,
    key: Key,
}

impl<'a> Turn<'a> {
    fn take(blocks: &'a Blocks, entry: &Entry) -> Option<Self> {
        if blocks.closed.load(Ordering::Acquire) {
            return None;
        }
        let key = Key::parse(entry.key()).ok()?;
        match blocks.landing().entry(key.clone()) {
            Place::Occupied(_) => None,
            Place::Vacant(place) => {
                place.insert(entry.clone());
                Some(Self { blocks, key })
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let landed = self.blocks.landing().remove(&self.key);
        // Not under the lock: it may be the last handle.
        drop(landed);
    }
}

fn key_of(snapshot: &Snapshot, start: u64) -> String {
    format!("b/{start}/{}", snapshot.location)
}
