//! One part of a memory backend: a table of slots and the policy that ranks them. Knows no lock and no limit.

use cache_core::{Cost, Entry, EvictionPolicy, Held, Moment, Pressure, Removal, Slot};
use hashbrown::{HashTable, hash_table};

/// Entries by key, and by slot.
///
/// Each change is made here first and told to the policy last, so that a policy that panics finds a shard that is
/// whole.
pub(crate) struct Shard<P> {
    policy: P,
    /// Slot numbers by the hash of their entry's key.
    table: HashTable<u32>,
    places: Places,
    /// Slots not in use; the last freed is used first.
    free: Vec<u32>,
}

struct Places(Vec<Option<Place>>);

struct Place {
    entry: Entry,
    hash: u64,
}

impl<P: EvictionPolicy> Shard<P> {
    pub(crate) fn new(policy: P) -> Self {
        Self { policy, table: HashTable::new(), places: Places(Vec::new()), free: Vec::new() }
    }

    /// The entry, and one use of it.
    pub(crate) fn peek(&self, hash: u64, key: &str) -> Option<Entry> {
        let slot = *self.table.find(hash, |&slot| self.places.is_of(slot, key))?;
        self.policy.on_hit(Slot::new(slot));
        self.places.entry(Slot::new(slot)).cloned()
    }

    /// Puts the entry in. What was held under its key.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry, now: Moment) -> Option<Entry> {
        let cost = Cost { hash, weight: entry.weight(), now, expires_at: entry.expires_at() };
        let Self { table, places, free, policy } = self;
        let vacant =
            match table.entry(hash, |&slot| places.is_of(slot, entry.key()), |&slot| places.hash(slot)) {
                hash_table::Entry::Occupied(held) => {
                    let slot = *held.get();
                    let replaced = places.0[slot as usize].replace(Place { entry, hash });
                    policy.on_update(Slot::new(slot), &cost);
                    return replaced.map(|place| place.entry);
                }
                hash_table::Entry::Vacant(vacant) => vacant,
            };
        let slot = free.pop().unwrap_or_else(|| {
            places.0.push(None);
            u32::try_from(places.0.len() - 1).expect("the backend's entries are limited to fewer")
        });
        places.0[slot as usize] = Some(Place { entry, hash });
        vacant.insert(slot);
        policy.on_insert(Slot::new(slot), &cost);
        None
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &str) -> Option<Entry> {
        let slot = *self.table.find(hash, |&slot| self.places.is_of(slot, key))?;
        self.take(Slot::new(slot), Removal::Removed)
    }

    /// Makes one entry leave: whom the policy names or, should it name nobody, any but the newcomer. `None` if
    /// nothing is held.
    pub(crate) fn evict(&mut self, now: Moment, newcomer: &Entry) -> Option<(Entry, Removal)> {
        let named = self.policy.victim(now, Pressure::Full, &self.places);
        let slot = named
            .filter(|&slot| self.places.entry(slot).is_some())
            .or_else(|| self.places.any_but(newcomer))
            .or_else(|| self.places.any())?;
        let entry = self.places.entry(slot)?;
        let why = if entry.is_same(newcomer) {
            Removal::Refused
        } else if self.places.has_expired(slot, now) {
            Removal::Expired
        } else {
            Removal::Evicted
        };
        self.take(slot, why).map(|entry| (entry, why))
    }

    /// Makes one entry leave that has expired, if the policy knows of any.
    pub(crate) fn expire(&mut self, now: Moment) -> Option<Entry> {
        let slot = self.policy.victim(now, Pressure::Expired, &self.places)?;
        if !self.places.has_expired(slot, now) {
            return None;
        }
        self.take(slot, Removal::Expired)
    }

    fn take(&mut self, slot: Slot, why: Removal) -> Option<Entry> {
        let place = self.places.0.get_mut(slot.index())?.take()?;
        if let Ok(held) = self.table.find_entry(place.hash, |&held| held == slot.number()) {
            held.remove();
        }
        self.free.push(slot.number());
        self.policy.on_remove(slot, why);
        Some(place.entry)
    }
}

impl Places {
    fn entry(&self, slot: Slot) -> Option<&Entry> {
        Some(&self.0.get(slot.index())?.as_ref()?.entry)
    }

    fn is_of(&self, slot: u32, key: &str) -> bool {
        self.entry(Slot::new(slot)).is_some_and(|entry| entry.key() == key)
    }

    fn hash(&self, slot: u32) -> u64 {
        self.0[slot as usize].as_ref().map_or(0, |place| place.hash)
    }

    fn has_expired(&self, slot: Slot, now: Moment) -> bool {
        self.expires_at(slot).is_some_and(|at| at <= now)
    }

    /// A slot in use by another than `newcomer`. Looks at one after the other: a policy that makes this necessary
    /// breaks its contract, and pays for it.
    fn any_but(&self, newcomer: &Entry) -> Option<Slot> {
        self.first(|entry| !entry.is_same(newcomer))
    }

    fn any(&self) -> Option<Slot> {
        self.first(|_| true)
    }

    fn first(&self, fits: impl Fn(&Entry) -> bool) -> Option<Slot> {
        let at = self.0.iter().position(|place| place.as_ref().is_some_and(|place| fits(&place.entry)))?;
        u32::try_from(at).ok().map(Slot::new)
    }
}

impl Held for Places {
    fn expires_at(&self, slot: Slot) -> Option<Moment> {
        self.entry(slot)?.expires_at()
    }
}
