//! The state of the keys that have flights or writes.
//!
//! Only such keys have one; a fresh hit never comes here. The table's locks and a key's lock are blocking, held
//! for short sections, never across an await or code that was plugged in.

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::watch};

use super::flight::Landed;
use crate::{Key, Moment, fence::Epoch};

/// All keys with flights or writes.
pub(super) struct Table {
    hasher: foldhash::quality::RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = HashMap<Key, Tracked, foldhash::quality::RandomState>;

struct Tracked {
    state: Arc<KeyState>,
    users: usize,
}

/// One key. Its turn orders the calls that change the backend: held across backend calls only, never across the
/// origin.
pub(super) struct KeyState {
    pub(super) key: Key,
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Raised by every fence.
    pub(super) generation: u64,
    /// Writes that are open.
    pub(super) writes: usize,
    /// Raised by every flight that begins.
    pub(super) seq: u64,
    /// Raised by every flight that lands.
    pub(super) landings: u64,
    pub(super) running: Option<Running>,
    pub(super) waiting: Option<Waiting>,
}

/// Where the answer of a flight will be. Its receivers are the flight's waiters.
pub(super) type Answer = watch::Sender<Option<Landed>>;

/// The flight that is in the air.
pub(super) struct Running {
    pub(super) seq: u64,
    pub(super) generation: u64,
    pub(super) epoch: Epoch,
    pub(super) phase: Phase,
    pub(super) answer: Arc<Answer>,
}

/// The flight that starts when the running one has landed.
pub(super) struct Waiting {
    pub(super) answer: Arc<Answer>,
    /// Where it will run: the runtime of the last who joined.
    pub(super) runtime: Handle,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Looks up what is held: the question has not been sent.
    Looking,
    /// The question was sent.
    Asked(Moment),
    /// The answer is there and is being published.
    Landing,
}

/// What tells that nothing happened to a key between two looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    generation: u64,
    seq: u64,
    landings: u64,
}

impl Table {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { hasher: Default::default(), shards: std::array::from_fn(|_| Mutex::default()) })
    }

    /// Uses the key's state until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, key: &Key) -> KeyUse {
        let mut shard = self.shard(key);
        let tracked = shard.entry(key.clone()).or_insert_with(|| Tracked {
            state: Arc::new(KeyState {
                key: key.clone(),
                turn: tokio::sync::Mutex::new(()),
                state: Mutex::default(),
            }),
            users: 0,
        });
        tracked.users += 1;
        KeyUse { table: Arc::clone(self), state: Arc::clone(&tracked.state) }
    }

    /// How many keys have a state. Zero when nothing is in the air.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // The map inside has a hasher of its own, so these bits are not used twice.
        let at = self.hasher.hash_one(key) % SHARDS as u64;
        lock(&self.shards[usize::try_from(at).expect("below SHARDS")])
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Keeps a key's state in the table.
pub(super) struct KeyUse {
    table: Arc<Table>,
    state: Arc<KeyState>,
}

impl Clone for KeyUse {
    fn clone(&self) -> Self {
        self.table.enter(&self.state.key)
    }
}

impl Deref for KeyUse {
    type Target = KeyState;

    fn deref(&self) -> &KeyState {
        &self.state
    }
}

impl Drop for KeyUse {
    fn drop(&mut self) {
        let mut shard = self.table.shard(&self.state.key);
        // While this use lasts the table holds this very state, so it is found by its key.
        if let Some(tracked) = shard.get_mut(&self.state.key) {
            tracked.users -= 1;
            if tracked.users == 0 {
                shard.remove(&self.state.key);
            }
        }
    }
}

impl KeyState {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.seq, landings: self.landings }
    }

    /// Puts up a fence: no flight begun earlier publishes, or is joined, any more.
    pub(super) fn fence(&mut self) {
        self.generation += 1;
    }

    /// A flight begins; the caller spawns it.
    pub(super) fn begin_flight(&mut self, epoch: Epoch, answer: Arc<Answer>) -> u64 {
        debug_assert!(self.running.is_none(), "at most one flight of a key is in the air");
        self.seq += 1;
        let (seq, generation) = (self.seq, self.generation);
        self.running = Some(Running { seq, generation, epoch, phase: Phase::Looking, answer });
        seq
    }

    /// Frees the place of the flight `seq`, if it is still the one in the air. Where its answer belongs.
    pub(super) fn vacate(&mut self, seq: u64) -> Option<Arc<Answer>> {
        self.flight(seq)?;
        self.landings += 1;
        self.running.take().map(|running| running.answer)
    }

    /// The flight `seq`, if it is still the one in the air.
    pub(super) fn flight(&mut self, seq: u64) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| running.seq == seq)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No section under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 16;
