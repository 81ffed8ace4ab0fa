//! Eviction policies.

use crate::Moment;

/// Decides which entry is evicted. Lives inside a shard of a backend, under its lock; entries are
/// known by a small slot number, so that a policy needs no map and no allocation per entry.
///
/// # Contract
///
/// *The caller* calls `on_insert` or `on_restore` once for a slot that is not in use, then
/// `on_update` and `on_hit` any number of times, then `on_remove` once, after which the slot may be
/// used again. Slots are small numbers from zero up: at most as many as entries were ever held at
/// once, and one more for a newcomer. All calls but `on_hit` come one after the other, under the
/// shard's exclusive lock. After `victim` named a slot, the caller removes it and calls `on_remove`
/// for it before it asks again.
///
/// *The implementor* MUST
///
/// * name only slots that are in use;
/// * under [`EvictionReason::Capacity`], name some slot whenever any is in use: it may be the
///   newcomer's;
/// * under [`EvictionReason::Expired`], name only a slot whose deadline, asked of `held`, has
///   passed at `now`;
/// * neither block nor allocate in `on_hit`, and be correct if some hits never arrive.
///
/// `cache_testkit::conformance::policy` has a function for each of these rules that can be observed
/// from outside. The example `custom_policy` in `crates/cache-facade/examples` is a starting point.
///
/// ```
/// use cache_core::{Backend, Entry, Key};
/// use cache_policy::{Lru, MemoryBackend};
///
/// // `Lru` is a policy; the backend gives each of its shards one of its own.
/// let backend = MemoryBackend::builder(Lru::new()).shards(1).max_entries(2).build()?;
/// for name in ["a", "b", "c"] {
///     let entry = Entry::builder(&Key::parse(name)?, "body".into()).e_tag("\"1\"").build();
///     assert!(backend.insert_now(entry).is_ok_and(|admission| admission.is_stored()));
///     // A use, after which another entry is evicted before `a`.
///     assert!(backend.get_now("a").is_some());
/// }
/// assert_eq!((backend.contains("b"), backend.contains("c")), (Some(false), Some(true)));
/// # Ok::<(), cache_core::Error>(())
/// ```
pub trait EvictionPolicy: Send + Sync + 'static {
    /// The same policy, empty, for one shard. The value that a builder is given is a pattern.
    fn for_shard(&self, limits: &Limits) -> Self
    where
        Self: Sized;

    /// An entry was put into `slot`.
    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo);

    /// An entry that had left as a victim was put back into `slot`: the newcomer that it was to
    /// make room for was refused, or is what was put back. That is no request for it. Default: as
    /// [`on_insert`](Self::on_insert).
    fn on_restore(&mut self, slot: Slot, cost: &EntryInfo) {
        self.on_insert(slot, cost);
    }

    /// The key in `slot` has a new entry: its rank stays, its weight may not.
    fn on_update(&mut self, slot: Slot, cost: &EntryInfo);

    /// The entry in `slot` was used. Under the shared lock, many at once: relaxed atomics only. May
    /// be lost, never invented.
    fn on_hit(&self, slot: Slot);

    /// The entry in `slot` has left. Follows every departure, a victim's too: the one place where a
    /// slot is forgotten and ghosts are made.
    fn on_remove(&mut self, slot: Slot, why: RemovalCause);

    /// Names the next to leave, and forgets nothing. A renewal does not call the policy, so
    /// deadlines are asked of `held`.
    fn victim(
        &mut self,
        now: Moment,
        pressure: EvictionReason,
        held: &dyn Deadlines,
    ) -> Option<Slot>;
}

/// The number of a place in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number, to index with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a policy knows of an entry.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct EntryInfo {
    /// A hash of the key: keyed, and stable for the life of the backend.
    pub hash: u64,
    /// The bytes that the entry occupies.
    pub weight: u64,
    /// When it was inserted: the moment its answer was validated.
    pub now: Moment,
    /// When it expires, as of now.
    pub expires_at: Option<Moment>,
}

impl EntryInfo {
    /// Returns what a backend tells a policy of an entry: see the fields.
    pub const fn new(hash: u64, weight: u64, now: Moment, expires_at: Option<Moment>) -> Self {
        Self { hash, weight, now, expires_at }
    }
}

/// The limits of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes.
    pub weight: u64,
    /// The most entries; `u64::MAX` without a limit.
    pub entries: u64,
}

impl Limits {
    /// Returns limits in bytes and entries; `u64::MAX` is no limit.
    pub const fn new(weight: u64, entries: u64) -> Self {
        Self { weight, entries }
    }
}

/// Why an entry was removed from its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemovalCause {
    /// It was a victim under [`EvictionReason::Capacity`].
    Evicted,
    /// It was the newcomer, and a victim at once.
    Rejected,
    /// It had expired.
    Expired,
    /// It was removed by its key.
    Removed,
}

/// Why somebody must leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvictionReason {
    /// Only what has expired is to leave.
    Expired,
    /// The shard is over a limit: somebody must go.
    Capacity,
}

/// What a policy may ask about a slot in use.
pub trait Deadlines {
    /// When the entry in `slot` expires; `None` if it does not, or the slot is empty.
    fn expires_at(&self, slot: Slot) -> Option<Moment>;
}

const _: fn(&dyn Deadlines) = |_| ();
