//! The keys that have flights or writes.
//!
//! Only such keys have a state; a fresh hit never comes here. The locks of the table are blocking,
//! held for short sections, never across an await or a call into a backend, an origin or a caller's
//! code.

use std::{fmt, hash::BuildHasher, ops::Deref, sync::Arc};

use hashbrown::{HashTable, hash_table::Entry};

use super::{
    key_state::{KeyState, NextFlight},
    outcome::FlightOutcome,
    parked::spawn_parked,
};
use crate::{
    Key, Result,
    sync::{Mutex, MutexGuard, lock},
};

/// All keys with flights or writes.
pub(super) struct KeyTable {
    hasher: foldhash::quality::RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = HashTable<Tracked>;

struct Tracked {
    state: Arc<KeyState>,
    users: usize,
}

impl KeyTable {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            hasher: Default::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Uses the key's state until the guard is dropped.
    ///
    /// # Errors
    ///
    /// `InvalidKey`.
    pub(super) fn enter(self: &Arc<Self>, key: &str) -> Result<KeyGuard> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let mut shard = self.shard(hash);
        let is_it = |tracked: &Tracked| tracked.state.key.as_str() == key;
        let tracked = match shard.entry(hash, is_it, |tracked| tracked.state.hash) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let state = Arc::new(KeyState::new(Key::parse(key)?, hash));
                place.insert(Tracked { state, users: 0 }).into_mut()
            }
        };
        tracked.users += 1;
        Ok(KeyGuard { table: Arc::clone(self), state: Arc::clone(&tracked.state) })
    }

    /// Returns a guard of the key's state if it has one; makes none.
    pub(super) fn find(self: &Arc<Self>, key: &str) -> Option<KeyGuard> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let mut shard = self.shard(hash);
        let tracked = shard.find_mut(hash, |tracked| tracked.state.key.as_str() == key)?;
        tracked.users += 1;
        Some(KeyGuard { table: Arc::clone(self), state: Arc::clone(&tracked.state) })
    }

    /// Returns how many keys have a state. Zero when nothing is in flight.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Returns the keys with flights or writes for which `is_wanted` returns true.
    pub(super) fn keys(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Key> {
        let of_shard = |shard: &Mutex<Shard>| -> Vec<_> {
            let shard = lock(shard);
            let keys = shard.iter().map(|tracked| &tracked.state.key);
            keys.filter(|key| is_wanted(key.as_str())).cloned().collect()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// Moves all flights that readers drive to tasks.
    pub(super) fn request_handoffs(&self) {
        for state in self.states() {
            let parked = state.lock().request_handoff();
            spawn_parked(parked);
        }
    }

    /// Ends all flights with `landed` for their waiters; none of them publishes any more.
    pub(super) fn vacate_all(&self, landed: &FlightOutcome) {
        for state in self.states() {
            let (running, waiting) = {
                let mut state = state.lock();
                let seq = state.seq;
                (state.vacate(seq), state.next.take())
            };
            if let Some(running) = running {
                running.tell(landed);
            }
            if let Some(NextFlight { sender: answer, .. }) = waiting {
                answer.send_replace(Some(landed.clone()));
            }
            state.vacated.notify_waiters();
        }
    }

    fn states(&self) -> impl Iterator<Item = Arc<KeyState>> {
        let of_shard = |shard: &Mutex<Shard>| -> Vec<_> {
            lock(shard).iter().map(|tracked| Arc::clone(&tracked.state)).collect()
        };
        self.shards.iter().flat_map(of_shard)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // hashbrown uses the top bits and the low ones.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Keeps a key's state in the table.
pub(super) struct KeyGuard {
    table: Arc<KeyTable>,
    state: Arc<KeyState>,
}

impl KeyGuard {
    /// Returns the state, which may outlive its place in the table.
    pub(super) fn state(&self) -> Arc<KeyState> {
        Arc::clone(&self.state)
    }

    /// Returns whether this guards that very state.
    pub(super) fn is(&self, state: &Arc<KeyState>) -> bool {
        Arc::ptr_eq(&self.state, state)
    }

    fn is_of(&self, tracked: &Tracked) -> bool {
        Arc::ptr_eq(&tracked.state, &self.state)
    }
}

impl Clone for KeyGuard {
    fn clone(&self) -> Self {
        // The table keeps the state as long as this guard lives.
        if let Some(tracked) =
            self.table.shard(self.hash).find_mut(self.hash, |held| self.is_of(held))
        {
            tracked.users += 1;
        }
        Self { table: Arc::clone(&self.table), state: Arc::clone(&self.state) }
    }
}

impl Deref for KeyGuard {
    type Target = KeyState;

    fn deref(&self) -> &KeyState {
        &self.state
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.state.hash);
        // The table keeps the state as long as this guard lives, so this is not its last handle.
        if let Ok(mut found) = shard.find_entry(self.state.hash, |held| self.is_of(held)) {
            // The last user removes the state of the key, or the table grows without bound.
            // mutant: key_users
            found.get_mut().users -= 1;
            if found.get().users == 0 {
                found.remove();
            }
        }
    }
}

const SHARDS: usize = 16;

#[cfg(all(test, object_cache_loom))]
mod model {
    use loom::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::{
        super::{
            key_state::{CurrentFlight, Drive, Origins},
            outcome::OutcomeSenders,
        },
        *,
    };
    use crate::epoch::Epoch;

    /// Guards of one key share one state, and the last one removes it, never another's.
    #[test]
    fn users_of_a_key_share_its_state_and_the_last_one_takes_it_away() {
        loom::model(|| {
            let table = KeyTable::new();
            let kept = table.enter("a").unwrap();
            let other = thread::spawn({
                let table = Arc::clone(&table);
                move || {
                    let one = table.enter("a").unwrap();
                    let two = one.clone();
                    drop(one);
                    two.lock().fence();
                }
            });
            let copy = kept.clone();
            drop(kept);
            copy.lock().fence();
            other.join().unwrap();
            // The other thread came while this guard lived, so there is one state.
            assert_eq!((copy.lock().generation, table.len()), (2, 1));
            drop(copy);
            assert_eq!(table.len(), 0);
        });
    }

    /// A flight and a write, as the protocol runs them, with a value at the origin and a cached
    /// one.
    #[test]
    fn what_is_kept_after_a_write_is_not_older_than_it() {
        loom::model(|| {
            let table = KeyTable::new();
            let (origin, held) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(NOTHING)));
            let write = thread::spawn({
                let (table, origin, held) =
                    (Arc::clone(&table), Arc::clone(&origin), Arc::clone(&held));
                move || {
                    let key = table.enter("a").unwrap();
                    let mut state = key.lock();
                    state.fence();
                    state.writes += 1;
                    held.store(NOTHING, Ordering::Relaxed);
                    drop(state);
                    origin.store(2, Ordering::Relaxed);
                    let mut state = key.lock();
                    state.fence();
                    state.writes -= 1;
                }
            });
            let key = table.enter("a").unwrap();
            let seq = begin(&key);
            let answer = origin.load(Ordering::Relaxed);
            {
                let mut state = key.lock();
                let (generation, writes) = (state.generation, state.writes);
                let running = state.flight(seq).unwrap();
                if running.generation == generation && writes == 0 {
                    held.store(answer, Ordering::Relaxed);
                }
                assert!(state.vacate(seq).is_some() && state.vacate(seq).is_none());
            }
            drop(key);
            write.join().unwrap();
            let kept = held.load(Ordering::Relaxed);
            assert!(kept == NOTHING || kept == 2, "{kept} is held after 2 was written");
            assert_eq!(table.len(), 0);
        });
    }

    /// A reader that joins before the end gets the outcome; a later one finds no flight.
    #[test]
    fn a_reader_joins_before_the_landing_or_finds_the_place_free() {
        loom::model(|| {
            let table = KeyTable::new();
            let key = table.enter("a").unwrap();
            let seq = begin(&key);
            let reader = thread::spawn({
                let key = key.clone();
                move || {
                    let mut state = key.lock();
                    assert!(state.request_handoff().is_none(), "a task has it");
                    state.current.as_mut().map(CurrentFlight::subscribe)
                }
            });
            let landed = key.lock().vacate(seq).unwrap();
            landed
                .tell(&FlightOutcome::Failed(crate::Error::new(crate::ErrorKind::Other, "landed")));
            if let Some(ticket) = reader.join().unwrap() {
                assert!(ticket.borrow().is_some(), "a waiter was not told");
            }
            assert_eq!(key.lock().stamp().n_finished, 1);
            drop(key);
            assert_eq!(table.len(), 0);
        });
    }

    /// A flight that was replaced goes on after all, beside its successor.
    #[test]
    fn a_vacated_flight_publishes_nothing() {
        loom::model(|| {
            let table = KeyTable::new();
            let held = Arc::new(AtomicU64::new(NOTHING));
            let key = table.enter("a").unwrap();
            let first = begin(&key);
            let lost = thread::spawn({
                let (key, held) = (key.clone(), Arc::clone(&held));
                move || publish(&key, first, 1, &held)
            });
            let was_there = key.lock().vacate(first).is_some();
            if was_there {
                publish(&key, begin(&key), 2, &held);
            }
            lost.join().unwrap();
            assert_eq!(held.load(Ordering::Relaxed), if was_there { 2 } else { 1 });
            drop(key);
            assert_eq!(table.len(), 0);
        });
    }

    fn begin(key: &KeyGuard) -> u64 {
        let token = super::super::task_tracker::TaskTracker::default().count();
        let origins = Origins { runtime: None, is_second: false };
        key.lock().begin_flight(Epoch(0), OutcomeSenders::default(), Drive::Task, origins, token)
    }

    fn publish(key: &KeyGuard, seq: u64, answer: u64, held: &AtomicU64) {
        let mut state = key.lock();
        if state.flight(seq).is_some() {
            held.store(answer, Ordering::Relaxed);
            assert!(state.vacate(seq).is_some());
        }
    }

    const NOTHING: u64 = 0;
}
