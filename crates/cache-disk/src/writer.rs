//! Writing: batches of records, segment after segment, in the place of the oldest ones.
//!
//! The writer also finds the entries of earlier processes at its start. It is the only one that
//! changes files, in steps: a thread runs them in production, a test one by one.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cache_core::{Entry, Moment, Seal};

use crate::{
    counters::Cause,
    engine::Engine,
    files::{SegmentFile, SegmentName},
    format::{
        FooterItem, HEADER_LEN, ITEM_LEN, RECORD_LEN, SegmentHeader, TRAILER_LEN, encode,
        encode_footer, hash_key_sum, record_len,
    },
    hash::Hash,
    health::Phase,
    index::{PINNED, Place, REWRITTEN, USED},
    load::{self, Loader},
    reads::ReadError,
    segments::Segment,
    settings::Checked,
    sync::lock,
};

/// Writes the entries of the queue. One for each tier.
#[must_use = "nothing is written before `step` is called"]
pub struct Writer {
    engine: Arc<Engine>,
    loader: Option<Loader>,
    current: Option<Current>,
    /// Taken from the queue, and not written yet.
    batch: VecDeque<(Hash, u64, Entry)>,
    /// The segment whose entries are being written again: it is removed once they are.
    recycled: Option<(Arc<Segment>, usize)>,
    budget: Option<Budget>,
    n_segments: u32,
}

/// The segment that is being written.
struct Current {
    segment: Arc<Segment>,
    file: Arc<dyn SegmentFile>,
    end: u32,
    items: Vec<FooterItem>,
}

/// The next thing to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next step, at once.
    Progress,
    /// Nothing, until an entry is to be written.
    Idle,
    /// Nothing before this moment.
    Until(Moment),
    /// Nothing any more: the tier is closed.
    Done,
}

impl Writer {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let budget =
            engine.settings.write_budget.map(|rate| Budget::new(rate, engine.health.now()));
        Self {
            loader: Some(Loader::new(&engine)),
            engine,
            current: None,
            batch: VecDeque::new(),
            recycled: None,
            budget,
            n_segments: 0,
        }
    }

    /// Runs steps until the tier is closed, and waits between them.
    pub(crate) fn run(mut self) {
        // Also after a panic, such as one of the clock: the tier is closed then.
        let _end = EndGuard(Arc::clone(&self.engine));
        loop {
            match self.step() {
                Step::Progress => {}
                Step::Idle => self.engine.wait_for_work(IDLE_MAX),
                Step::Until(moment) => {
                    let span = moment.saturating_since(self.engine.health.now());
                    self.engine.wait_for_closing(span.min(IDLE_MAX));
                }
                Step::Done => return,
            }
        }
    }

    /// Does one piece of work. Blocks on the files.
    pub fn step(&mut self) -> Step {
        let engine = Arc::clone(&self.engine);
        let phase = engine.health.phase();
        if phase == Phase::Closed {
            return Step::Done;
        }
        if let Some(loader) = &mut self.loader {
            if phase == Phase::Starting && loader.step(&engine) {
                return Step::Progress;
            }
            self.loader = None;
            load::end(&engine);
            // The capacity may have been larger.
            self.shrink_to(engine.settings.max_capacity);
            return Step::Progress;
        }
        if let Some(until) = engine.health.off_until() {
            return if phase == Phase::Ending { self.end() } else { Step::Until(until) };
        }
        if !self.remove_retired() {
            return Step::Progress;
        }
        self.fill_batch();
        if self.batch.is_empty() {
            self.remove_recycled();
            return if phase == Phase::Ending { self.end() } else { Step::Idle };
        }
        // At close the queue is written at once.
        if phase < Phase::Closing
            && let Some(budget) = &mut self.budget
            && let Some(until) = budget.wait(engine.health.now())
        {
            return Step::Until(until);
        }
        if let Err(error) = self.write_some() {
            self.write_failed(&error);
        }
        Step::Progress
    }

    fn end(&mut self) -> Step {
        self.remove_recycled();
        if let Some(current) = self.current.take() {
            // Without a footer its records are found by walking.
            if self.seal(current).is_err() {
                self.engine.counters.write_errors.add(1);
            }
        }
        self.engine.writer_ended();
        Step::Done
    }

    fn fill_batch(&mut self) {
        let mut bytes = self.batch.iter().map(|(.., entry)| record_len(entry)).sum::<u64>();
        while bytes < BATCH_BYTES
            && let Some(candidate) = self.engine.next_candidate()
        {
            bytes += record_len(&candidate.2);
            self.batch.push_back(candidate);
        }
    }

    /// Writes as much of the batch as the current segment has room for.
    fn write_some(&mut self) -> io::Result<()> {
        let Some((.., first)) = self.batch.front() else { return Ok(()) };
        let first_len = record_len(first);
        // After a `clear` the current segment is no longer listed.
        let is_listed = |current: &Current| self.engine.segments.is_listed(current.segment.id);
        if self.current.as_ref().is_some_and(|current| !is_listed(current)) {
            self.current = None;
        }
        if let Some(current) =
            self.current.take_if(|current| !current.has_room(first_len, &self.engine))
        {
            self.seal(current)?;
        }
        if self.current.is_none() {
            self.current = Some(self.make_segment()?);
            // The current one may fill up, and the file of a segment that is recycled stays until
            // its entries are written again.
            let Checked { max_capacity, segment_bytes, .. } = self.engine.settings;
            self.shrink_to(max_capacity.saturating_sub(2 * segment_bytes));
            // Entries that are written again come first.
            let behind = std::mem::take(&mut self.batch);
            self.fill_batch();
            self.batch.extend(behind);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.write(&mut self.batch, &self.engine)?;
        self.engine.health.succeed();
        if let Some(budget) = &mut self.budget {
            budget.spend(written);
        }
        Ok(())
    }

    /// Makes the next segment.
    fn make_segment(&mut self) -> io::Result<Current> {
        let engine = &self.engine;
        loop {
            let name = SegmentName { start: engine.start, number: self.n_segments };
            self.n_segments = self.n_segments.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
            let file = match engine.files.create(name) {
                // Another program's file of that name stays as it is.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            let header = SegmentHeader {
                namespace: engine.context.namespace.bits(),
                hash_key_sum: hash_key_sum(&engine.hash_key),
            };
            if let Err(error) = file.write_at(0, &[IoSlice::new(&header.encode(name))]) {
                // A file without a header would stay for ever.
                let _ = engine.files.remove(name);
                return Err(error);
            }
            engine.counters.written_bytes.add(HEADER_LEN as u64);
            let end = u32::try_from(HEADER_LEN).unwrap_or_default();
            let listed = engine.segments.add(name, Some(Arc::clone(&file)), HEADER_LEN as u64);
            let segment = listed.ok_or(io::ErrorKind::StorageFull)?;
            return Ok(Current { segment, file, end, items: Vec::new() });
        }
    }

    /// Writes the footer.
    fn seal(&self, mut current: Current) -> io::Result<()> {
        let (engine, id) = (&self.engine, current.segment.id);
        if !engine.segments.is_listed(id) {
            return Ok(());
        }
        // The next process finds no entry that was removed or replaced meanwhile.
        current.items.retain(|item| {
            let shard = engine.index.shard(item.hash);
            let place = shard.get(item.hash).and_then(|slot| slot.place());
            place.is_some_and(|place| (place.segment, place.offset) == (id, item.offset))
        });
        let footer = encode_footer(&current.items, current.segment.name, current.end);
        current.file.write_at(current.end.into(), &[IoSlice::new(&footer)])?;
        engine.counters.written_bytes.add(footer.len() as u64);
        let bytes = u64::from(current.end) + footer.len() as u64;
        current.segment.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Recycles the oldest segments, until the files have at most `bytes` bytes.
    fn shrink_to(&mut self, bytes: u64) {
        while self.engine.segments.bytes() > bytes {
            let current = self.current.as_ref().map(|current| current.segment.id);
            let Some(oldest) = self.engine.segments.oldest_but(current) else { return };
            self.recycle(&oldest, true);
        }
    }

    /// Drops the entries of `segment`. If it `rewrites`, those that are pinned, and some of those
    /// that were used, are queued to be written again.
    fn recycle(&mut self, segment: &Arc<Segment>, rewrites: bool) {
        let engine = Arc::clone(&self.engine);
        // After a restart with a smaller capacity there may be more than is allowed.
        let pins = engine.index.live.pinned_bytes.load(Ordering::Relaxed);
        let mut excess = pins.saturating_sub(engine.settings.max_capacity / 2);
        let mut spare = engine.settings.segment_bytes / REWRITTEN_SHARE;
        let mut n_rewritten = 0;
        for (hash, place) in self.places_in(segment) {
            let (sequence, is_kept) = {
                let mut shard = engine.index.shard(hash);
                let Some(slot) = shard.get(hash).filter(|slot| slot.place() == Some(place)) else {
                    continue;
                };
                let (is_pinned, sequence) = (slot.is(PINNED), slot.sequence);
                let is_used = slot.is(USED) && u64::from(place.len) <= spare;
                let is_kept = rewrites && (is_used || is_pinned && excess == 0);
                if !is_kept {
                    if is_pinned {
                        excess = excess.saturating_sub(place.len.into());
                    }
                    engine.counters.drop_slot(Cause::Recycled, slot);
                    shard.unplace(hash);
                    shard.release(hash);
                } else if !is_pinned {
                    spare -= u64::from(place.len);
                }
                (sequence, is_kept)
            };
            if is_kept {
                n_rewritten += usize::from(self.rewrite(segment, hash, sequence, place));
                // Whatever became of it, the segment goes.
                let mut shard = engine.index.shard(hash);
                if let Some(slot) = shard.get(hash).filter(|slot| slot.place() == Some(place)) {
                    engine.counters.drop_slot(Cause::Recycled, slot);
                    shard.unplace(hash);
                    shard.release(hash);
                }
            }
        }
        engine.segments.unlist(segment.id);
        self.remove_recycled();
        if n_rewritten == 0 {
            self.retire(Arc::clone(segment));
        } else {
            engine.counters.rewritten.add(n_rewritten as u64);
            self.recycled = Some((Arc::clone(segment), n_rewritten));
        }
    }

    /// Queues the entry at `place` to be written again, with its sequence.
    fn rewrite(&self, segment: &Segment, hash: Hash, sequence: u64, place: Place) -> bool {
        let engine = &self.engine;
        let read = engine.read_record(segment, place);
        let entry = read.and_then(|record| record.entry(Seal::none()).map_err(ReadError::Fault));
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                engine.read_failed(hash, place, error);
                return false;
            }
        };
        let is_pinned = engine.is_pinned(&entry);
        let mut shard = engine.index.shard(hash);
        // An entry that has changed since it was looked at has a newer record, or none.
        // mutant: disk_rewrite_sequence
        let current = shard
            .get_mut(hash)
            .filter(|slot| slot.sequence == sequence && slot.place() == Some(place));
        let Some(_) = current else { return false };
        shard.unplace(hash);
        let was_pinned = shard.get_mut(hash).is_some_and(|slot| {
            let was_pinned = slot.is(PINNED);
            slot.set(PINNED, false);
            was_pinned
        });
        if is_pinned && !engine.pin(&mut shard, hash, place.len.into()) && was_pinned {
            engine.counters.drop_entry(Cause::PinLimit, true);
        }
        engine.requeue(&mut shard, hash, sequence, entry);
        true
    }

    /// Returns the entries that have a place in `segment`, in the order of their places.
    fn places_in(&self, segment: &Segment) -> Vec<(Hash, Place)> {
        let id = segment.id;
        let of_items = |items: Vec<FooterItem>| {
            let place = |item: FooterItem| {
                (item.hash, Place { segment: id, offset: item.offset, len: item.len() })
            };
            items.into_iter().map(place).collect()
        };
        if segment.is_foreign.load(Ordering::Relaxed) {
            return Vec::new();
        }
        if let Some(items) = load::footer_of(&self.engine, segment) {
            return of_items(items);
        }
        // Without a footer, of all slots.
        let mut places = Vec::new();
        for shard in self.engine.index.shards() {
            for hash in shard.hashes() {
                let place = shard.get(hash).and_then(|slot| slot.place());
                places.extend(place.filter(|place| place.segment == id).map(|place| (hash, place)));
            }
        }
        places.sort_unstable_by_key(|(_, place)| place.offset);
        places
    }

    fn retire(&self, segment: Arc<Segment>) {
        lock(&self.engine.retired).push(segment);
        self.remove_retired();
    }

    /// Removes the files of segments that are no longer listed. A file that cannot be removed is
    /// tried again after a while; returns whether there is any.
    fn remove_retired(&self) -> bool {
        let retired = std::mem::take(&mut *lock(&self.engine.retired));
        let is_left = |segment: &Arc<Segment>| {
            let removed = self.engine.files.remove(segment.name);
            removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        };
        let left: Vec<_> = retired.into_iter().filter(is_left).collect();
        if left.is_empty() {
            return true;
        }
        self.engine.counters.write_errors.add(left.len() as u64);
        lock(&self.engine.retired).extend(left);
        self.engine.fail();
        false
    }

    /// Removes the file of the segment whose entries are written again by now.
    fn remove_recycled(&mut self) {
        if let Some((segment, _)) = self.recycled.take() {
            self.retire(segment);
        }
    }

    fn write_failed(&mut self, error: &io::Error) {
        let engine = Arc::clone(&self.engine);
        engine.counters.write_errors.add(1);
        if is_full(error) {
            self.remove_recycled();
            let current = self.current.as_ref().map(|current| current.segment.id);
            let oldest = engine.segments.oldest_but(current);
            if let Some(oldest) = oldest.or_else(|| self.current.take().map(|it| it.segment)) {
                self.recycle(&oldest, false);
                if self.write_some().is_ok() {
                    return;
                }
                engine.counters.write_errors.add(1);
            }
        }
        // Without a footer; its records stay where they are.
        self.current = None;
        for (hash, sequence, _) in self.batch.drain(..) {
            let mut shard = engine.index.shard(hash);
            if let Some(slot) = shard.get(hash).filter(|slot| slot.sequence == sequence) {
                engine.counters.drop_slot(Cause::WriteError, slot);
                shard.stop_waiting(hash);
                shard.release(hash);
            }
        }
        engine.fail();
    }
}

impl Current {
    fn has_room(&self, record_len: u64, engine: &Engine) -> bool {
        let footer = (self.items.len() + 1) * ITEM_LEN + TRAILER_LEN;
        u64::from(self.end) + record_len + footer as u64 <= engine.settings.segment_bytes
    }

    /// Writes entries of the front of `batch`, as long as there is room, and shows them. Returns
    /// how many bytes were written.
    fn write(
        &mut self,
        batch: &mut VecDeque<(Hash, u64, Entry)>,
        engine: &Engine,
    ) -> io::Result<u64> {
        let begin = self.end;
        // Headers, heads and small bodies, and where in it each large body belongs.
        let mut buffer = Vec::new();
        let mut bodies = Vec::new();
        let (mut end, mut items) = (begin, Vec::new());
        for (hash, sequence, entry) in &*batch {
            let footer = (self.items.len() + items.len() + 1) * ITEM_LEN + TRAILER_LEN;
            let limit = engine.settings.segment_bytes - footer as u64;
            let is_full =
                u64::from(end - begin) >= BATCH_BYTES || u64::from(end) + record_len(entry) > limit;
            if is_full && !items.is_empty() {
                break;
            }
            let Some(encoded) = encode(entry, *sequence) else { break };
            let header = encoded.header.encode(self.segment.name, end);
            buffer.extend_from_slice(&header);
            buffer.extend_from_slice(&encoded.head);
            let body = entry.body();
            if body.len() < COPY_BELOW {
                buffer.extend_from_slice(body);
            } else {
                bodies.push((buffer.len(), body));
            }
            let len = u32::try_from(RECORD_LEN + encoded.head.len() + body.len())
                .map_err(io::Error::other)?;
            items.push(FooterItem::new(*hash, *sequence, end, len));
            end += len;
        }
        if items.is_empty() {
            // It cannot be encoded.
            batch.pop_front();
            return Ok(0);
        }
        let mut parts = Vec::with_capacity(2 * bodies.len() + 1);
        let mut from = 0;
        for (at, body) in bodies {
            parts.push(IoSlice::new(&buffer[from..at]));
            parts.push(IoSlice::new(body));
            from = at;
        }
        parts.push(IoSlice::new(&buffer[from..]));
        self.file.write_at(begin.into(), &parts)?;
        self.end = end;
        self.segment.bytes.store(end.into(), Ordering::Relaxed);
        let counters = &engine.counters;
        counters.written_bytes.add((end - begin).into());
        counters.written.add(items.len() as u64);
        for item in &mut items {
            let Some((hash, sequence, _)) = batch.pop_front() else { break };
            let place = Place { segment: self.segment.id, offset: item.offset, len: item.len() };
            let mut shard = engine.index.shard(hash);
            // Else what is written again and again would count as no amplification.
            if !shard.get(hash).is_some_and(|slot| slot.is(REWRITTEN)) {
                counters.payload_bytes.add((item.len() as usize - RECORD_LEN) as u64);
            }
            // An entry that was replaced, removed or cleared while it was being written is not
            // shown.
            // mutant: disk_publish_sequence
            let is_current = shard.get(hash).is_some_and(|slot| slot.sequence == sequence);
            // A clear has removed the slots by then, or is about to.
            if is_current && engine.segments.is_listed(self.segment.id) {
                shard.publish(hash, place);
            } else if is_current {
                // It was stored after the `clear` that took this segment away.
                engine.queue_again(hash, sequence);
            }
            if shard.get(hash).is_some_and(|slot| slot.is(PINNED)) {
                item.pin();
            }
        }
        self.items.append(&mut items);
        Ok(u64::from(end - begin))
    }
}

struct EndGuard(Arc<Engine>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            self.0.writer_ended();
        }
    }
}

/// The bytes that may be written: a number a second, saved up for a minute.
struct Budget {
    rate: u64,
    saved: i64,
    since: Moment,
}

impl Budget {
    fn new(rate: u64, now: Moment) -> Self {
        let mut budget = Self { rate, saved: 0, since: now };
        budget.saved = budget.most();
        budget
    }

    fn most(&self) -> i64 {
        i64::try_from(self.rate.saturating_mul(SAVED_SECONDS)).unwrap_or(i64::MAX)
    }

    fn spend(&mut self, bytes: u64) {
        self.saved = self.saved.saturating_sub_unsigned(bytes);
    }

    /// Returns when the next bytes may be written; `None`: now.
    fn wait(&mut self, now: Moment) -> Option<Moment> {
        let nanos = u128::from(now.as_nanos().saturating_sub(self.since.as_nanos()));
        let earned = nanos * u128::from(self.rate) / NANOS;
        if earned > 0 {
            self.saved = self
                .saved
                .saturating_add(i64::try_from(earned).unwrap_or(i64::MAX))
                .min(self.most());
            self.since = now;
        }
        if self.saved > 0 {
            return None;
        }
        let missing = u128::from(self.saved.unsigned_abs()) + 1;
        let nanos = u64::try_from(missing * NANOS / u128::from(self.rate)).unwrap_or(u64::MAX);
        Some(now.saturating_add(Duration::from_nanos(nanos)))
    }
}

/// Whether the file system, or the user's share of it, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("segment", &self.current.as_ref().map(|current| current.segment.name))
            .field("batch", &self.batch.len())
            .finish_non_exhaustive()
    }
}

const BATCH_BYTES: u64 = 1 << 20;
/// Smaller bodies are copied behind their heads: a copy costs less than one more part of a write.
const COPY_BELOW: usize = 16 << 10;
/// Used entries of up to a tenth of a segment are written again.
const REWRITTEN_SHARE: u64 = 10;
const SAVED_SECONDS: u64 = 60;
const NANOS: u128 = 1_000_000_000;
/// The longest sleep, for clocks that are not the machine's.
const IDLE_MAX: Duration = Duration::from_millis(100);
