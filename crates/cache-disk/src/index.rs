//! The index of the tier, in memory only: a slot of 64 bytes for each entry.
//!
//! A slot lives as long as its entry has a place on disk, waits to be written, or is cached in
//! memory; a slot that is absent has changed. Its sequence tells one insert of a key from another,
//! and its seal is always the latest stamp: marks and renewals are calls of the backend.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use cache_core::{Entry, Seal};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use tokio::sync::Notify;

use crate::{format::record_len, hash::Hash, sync::lock};

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// A number within this process, never zero and never used again.
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// The place, stamp and flags of one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) hash: Hash,
    pub(crate) sequence: u64,
    pub(crate) seal: Seal,
    place: Place,
    flags: u8,
}

impl Slot {
    pub(crate) fn new(hash: Hash, sequence: u64, seal: Seal) -> Self {
        Self { hash, sequence, seal, place: NOWHERE, flags: 0 }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        (self.place.segment != 0).then_some(self.place)
    }

    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    fn is_needed(&self) -> bool {
        self.place.segment != 0 || self.flags & (WAITS | IN_MEMORY | TOMBSTONE) != 0
    }
}

/// It waits to be written: its entry is in [`Shard::waiting`].
pub(crate) const WAITS: u8 = 1;
/// Its entry is cached in memory, which will tell when it leaves.
pub(crate) const IN_MEMORY: u8 = 2;
/// It was looked up on disk since it was written.
pub(crate) const USED: u8 = 4;
/// Its key is under a pinned prefix.
pub(crate) const PINNED: u8 = 8;
/// It was removed or stored while the tier was starting: older records of it that are found are
/// void.
pub(crate) const TOMBSTONE: u8 = 16;
/// It waits to be written, and memory has it: it takes no room of the queue.
pub(crate) const LENT: u8 = 64;
/// It was read back from a segment that is recycled, to be written again.
pub(crate) const REWRITTEN: u8 = 32;

/// Sums over all slots, now.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Entries with a place.
    pub(crate) entries: AtomicU64,
    /// Bytes of the records of pinned ones.
    pub(crate) pinned_bytes: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) waiting_bytes: AtomicU64,
    /// Notified when an entry no longer waits to be written.
    pub(crate) room: Notify,
}

/// The slots whose hashes fall into one shard.
#[derive(Default)]
pub(crate) struct Shard {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Entries that wait to be written, or are being written.
    waiting: HashMap<Hash, Entry, FixedState>,
    live: Arc<Live>,
}

impl Shard {
    pub(crate) fn get(&self, hash: Hash) -> Option<&Slot> {
        let slots = &self.slots;
        let at = self.table.find(hash.0[0], |&at| slots[at as usize].hash == hash)?;
        Some(&slots[*at as usize])
    }

    pub(crate) fn get_mut(&mut self, hash: Hash) -> Option<&mut Slot> {
        let slots = &self.slots;
        let at = *self.table.find(hash.0[0], |&at| slots[at as usize].hash == hash)?;
        self.slots.get_mut(at as usize)
    }

    /// Puts `slot` in the place of any older one, whose record and waiting entry are dropped.
    pub(crate) fn put(&mut self, slot: Slot) {
        let hash = slot.hash;
        self.unplace(hash);
        self.stop_waiting(hash);
        if let Some(old) = self.get_mut(hash) {
            // With the new entry's stamp.
            // mutant: disk_new_seal
            *old = slot;
            return;
        }
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // By a quarter, since doubling would take up to twice the memory.
                    self.slots.reserve_exact(self.slots.len() / 4 + 16);
                }
                let Ok(at) = u32::try_from(self.slots.len()) else { return };
                self.slots.push(slot);
                at
            }
        };
        let slots = &self.slots;
        self.table.insert_unique(hash.0[0], at, |&at| slots[at as usize].hash.0[0]);
    }

    /// Removes the slot. Returns whether it had bytes of an entry.
    pub(crate) fn remove(&mut self, hash: Hash) -> bool {
        let had_place = self.unplace(hash).is_some();
        // Else it would take room in the queue for ever.
        // mutant: disk_remove_waiting
        let waited = self.stop_waiting(hash).is_some();
        if let Ok(found) =
            self.table.find_entry(hash.0[0], |&at| self.slots[at as usize].hash == hash)
        {
            let (at, _) = found.remove();
            self.free.push(at);
        }
        had_place || waited
    }

    /// Removes the slot if nothing needs it any more.
    pub(crate) fn release(&mut self, hash: Hash) {
        if self.get(hash).is_some_and(|slot| !slot.is_needed()) {
            self.remove(hash);
        }
    }

    /// Gives a slot whose entry does not wait a place on disk.
    pub(crate) fn set_place(&mut self, hash: Hash, place: Place) {
        self.unplace(hash);
        self.place(hash, place);
        if self.get(hash).is_some_and(|slot| slot.is(PINNED)) {
            self.live.pinned_bytes.fetch_add(place.len.into(), Ordering::Relaxed);
        }
    }

    fn place(&mut self, hash: Hash, place: Place) {
        let Some(slot) = self.get_mut(hash) else { return };
        slot.place = place;
        slot.set(USED | REWRITTEN, false);
        self.live.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the place of a slot, whose record is no longer shown.
    pub(crate) fn unplace(&mut self, hash: Hash) -> Option<Place> {
        let slot = self.get_mut(hash)?;
        let place = slot.place()?;
        slot.place = NOWHERE;
        let pinned = if slot.is(PINNED) { u64::from(place.len) } else { 0 };
        self.live.entries.fetch_sub(1, Ordering::Relaxed);
        self.live.pinned_bytes.fetch_sub(pinned, Ordering::Relaxed);
        Some(place)
    }

    /// Pins a slot, and counts the bytes of its record.
    pub(crate) fn pin(&mut self, hash: Hash) {
        let waiting = self.waiting(hash).map_or(0, record_len);
        let Some(slot) = self.get_mut(hash).filter(|slot| !slot.is(PINNED)) else { return };
        slot.set(PINNED, true);
        let len = waiting + slot.place().map_or(0, |place| place.len.into());
        self.live.pinned_bytes.fetch_add(len, Ordering::Relaxed);
    }

    /// Adds an entry that waits to be written. One that is `lent` by memory takes no room.
    pub(crate) fn wait(&mut self, hash: Hash, entry: Entry, is_lent: bool) {
        self.stop_waiting(hash);
        let Some(slot) = self.get_mut(hash) else { return };
        slot.set(WAITS, true);
        slot.set(LENT, is_lent);
        // As if it were written: what waits under a pinned prefix takes part in its limit.
        let pinned = if slot.is(PINNED) { record_len(&entry) } else { 0 };
        self.live.pinned_bytes.fetch_add(pinned, Ordering::Relaxed);
        self.live.waiting.fetch_add(1, Ordering::Relaxed);
        let bytes = if is_lent { 0 } else { entry.weight() };
        self.live.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.waiting.insert(hash, entry);
    }

    /// Memory does not have the waiting entry any more: it takes room from here on.
    pub(crate) fn keep_lent(&mut self, hash: Hash) {
        let Some(bytes) = self.waiting(hash).map(Entry::weight) else { return };
        if let Some(slot) = self.get_mut(hash) {
            slot.set(LENT, false);
            self.live.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn waiting(&self, hash: Hash) -> Option<&Entry> {
        self.waiting.get(&hash)
    }

    /// Drops an entry that waits to be written.
    pub(crate) fn stop_waiting(&mut self, hash: Hash) -> Option<Entry> {
        let entry = self.take_waiting(hash)?;
        if self.get(hash).is_some_and(|slot| slot.is(PINNED)) {
            self.live.pinned_bytes.fetch_sub(record_len(&entry), Ordering::Relaxed);
        }
        Some(entry)
    }

    fn take_waiting(&mut self, hash: Hash) -> Option<Entry> {
        let entry = self.waiting.remove(&hash)?;
        let mut bytes = entry.weight();
        if let Some(slot) = self.get_mut(hash) {
            if slot.is(LENT) {
                bytes = 0;
            }
            slot.set(WAITS | LENT, false);
        }
        self.live.waiting.fetch_sub(1, Ordering::Release);
        self.live.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.live.room.notify_waiters();
        Some(entry)
    }

    /// Gives the waiting entry the place that it was written to. At each moment it is counted as
    /// waiting or as placed.
    pub(crate) fn publish(&mut self, hash: Hash, place: Place) {
        self.unplace(hash);
        self.place(hash, place);
        // Its pinned bytes are those that it had while it waited.
        self.take_waiting(hash);
    }

    /// Returns the slots of the entries that wait to be written.
    pub(crate) fn all_waiting(&self) -> Vec<Slot> {
        self.waiting.keys().filter_map(|hash| self.get(*hash).copied()).collect()
    }

    /// Removes all slots, and frees their memory.
    pub(crate) fn clear(&mut self) {
        for hash in self.hashes() {
            self.remove(hash);
        }
        *self = Self { live: Arc::clone(&self.live), ..Self::default() };
    }

    /// Returns the hashes of all slots.
    pub(crate) fn hashes(&self) -> Vec<Hash> {
        self.table.iter().map(|&at| self.slots[at as usize].hash).collect()
    }
}

/// All slots.
pub(crate) struct Index {
    shards: Box<[Mutex<Shard>]>,
    pub(crate) live: Arc<Live>,
}

impl Index {
    pub(crate) fn new() -> Self {
        let live = Arc::<Live>::default();
        let shard = |_| Mutex::new(Shard { live: Arc::clone(&live), ..Shard::default() });
        Self { shards: (0..SHARDS).map(shard).collect(), live }
    }

    /// Locks the shard of `hash`.
    pub(crate) fn shard(&self, hash: Hash) -> MutexGuard<'_, Shard> {
        // The table uses the other half of the hash.
        let [.., low] = hash.0[1].to_be_bytes();
        lock(&self.shards[usize::from(low) % SHARDS])
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }
}

const NOWHERE: Place = Place { segment: 0, offset: 0, len: 0 };
const SHARDS: usize = 64;
