//! A backend of two tiers that keeps freshness across evictions, and the faults that it can have.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Admission, Backend, Entry, Moment, Rejection, Result, Seal, TierState, TierStats, Usage,
};

use crate::random::Random;

/// A backend of two tiers: entries in memory, and all of them as bytes on a [`SimulatedDisk`]. The
/// plainest that keeps its contract: everything is decided under one lock, and only `get` waits.
///
/// While an entry is not in memory, its stamp is kept as a [`Seal`]. A look-up reads the bytes,
/// waits, and then moves the entry into memory with the seal of that moment, if it is still the one
/// that was read.
///
/// ```
/// use cache_core::{Backend, Entry, Key};
/// use cache_testkit::{SimulatedDisk, TwoTierBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cache_core::Result<()> {
/// let disk = SimulatedDisk::new();
/// let backend = TwoTierBackend::new(1).on(&disk);
/// for key in ["a", "b"] {
///     let entry = Entry::builder(&Key::parse(key)?, "body".into()).e_tag("\"1\"").build();
///     assert!(backend.insert(entry).await?.is_stored());
/// }
/// // Memory has room for one.
/// assert!(backend.get_now("a").is_none());
/// assert!(backend.get("a").await?.is_some());
///
/// backend.close().await?;
/// let again = TwoTierBackend::new(1).on(&disk);
/// assert_eq!(again.get("a").await?.unwrap().body(), "body");
/// # Ok(())
/// # }
/// ```
pub struct TwoTierBackend {
    state: Mutex<State>,
    memory_max: usize,
    entries_max: usize,
    /// Draws how long look-ups in the lower tier take.
    random: Option<Random>,
    latency_max: Duration,
    loses_stamps: bool,
    fault: Option<TwoTierFault>,
}

/// The lower tier of a [`TwoTierBackend`], which outlives it. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<BTreeMap<String, Record>>>);

/// An entry on disk.
#[derive(Debug, Clone)]
struct Record {
    bytes: Bytes,
    /// Kept here only by a fault.
    seal: Seal,
}

/// A fault of a [`TwoTierBackend`], to see that a test finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TwoTierFault {
    /// A look-up moves the bytes that it has read into memory, whatever happened meanwhile.
    PromotesUnseen,
    /// A look-up uses the stamp of the moment at which it read the bytes.
    SealsTooEarly,
    /// Of an entry that was evicted twice, the stamp of the first time is kept.
    KeepsFirstSeal,
    /// `mark_stale` marks an entry in memory alone.
    MarksMemoryAlone,
    /// `renewed` does nothing.
    MissesRenewals,
    /// `renewed` renews what is stored under the key, whatever version that is.
    RenewsAnyVersion,
    /// `remove` leaves the bytes on disk, and shows them.
    RemovesFromMemoryAlone,
    /// `clear` leaves the bytes on disk, and shows them.
    ClearsMemoryAlone,
    /// An insert that replaces an entry leaves the older bytes on disk.
    LeavesOlderBytes,
    /// Stamps outlive the backend.
    StoresSeals,
    /// An insert after `close` is rejected, and stored all the same.
    StoresAfterClose,
    /// `close` drops everything.
    ClearsOnClose,
}

struct State {
    slots: HashMap<String, Slot>,
    /// Keys in memory, the one that was used last at the end. May have keys that have left.
    memory: VecDeque<String>,
    n_memory: usize,
    /// All keys, the one that was inserted last at the end. May have keys that have left.
    inserted: VecDeque<(u64, String)>,
    sequence: u64,
    disk: SimulatedDisk,
    is_closed: bool,
    evicted: u64,
    expired: u64,
    rejected: u64,
    hits: u64,
    hit_bytes: u64,
    misses: u64,
    recovered: u64,
}

struct Slot {
    /// The number of the insert.
    sequence: u64,
    /// The entry, while it is in memory.
    memory: Option<Entry>,
    /// Its stamp, while it is not.
    seal: Seal,
    weight: u64,
    is_negative: bool,
}

/// The bytes that a look-up has read.
struct Read {
    sequence: u64,
    bytes: Bytes,
    seal: Seal,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &str) -> Option<Record> {
        self.lock().get(key).cloned()
    }
}

impl TwoTierBackend {
    /// A backend that has at most `memory_max` entries in memory, over an empty disk.
    pub fn new(memory_max: usize) -> Self {
        let state = State {
            slots: HashMap::new(),
            memory: VecDeque::new(),
            n_memory: 0,
            inserted: VecDeque::new(),
            sequence: 0,
            disk: SimulatedDisk::new(),
            is_closed: false,
            evicted: 0,
            expired: 0,
            rejected: 0,
            hits: 0,
            hit_bytes: 0,
            misses: 0,
            recovered: 0,
        };
        Self {
            state: Mutex::new(state),
            memory_max,
            entries_max: usize::MAX,
            random: None,
            latency_max: Duration::ZERO,
            loses_stamps: false,
            fault: None,
        }
    }

    /// Sets the disk: what is on it is shown, without stamps. Bytes that are no entry are left out.
    #[must_use]
    pub fn on(self, disk: &SimulatedDisk) -> Self {
        let stores_seals = self.is(TwoTierFault::StoresSeals);
        {
            let mut state = self.lock();
            let records = disk.lock().clone();
            state.disk = disk.clone();
            for (key, record) in records {
                let Ok(entry) = Entry::from_bytes(&record.bytes) else { continue };
                state.sequence += 1;
                let sequence = state.sequence;
                state.inserted.push_back((sequence, key.clone()));
                let seal = if stores_seals { record.seal } else { Seal::none() };
                let (weight, is_negative) = (entry.weight(), entry.is_negative());
                state.slots.insert(key, Slot { sequence, memory: None, seal, weight, is_negative });
                state.recovered += 1;
            }
        }
        self
    }

    /// Sets the most entries of both tiers together. Default: no limit.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.entries_max = entries;
        self
    }

    /// Has each look-up in the lower tier wait for up to three turns of the scheduler, and for up
    /// to `latency_max`, as `seed` says: for tests that pause tokio's clock. Default: two turns.
    #[must_use]
    pub fn waiting(mut self, seed: u64, latency_max: Duration) -> Self {
        (self.random, self.latency_max) = (Some(Random::new(seed)), latency_max);
        self
    }

    /// Keeps no stamps of evicted entries, so that each is revalidated before it is served again.
    #[must_use]
    pub fn losing_stamps(mut self) -> Self {
        self.loses_stamps = true;
        self
    }

    /// Plants a fault. Before [`on`](Self::on), so that it applies to what is read from the disk.
    /// Default: none.
    #[must_use]
    pub fn fault(mut self, fault: TwoTierFault) -> Self {
        self.fault = Some(fault);
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, fault: TwoTierFault) -> bool {
        self.fault == Some(fault)
    }

    async fn wait(&self) {
        let Some(random) = &self.random else {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            return;
        };
        for _ in 0..random.below(4) {
            tokio::task::yield_now().await;
        }
        if !self.latency_max.is_zero() {
            tokio::time::sleep(self.latency_max.mul_f64(random.unit())).await;
        }
    }

    fn put(&self, entry: Entry) -> Admission {
        let mut state = self.lock();
        if state.is_closed && !self.is(TwoTierFault::StoresAfterClose) {
            state.rejected += u64::from(!entry.is_negative());
            return Admission::rejected(Rejection::Unavailable);
        }
        let key = entry.key().to_owned();
        let older = state.take(&key);
        state.sequence += 1;
        let sequence = state.sequence;
        entry.set_ticket(sequence);
        let slot = Slot {
            sequence,
            seal: Seal::none(),
            weight: entry.weight(),
            is_negative: entry.is_negative(),
            memory: None,
        };
        state.slots.insert(key.clone(), slot);
        state.inserted.push_back((sequence, key.clone()));
        if !entry.is_negative() {
            let record = Record { bytes: entry.to_bytes(), seal: entry.seal() };
            let older = older.filter(|_| self.is(TwoTierFault::LeavesOlderBytes));
            state.disk.lock().insert(key.clone(), older.unwrap_or(record));
        }
        state.enter_memory(&key, entry);
        self.shrink(&mut state);
        if state.is_closed {
            return Admission::rejected(Rejection::Unavailable);
        }
        Admission::Stored
    }

    /// Evicts entries until both tiers are within their limits.
    fn shrink(&self, state: &mut State) {
        while state.n_memory > self.memory_max {
            let Some(key) = state.memory.pop_front() else { break };
            let Some(slot) = state.slots.get_mut(&key) else { continue };
            let Some(entry) = slot.memory.take() else { continue };
            state.n_memory -= 1;
            if slot.is_negative {
                // It has no bytes below.
                state.slots.remove(&key);
                continue;
            }
            let is_first = slot.seal == Seal::none();
            if is_first || !self.is(TwoTierFault::KeepsFirstSeal) {
                let seal = entry.seal();
                slot.seal = if self.loses_stamps { seal.unstamped() } else { seal };
            }
            if let Some(record) = state.disk.lock().get_mut(&key) {
                record.seal = entry.seal();
            }
        }
        while state.slots.len() > self.entries_max {
            let Some((sequence, key)) = state.inserted.pop_front() else { break };
            if state.slots.get(&key).is_some_and(|slot| slot.sequence == sequence) {
                let is_copy = !state.slots[&key].is_negative;
                state.take(&key);
                state.evicted += u64::from(is_copy);
            }
        }
    }

    /// Moves what was read into memory. Returns what is shown of the key.
    fn promote(&self, key: &str, read: &Read) -> Result<Option<Entry>> {
        let entry = Entry::from_bytes(&read.bytes)?;
        let mut state = self.lock();
        let is_unseen = self.is(TwoTierFault::PromotesUnseen);
        if is_unseen {
            state.take(key);
            let (weight, sequence) = (entry.weight(), read.sequence);
            let slot = Slot { sequence, memory: None, seal: read.seal, weight, is_negative: false };
            state.slots.insert(key.to_owned(), slot);
            state.inserted.push_back((sequence, key.to_owned()));
            let record = Record { bytes: read.bytes.clone(), seal: read.seal };
            state.disk.lock().insert(key.to_owned(), record);
        }
        let Some(slot) = state.slots.get(key) else {
            state.misses += 1;
            return Ok(None);
        };
        if let Some(memory) = slot.memory.clone().filter(|_| !is_unseen) {
            return Ok(Some(memory));
        }
        if slot.sequence != read.sequence && !is_unseen {
            // Replaced, and the newer one evicted as well. It may be looked up again.
            state.misses += 1;
            return Ok(None);
        }
        // Now, and not when the bytes were read: it may have been marked meanwhile.
        let is_early = is_unseen || self.is(TwoTierFault::SealsTooEarly);
        let seal = if is_early { read.seal } else { slot.seal };
        let entry = entry.with_seal(seal);
        entry.set_ticket(read.sequence);
        state.hits += 1;
        state.hit_bytes += entry.body().len() as u64;
        state.enter_memory(key, entry.clone());
        self.shrink(&mut state);
        Ok(Some(entry))
    }
}

impl State {
    fn enter_memory(&mut self, key: &str, entry: Entry) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.memory.replace(entry).is_none() {
            self.n_memory += 1;
        }
        self.note_use(key);
    }

    fn note_use(&mut self, key: &str) {
        self.memory.retain(|used| used != key);
        self.memory.push_back(key.to_owned());
    }

    /// Takes the entry out of both tiers. Returns its bytes.
    fn take(&mut self, key: &str) -> Option<Record> {
        let slot = self.slots.remove(key)?;
        self.n_memory -= usize::from(slot.memory.is_some());
        self.disk.lock().remove(key)
    }

    /// Takes the entry out of memory.
    fn take_above(&mut self, key: &str) {
        if let Some(slot) = self.slots.get_mut(key)
            && let Some(entry) = slot.memory.take()
        {
            self.n_memory -= 1;
            slot.seal = entry.seal();
        }
    }

    fn in_memory(&self, key: &str) -> Option<&Entry> {
        self.slots.get(key)?.memory.as_ref()
    }
}

#[async_trait]
impl Backend for TwoTierBackend {
    fn get_now(&self, key: &str) -> Option<Entry> {
        let mut state = self.lock();
        let shown = state.in_memory(key)?.clone();
        state.note_use(key);
        Some(shown)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.lock().in_memory(key).cloned()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let read = {
            let mut state = self.lock();
            if let Some(memory) = state.in_memory(key) {
                return Ok(Some(memory.clone()));
            }
            let read = state.slots.get(key).and_then(|slot| {
                let Record { bytes, .. } = state.disk.read(key)?;
                Some(Read { sequence: slot.sequence, bytes, seal: slot.seal })
            });
            if read.is_none() {
                state.misses += 1;
            }
            read
        };
        let Some(read) = read else { return Ok(None) };
        self.wait().await;
        self.promote(key, &read)
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        Ok(self.put(entry))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        Ok(self.put(entry))
    }

    fn contains(&self, key: &str) -> Option<bool> {
        Some(self.lock().slots.contains_key(key))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let mut state = self.lock();
        let was_there = state.slots.contains_key(key);
        if self.is(TwoTierFault::RemovesFromMemoryAlone) {
            state.take_above(key);
        } else {
            state.take(key);
        }
        Ok(was_there)
    }

    async fn mark_stale(&self, key: &str) -> Result<()> {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(key) {
            if let Some(entry) = &slot.memory {
                entry.mark_stale();
            } else if !self.is(TwoTierFault::MarksMemoryAlone) {
                slot.seal.mark_stale();
            }
        }
        Ok(())
    }

    fn renewed(&self, entry: &Entry) {
        let mut state = self.lock();
        let Some(slot) = state.slots.get_mut(entry.key()) else { return };
        let is_same = slot.sequence == entry.ticket() || self.is(TwoTierFault::RenewsAnyVersion);
        if !is_same || self.is(TwoTierFault::MissesRenewals) {
            return;
        }
        match &slot.memory {
            // The handle that was renewed may have been evicted, and come back as another one.
            Some(memory) if !memory.is_same(entry) => memory.renew_from(entry),
            Some(_) => {}
            None if slot.seal.validated_at() <= entry.validated_at() => slot.seal = entry.seal(),
            None => {}
        }
    }

    fn lower_tier(&self) -> Option<TierStats> {
        let state = self.lock();
        let mut stats = TierStats::default();
        stats.state = if state.is_closed { TierState::Closed } else { TierState::On };
        stats.entries = state.disk.lock().len() as u64;
        (stats.hits, stats.hit_bytes, stats.misses) = (state.hits, state.hit_bytes, state.misses);
        stats.recovered = state.recovered;
        Some(stats)
    }

    async fn clear(&self) -> Result<()> {
        let mut state = self.lock();
        if self.is(TwoTierFault::ClearsMemoryAlone) {
            let keys: Vec<_> = state.slots.keys().cloned().collect();
            keys.iter().for_each(|key| state.take_above(key));
        } else {
            state.slots.clear();
            state.inserted.clear();
            state.disk.lock().clear();
            state.n_memory = 0;
        }
        state.memory.clear();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.is(TwoTierFault::ClearsOnClose) {
            return self.clear().await;
        }
        let mut state = self.lock();
        state.is_closed = true;
        state.slots.clear();
        state.inserted.clear();
        state.memory.clear();
        state.n_memory = 0;
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut state = self.lock();
        let has_expired =
            |slot: &Slot| slot.memory.as_ref().map_or(slot.seal, Entry::seal).has_expired(now);
        let expired: Vec<_> = state
            .slots
            .iter()
            .filter(|(_, slot)| has_expired(slot))
            .map(|(key, slot)| (key.clone(), !slot.is_negative))
            .collect();
        for (key, is_copy) in expired {
            state.take(&key);
            state.expired += u64::from(is_copy);
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let state = self.lock();
        let capacity = Some(self.entries_max).filter(|max| *max != usize::MAX);
        let bytes = state.slots.values().map(|slot| slot.weight).sum();
        Usage::new(state.slots.len() as u64, bytes)
            .with_capacity_entries(capacity.map(|max| max as u64))
            .with_evicted(state.evicted)
            .with_expired(state.expired)
            .with_rejected(state.rejected)
    }

    fn negative_entries(&self) -> u64 {
        self.lock().slots.values().filter(|slot| slot.is_negative).count() as u64
    }
}

impl fmt::Debug for TwoTierBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("TwoTierBackend")
            .field("entries", &state.slots.len())
            .field("in_memory", &state.n_memory)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
