//! Looking up: from the queue or from disk into memory.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cache_core::{Backend, Entry, Seal, within};

use crate::{
    counters::Cause,
    engine::Engine,
    format::{Fault, Record, record_len},
    hash::Hash,
    health::Phase,
    index::{IN_MEMORY, PINNED, Place, Slot, USED},
    reads::ReadError,
    segments::Segment,
};

/// The result of a look-up.
enum Found {
    /// The entry waits to be written.
    Waiting(Entry),
    OnDisk(Place),
}

/// Ends the sharing of a read, also if its work is dropped.
struct ReadGuard {
    engine: Arc<Engine>,
    place: Place,
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.engine.reads.end(self.place);
    }
}

impl Engine {
    /// Returns the entry of `key`, and puts it into memory.
    pub(crate) async fn get(
        self: &Arc<Self>,
        key: &str,
        memory: &impl Backend,
        in_memory: bool,
    ) -> Option<Entry> {
        let found = self.look_up(key, memory, in_memory).await;
        match &found {
            Some(entry) => {
                self.counters.hits.add(1);
                self.counters.hit_bytes.add(entry.body().len() as u64);
            }
            None => self.counters.misses.add(1),
        }
        found
    }

    async fn look_up(
        self: &Arc<Self>,
        key: &str,
        memory: &impl Backend,
        in_memory: bool,
    ) -> Option<Entry> {
        if !self.health.can_read() {
            return None;
        }
        let hash = self.hash(key);
        let (slot, found) = {
            let mut shard = self.index.shard(hash);
            let slot = *shard.get(hash)?;
            if slot.seal.has_expired(self.swept_at()) {
                shard.remove(hash);
                return None;
            }
            let found = match shard.waiting(hash) {
                Some(entry) => Found::Waiting(entry.clone()),
                None => Found::OnDisk(slot.place()?),
            };
            if let Some(slot) = shard.get_mut(hash) {
                slot.set(USED, true);
            }
            (slot, found)
        };
        match found {
            Found::Waiting(entry) => {
                let build = |seal| Some(entry.with_seal(seal));
                self.promote(key, &slot, memory, in_memory, build)
            }
            Found::OnDisk(place) => {
                let record = self.read(&slot, place, key).await?;
                let build = |seal| record.entry(seal).ok();
                self.promote(key, &slot, memory, in_memory, build)
            }
        }
    }

    /// Puts the entry into memory if it is still the one of its key. In one piece: a call that
    /// changes the key is entirely before or after it.
    fn promote(
        &self,
        key: &str,
        seen: &Slot,
        memory: &impl Backend,
        in_memory: bool,
        build: impl Fn(Seal) -> Option<Entry>,
    ) -> Option<Entry> {
        let mut shard = self.index.shard(seen.hash);
        // An entry that was replaced or removed since it was looked up must not come back.
        // mutant: disk_promote_sequence
        let current = shard.get_mut(seen.hash).filter(|slot| slot.sequence == seen.sequence);
        let Some(slot) = current.filter(|_| self.health.phase() == Phase::Open) else {
            drop(shard);
            return build(seen.seal.unstamped());
        };
        if let Some(cached) = memory.peek(key).filter(|entry| entry.ticket() == seen.sequence) {
            return Some(cached);
        }
        let entry = build(slot.seal)?;
        entry.set_ticket(seen.sequence);
        let slot_len = slot.place().map_or_else(|| record_len(&entry), |place| place.len.into());
        // It was written before its prefix was pinned, or while others took all the room.
        let is_unpinned = !slot.is(PINNED) && self.is_pinned(&entry);
        if matches!(memory.insert_now(entry.clone()), Ok(admission) if admission.is_stored()) {
            slot.set(IN_MEMORY, in_memory);
        }
        if is_unpinned {
            self.pin(&mut shard, seen.hash, slot_len);
        }
        Some(entry)
    }

    /// Reads the record of `slot` at `place`; `None` if that fails, or it is not what was written.
    async fn read(self: &Arc<Self>, slot: &Slot, place: Place, key: &str) -> Option<Record> {
        let segment = self.segments.get(place.segment)?;
        let read = match self.read_now(&segment, place) {
            Some(bytes) => {
                Record::check(bytes, segment.name, place.offset).map_err(ReadError::Fault)
            }
            None => self.read_elsewhere(segment, place).await,
        };
        let checked = read.and_then(|record| {
            // The hash is of 128 bits, and still no proof of the key.
            // mutant: disk_key_compared
            if record.key().map_err(ReadError::Fault)? != key {
                return Err(ReadError::Fault(Fault::Foreign));
            }
            if record.header.sequence != slot.sequence {
                return Err(ReadError::Fault(Fault::Corrupt("it has another sequence")));
            }
            Ok(record)
        });
        match checked {
            Ok(record) => {
                self.health.succeed();
                Some(record)
            }
            Err(error) => {
                self.read_failed(slot.hash, place, error);
                None
            }
        }
    }

    /// Reads a small record without waiting, if it is in the page cache.
    fn read_now(&self, segment: &Segment, place: Place) -> Option<Vec<u8>> {
        if place.len > READ_NOW_MAX {
            return None;
        }
        let file = self.segments.open_file(segment)?;
        file.read_cached_at(place.offset.into(), place.len as usize)
    }

    async fn read_elsewhere(
        self: &Arc<Self>,
        segment: Arc<Segment>,
        place: Place,
    ) -> Result<Record, ReadError> {
        let (read, is_new) = self.reads.join(place);
        if let Some(done) = is_new {
            let guard = ReadGuard { engine: Arc::clone(self), place };
            let has_begun = Arc::clone(&read.has_begun);
            self.files.run(Box::new(move || {
                has_begun.store(true, Ordering::Relaxed);
                // All readers may have been dropped.
                if !done.is_closed() {
                    let record = guard.engine.read_record(&segment, place);
                    drop(guard);
                    done.send_replace(Some(record));
                }
            }));
        }
        let mut done = read.done.clone();
        let has_begun = &read.has_begun;
        // Each reader has a limit of its own: none depends on another one that is not polled.
        let done = async { done.wait_for(Option::is_some).await.map(|done| (*done).clone()) };
        let n_read = self.n_read.load(Ordering::Relaxed);
        // A disk that hangs must not hang its readers.
        // mutant: disk_read_limit
        match within(read_limit(place.len), done).await {
            Some(Ok(Some(read))) => read,
            // Many other reads came before, or the runtime is shutting down: no fault of the disk.
            Some(Ok(None) | Err(_)) => Err(ReadError::NotRun),
            None if !has_begun.load(Ordering::Relaxed) => Err(ReadError::NotRun),
            // It is slow, since it has much to do, and does not hang.
            None if self.n_read.load(Ordering::Relaxed) != n_read => Err(ReadError::NotRun),
            None => Err(ReadError::Files),
        }
    }

    /// Reads and checks the record at `place`. Blocks.
    pub(crate) fn read_record(&self, segment: &Segment, place: Place) -> Result<Record, ReadError> {
        let opened = self.segments.file(segment, &*self.files);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Gone,
            _ => ReadError::Files,
        })?;
        let bytes =
            file.read_at(place.offset.into(), place.len as usize).map_err(|_| ReadError::Record)?;
        self.n_read.fetch_add(1, Ordering::Relaxed);
        Record::check(bytes, segment.name, place.offset).map_err(ReadError::Fault)
    }

    /// Takes note that the record at `place` could not be read.
    pub(crate) fn read_failed(&self, hash: Hash, place: Place, error: ReadError) {
        match error {
            ReadError::NotRun => return,
            ReadError::Gone => {
                if self.segments.is_listed(place.segment) {
                    self.counters.read_errors.add(1);
                }
            }
            ReadError::Files | ReadError::Record => {
                self.counters.read_errors.add(1);
                self.fail();
            }
            ReadError::Fault(Fault::Corrupt(_)) => self.counters.corrupt.add(1),
            ReadError::Fault(Fault::Foreign) => self.counters.foreign.add(1),
        }
        if error == ReadError::Files {
            return;
        }
        // A bad sector fails each time: the record is given up.
        let mut shard = self.index.shard(hash);
        if let Some(slot) = shard.get(hash)
            && slot.place() == Some(place)
        {
            self.counters.drop_slot(Cause::Corrupt, slot);
            shard.unplace(hash);
            shard.release(hash);
        }
    }
}

/// Returns how long a reader waits for a record of `len` bytes.
fn read_limit(len: u32) -> Duration {
    READ_LIMIT + Duration::from_secs(1).mul_f64(f64::from(len) / READ_RATE)
}

/// Larger records are read on another thread, also if they are in the page cache.
const READ_NOW_MAX: u32 = (1 << 20) + (64 << 10);
/// How long a reader waits for the disk, and for how many bytes a second at least.
const READ_LIMIT: Duration = Duration::from_secs(2);
const READ_RATE: f64 = (16 << 20) as f64;
