//! One reader of one version of an object.

use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind};
use futures_util::{
    FutureExt,
    future::{self, BoxFuture, MaybeDone, maybe_done},
    stream::{self, BoxStream, StreamExt},
};
use object_store::Result;
use tokio::time::timeout;

use super::{
    blocks::{CachedBlock, LookUp},
    budget::Permit,
    error::{replaced, store_error},
    fetch::{FetchError, FetchReader, Step},
    fetch_table::RequestMode,
    landings::Landings,
    plan::{Part, Source},
    shared::Shared,
    stats::Count,
    status::CacheStatus,
    version::{ObjectVersion, key_of},
};
use crate::body::{index, part_of};

/// Reads a range, part by part: what is held from there, the rest from fetches (`plan.rs`).
pub(super) struct Reader {
    shared: Arc<Shared>,
    snapshot: Arc<ObjectVersion>,
    status: CacheStatus,
    left: Range<u64>,
    /// Somebody reads: what it finds, and does not, counts. Else it is read ahead of time.
    pub(super) is_read: bool,
    /// Blocks that begin before this were counted.
    counted_to: u64,
    mode: RequestMode,
    /// The answer that brought the head, and has some of the bytes.
    answer: Option<FetchReader>,
    /// Where the next bytes come from, one part after the other.
    parts: VecDeque<Part>,
    /// From where on the store was asked for this reader's sake, before anything was given out.
    asked_at: Option<u64>,
    /// Nothing may be asked of the store.
    is_offline: bool,
    /// The next block, which is being read from a lower tier while the caller has the current one.
    ahead: Option<Ahead>,
    /// How many blocks in a row were in the index of the backend and could not be read.
    n_unreadable: usize,
}

/// A block that is looked up ahead of its reader, and polled by it alone: the first poll
/// starts the I/O of the backend, and the drop of the reader drops it.
struct Ahead {
    start: u64,
    look_up: MaybeDone<BoxFuture<'static, LookUp>>,
    /// The room that the block takes until the reader gets there.
    _permit: Permit,
}

impl Reader {
    /// A reader of `range`, which is not empty.
    pub(super) fn new(
        shared: &Arc<Shared>,
        snapshot: Arc<ObjectVersion>,
        range: Range<u64>,
        status: CacheStatus,
        answer: Option<FetchReader>,
        mode: RequestMode,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            snapshot,
            status,
            is_read: true,
            counted_to: shared.blocks().start_of(range.start),
            left: range,
            mode,
            answer,
            parts: VecDeque::new(),
            asked_at: None,
            is_offline: false,
            ahead: None,
            n_unreadable: 0,
        }
    }

    pub(super) fn asked_at(&self) -> Option<u64> {
        self.asked_at
    }

    /// Sees to it that what is missing was requested, and that the requests are answered: as long
    /// as nothing was given out, the reader may begin anew on another version.
    pub(super) async fn prepare(&mut self) -> Result<(), FetchError> {
        if self.left.is_empty() {
            return Ok(());
        }
        self.plan_more().await;
        self.read_first().await;
        while self.parts.iter().any(Part::is_fetch) {
            // All parts are answered before the first byte, while a read can still begin again.
            // mutant: opens_all_parts
            let opened = future::join_all(self.parts.iter().map(Part::opened)).await;
            let broken =
                opened.into_iter().enumerate().find_map(|(at, opened)| Some((at, opened.err()?)));
            let Some((at, broken)) = broken else { break };
            self.retry(at, broken).await?;
        }
        self.asked_at = self.parts.iter().find(|part| part.is_own()).map(|part| part.range.start);
        for part in self.parts.iter_mut().skip(1) {
            if let Source::Fetch { may_retry, .. } = &mut part.source {
                *may_retry = true;
            }
        }
        Ok(())
    }

    /// Reads the first block, if it is in a lower tier: as long as no byte was returned, the read
    /// can start again if that block turns out to be missing.
    async fn read_first(&mut self) {
        while let Some(Part { range, source: Source::Cached }) = self.parts.front() {
            let range = range.clone();
            match self.look_up(range.start).await {
                LookUp::Found(block) => {
                    let held = self.shared.fetch_table.held(range, block, &self.left);
                    self.parts[0] = held;
                    break;
                }
                missing => self.mistrust(&missing).await,
            }
        }
    }

    /// Returns whether every block is cached, as far as that is known without reading more than the
    /// first one from a lower tier. Sends no request.
    pub(super) async fn is_all_held(&mut self) -> bool {
        self.is_offline = true;
        let (blocks, size) = (self.shared.blocks(), self.snapshot.size);
        let mut at = self.left.start;
        while at < self.left.end {
            let (start, end) = (blocks.start_of(at), blocks.end_of(at, size).min(self.left.end));
            let found = match blocks.at_hand(&self.snapshot, start) {
                LookUp::Absent => match blocks.is_stored(&self.snapshot, start) {
                    Some(true) if at > self.left.start => None,
                    _ => Some(blocks.waited_for(&self.snapshot, start).await),
                },
                found => Some(found),
            };
            let part = match found {
                Some(LookUp::Found(block)) => {
                    self.shared.fetch_table.held(at..end, block, &self.left)
                }
                Some(LookUp::Absent | LookUp::Other) => return false,
                None => Part { range: at..end, source: Source::Cached },
            };
            self.parts.push_back(part);
            at = end;
        }
        true
    }

    /// What is read.
    pub(super) fn into_stream(mut self) -> BoxStream<'static, Result<Bytes>> {
        if let Some(Part { range, source: Source::Held { block, .. } }) = self.parts.front()
            && *range == self.left
        {
            let block = block.clone();
            let bytes = self.slice(&block);
            return stream::iter([Ok(bytes)]).boxed();
        }
        let next = |mut reader: Self| async move {
            match reader.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, reader))),
                Ok(None) => Ok(None),
                Err(broken) => Err(reader.error(broken).await),
            }
        };
        stream::try_unfold(self, next).boxed()
    }

    /// Reads everything into the cache, no faster than the backend takes it; a caller's read does
    /// not wait for that. If the backend is silent for `origin_timeout`, it is not waited for any
    /// more. Returns how many of the bytes from the store are not known to be kept.
    pub(super) async fn read_in(mut self) -> Result<u64> {
        // Warming and readahead are no reads and count no hits.
        // mutant: not_a_read
        self.is_read = false;
        let (mut is_in_time, mut fetched) = (true, Vec::<(Arc<Landings>, Range<u64>)>::new());
        loop {
            let from = self.left.start;
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(broken) => return Err(self.error(broken).await),
            }
            let Some(Part { source: Source::Fetch { fetch, .. }, .. }) = self.parts.front() else {
                continue;
            };
            let landings = fetch.landings();
            match fetched.last_mut().filter(|(last, _)| Arc::ptr_eq(last, landings)) {
                Some((_, range)) => range.end = self.left.start,
                None => fetched.push((Arc::clone(landings), from..self.left.start)),
            }
            if is_in_time {
                is_in_time = fetch.can_keep().await;
            }
        }
        // The fetches end here; their blocks may still be on their way.
        let limit = self.shared.upstream.timeout;
        drop(self);
        let settled = async {
            for (landings, range) in &fetched {
                landings.settled(range).await;
            }
        };
        if is_in_time {
            let _ = timeout(limit, settled).await;
        }
        Ok(fetched.iter().map(|(landings, range)| landings.not_kept(range)).sum())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let bytes = self.next_bytes().await?;
        if bytes.is_some() {
            // The room of a block that was given out is free for others.
            while let Some(Part { range, source: Source::Held { .. } | Source::Cached }) =
                self.parts.front()
                && range.end <= self.left.start
            {
                self.parts.pop_front();
            }
            self.begin_ahead();
        }
        Ok(bytes)
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.left.is_empty() {
            let at = self.left.start;
            let Some(part) = self.parts.front() else {
                self.plan_more().await;
                continue;
            };
            if part.range.end <= at {
                self.parts.pop_front();
                continue;
            }
            match &part.source {
                Source::Held { block, .. } => {
                    let block = block.clone();
                    return Ok(Some(self.slice(&block)));
                }
                Source::Cached => match self.look_up(at).await {
                    LookUp::Found(block) => return Ok(Some(self.slice(&block))),
                    _ if self.is_offline => return Err(FetchError::Failed(evicted())),
                    missing => self.mistrust(&missing).await,
                },
                Source::Fetch { fetch, .. } => match fetch.bytes(at..part.range.end).await {
                    Step::Bytes(bytes) => {
                        self.came(&bytes);
                        return Ok(Some(bytes));
                    }
                    Step::NotHere => self.plan_again(0).await,
                    Step::Failed(broken) => self.retry(0, broken).await?,
                },
            }
        }
        Ok(None)
    }

    /// Looks up the block that has the byte at `at`, of which the reader gives out the next bytes.
    async fn look_up(&mut self, at: u64) -> LookUp {
        let blocks = self.shared.blocks();
        let start = blocks.start_of(at);
        let ahead = match self.ahead.take().filter(|ahead| ahead.start == start) {
            // It stays where it is: this future may be dropped, and polled no more.
            Some(ahead) => {
                let Ahead { look_up, .. } = self.ahead.insert(ahead);
                Pin::new(&mut *look_up).await;
                Pin::new(look_up).take_output()
            }
            None => None,
        };
        self.ahead = None;
        let found = match ahead {
            Some(found) => found,
            None => self.shared.blocks().look_up(&self.snapshot, start).await,
        };
        if let LookUp::Found(_) = found {
            self.n_unreadable = 0;
        }
        found
    }

    /// Begins to look up the next block, if it may take waiting and there is room for it: a disk
    /// reads it while the caller has the current one.
    fn begin_ahead(&mut self) {
        let is_left = |part: &&Part| part.range.end > self.left.start;
        let next = self.parts.iter().find(is_left);
        let Some(Part { range, source: Source::Cached }) = next else { return };
        let (blocks, size) = (self.shared.blocks(), self.snapshot.size);
        let start = blocks.start_of(range.start);
        if self.ahead.as_ref().is_some_and(|ahead| ahead.start == start) {
            return;
        }
        let len = blocks.end_of(start, size) - start;
        let Some(permit) = self.shared.fetch_table.budget.pinned(len) else { return };
        let (blocks, snapshot) =
            (Arc::clone(&self.shared.fetch_table.blocks), Arc::clone(&self.snapshot));
        let look_up = async move { blocks.look_up(&snapshot, start).await };
        let mut look_up = maybe_done(look_up.boxed());
        // The first poll starts the I/O. The next one is the reader's, with a waker of its own.
        let _ = Pin::new(&mut look_up).poll(&mut Context::from_waker(Waker::noop()));
        self.ahead = Some(Ahead { start, look_up, _permit: permit });
    }

    /// The first part is a block of the backend's index that could not be read. Plans the read from
    /// there on again.
    async fn mistrust(&mut self, missing: &LookUp) {
        let Some(Part { range, .. }) = self.parts.front() else { return };
        self.n_unreadable += 1;
        // After a block of another version the next ones are most likely of that version too. One
        // block that cannot be read says little about the others, two in a row do.
        // mutant: mistrusts_stored
        self.mode.mistrusted_to = match missing {
            LookUp::Absent if self.n_unreadable < UNREADABLE_MAX => range.end,
            _ => u64::MAX,
        };
        if self.parts.iter().any(Part::is_fetch) {
            self.plan_again(0).await;
        } else {
            // All that is left in one plan, so that what is missing is one request.
            self.parts.clear();
            self.plan_more().await;
        }
    }

    /// Counts the blocks that the next `len` bytes are of, each when its first byte is given out.
    /// Returns how many those are.
    fn count(&mut self, len: u64, count: Count) -> u64 {
        let (blocks, new) =
            (self.shared.blocks(), self.counted_to.max(self.left.start)..self.left.start + len);
        if !self.is_read || new.is_empty() {
            return 0;
        }
        self.counted_to = blocks.end_of(new.end - 1, u64::MAX);
        let n_blocks = blocks.n_in(&new);
        blocks.counters.add(count, n_blocks);
        n_blocks
    }

    /// The block with the byte at `offset` is needed, and does not come. Of another version, it is
    /// not needed.
    fn miss(&self, broken: &FetchError, offset: u64) {
        if self.is_read && offset >= self.counted_to && !matches!(broken, FetchError::Replaced) {
            self.shared.blocks().counters.add(Count::BlocksMissed, 1);
        }
    }

    /// Decides where the bytes behind the last part come from.
    async fn plan_more(&mut self) {
        let (from, end) =
            (self.parts.back().map_or(self.left.start, |part| part.range.end), self.left.end);
        match self.answer.as_ref().map(FetchReader::range) {
            Some(range) if range.contains(&from) => {
                let fetch = self.answer.take().expect("it was just there");
                let range = from..range.end.min(end);
                let behind = range.end..end;
                self.parts
                    .push_back(Part { range, source: Source::Fetch { fetch, may_retry: false } });
                if !behind.is_empty() {
                    self.plan(behind).await;
                }
            }
            Some(range) if (from..end).contains(&range.start) => {
                self.plan(from..range.start).await;
                // As long as the walk got there.
                if self.parts.back().is_some_and(|part| part.range.end == range.start) {
                    Box::pin(self.plan_more()).await;
                }
            }
            _ => self.plan(from..end).await,
        }
    }

    async fn plan(&mut self, wanted: Range<u64>) {
        let is_all = wanted == self.left;
        let mut parts = self.shared.fetch_table.plan(&self.snapshot, wanted, &self.mode).await;
        self.note_joined(&parts);
        for part in parts.iter_mut().filter(|_| !is_all) {
            // It is not its turn yet, so it is held as far as there is room.
            if let Source::Held { block, _permit: permit @ None } = &mut part.source {
                *permit = self.shared.fetch_table.budget.pinned(block.len());
                if permit.is_none() {
                    part.source = Source::Cached;
                }
            }
        }
        self.parts.extend(parts);
    }

    /// Decides anew where the bytes of a part come from.
    async fn plan_again(&mut self, at: usize) {
        let Some(part) = self.parts.remove(at) else { return };
        let mut wanted = part.range.start.max(self.left.start)..part.range.end;
        // Together with the next ones: they may have to be fetched too.
        while let Source::Cached = part.source
            && let Some(Part { range, source: Source::Cached }) = self.parts.get(at)
        {
            wanted.end = range.end;
            self.parts.remove(at);
        }
        drop(part);
        let (mut parts, mut from) = (VecDeque::new(), wanted.start);
        while from < wanted.end {
            let more =
                self.shared.fetch_table.plan(&self.snapshot, from..wanted.end, &self.mode).await;
            from = more.back().map_or(wanted.end, |part| part.range.end);
            parts.extend(more);
        }
        self.note_joined(&parts);
        let behind = self.parts.split_off(at);
        self.parts.append(&mut parts);
        self.parts.extend(behind);
    }

    /// After a fetch that was not this reader's own has broken, the reader makes its own request.
    async fn retry(&mut self, at: usize, broken: FetchError) -> Result<(), FetchError> {
        // Another reader's request failed: this one goes on with a request of its own.
        // mutant: joined_part
        if !broken.is_of_its_request() || self.parts.get(at).is_none_or(Part::is_own) {
            let from = self.parts.get(at).map_or(self.left.start, |part| part.range.start);
            self.miss(&broken, from.max(self.left.start));
            return Err(broken);
        }
        self.mode.is_alone = true;
        self.plan_again(at).await;
        self.mode.is_alone = false;
        Ok(())
    }

    fn note_joined(&self, parts: &VecDeque<Part>) {
        if parts.iter().any(|part| matches!(part.source, Source::Fetch { may_retry: true, .. })) {
            self.status.meter().coalesced.store(true, Ordering::Relaxed);
        }
    }

    /// What is wanted of a held block that has the next byte.
    fn slice(&mut self, block: &CachedBlock) -> Bytes {
        let blocks = self.shared.blocks();
        let from = self.left.start - blocks.start_of(self.left.start);
        let len = (block.len() - from).min(self.left.end - self.left.start);
        if self.is_read {
            blocks.counters.add_from_cache(len, block.is_from_disk);
        }
        self.status.meter().add_from_cache(len, block.is_from_disk);
        let n_blocks = self.count(len, Count::BlocksHit);
        if block.is_from_disk {
            self.shared.blocks().counters.add(Count::BlocksFromDisk, n_blocks);
        }
        self.left.start += len;
        part_of(block.bytes.len(), block.bytes.slice(index(from)..index(from + len)))
    }

    /// These bytes came, the first of which was the next one.
    fn came(&mut self, bytes: &Bytes) {
        let len = bytes.len() as u64;
        self.status.meter().from_origin.fetch_add(len, Ordering::Relaxed);
        self.count(len, Count::BlocksMissed);
        self.left.start += len;
    }

    /// The error for a caller who has got some of the body already, or at least its head.
    async fn error(&mut self, broken: FetchError) -> object_store::Error {
        let location = &self.snapshot.location;
        match broken {
            FetchError::Failed(error) | FetchError::Refused(error) => {
                self.shared.block_error(location, error).await
            }
            FetchError::Replaced => {
                // The next reader is to see the version that is there.
                // The object was replaced, so the next read must revalidate the head.
                // mutant: replaced_marks_head
                let _ = self.shared.heads.mark_stale(&key_of(location)).await;
                store_error(location, replaced())
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.left.is_empty()
            && let Some(Part { source: Source::Fetch { fetch, .. }, .. }) = self.parts.pop_front()
        {
            fetch.finish(self.left.end);
        }
    }
}

impl Part {
    /// Waits until it was answered, if it is a fetch.
    async fn opened(&self) -> Result<(), FetchError> {
        match &self.source {
            Source::Fetch { fetch, .. } => fetch.opened().await,
            Source::Held { .. } | Source::Cached => Ok(()),
        }
    }

    fn is_fetch(&self) -> bool {
        matches!(self.source, Source::Fetch { .. })
    }

    /// Whether its failure would be the reader's own.
    fn is_own(&self) -> bool {
        matches!(self.source, Source::Fetch { may_retry: false, .. })
    }
}

/// After how many blocks in a row that could not be read the others are fetched without a look.
const UNREADABLE_MAX: usize = 2;

/// The error for a body that was to come from the cache alone.
fn evicted() -> Error {
    Error::new(
        ErrorKind::Other,
        "a block was evicted while the object was read only if cached: read it again",
    )
}
