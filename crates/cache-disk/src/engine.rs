//! The tier itself: its entries, and the queue of entries to be written.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Backend, Entry, Moment, Seal, Storability, TierContext, TierStats};
use tokio::sync::Notify;

use crate::{
    counters::{Cause, Counters},
    files::{Files, SegmentName},
    format::record_len,
    hash::{Hash, HashKey},
    health::{Health, Phase},
    index::{IN_MEMORY, Index, LENT, PINNED, REWRITTEN, Shard, Slot, TOMBSTONE},
    reads::Reads,
    segments::{Segment, Segments},
    settings::{Checked, DiskAdmission},
    sync::lock,
};

/// The state that the backend and the writer share.
pub(crate) struct Engine {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) settings: Checked,
    pub(crate) context: TierContext,
    pub(crate) hash_key: HashKey,
    /// The number of this start, in the names of new segments.
    pub(crate) start: u32,
    pub(crate) index: Index,
    pub(crate) segments: Segments,
    pub(crate) health: Health,
    pub(crate) counters: Counters,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Segments that are no longer listed, to be removed from disk.
    pub(crate) retired: Mutex<Vec<Arc<Segment>>>,
    /// Entries that memory has evicted, told under whatever lock the call that evicted them had.
    evicted: Mutex<VecDeque<Entry>>,
    has_evicted: AtomicBool,
    last_sequence: AtomicU64,
    pub(crate) reads: Reads,
    /// Records that were read otherwise than from the page cache.
    pub(crate) n_read: AtomicU64,
    /// The moment of the last sweep: entries that had expired by then are not shown.
    swept_at: AtomicU64,
    pub(crate) ended: Notify,
}

struct Queue {
    /// Entries that wait to be written, in the order of their writing. Those that have changed
    /// since are still among them.
    candidates: VecDeque<(Hash, u64)>,
    /// Beyond it, those that have changed are looked for.
    most_candidates: usize,
    has_ended: bool,
}

/// The rule for one entry.
struct Rule {
    is_pinned: bool,
    admission: DiskAdmission,
}

impl Engine {
    /// The names of the segments of earlier processes are listed, and not read yet.
    pub(crate) fn new(
        files: Arc<dyn Files>,
        settings: Checked,
        context: TierContext,
    ) -> io::Result<Self> {
        let mut names = files.list()?;
        names.sort_unstable();
        // One above the highest: no name, and so no sequence, is used again.
        // mutant: disk_start_number
        let start = names.last().map_or(0, |last: &SegmentName| last.start + 1);
        if start > SegmentName::START_MAX {
            return Err(io::Error::other("it has been opened four million times: empty it"));
        }
        let segments = Segments::default();
        for name in names {
            segments.add(name, None, 0);
        }
        Ok(Self {
            hash_key: files.hash_key(),
            start,
            index: Index::new(),
            segments,
            health: Health::new(Arc::clone(&context.clock)),
            counters: Counters::default(),
            queue: Mutex::new(Queue {
                candidates: VecDeque::new(),
                most_candidates: CANDIDATES_MIN,
                has_ended: false,
            }),
            wake: Condvar::new(),
            retired: Mutex::default(),
            evicted: Mutex::default(),
            has_evicted: AtomicBool::new(false),
            last_sequence: AtomicU64::new(u64::from(start) << SEQUENCE_BITS),
            reads: Reads::default(),
            n_read: AtomicU64::new(0),
            swept_at: AtomicU64::new(0),
            ended: Notify::new(),
            files,
            settings,
            context,
        })
    }

    pub(crate) fn hash(&self, key: &str) -> Hash {
        Hash::new(&self.hash_key, self.context.namespace.bits(), key)
    }

    fn next_sequence(&self) -> u64 {
        self.last_sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn rule(&self, entry: &Entry) -> Option<Rule> {
        // An entry that cannot be revalidated is of no use to a later process.
        if entry.storability() != Storability::Revalidatable || entry.is_negative() {
            return None;
        }
        let path = (self.context.path_of)(entry.key());
        let rules = &self.settings.rules;
        if rules.is_pinned(path) {
            return Some(Rule { is_pinned: true, admission: DiskAdmission::Always });
        }
        match rules.admission(path) {
            DiskAdmission::Never => None,
            admission => Some(Rule { is_pinned: false, admission }),
        }
    }

    /// Returns whether the object of `key` is under a pinned prefix.
    pub(crate) fn is_pinned_path(&self, key: &str) -> bool {
        self.settings.rules.is_pinned((self.context.path_of)(key))
    }

    /// Returns whether `entry` is under a pinned prefix.
    pub(crate) fn is_pinned(&self, entry: &Entry) -> bool {
        self.rule(entry).is_some_and(|rule| rule.is_pinned)
    }

    /// Makes `entry` the one of its key. Older ones are not shown from here on. If there was room
    /// (`had_room`) a moment ago, a pinned entry is queued beside the others that saw it as well.
    pub(crate) fn store(&self, entry: &Entry, in_memory: bool, had_room: bool) {
        let hash = self.hash(entry.key());
        let Some(Rule { is_pinned, admission }) = self.rule(entry) else {
            self.forget(hash);
            return;
        };
        let sequence = self.next_sequence();
        entry.set_ticket(sequence);
        let mut slot = Slot::new(hash, sequence, entry.seal());
        slot.set(IN_MEMORY, in_memory);
        let is_small = entry.body().len() <= SMALL;
        let at_once = is_small || !in_memory || admission == DiskAdmission::Always;
        let mut shard = self.index.shard(hash);
        // A record of the key may yet be found: it is older, also if this one is soon dropped.
        // mutant: disk_store_while_starting
        slot.set(TOMBSTONE, self.health.phase() == Phase::Starting);
        shard.put(slot);
        // Once the older entry of the key has given up its share of the pinned bytes.
        if is_pinned && !self.pin(&mut shard, hash, record_len(entry)) {
            self.counters.drop_entry(Cause::PinLimit, true);
        }
        if at_once {
            self.offer(&mut shard, hash, entry, had_room);
        }
        shard.release(hash);
    }

    /// Pins the slot of `hash`, whose record has `len` bytes, unless pinned entries would take more
    /// than half of the capacity.
    pub(crate) fn pin(&self, shard: &mut Shard, hash: Hash, len: u64) -> bool {
        let pinned = self.index.live.pinned_bytes.load(Ordering::Relaxed);
        let has_room = pinned.saturating_add(len) <= self.settings.max_capacity / 2;
        if has_room {
            shard.pin(hash);
        }
        has_room
    }

    /// Returns whether the queue has room for `entry`, or will not take it for another reason.
    pub(crate) fn has_room_for(&self, entry: &Entry) -> bool {
        self.has_room_beside(entry)
            || self.is_queue_empty()
            || self.health.phase() > Phase::Open
            || self.health.off_until().is_some()
    }

    /// Takes note of an error of the file system: see [`Health::fail`]. Nothing waits for a disk
    /// that is off.
    pub(crate) fn fail(&self) {
        self.health.fail();
        self.index.live.room.notify_waiters();
    }

    /// Returns whether the queue has room for `entry`.
    pub(crate) fn has_room_beside(&self, entry: &Entry) -> bool {
        let waiting = self.index.live.waiting_bytes.load(Ordering::Relaxed);
        waiting + entry.weight() <= self.settings.queue_bytes
    }

    fn is_queue_empty(&self) -> bool {
        self.index.live.waiting_bytes.load(Ordering::Relaxed) == 0
    }

    /// Queues `entry`, which has the slot `hash`, to be written, or counts why not.
    fn offer(&self, shard: &mut Shard, hash: Hash, entry: &Entry, had_room: bool) -> bool {
        let Some(slot) = shard.get(hash).copied() else { return false };
        // A pinned entry that is larger than the queue has waited until nothing else does.
        let is_let_in = slot.is(PINNED) && (had_room || self.is_queue_empty());
        let has_room = self.has_room_beside(entry) || is_let_in;
        let cause = if self.health.phase() == Phase::Closed || self.health.off_until().is_some() {
            Cause::Unavailable
        } else if record_len(entry) > self.record_max() {
            Cause::TooLarge
        } else if !has_room && !slot.is(IN_MEMORY) {
            Cause::QueueFull
        } else {
            // Where there is no room, memory has the entry until it is written or evicted.
            shard.wait(hash, entry.clone(), !has_room);
            let mut queue = self.queue();
            queue.candidates.push_back((hash, slot.sequence));
            if queue.candidates.len() > queue.most_candidates {
                // Of a key that is replaced again and again, all but the last have changed.
                let is_last = last_of_each(&queue.candidates);
                let mut is_last = is_last.into_iter();
                queue.candidates.retain(|_| is_last.next().unwrap_or(true));
                queue.most_candidates = 2 * queue.candidates.len() + CANDIDATES_MIN;
            }
            drop(queue);
            self.wake.notify_one();
            return true;
        };
        self.counters.drop_slot(cause, &slot);
        false
    }

    /// Queues an entry that was read back from a segment that is recycled, before all others and
    /// beside the limit.
    pub(crate) fn requeue(&self, shard: &mut Shard, hash: Hash, sequence: u64, entry: Entry) {
        shard.wait(hash, entry, false);
        if let Some(slot) = shard.get_mut(hash) {
            slot.set(REWRITTEN, true);
        }
        self.queue_again(hash, sequence);
    }

    /// Puts an entry that waits to be written before all others.
    pub(crate) fn queue_again(&self, hash: Hash, sequence: u64) {
        self.queue().candidates.push_front((hash, sequence));
    }

    /// The most bytes that a record may have.
    pub(crate) fn record_max(&self) -> u64 {
        use crate::format::{HEADER_LEN, ITEM_LEN, TRAILER_LEN};
        let around = HEADER_LEN + ITEM_LEN + TRAILER_LEN;
        (self.settings.segment_bytes - around as u64).min(i32::MAX as u64)
    }

    /// Takes the next entry to be written, with its sequence.
    pub(crate) fn next_candidate(&self) -> Option<(Hash, u64, Entry)> {
        loop {
            let (hash, sequence) = self.queue().candidates.pop_front()?;
            let shard = self.index.shard(hash);
            let is_current = shard.get(hash).is_some_and(|slot| slot.sequence == sequence);
            if is_current && let Some(entry) = shard.waiting(hash) {
                return Some((hash, sequence, entry.clone()));
            }
        }
    }

    /// Removes the slot of `hash`. Returns whether it had bytes of an entry.
    pub(crate) fn forget(&self, hash: Hash) -> bool {
        let mut shard = self.index.shard(hash);
        let had = shard.remove(hash);
        // A record of it may yet be found: it is older than this.
        // mutant: disk_tombstone
        if self.health.phase() == Phase::Starting {
            let mut slot = Slot::new(hash, self.next_sequence(), Seal::none());
            slot.set(TOMBSTONE, true);
            shard.put(slot);
        }
        had
    }

    /// Removes all slots, and has all segments removed.
    pub(crate) fn clear(&self) {
        // First, so that nothing that is being written or read at start gets a place.
        let segments = self.segments.unlist_all();
        self.queue().candidates.clear();
        for mut shard in self.index.shards() {
            // Waiting entries, too: they would be written after this call.
            // mutant: disk_clear_waiting
            shard.clear();
        }
        lock(&self.retired).extend(segments);
        self.wake.notify_one();
    }

    /// Marks the entry of `key`, on disk and in memory, as stale.
    pub(crate) fn mark_stale(&self, key: &str, memory: &impl Backend) {
        let hash = self.hash(key);
        let mut shard = self.index.shard(hash);
        // The seal, too: the next handle is made with it.
        // mutant: disk_mark_seal
        if let Some(slot) = shard.get_mut(hash) {
            slot.seal.mark_stale();
        }
        // Under the lock: a promotion puts its handle into memory under it.
        if let Some(entry) = memory.peek(key) {
            entry.mark_stale();
        }
    }

    /// Takes note that `entry` was renewed: so is the seal, and another handle in memory.
    pub(crate) fn renewed(&self, entry: &Entry, memory: &impl Backend) {
        let sequence = entry.ticket();
        if sequence == 0 {
            return;
        }
        let hash = self.hash(entry.key());
        let mut shard = self.index.shard(hash);
        let Some(slot) = shard.get_mut(hash).filter(|slot| slot.sequence == sequence) else {
            return;
        };
        if entry.validated_at() >= slot.seal.validated_at() {
            slot.seal = entry.seal();
        }
        if let Some(cached) = memory.peek(entry.key())
            && cached.ticket() == sequence
            && !cached.is_same(entry)
        {
            cached.renew_from(entry);
        }
    }

    /// Keeps an entry that memory has evicted, until the caller has let go of its locks.
    pub(crate) fn push_evicted(&self, entry: Entry) {
        if entry.ticket() != 0 {
            lock(&self.evicted).push_back(entry);
            self.has_evicted.store(true, Ordering::Release);
        }
    }

    /// Returns the next entry that memory has evicted.
    pub(crate) fn next_evicted(&self) -> Option<Entry> {
        let mut evicted = lock(&self.evicted);
        let next = evicted.pop_front();
        self.has_evicted.store(!evicted.is_empty(), Ordering::Release);
        next
    }

    /// Takes note of all that memory has evicted. Without a lock. `close` does so itself.
    pub(crate) fn settle_evicted(&self) {
        while self.has_evicted.load(Ordering::Acquire)
            && self.health.phase() < Phase::Closing
            && let Some(entry) = self.next_evicted()
        {
            self.evicted(&entry);
        }
    }

    /// Takes note that memory has evicted, or not kept, `entry`. Returns whether this tier has it.
    pub(crate) fn evicted(&self, entry: &Entry) -> bool {
        let sequence = entry.ticket();
        if sequence == 0 {
            return false;
        }
        let hash = self.hash(entry.key());
        let mut shard = self.index.shard(hash);
        let Some(slot) = shard.get_mut(hash).filter(|slot| slot.sequence == sequence) else {
            return false;
        };
        let was_in_memory = slot.is(IN_MEMORY);
        slot.set(IN_MEMORY, false);
        let slot = *slot;
        if slot.seal.has_expired(self.swept_at()) {
            shard.unplace(hash);
            shard.stop_waiting(hash);
            shard.release(hash);
            return false;
        }
        if slot.is(LENT) {
            if self.has_room_beside(entry) || slot.is(PINNED) {
                shard.keep_lent(hash);
            } else {
                shard.stop_waiting(hash);
                shard.release(hash);
                self.counters.drop_slot(Cause::QueueFull, &slot);
                return false;
            }
        }
        if slot.place().is_some() || shard.waiting(hash).is_some() {
            return true;
        }
        if !was_in_memory {
            // It was offered when it was stored, and counted.
            return false;
        }
        let is_admitted = self.rule(entry).is_some_and(|rule| {
            rule.admission == DiskAdmission::Always
                || entry.was_used()
                || self.health.phase() >= Phase::Closing
        });
        let is_offered = is_admitted && self.offer(&mut shard, hash, entry, false);
        if !is_admitted {
            self.counters.drop_slot(Cause::NotAdmitted, &slot);
        }
        shard.release(hash);
        is_offered
    }

    /// Returns whether a look-up would find bytes of `key` here.
    pub(crate) fn contains(&self, key: &str) -> bool {
        let hash = self.hash(key);
        self.health.can_read()
            && self
                .index
                .shard(hash)
                .get(hash)
                .is_some_and(|slot| slot.place().is_some() || slot.is(crate::index::WAITS))
    }

    pub(crate) fn stats(&self) -> TierStats {
        let Counters {
            hits,
            hit_bytes,
            misses,
            recovered,
            written,
            payload_bytes,
            written_bytes,
            rewritten,
            corrupt,
            foreign,
            read_errors,
            write_errors,
            dropped,
            pins_lost,
        } = &self.counters;
        let live = &self.index.live;
        let mut stats = TierStats::default();
        stats.state = self.health.state();
        // First: an entry that is not waiting any more is on disk then.
        stats.queue_entries = live.waiting.load(Ordering::Acquire);
        stats.entries = live.entries.load(Ordering::Relaxed);
        stats.bytes = self.segments.bytes();
        stats.capacity_bytes = self.settings.max_capacity;
        stats.pinned_bytes = live.pinned_bytes.load(Ordering::Relaxed);
        stats.queue_bytes = live.waiting_bytes.load(Ordering::Relaxed);
        stats.hits = hits.get();
        stats.hit_bytes = hit_bytes.get();
        stats.misses = misses.get();
        stats.recovered = recovered.get();
        stats.written = written.get();
        stats.payload_bytes = payload_bytes.get();
        stats.written_bytes = written_bytes.get();
        stats.rewritten = rewritten.get();
        stats.dropped = dropped.snapshot();
        stats.corrupt = corrupt.get();
        stats.foreign = foreign.get();
        stats.read_errors = read_errors.get();
        stats.write_errors = write_errors.get();
        stats.pins_lost = pins_lost.snapshot();
        stats
    }

    /// Takes note that entries that have expired at `now` are to be dropped, when they are next
    /// looked up.
    pub(crate) fn sweep(&self, now: Moment) {
        self.swept_at.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn swept_at(&self) -> Moment {
        Moment::from_nanos(self.swept_at.load(Ordering::Relaxed))
    }

    /// Ends the writer, once the queue is written.
    pub(crate) fn end_writer(&self) {
        self.health.advance(Phase::Ending);
        // Under the lock, so that a writer that is about to sleep sees it or is woken.
        let _queue = self.queue();
        self.wake.notify_all();
    }

    /// The writer has ended: nothing is written any more, and the directory is free.
    pub(crate) fn writer_ended(&self) {
        self.health.advance(Phase::Closed);
        self.files.unlock();
        for mut shard in self.index.shards() {
            for slot in shard.all_waiting() {
                self.counters.drop_entry(Cause::Unavailable, slot.is(PINNED));
            }
            shard.clear();
        }
        self.queue().has_ended = true;
        self.wake.notify_all();
        self.ended.notify_waiters();
        self.index.live.room.notify_waiters();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.queue().has_ended
    }

    /// Blocks until there is something to write, or to do, for `limit` at most.
    pub(crate) fn wait_for_work(&self, limit: Duration) {
        let queue = self.queue();
        if queue.candidates.is_empty()
            && self.health.phase() < Phase::Ending
            && lock(&self.retired).is_empty()
        {
            drop(self.wake.wait_timeout(queue, limit));
        }
    }

    /// Blocks until the tier is being closed, for `limit` at most.
    pub(crate) fn wait_for_closing(&self, limit: Duration) {
        let queue = self.queue();
        let is_open = |_: &mut Queue| self.health.phase() < Phase::Ending;
        drop(self.wake.wait_timeout_while(queue, limit, is_open));
    }

    /// Blocks until the writer has ended, for `limit` at most.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let queue = self.queue();
        drop(self.wake.wait_timeout_while(queue, limit, |queue| !queue.has_ended));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

/// Returns of each candidate whether it is the last one of its key.
fn last_of_each(candidates: &VecDeque<(Hash, u64)>) -> Vec<bool> {
    let mut seen = HashSet::new();
    let mut is_last: Vec<_> = candidates.iter().rev().map(|(hash, _)| seen.insert(*hash)).collect();
    is_last.reverse();
    is_last
}

const CANDIDATES_MIN: usize = 4096;
/// A trillion entries for each of 4 million starts ([`SegmentName::START_MAX`]).
const SEQUENCE_BITS: u32 = 40;
/// Bodies that are written at once whatever the admission is: heads, small files.
const SMALL: usize = 512;
