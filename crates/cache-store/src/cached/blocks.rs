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
use cache_core::{Admission, Backend, Entry, Key, Namespace, Storability, TierStats};
use futures_util::FutureExt;
use object_store::path::Path;

use super::{
    stats::{Count, Counters},
    version::{BLOCK_PREFIX, ObjectVersion},
};
use crate::tag;

/// A block on its way to the backend.
struct Landing {
    entry: Entry,
    /// It is to be removed as soon as the backend has taken it.
    is_void: bool,
}

/// The bytes of a cached block.
#[derive(Clone)]
pub(super) struct CachedBlock {
    pub(super) bytes: Bytes,
    /// It was not in memory: the backend has read it from a lower tier.
    pub(super) is_from_disk: bool,
}

/// The result of a look-up of a block.
pub(super) enum LookUp {
    Found(CachedBlock),
    /// The backend shows nothing.
    Absent,
    /// The backend shows something else: a block of another version, or an entry of another cache.
    Other,
}

/// The cached blocks.
pub(super) struct Blocks {
    pub(super) counters: Arc<Counters>,
    backend: Arc<dyn Backend>,
    identity: Namespace,
    size: u64,
    /// Those that are on their way to the backend, which takes one for a key at a time.
    landing: Mutex<HashMap<Key, Landing>>,
    n_landed: AtomicU64,
    closed: AtomicBool,
}

impl Blocks {
    /// `size` is not zero.
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        identity: Namespace,
        size: u64,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            counters,
            backend,
            identity,
            size,
            landing: Mutex::default(),
            n_landed: AtomicU64::new(0),
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

    /// Returns the bytes of `n_blocks` blocks.
    pub(super) fn bytes_of(&self, n_blocks: u64) -> u64 {
        self.size.saturating_mul(n_blocks)
    }

    /// How many blocks `range` has bytes of.
    pub(super) fn n_in(&self, range: &Range<u64>) -> u64 {
        range.end.div_ceil(self.size).saturating_sub(range.start / self.size)
    }

    /// Looks up the block of `snapshot` that begins at `start`.
    pub(super) async fn look_up(&self, snapshot: &ObjectVersion, start: u64) -> LookUp {
        match self.at_hand(snapshot, start) {
            LookUp::Absent => self.waited_for(snapshot, start).await,
            found => found,
        }
    }

    /// The same without waiting for the backend.
    pub(super) fn at_hand(&self, snapshot: &ObjectVersion, start: u64) -> LookUp {
        let key = key_of(snapshot, start);
        match self.accept(self.get_now(&key), snapshot, start) {
            LookUp::Found(block) => LookUp::Found(block),
            shown => match self.accept(self.landing_at(&key), snapshot, start) {
                LookUp::Found(block) => LookUp::Found(block),
                // A landing block of another version does not hide the backend's own.
                _ => shown,
            },
        }
    }

    /// The same for a block that is not at hand.
    pub(super) async fn waited_for(&self, snapshot: &ObjectVersion, start: u64) -> LookUp {
        let key = key_of(snapshot, start);
        // The index knows that it takes no I/O.
        if self.contains(&key) == Some(false) {
            return LookUp::Absent;
        }
        match self.accept(self.get(&key).await, snapshot, start) {
            LookUp::Found(block) => LookUp::Found(CachedBlock { is_from_disk: true, ..block }),
            shown => shown,
        }
    }

    /// Whether the block of `snapshot` that begins at `start` is cached, as far as that is known
    /// without waiting for the backend. Counts no use. `Some(true)` may be wrong of a block that is
    /// not in memory: it can be of another version, or unreadable.
    pub(super) fn is_cached(&self, snapshot: &ObjectVersion, start: u64) -> Option<bool> {
        let key = key_of(snapshot, start);
        let shown = match self.accept(self.peek(&key), snapshot, start) {
            LookUp::Found(_) => return Some(true),
            shown => shown,
        };
        if let LookUp::Found(_) = self.accept(self.landing_at(&key), snapshot, start) {
            return Some(true);
        }
        match shown {
            LookUp::Absent => self.contains(&key),
            _ => Some(false),
        }
    }

    /// Whether a lower tier has an entry for the block of `snapshot` that begins at `start`, which
    /// is not at hand. `None` if the backend would have to be waited for.
    pub(super) fn is_stored(&self, snapshot: &ObjectVersion, start: u64) -> Option<bool> {
        self.contains(&key_of(snapshot, start))
    }

    /// How many blocks have been given to the backend so far.
    pub(super) fn n_landed(&self) -> u64 {
        self.n_landed.load(Ordering::Acquire)
    }

    /// Returns the entry under `key`, for a look that is no use of it.
    pub(super) async fn shown(&self, key: &str) -> Option<Entry> {
        match self.peek(key) {
            None => self.get(key).await,
            shown => shown,
        }
    }

    /// The entry of the block of `snapshot` that begins at `start`. If there can be none (the path
    /// is too long), the body is given back.
    pub(super) fn entry_of(
        &self,
        snapshot: &ObjectVersion,
        start: u64,
        body: Bytes,
    ) -> Result<Entry, Bytes> {
        let (Ok(key), Some(e_tag)) = (Key::parse(&key_of(snapshot, start)), snapshot.e_tag())
        else {
            return Err(body);
        };
        let entry = Entry::builder(&key, body).e_tag(e_tag);
        Ok(entry.storability(Storability::Revalidatable).namespace(Some(self.identity)).build())
    }

    /// Gives `entry` to the backend, unless another one for its key is on its way. Returns whether
    /// it was kept, or an equal one is on its way. Once polled, to be polled to its end.
    pub(super) async fn keep(self: Arc<Self>, entry: Entry) -> bool {
        let Some(turn) = Turn::take(&self, Landing { entry: entry.clone(), is_void: false }) else {
            let other = self.landing_at(entry.key());
            return other.is_some_and(|other| tag::is_same(other.e_tag(), entry.e_tag()));
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
        let is_void = turn.is_void();
        if is_error {
            self.counters.add(Count::BackendErrors, 1);
        }
        // A block whose insert overlapped an invalidation is removed again.
        // mutant: void_insert
        if is_error || is_void {
            let remove = async { (*self.backend).remove(turn.key.as_str()).await };
            // What cannot be removed is still of the version that it says.
            let _ = AssertUnwindSafe(remove).catch_unwind().await;
        }
        !is_void && matches!(admission, Ok(Ok(Admission::Stored)))
    }

    /// The counters of the tier below memory, if there is one.
    pub(super) fn lower_tier(&self) -> Option<TierStats> {
        let lower_tier = || self.backend.lower_tier();
        catch_unwind(AssertUnwindSafe(lower_tier)).unwrap_or_else(|_| {
            self.failed();
            None
        })
    }

    /// Removes the blocks of the object at `location`, of `size` bytes if that is known: else those
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
        let turn = match self.landing().entry(key.clone()) {
            Place::Occupied(mut landing) => {
                landing.get_mut().is_void = true;
                return true;
            }
            Place::Vacant(place) => {
                let entry = Entry::builder(&key, Bytes::new()).build();
                place.insert(Landing { entry, is_void: true });
                Turn { blocks: self, key }
            }
        };
        let remove = async { (*self.backend).remove(turn.key.as_str()).await };
        matches!(AssertUnwindSafe(remove).catch_unwind().await, Ok(Ok(true)))
    }

    /// Whether `entry` is this cache's.
    pub(super) fn is_own(&self, entry: &Entry) -> bool {
        entry.namespace() == Some(self.identity)
    }

    /// From now on no block is cached.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The body of `shown`, if it is the block that was looked for.
    fn accept(&self, shown: Option<Entry>, snapshot: &ObjectVersion, start: u64) -> LookUp {
        let len = self.end_of(start, snapshot.size) - start;
        let Some(shown) = shown else { return LookUp::Absent };
        // Blocks are served only of this cache and of the version that is read.
        // mutant: own_block
        let is_it = self.is_own(&shown)
            && tag::is_same(shown.e_tag(), snapshot.e_tag())
            && shown.body().len() as u64 == len;
        match is_it {
            true => LookUp::found(shown.body().clone()),
            false => LookUp::Other,
        }
    }

    /// The entry that is on its way to the backend under `key`.
    fn landing_at(&self, key: &str) -> Option<Entry> {
        let landing = self.landing();
        landing.get(key).filter(|block| !block.is_void).map(|block| block.entry.clone())
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        let peek = || self.backend.peek(key);
        catch_unwind(AssertUnwindSafe(peek)).unwrap_or_else(|_| self.failed())
    }

    fn contains(&self, key: &str) -> Option<bool> {
        let contains = || self.backend.contains(key);
        catch_unwind(AssertUnwindSafe(contains)).unwrap_or_else(|_| {
            self.failed();
            None
        })
    }

    fn get_now(&self, key: &str) -> Option<Entry> {
        let get_now = || self.backend.get_now(key);
        catch_unwind(AssertUnwindSafe(get_now)).unwrap_or_else(|_| self.failed())
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

    fn landing(&self) -> MutexGuard<'_, HashMap<Key, Landing>> {
        self.landing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LookUp {
    fn found(bytes: Bytes) -> Self {
        Self::Found(CachedBlock { bytes, is_from_disk: false })
    }

    /// The block, if it was found.
    pub(super) fn block(self) -> Option<CachedBlock> {
        match self {
            Self::Found(block) => Some(block),
            Self::Absent | Self::Other => None,
        }
    }
}

impl CachedBlock {
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// The right to change what the backend holds under one key.
struct Turn<'a> {
    blocks: &'a Blocks,
    key: Key,
}

impl<'a> Turn<'a> {
    fn take(blocks: &'a Blocks, landing: Landing) -> Option<Self> {
        if blocks.closed.load(Ordering::Acquire) {
            return None;
        }
        let key = Key::parse(landing.entry.key()).ok()?;
        match blocks.landing().entry(key.clone()) {
            Place::Occupied(_) => None,
            Place::Vacant(place) => {
                place.insert(landing);
                Some(Self { blocks, key })
            }
        }
    }

    /// Whether what was inserted is to be removed.
    fn is_void(&self) -> bool {
        self.blocks.landing().get(self.key.as_str()).is_some_and(|landing| landing.is_void)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Before: who sees the old number sees the entry among those that are landing.
        self.blocks.n_landed.fetch_add(1, Ordering::AcqRel);
        let landed = self.blocks.landing().remove(&self.key);
        // Not under the lock: it may be the last handle.
        drop(landed);
    }
}

fn key_of(snapshot: &ObjectVersion, start: u64) -> String {
    key_at(&snapshot.location, start)
}

fn key_at(location: &Path, start: u64) -> String {
    format!("{BLOCK_PREFIX}{start}/{location}")
}

/// After how many blocks in a row that are not there the blocks of an object of unknown size are
/// taken for removed.
const ABSENT_MAX: u64 = 16;
