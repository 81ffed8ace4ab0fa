//! A fetch: one answer of the store, read by everybody who needs its bytes.
//!
//! Nobody drives it: whoever needs more than has come polls the request, and then its body. All who
//! wait are woken when something came, so none of them depends on another to be polled. The code of
//! the store runs under no lock: who polls it takes it out, and who finds it taken is woken when it
//! is put back with something new.
//!
//! *Memory.* What came is cut at the ends of blocks. A fetch has the pieces of the block that is
//! coming, and the last one that came whole; so readers who are near to each other are served from
//! here, also where the backend keeps nothing. Blocks that a slower reader has yet to get to are
//! retained for it, as far as there is room. Each of these blocks takes room of the budget
//! (`budget.rs`). Where there is none, a block is passed on piece by piece and not collected: the
//! reader goes on, nobody can join, and nothing is kept of it. A fetch does not read ahead: with
//! slow readers alone it is slow.
//!
//! *Blocks.* One that came whole is joined to a buffer of its own, and goes to the backend, which
//! may take its time as long as there is room for others. All readers gone, the answer is dropped,
//! and with it the beginning of a block; only a reader that has got all it asked for leaves a task
//! behind, which reads to the end of its last block, if there are not too many of those.
//!
//! *Silence.* If nothing has come for `origin_timeout` while somebody waits, the fetch fails for
//! all, and the request is dropped.
//!
//! *Trust.* object_store takes lengths as hints. An answer is served as far as it is of the version
//! and the range asked for; its last piece is served when the body has ended as announced.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::{Buf, Bytes};
use cache_core::{Error, ErrorKind, RequestPermit};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use object_store::{GetResult, Result};
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout},
};

use super::{
    blocks::Blocks,
    budget::{Budget, Permit},
    by_path::ByPath,
    error::late,
    landings::Landings,
    stats::Count,
    upstream::{Request, Sent, Upstream},
    version::ObjectVersion,
};
use crate::{
    body::{
        Chunks, EMPTY_CHUNKS_MAX, ENDLESS, LENGTH, RANGE, broken, chunks, index, part_of, torn,
    },
    error::{Action, error_of, is_about_form, is_past_end},
    tag,
};

/// What all fetches of one cache share.
pub(super) struct FetchContext {
    pub(super) upstream: Arc<Upstream>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) budget: Arc<Budget>,
    pub(super) table: ByPath<Fetch>,
}

impl FetchContext {
    /// Lets others join `fetch`.
    pub(super) fn add(&self, fetch: &Arc<Fetch>) {
        self.table.add(&fetch.snapshot.location, fetch);
    }

    /// Returns the number of objects that are being read from the store.
    pub(super) fn n_objects(&self) -> usize {
        self.table.n_objects()
    }
}

/// An answer of the store for a range of one version of an object.
pub(super) struct Fetch {
    pub(super) snapshot: Arc<ObjectVersion>,
    range: Range<u64>,
    /// Whether its blocks are kept, and other readers may join.
    is_shared: bool,
    /// The object was invalidated since: the readers that there are go on, and no more.
    is_void: AtomicBool,
    shared: Arc<FetchContext>,
    /// `None` outside of a runtime: then nothing is kept, for a backend's work could not be brought
    /// to its end.
    runtime: Option<Handle>,
    waiting: Arc<Waiting>,
    came: Mutex<Received>,
    /// The blocks that are on their way to the backend.
    landings: Arc<Landings>,
}

/// One reader's handle.
pub(super) struct FetchReader {
    fetch: Arc<Fetch>,
    reader: u64,
}

/// What a fetch has for a reader.
pub(super) enum Step {
    Bytes(Bytes),
    /// Others have read on, or the answer ends before: it is to be had elsewhere, or not at all.
    NotHere,
    Failed(FetchError),
}

/// Why a fetch ended early.
#[derive(Debug, Clone)]
pub(super) enum FetchError {
    /// The object is not at that version any more.
    Replaced,
    /// The store does not take the request in the form that it had here. Another one may be
    /// answered.
    Refused(Error),
    /// The store failed.
    Failed(Error),
}

/// What came of the answer.
struct Received {
    /// What brings more; taken out by the one who polls it.
    source: Option<Source>,
    /// The request was answered; of its body there may be nothing yet.
    is_open: bool,
    ended: Option<Result<(), FetchError>>,
    /// The last whole block, or the end of one whose beginning is not in the range; the last piece,
    /// if it was not collected.
    block: Block,
    /// Whole blocks before that one, for readers that are behind.
    retained: VecDeque<Block>,
    /// What each reader has yet to get begins here.
    positions: Vec<(u64, u64)>,
    /// What came of the block that begins at `start`.
    start: u64,
    pieces: VecDeque<Bytes>,
    next: u64,
    /// The room for those pieces, if they are collected.
    permit: Option<Permit>,
}

struct Block {
    start: u64,
    bytes: Bytes,
    permit: Option<Permit>,
    /// It is there for readers that are behind.
    retained: Option<OwnedSemaphorePermit>,
}

struct Source {
    /// Waits for leave to send the request; `None` when that is there, or was never needed.
    queue: Option<Queue>,
    /// Until the store has answered. A body that is read slowly keeps nobody from asking.
    permit: Option<RequestPermit>,
    /// The request that has this answer.
    sent: Sent,
    answer: Answer,
    /// How many bytes come before the range.
    skip: u64,
    /// More comes behind the range.
    goes_on: bool,
    /// Received, and was not yet cut into pieces.
    chunk: Bytes,
    /// How long the chunk was when it came.
    chunk_len: usize,
    n_empty: usize,
    /// The body has ended behind `chunk`.
    at_end: bool,
    /// Whose clock says how long nothing came.
    timer: Option<Handle>,
    /// Until when something has to come. Only while somebody waits, so a slow reader is never late.
    idle: Option<Pin<Box<Sleep>>>,
}

/// Brings leave to send one request, if requests are limited.
pub(super) type Queue = BoxFuture<'static, cache_core::Result<Option<RequestPermit>>>;

enum Answer {
    Awaited(BoxFuture<'static, Result<GetResult>>),
    Body(Chunks),
}

/// A part of a block.
struct Piece {
    bytes: Bytes,
    /// How long the buffer is that it is in.
    buffer_len: usize,
    /// Nobody else has that buffer.
    is_own: bool,
}

impl Fetch {
    /// A fetch from an answer that is there, and has at least the bytes in `range`.
    pub(super) fn of_answer(
        shared: &Arc<FetchContext>,
        snapshot: Arc<ObjectVersion>,
        range: Range<u64>,
        request: Option<Request>,
        answer: GetResult,
    ) -> Self {
        let is_shared = snapshot.is_pinned();
        let source =
            Source { sent: Sent::new(request), ..Source::of_answer(shared, &range, answer) };
        Self::new(shared, snapshot, range, source, is_shared)
    }

    /// A fetch whose request is sent when the first reader needs it, and `queue` has let it.
    pub(super) fn of_request(
        shared: &Arc<FetchContext>,
        snapshot: Arc<ObjectVersion>,
        range: Range<u64>,
        queue: Queue,
        sent: Sent,
        request: BoxFuture<'static, Result<GetResult>>,
    ) -> Self {
        let source = Source { queue: Some(queue), sent, ..Source::new(Answer::Awaited(request)) };
        Self::new(shared, snapshot, range, source, true)
    }

    fn new(
        shared: &Arc<FetchContext>,
        snapshot: Arc<ObjectVersion>,
        range: Range<u64>,
        source: Source,
        is_shared: bool,
    ) -> Self {
        let runtime = Handle::try_current().ok();
        let came = Received {
            is_open: source.is_open(),
            source: Some(source),
            ended: None,
            block: Block::empty(range.start),
            retained: VecDeque::new(),
            positions: Vec::new(),
            start: range.start,
            pieces: VecDeque::new(),
            next: range.start,
            permit: None,
        };
        Self {
            snapshot,
            range,
            is_shared,
            is_void: AtomicBool::new(false),
            shared: Arc::clone(shared),
            runtime,
            waiting: Arc::default(),
            came: Mutex::new(came),
            landings: Landings::new(),
        }
    }

    /// Another reader of the fetch, from its first byte on.
    pub(super) fn join(self: &Arc<Self>) -> FetchReader {
        self.join_at(self.range.start)
    }

    /// Another reader of the fetch, from `offset` on.
    pub(super) fn join_at(self: &Arc<Self>, offset: u64) -> FetchReader {
        let reader = self.waiting.n_readers.fetch_add(1, Ordering::Relaxed);
        self.lock().positions.push((reader, offset));
        FetchReader { fetch: Arc::clone(self), reader }
    }

    /// Whether a reader of `snapshot` does well to wait here for the byte at `offset`.
    pub(super) fn can_serve(&self, snapshot: &ObjectVersion, offset: u64) -> bool {
        // A fetch from before an invalidation may bring the damaged bytes again.
        // mutant: joins_valid_fetch
        if !self.is_shared || self.is_void() || !self.range.contains(&offset) {
            return false;
        }
        if !self.snapshot.is_same(snapshot) {
            return false;
        }
        let came = self.lock();
        let is_near = offset <= came.next.saturating_add(self.shared.blocks.bytes_of(AHEAD_MAX));
        match &came.ended {
            // A failed fetch brings nothing more: a new reader makes its own request.
            // mutant: failed_fetch
            Some(Err(_)) => false,
            Some(Ok(())) => came.has(offset),
            None => is_near && came.is_collected() && (came.has(offset) || offset >= came.next),
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// From now on nobody can join, and no block is kept.
    pub(super) fn void(&self) {
        self.is_void.store(true, Ordering::Release);
    }

    fn is_void(&self) -> bool {
        self.is_void.load(Ordering::Acquire)
    }

    /// Waits for `have` to find what it looks for in what came.
    fn poll<T>(
        &self,
        reader: u64,
        context: &mut Context<'_>,
        have: impl Fn(&mut Received) -> Option<T>,
    ) -> Poll<T> {
        loop {
            // Apart, so that the lock is not held any more.
            let found = have(&mut self.lock());
            if let Some(found) = found {
                return Poll::Ready(found);
            }
            ready!(self.poll_more(reader, context));
        }
    }

    /// Ready when something new has come, or has perhaps. Only for a fetch that has not ended.
    fn poll_more(&self, reader: u64, context: &mut Context<'_>) -> Poll<()> {
        let mut came = self.lock();
        if came.ended.is_some() {
            return Poll::Ready(());
        }
        let n_wakes = self.waiting.n_wakes.load(Ordering::SeqCst);
        self.waiting.register(reader, context.waker());
        let next = came.next;
        let Some(source) = came.source.take() else { return Poll::Pending };
        drop(came);

        let mut polled = Polled { fetch: self, source: Some(source) };
        let source = polled.source.as_mut().expect("just put there");
        let waker = Waker::from(Arc::clone(&self.waiting));
        let step = self.step(source, next, &mut Context::from_waker(&waker));
        match step {
            Poll::Pending => {
                polled.put_back();
                if self.waiting.n_wakes.load(Ordering::SeqCst) != n_wakes {
                    // Who registered after that wake has missed it.
                    self.waiting.wake_all();
                }
                return Poll::Pending;
            }
            Poll::Ready(Ok(piece)) if piece.bytes.is_empty() => polled.put_back(),
            Poll::Ready(Ok(piece)) => {
                self.take_in(piece);
                polled.put_back();
            }
            Poll::Ready(Err(broken)) => {
                // That there is another version now is no failure.
                if let (FetchError::Failed(error) | FetchError::Refused(error), Some(source)) =
                    (&broken, &polled.source)
                {
                    // A response whose body breaks off is a failed request.
                    // mutant: body_failure
                    source.sent.fail(error.kind());
                }
                self.lock().ended = Some(Err(broken));
                polled.put_back();
            }
        }
        self.waiting.forget(reader);
        self.waiting.wake_all();
        Poll::Ready(())
    }

    /// The next piece: within a block, and empty when there is other news. An error, if there was
    /// none for too long.
    fn step(
        &self,
        source: &mut Source,
        next: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, FetchError>> {
        let step = self.advance(source, next, context);
        if step.is_ready() {
            source.idle = None;
            return step;
        }
        // The timeout measures the store's silence, and nothing was sent yet.
        // mutant: permit_wait
        if source.queue.is_some() {
            // The store was not asked yet, so it is not silent.
            return Poll::Pending;
        }
        let Some(timer) = &source.timer else { return Poll::Pending };
        let limit = self.shared.upstream.timeout;
        let idle = source.idle.get_or_insert_with(|| {
            let _entered = timer.enter();
            Box::pin(sleep(limit))
        });
        // Who reads on where the runtime has been shut down waits without limit: there tokio's
        // timer panics.
        let Ok(is_late) = catch_unwind(AssertUnwindSafe(|| idle.as_mut().poll(context))) else {
            source.timer = None;
            source.idle = None;
            return Poll::Pending;
        };
        // Without the timeout, a hanging body would hold its readers forever.
        // mutant: body_timeout
        ready!(is_late);
        Poll::Ready(Err(FetchError::Failed(late(limit))))
    }

    fn advance(
        &self,
        source: &mut Source,
        next: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, FetchError>> {
        loop {
            let left = self.range.end - next - source.chunk.len() as u64;
            source.at_end |= source.goes_on && left == 0;
            // The last chunk waits for the end of the body, so that excess bytes are seen first.
            // mutant: last_chunk
            if !source.chunk.is_empty() && (left > 0 || source.at_end) {
                return Poll::Ready(Ok(source.cut(self.end_of(next) - next)));
            }
            let body = match &mut source.answer {
                Answer::Body(body) => body,
                Answer::Awaited(request) => {
                    if let Some(queue) = &mut source.queue {
                        let permit = ready!(queue.poll_unpin(context));
                        source.queue = None;
                        source.permit = permit.map_err(FetchError::Failed)?;
                    }
                    let answer = ready!(request.poll_unpin(context));
                    source.permit = None;
                    let opened = Source::of_answer(&self.shared, &self.range, self.check(answer)?);
                    (source.answer, source.skip, source.goes_on) =
                        (opened.answer, opened.skip, opened.goes_on);
                    return Poll::Ready(Ok(Piece {
                        bytes: Bytes::new(),
                        buffer_len: 0,
                        is_own: false,
                    }));
                }
            };
            match ready!(body.chunks.poll_next_unpin(context)) {
                None if left == 0 => source.at_end = true,
                // A short body is an error of the store and no sign that the object was replaced.
                // mutant: short_body
                None => return Poll::Ready(Err(FetchError::Failed(torn(LENGTH)))),
                Some(Err(error)) => return Poll::Ready(Err(FetchError::Failed(broken(error)))),
                Some(Ok(chunk)) if chunk.is_empty() => {
                    source.n_empty += 1;
                    if source.n_empty > EMPTY_CHUNKS_MAX {
                        return Poll::Ready(Err(FetchError::Failed(torn(ENDLESS))));
                    }
                }
                Some(Ok(chunk)) => {
                    source.n_empty = 0;
                    source.sent.receive(chunk.len() as u64);
                    source.take(chunk);
                    if source.chunk.len() as u64 > left {
                        // Bytes beyond the announced end mean the body is not of the announced
                        // version.
                        // mutant: excess_body
                        if !source.goes_on {
                            source.chunk.clear();
                            return Poll::Ready(Err(FetchError::Failed(torn(LENGTH))));
                        }
                        source.chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                }
            }
        }
    }

    /// Where what comes at `next` is cut: what is not shared need not come by blocks.
    fn end_of(&self, next: u64) -> u64 {
        if self.is_shared {
            self.shared.blocks.end_of(next, self.range.end)
        } else {
            self.range.end
        }
    }

    /// `answer`, if it is the one that was asked for, or the whole object.
    fn check(&self, answer: Result<GetResult>) -> Result<GetResult, FetchError> {
        use object_store::Error as E;
        match answer {
            Ok(answer) => {
                // Some stores do not know `If-Match`. A weak tag does not name the bytes, though it
                // be the version's own but for its `W/`. A store that ignores If-Match may answer
                // with another version.
                // mutant: fetched_tag
                if !tag::is_same(answer.meta.e_tag.as_deref(), self.snapshot.e_tag())
                    || answer.meta.e_tag.as_deref().is_some_and(tag::is_weak)
                    || answer.meta.size != self.snapshot.size
                {
                    return Err(FetchError::Replaced);
                }
                // Some answer with the whole object.
                match answer.range == self.range || answer.range == (0..answer.meta.size) {
                    true => Ok(answer),
                    false => Err(FetchError::Failed(torn(RANGE))),
                }
            }
            Err(E::Precondition { .. } | E::NotFound { .. }) => Err(FetchError::Replaced),
            // The object was longer when its head was fetched. Some stores look at the range before
            // the condition.
            Err(error) if is_past_end(&error) => Err(FetchError::Replaced),
            Err(error) => {
                let is_refused = is_about_form(&error);
                let error = error_of(error, Action::Read, &self.shared.upstream.store);
                Err(if is_refused { FetchError::Refused(error) } else { FetchError::Failed(error) })
            }
        }
    }

    /// Adds what came. Called by the one who has the source.
    fn take_in(&self, piece: Piece) {
        let mut came = self.lock();
        let at = came.next;
        let mut freed = (self.make_room(&mut came), None, VecDeque::new());
        let budget = &self.shared.budget;
        let next = at + piece.bytes.len() as u64;
        let is_whole_buffer = piece.is_own && piece.bytes.len() == piece.buffer_len;
        let is_block = is_whole_buffer && came.start == at && next == self.end_of(at);
        came.next = next;
        if came.permit.is_none() {
            // Who wants it takes it before more is asked for.
            came.start = next;
            let piece = Block { bytes: piece.compact(), ..Block::empty(at) };
            freed.1 = came.end_block(piece, budget);
        } else if is_block {
            drop(came);
            let block = self.keep(at, piece.bytes);
            came = self.lock();
            freed.1 = came.end_collected(block, budget);
        } else {
            let start = came.start;
            let is_last = next == self.end_of(start);
            // The last one is about to be copied anyway.
            came.pieces.push_back(if is_last { piece.bytes } else { piece.compact() });
            if is_last {
                let pieces = came.pieces.clone();
                drop(came);
                let block = self.keep(start, joined(&pieces));
                came = self.lock();
                freed.1 = came.end_collected(block, budget);
                freed.2 = mem::take(&mut came.pieces);
            }
        }
        if next == self.range.end {
            came.ended = Some(Ok(()));
        }
        drop(came);
        // Whose buffers they are may run code of the store's.
        drop(freed);
    }

    /// Takes room for the block that begins with the next byte, if one does. Blocks that came
    /// before make way for it.
    fn make_room(&self, came: &mut Received) -> Vec<Block> {
        let start = came.next;
        let blocks = &self.shared.blocks;
        let begins = blocks.start_of(start) == start;
        if !self.is_shared || !(begins || start == self.range.start) {
            return Vec::new();
        }
        let len = self.end_of(start) - start;
        let mut freed = Vec::new();
        loop {
            came.permit = self.shared.budget.fetched(len);
            if came.permit.is_some() {
                break;
            }
            // The oldest first. Who still needs them finds them in the backend, or asks for them.
            let oldest = came.retained.pop_front().or_else(|| {
                came.block
                    .permit
                    .is_some()
                    .then(|| mem::replace(&mut came.block, Block::empty(start)))
            });
            let Some(oldest) = oldest else { break };
            freed.push(oldest);
        }
        if came.permit.is_none() && begins && self.runtime.is_some() {
            blocks.counters.add(Count::RefusedByBackend, 1);
        }
        if came.permit.is_none() {
            self.landings.lose(start..start + len);
        }
        freed
    }

    /// Hands a block that begins at `start`, or the end of one, to the backend, if it is whole.
    /// Gives it back.
    fn keep(&self, start: u64, block: Bytes) -> Bytes {
        let blocks = &self.shared.blocks;
        // Only a block that was received from its first byte on is stored.
        // mutant: whole_blocks
        let Some(runtime) = self.runtime.as_ref().filter(|_| blocks.start_of(start) == start)
        else {
            return block;
        };
        let range = start..start + block.len() as u64;
        if self.is_void() {
            self.landings.lose(range);
            return block;
        }
        let entry = match blocks.entry_of(&self.snapshot, start, block) {
            Ok(entry) => entry,
            Err(block) => {
                self.landings.lose(range);
                return block;
            }
        };
        let block = entry.body().clone();
        let mut keep = Arc::clone(blocks).keep(entry).boxed();
        match keep.poll_unpin(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(true) => {}
            Poll::Ready(false) => self.landings.lose(range),
            Poll::Pending => {
                // It takes its room along, so the next block has to find some.
                let (permit, landing) = (self.lock().permit.clone(), self.landings.begin(range));
                runtime.spawn(async move {
                    landing.end(keep.await);
                    drop(permit);
                });
            }
        }
        block
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if self.is_shared {
            self.shared.table.remove_unused(&self.snapshot.location);
        }
    }
}

impl Received {
    fn has(&self, offset: u64) -> bool {
        self.block.has(offset) || (self.start..self.next).contains(&offset)
    }

    /// Whether what comes next is collected, as far as can be said.
    fn is_collected(&self) -> bool {
        self.permit.is_some() || self.pieces.is_empty() && self.block.is_unread_or_kept()
    }

    /// The block that was coming is `bytes`.
    fn end_collected(&mut self, bytes: Bytes, budget: &Budget) -> Option<Block> {
        let block = Block { bytes, permit: self.permit.take(), ..Block::empty(self.start) };
        self.start = self.next;
        self.end_block(block, budget)
    }

    /// `block` is the last one now. The one before it is retained if a reader has yet to get to its
    /// end; else returned.
    fn end_block(&mut self, block: Block, budget: &Budget) -> Option<Block> {
        let mut before = mem::replace(&mut self.block, block);
        let is_wanted = self.positions.iter().any(|(_, at)| *at < before.end());
        // A slower reader of the fetch still needs these bytes after the permit is gone.
        // mutant: retains_for_slower
        if is_wanted && before.permit.is_some() {
            before.retained = budget.retained(before.bytes.len() as u64);
        }
        if before.retained.is_none() {
            return Some(before);
        }
        self.retained.push_back(before);
        None
    }

    /// What the reader has yet to get begins at `offset`; `None`, if it has gone.
    fn set_position(&mut self, reader: u64, offset: Option<u64>) {
        let at = self.positions.iter().position(|(known, _)| *known == reader);
        match (at, offset) {
            (Some(at), Some(offset)) => self.positions[at].1 = offset,
            (Some(at), None) => {
                self.positions.swap_remove(at);
            }
            (None, _) => {}
        }
        while let Some(oldest) = self.retained.front()
            && self.positions.iter().all(|(_, at)| *at >= oldest.end())
        {
            self.retained.pop_front();
        }
    }

    /// What came from the byte at `offset` on: a slice, with the length of its buffer.
    fn from(&self, offset: u64) -> Option<(Bytes, usize)> {
        let of = |start: u64, bytes: &Bytes| (bytes.slice(index(offset - start)..), bytes.len());
        if self.block.has(offset) {
            return Some(of(self.block.start, &self.block.bytes));
        }
        if let Some(block) = self.retained.iter().find(|block| block.has(offset)) {
            return Some(of(block.start, &block.bytes));
        }
        // Most readers want what came last.
        let mut start = self.next;
        self.pieces.iter().rev().find_map(|piece| {
            start -= piece.len() as u64;
            (start..start + piece.len() as u64).contains(&offset).then(|| of(start, piece))
        })
    }
}

impl FetchReader {
    /// The bytes of `range` from its start on, as many as there are in one piece.
    pub(super) async fn bytes(&self, range: Range<u64>) -> Step {
        let offset = range.start;
        let came = self.wait(|came| {
            let piece = came.from(offset);
            let len = piece.as_ref().map_or(0, |(bytes, _)| bytes.len());
            came.set_position(self.reader, Some(offset + len as u64));
            match piece {
                Some((bytes, buffer_len)) => Some((Step::Bytes(bytes), buffer_len)),
                None if offset < came.next => Some((Step::NotHere, 0)),
                None => came.ended.clone().map(|ended| (Step::at_end(ended), 0)),
            }
        });
        match came.await {
            (Step::Bytes(mut bytes), buffer_len) => {
                bytes.truncate(index(range.end - offset));
                // Of the whole buffer, of which the piece may be the end.
                Step::Bytes(part_of(buffer_len, bytes))
            }
            (step, _) => step,
        }
    }

    /// Waits for the answer, though not for its body.
    pub(super) async fn opened(&self) -> Result<(), FetchError> {
        self.wait(|came| match &came.ended {
            Some(ended) => Some(ended.clone()),
            None => came.is_open.then_some(Ok(())),
        })
        .await
    }

    /// Waits until the backend can take another block, as long as the store may be silent. Whether
    /// it can.
    pub(super) async fn can_keep(&self) -> bool {
        let Some(runtime) = &self.fetch.runtime else { return false };
        let room = {
            let _entered = runtime.enter();
            timeout(self.fetch.shared.upstream.timeout, self.fetch.landings.room())
        };
        room.await.is_ok()
    }

    /// The blocks of the fetch that are on their way to the backend.
    pub(super) fn landings(&self) -> &Arc<Landings> {
        &self.fetch.landings
    }

    /// Reads the block to its end that has the byte before `offset`, in a task, if nobody else
    /// does.
    pub(super) fn finish(self, offset: u64) {
        let blocks = &self.fetch.shared.blocks;
        let (start, end) =
            (blocks.start_of(offset - 1), blocks.end_of(offset - 1, self.fetch.range.end));
        let came = self.fetch.lock();
        let is_coming =
            came.ended.is_none() && came.start == start && came.permit.is_some() && came.next < end;
        drop(came);
        let tail = if is_coming { self.fetch.shared.budget.tail() } else { None };
        if let (Some(runtime), Some(tail)) = (self.fetch.runtime.clone(), tail) {
            self.fetch.lock().set_position(self.reader, Some(end));
            runtime.spawn(async move {
                self.wait(|came| (came.ended.is_some() || came.next >= end).then_some(())).await;
                drop(tail);
            });
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.fetch.range()
    }

    async fn wait<T>(&self, have: impl Fn(&mut Received) -> Option<T>) -> T {
        poll_fn(|context| self.fetch.poll(self.reader, context, &have)).await
    }
}

impl Drop for FetchReader {
    fn drop(&mut self) {
        self.fetch.lock().set_position(self.reader, None);
        self.fetch.waiting.forget(self.reader);
    }
}

impl FetchError {
    /// Whether another request may fare better. A reader that has waited as long as it may does not
    /// wait again.
    pub(super) fn is_of_its_request(&self) -> bool {
        match self {
            Self::Replaced => false,
            Self::Refused(error) | Self::Failed(error) => error.kind() != ErrorKind::Timeout,
        }
    }
}

impl Step {
    fn at_end(ended: Result<(), FetchError>) -> Self {
        ended.map_or_else(Self::Failed, |()| Self::NotHere)
    }
}

impl Block {
    fn empty(start: u64) -> Self {
        Self { start, bytes: Bytes::new(), permit: None, retained: None }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn has(&self, offset: u64) -> bool {
        (self.start..self.end()).contains(&offset)
    }

    /// Nothing was passed on since the last block that was collected.
    fn is_unread_or_kept(&self) -> bool {
        self.bytes.is_empty() || self.permit.is_some()
    }
}

impl Piece {
    /// Its bytes, in a buffer not much longer than they are.
    fn compact(self) -> Bytes {
        part_of(self.buffer_len, self.bytes)
    }
}

fn joined(pieces: &VecDeque<Bytes>) -> Bytes {
    let mut block = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| block.extend_from_slice(piece));
    Bytes::from(block)
}

impl Source {
    fn new(answer: Answer) -> Self {
        let timer = Handle::try_current().ok();
        Self {
            queue: None,
            permit: None,
            sent: Sent::default(),
            answer,
            skip: 0,
            goes_on: false,
            chunk: Bytes::new(),
            chunk_len: 0,
            n_empty: 0,
            at_end: false,
            timer,
            idle: None,
        }
    }

    /// What is in `range` of an answer that has it.
    fn of_answer(shared: &FetchContext, range: &Range<u64>, answer: GetResult) -> Self {
        let (skip, goes_on) = (range.start - answer.range.start, answer.range.end > range.end);
        let body = chunks(answer, shared.blocks.bytes_of(1));
        Self { skip, goes_on, ..Self::new(Answer::Body(body)) }
    }

    /// Adds a chunk, of which nothing is left yet.
    fn take(&mut self, mut chunk: Bytes) {
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        self.chunk_len = chunk.len();
        chunk.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
        self.chunk = chunk;
    }

    /// The next piece of the chunk, of at most `room` bytes.
    fn cut(&mut self, room: u64) -> Piece {
        let is_own = matches!(&self.answer, Answer::Body(body) if body.are_whole);
        let len = self.chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        Piece { bytes: self.chunk.split_to(len), buffer_len: self.chunk_len, is_own }
    }

    fn is_open(&self) -> bool {
        matches!(self.answer, Answer::Body(_))
    }
}

/// The source, while it is polled. If that panics, the fetch is broken.
struct Polled<'a> {
    fetch: &'a Fetch,
    source: Option<Source>,
}

impl Polled<'_> {
    fn put_back(mut self) {
        let Some(source) = self.source.take() else { return };
        let mut came = self.fetch.lock();
        came.is_open = source.is_open();
        // Else the answer is dropped, though not under the lock.
        let rest = match came.ended {
            None => came.source.replace(source),
            Some(_) => Some(source),
        };
        drop(came);
        drop(rest);
    }
}

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        if self.source.is_some() {
            let panicked = Error::new(
                ErrorKind::Panicked,
                "the store panicked while it was asked for a block",
            );
            self.fetch.lock().ended = Some(Err(FetchError::Failed(panicked)));
            self.fetch.waiting.wake_all();
        }
    }
}

/// The readers that wait for more. Waking it wakes them all.
#[derive(Default)]
struct Waiting {
    wakers: Mutex<Vec<(u64, Waker)>>,
    n_wakes: AtomicU64,
    n_readers: AtomicU64,
}

impl Waiting {
    fn register(&self, reader: u64, waker: &Waker) {
        let waker = waker.clone();
        let mut wakers = self.lock();
        let before = match wakers.iter_mut().find(|(registered, _)| *registered == reader) {
            Some((_, registered)) => Some(mem::replace(registered, waker)),
            None => {
                wakers.push((reader, waker));
                None
            }
        };
        // It may be the last one of a task, and free it.
        drop(wakers);
        drop(before);
    }

    fn forget(&self, reader: u64) {
        let mut wakers = self.lock();
        let at = wakers.iter().position(|(registered, _)| *registered == reader);
        let gone = at.map(|at| wakers.swap_remove(at));
        drop(wakers);
        drop(gone);
    }

    fn wake_all(&self) {
        let wakers = mem::take(&mut *self.lock());
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.n_wakes.fetch_add(1, Ordering::SeqCst);
        self.wake_all();
    }
}

/// How many blocks a reader waits for that it does not want itself, before it makes a request of
/// its own.
const AHEAD_MAX: u64 = 4;
