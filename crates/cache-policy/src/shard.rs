//! One part of a memory backend: entries, their index, and the policy that ranks them. Locks and
//! limits are the backend's.

use cache_core::{
    Deadlines, Entry, EntryInfo, EvictionPolicy, EvictionReason, Moment, RemovalCause, Slot,
};

use crate::{index::Index, structures::by_slot::reach};

/// Entries by key, and by slot.
///
/// Each change is made here first and reported to the policy last, so that the shard is consistent
/// when a policy panics.
pub(crate) struct Shard<P> {
    policy: P,
    index: Index,
    places: SlotSlab,
}

/// Entries by slot.
#[derive(Default)]
struct SlotSlab {
    entries: Vec<Option<Entry>>,
    /// The hash of the key for a slot in use; for a free slot, the one that was freed before it.
    hashes: Vec<u32>,
    /// The slot that was freed last.
    free: Option<u32>,
}

impl<P: EvictionPolicy> Shard<P> {
    pub(crate) fn new(policy: P) -> Self {
        Self { policy, index: Index::default(), places: SlotSlab::default() }
    }

    /// Returns the entry, and counts one use of it.
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<Entry> {
        let (slot, entry) = self.find(hash, key)?;
        self.policy.on_hit(slot);
        Some(entry.clone())
    }

    /// Returns the entry without counting a use.
    pub(crate) fn peek(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.find(hash, key).map(|(_, entry)| entry)
    }

    /// Inserts the entry. Returns its slot, and the entry that it replaced.
    pub(crate) fn insert(&mut self, entry: Entry, cost: &EntryInfo) -> (Slot, Option<Entry>) {
        let hash = low(cost.hash);
        if let Some((slot, _)) = self.find(cost.hash, entry.key_bytes()) {
            let replaced = self.places.entries[slot.index()].replace(entry);
            self.policy.on_update(slot, cost);
            return (slot, replaced);
        }
        let slot = self.places.put(hash, entry);
        self.index.insert(hash, slot.number());
        self.policy.on_insert(slot, cost);
        (slot, None)
    }

    /// Returns the slot of `entry`, whose key has this hash.
    pub(crate) fn slot_of(&self, hash: u64, entry: &Entry) -> Option<Slot> {
        let (slot, held) = self.find(hash, entry.key_bytes())?;
        held.is_same(entry).then_some(slot)
    }

    pub(crate) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.places.entry(slot)
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let (slot, _) = self.find(hash, key)?;
        self.take(slot, RemovalCause::Removed)
    }

    /// Drops `n` slots of a shard that is no longer used. Returns whether there are more.
    pub(crate) fn drop_some(&mut self, n: usize) -> bool {
        let kept = self.places.entries.len().saturating_sub(n);
        self.places.entries.truncate(kept);
        kept > 0
    }

    /// Returns the entries of a shard that is no longer used.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.places.entries.into_iter().flatten()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<(Slot, &Entry)> {
        self.index.find(low(hash), |slot| {
            let slot = Slot::new(slot);
            self.places
                .entry(slot)
                .filter(|entry| entry.key_bytes() == key)
                .map(|entry| (slot, entry))
        })
    }

    /// Evicts the entry that the policy names or, if it names none, any but the newcomer. Returns
    /// `None` if the shard is empty.
    pub(crate) fn evict(
        &mut self,
        now: Moment,
        newcomer: Option<Slot>,
    ) -> Option<(Entry, RemovalCause)> {
        let named = self.policy.victim(now, EvictionReason::Capacity, &self.places);
        let slot = named
            .filter(|&slot| self.places.entry(slot).is_some())
            .or_else(|| self.places.any_but(newcomer))
            .or(newcomer)?;
        let why = if newcomer == Some(slot) {
            RemovalCause::Rejected
        } else if self.places.has_expired(slot, now) {
            RemovalCause::Expired
        } else {
            RemovalCause::Evicted
        };
        self.take(slot, why).map(|entry| (entry, why))
    }

    /// Evicts one entry for `newcomer`, which stays: if the policy names it, another entry is
    /// evicted. Returns `None` if there is no other.
    pub(crate) fn evict_other(
        &mut self,
        now: Moment,
        newcomer: Slot,
        cost: &EntryInfo,
    ) -> Option<(Entry, RemovalCause)> {
        let named = self.policy.victim(now, EvictionReason::Capacity, &self.places);
        if named != Some(newcomer) {
            return self.evict_named(named, now, newcomer);
        }
        // While the policy does not know the newcomer, it names another entry.
        self.policy.on_remove(newcomer, RemovalCause::Removed);
        let named = self.policy.victim(now, EvictionReason::Capacity, &self.places);
        let left = self.evict_named(named.filter(|slot| *slot != newcomer), now, newcomer);
        self.policy.on_restore(newcomer, cost);
        left
    }

    fn evict_named(
        &mut self,
        named: Option<Slot>,
        now: Moment,
        newcomer: Slot,
    ) -> Option<(Entry, RemovalCause)> {
        let slot = named
            .filter(|&slot| self.places.entry(slot).is_some())
            .or_else(|| self.places.any_but(Some(newcomer)))?;
        let why = if self.places.has_expired(slot, now) {
            RemovalCause::Expired
        } else {
            RemovalCause::Evicted
        };
        self.take(slot, why).map(|entry| (entry, why))
    }

    /// Restores an entry that was evicted for a newcomer that was then rejected.
    pub(crate) fn restore(&mut self, entry: Entry, cost: &EntryInfo) {
        let slot = self.places.put(low(cost.hash), entry);
        self.index.insert(low(cost.hash), slot.number());
        self.policy.on_restore(slot, cost);
    }

    /// Removes one expired entry, if the policy names one.
    pub(crate) fn expire(&mut self, now: Moment) -> Option<Entry> {
        let slot = self.policy.victim(now, EvictionReason::Expired, &self.places)?;
        if !self.places.has_expired(slot, now) {
            return None;
        }
        self.take(slot, RemovalCause::Expired)
    }

    fn take(&mut self, slot: Slot, why: RemovalCause) -> Option<Entry> {
        let (hash, entry) = self.places.take(slot)?;
        self.index.remove(hash, slot.number());
        self.policy.on_remove(slot, why);
        Some(entry)
    }
}

impl SlotSlab {
    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.index())?.as_ref()
    }

    fn put(&mut self, hash: u32, entry: Entry) -> Slot {
        if let Some(free) = self.free {
            let slot = Slot::new(free);
            let before = std::mem::replace(&mut self.hashes[slot.index()], hash);
            self.free = Some(before).filter(|&before| before != free);
            self.entries[slot.index()] = Some(entry);
            return slot;
        }
        let slot =
            u32::try_from(self.entries.len()).expect("the backend's entries are limited to fewer");
        let slot = Slot::new(slot);
        reach(&mut self.entries, slot.index(), || None);
        reach(&mut self.hashes, slot.index(), || hash);
        self.entries[slot.index()] = Some(entry);
        slot
    }

    fn take(&mut self, slot: Slot) -> Option<(u32, Entry)> {
        let entry = self.entries.get_mut(slot.index())?.take()?;
        // The first slot of the list refers to itself.
        let before = self.free.replace(slot.number()).unwrap_or(slot.number());
        Some((std::mem::replace(&mut self.hashes[slot.index()], before), entry))
    }

    fn has_expired(&self, slot: Slot, now: Moment) -> bool {
        self.expires_at(slot).is_some_and(|at| at <= now)
    }

    /// Returns a slot in use other than that of `newcomer`, by a linear search: only a policy that
    /// breaks its contract makes this necessary.
    fn any_but(&self, newcomer: Option<Slot>) -> Option<Slot> {
        let mut others =
            (0..).map(Slot::new).zip(&self.entries).filter(|(slot, _)| newcomer != Some(*slot));
        others.find_map(|(slot, held)| held.as_ref().map(|_| slot))
    }
}

impl Deadlines for SlotSlab {
    fn expires_at(&self, slot: Slot) -> Option<Moment> {
        self.entry(slot)?.expires_at()
    }
}

/// Returns the half of a hash that the index uses; the other half selects the shard.
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(hash: u64) -> u32 {
    hash as u32
}
