//! Blocks: the bytes of one version of an object, cut at multiples of the block size.
//!
//! The key of a block says where it begins, its entry has the tag of its version. Beginning, length
//! and tag say which bytes it has, so a block never goes stale: one of another version is as good
//! as none, and is replaced by the one that is fetched in its stead.

use std::{
    collections::{HashMap, hash_map::Entry as Place},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use cache_core::{Backend, Entry, Key, Namespace, Storability};
use futures_util::FutureExt;
use object_store::path::Path;

use super::{
    stats::{Count, Counters},
    version::ObjectVersion,
};
use crate::tag;

/// A block on its way to the backend.
struct PendingInsert {
    entry: Entry,
    /// It is to be removed as soon as the backend has taken it.
    is_void: bool,
}

/// The blocks that are held.
pub(super) struct Blocks {
    pub(super) counters: Counters,
    backend: Arc<dyn Backend>,
    namespace: Namespace,
    size: u64,
    /// Those that are on their way to the backend, which takes one for a key at a time.
    pending: Mutex<HashMap<Key, PendingInsert>>,
    n_stored: AtomicU64,
    closed: AtomicBool,
}

impl Blocks {
    /// `size` is not zero.
    pub(super) fn new(backend: Arc<dyn Backend>, identity: Namespace, size: u64) -> Self {
        Self {
            counters: Counters::default(),
            backend,
            namespace: identity,
            size,
            pending: Mutex::default(),
            n_stored: AtomicU64::new(0),
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

    /// So many blocks, in bytes.
    pub(super) fn bytes_of(&self, n_blocks: u64) -> u64 {
        self.size.saturating_mul(n_blocks)
    }

    /// How many blocks `range` has bytes of.
    pub(super) fn n_in(&self, range: &Range<u64>) -> u64 {
        range.end.div_ceil(self.size).saturating_sub(range.start / self.size)
    }

    /// The block of `version` that begins at `start`, if it is held.
    pub(super) async fn look_up(&self, version: &ObjectVersion, start: u64) -> Option<Bytes> {
        match self.get_now(version, start) {
            None => self.get(version, start).await,
            block => block,
        }
    }

    /// The same, if the backend need not be waited for.
    pub(super) fn get_now(&self, version: &ObjectVersion, start: u64) -> Option<Bytes> {
        let key = key_of(version, start);
        if let Some(block) = self.accept(self.entry_now(&key), version, start) {
            return Some(block);
        }
        let landing = self
            .pending()
            .get(key.as_str())
            .filter(|block| !block.is_void)
            .map(|block| block.entry.clone());
        self.accept(landing, version, start)
    }

    /// The same, if the backend shows it only when it is waited for.
    pub(super) async fn get(&self, version: &ObjectVersion, start: u64) -> Option<Bytes> {
        self.accept(self.entry(&key_of(version, start)).await, version, start)
    }

    /// How many blocks have been given to the backend so far.
    pub(super) fn n_stored(&self) -> u64 {
        self.n_stored.load(Ordering::Acquire)
    }

    /// Returns the entry under `key`, for a look that is no use of it.
    pub(super) async fn peek(&self, key: &str) -> Option<Entry> {
        let peek = || self.backend.peek(key);
        match catch_unwind(AssertUnwindSafe(peek)).unwrap_or_else(|_| self.failed()) {
            None => self.entry(key).await,
            shown => shown,
        }
    }

    /// The entry of the block of `version` that begins at `start`. If there can be none (the path
    /// is too long), the body is given back.
    pub(super) fn entry_of(
        &self,
        version: &ObjectVersion,
        start: u64,
        body: Bytes,
    ) -> Result<Entry, Bytes> {
        let (Ok(key), Some(e_tag)) = (Key::parse(&key_of(version, start)), version.e_tag()) else {
            return Err(body);
        };
        let entry = Entry::builder(&key, body).e_tag(e_tag);
        Ok(entry.storability(Storability::Revalidatable).namespace(Some(self.namespace)).build())
    }

    /// Gives `entry` to the backend, unless another one for its key is on its way. Once polled, to
    /// be polled to its end.
    pub(super) async fn keep(self: Arc<Self>, entry: Entry) {
        let Some(turn) =
            KeyGuard::take(&self, PendingInsert { entry: entry.clone(), is_void: false })
        else {
            return;
        };
        // Within, so that a panic of either call is caught.
        let insert = async {
            match self.backend.insert_now(entry) {
                Ok(admission) => Ok(admission),
                Err(entry) => self.backend.insert(entry).await,
            }
        };
        let admission = AssertUnwindSafe(insert).catch_unwind().await;
        self.counters.add_refused(&admission);
        let is_error = !matches!(admission, Ok(Ok(_)));
        if is_error {
            self.counters.add(Count::BackendErrors, 1);
        }
        // A block whose insert overlapped an invalidation is removed again.
        // mutant: void_insert
        if is_error || turn.is_void() {
            let remove = async { (*self.backend).remove(turn.key.as_str()).await };
            // What cannot be removed is still of the version that it says.
            let _ = AssertUnwindSafe(remove).catch_unwind().await;
        }
    }

    /// Removes the blocks of the object at `location`, of `size` bytes if that is resolved: else those
    /// that lie near to each other, from the first on. Those that are on their way are removed when
    /// they have arrived.
    pub(super) async fn remove_all(self: Arc<Self>, location: &Path, size: Option<u64>) {
        let (mut start, mut n_absent) = (0, 0);
        while size.map_or(n_absent < ABSENT_MAX, |size| start < size) {
            let is_removed = self.remove(&key_at(location, start)).await;
            n_absent = if is_removed { 0 } else { n_absent + 1 };
            let Some(next) = start.checked_add(self.size) else { return };
            start = next;
            // A backend in memory never waits.
            tokio::task::consume_budget().await;
        }
    }

    /// Removes a block, or has it removed when it has arrived. Whether there was one.
    async fn remove(&self, key: &str) -> bool {
        let Ok(key) = Key::parse(key) else { return false };
        let turn = match self.pending().entry(key.clone()) {
            Place::Occupied(mut landing) => {
                landing.get_mut().is_void = true;
                return true;
            }
            Place::Vacant(place) => {
                let entry = Entry::builder(&key, Bytes::new()).build();
                place.insert(PendingInsert { entry, is_void: true });
                KeyGuard { blocks: self, key }
            }
        };
        let remove = async { (*self.backend).remove(turn.key.as_str()).await };
        matches!(AssertUnwindSafe(remove).catch_unwind().await, Ok(Ok(true)))
    }

    /// Whether `entry` is this cache's.
    pub(super) fn is_own(&self, entry: &Entry) -> bool {
        entry.namespace() == Some(self.namespace)
    }

    /// From now on nothing is held.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The body of `shown`, if it is the block that was asked for.
    fn accept(&self, shown: Option<Entry>, version: &ObjectVersion, start: u64) -> Option<Bytes> {
        let len = self.end_of(start, version.size) - start;
        let shown = shown.filter(|entry| {
            // Blocks are served only of this cache and of the version that is read.
            // mutant: own_block
            self.is_own(entry)
                && tag::is_same(entry.e_tag(), version.e_tag())
                && entry.body().len() as u64 == len
        })?;
        Some(shown.body().clone())
    }

    fn entry_now(&self, key: &str) -> Option<Entry> {
        let get_now = || self.backend.get_now(key);
        catch_unwind(AssertUnwindSafe(get_now)).unwrap_or_else(|_| self.failed())
    }

    async fn entry(&self, key: &str) -> Option<Entry> {
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

    fn pending(&self) -> MutexGuard<'_, HashMap<Key, PendingInsert>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to change what the backend holds under one key.
struct KeyGuard<'a> {
    blocks: &'a Blocks,
    key: Key,
}

impl<'a> KeyGuard<'a> {
    fn take(blocks: &'a Blocks, landing: PendingInsert) -> Option<Self> {
        if blocks.closed.load(Ordering::Acquire) {
            return None;
        }
        let key = Key::parse(landing.entry.key()).ok()?;
        match blocks.pending().entry(key.clone()) {
            Place::Occupied(_) => None,
            Place::Vacant(place) => {
                place.insert(landing);
                Some(Self { blocks, key })
            }
        }
    }

    /// Whether what was inserted is to be removed.
    fn is_void(&self) -> bool {
        self.blocks.pending().get(self.key.as_str()).is_some_and(|landing| landing.is_void)
    }
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        // Before: who sees the old number sees the entry among those that are landing.
        self.blocks.n_stored.fetch_add(1, Ordering::AcqRel);
        let landed = self.blocks.pending().remove(&self.key);
        // Not under the lock: it may be the last handle.
        drop(landed);
    }
}

fn key_of(version: &ObjectVersion, start: u64) -> String {
    key_at(&version.location, start)
}

fn key_at(location: &Path, start: u64) -> String {
    format!("b/{start}/{location}")
}

/// After how many blocks in a row that are not there the blocks of an object of unknown size are
/// taken for removed.
const ABSENT_MAX: u64 = 16;
