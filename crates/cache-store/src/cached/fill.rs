//! A fill: one answer of the store, read by everybody who needs its bytes.
//!
//! Nobody drives it: whoever needs more than has come polls the request, and then its body. All who wait are woken when
//! something came, so none of them depends on another to be polled. The code of the store runs under no lock: who polls
//! it takes it out, and who finds it taken is woken when it is put back with something new.
//!
//! *Memory.* What came is cut at the ends of blocks. A fill has the pieces of the block that is coming, and the last one
//! that came whole; so readers who are near to each other are served from here, also where the backend keeps nothing.
//! It does not read ahead: with slow readers alone it is slow.
//!
//! *Blocks.* One that came whole is joined to a buffer of its own, and goes to the backend. All readers gone, the answer
//! is dropped, and with it the beginning of a block; only a reader that has got all it asked for leaves a task behind,
//! which reads to the end of its last block.
//!
//! *Silence.* If nothing has come for `origin_timeout` while somebody waits, the fill fails for all, and the request is
//! dropped.
//!
//! *Trust.* object_store takes lengths as hints. An answer is served as far as it is of the version and the range asked
//! for; its last piece is served when the body has ended as announced.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, RequestPermit};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{GetResult, Result};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Sleep, sleep, timeout},
};

use super::{fills::Fills, head::late, snapshot::Snapshot, stats::Count};
use crate::{
    body::{EMPTY_CHUNKS_MAX, ENDLESS, LENGTH, RANGE, broken, torn},
    error::{Action, error_of},
    tag,
};

/// An answer of the store for a range of one version of an object.
pub(super) struct Fill {
    pub(super) snapshot: Arc<Snapshot>,
    range: Range<u64>,
    /// Whether its blocks are kept, and other readers may join.
    is_shared: bool,
    fills: Arc<Fills>,
    /// `None` outside of a runtime: then nothing is kept, for a backend's work could not be brought to its end.
    runtime: Option<Handle>,
    waiting: Arc<Waiting>,
    came: Mutex<Came>,
    /// A permit for each block that may be on its way to the backend.
    landing: Arc<Semaphore>,
}

/// One reader's handle.
pub(super) struct FillUse {
    fill: Arc<Fill>,
    reader: u64,
}

/// What a fill has for a reader.
pub(super) enum Step {
    Bytes(Bytes),
    /// Others have read on, or the answer ends before: it is to be had elsewhere, or not at all.
    Elsewhere,
    Broken(Broken),
}

/// Why a fill ended early.
#[derive(Debug, Clone)]
pub(super) enum Broken {
    /// The object is not at that version any more.
    Replaced,
    /// The store failed.
    Failed(Error),
}

/// What came of the answer.
struct Came {
    /// What brings more; taken out by the one who polls it.
    source: Option<Source>,
    /// The request was answered; of its body there may be nothing yet.
    is_open: bool,
    ended: Option<Result<(), Broken>>,
    /// The last whole block, or the end of one whose beginning is not in the range.
    block: (u64, Bytes),
    /// What came of the block that begins at `start`.
    start: u64,
    pieces: VecDeque<Bytes>,
    next: u64,
}

struct Source {
    /// Waits for leave to send the request; `None` when that is there, or was never needed.
    queue: Option<Queue>,
    /// Until the store has answered. A body that is read slowly keeps nobody from asking.
    permit: Option<RequestPermit>,
    answer: Answer,
    /// Came, and was not yet cut into pieces.
    chunk: Bytes,
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
    Body(BoxStream<'static, Result<Bytes>>),
}

impl Fill {
    /// A fill from an answer that is there.
    pub(super) fn of_answer(
        fills: &Arc<Fills>,
        snapshot: Arc<Snapshot>,
        range: Range<u64>,
        answer: GetResult,
    ) -> Self {
        let is_shared = snapshot.is_pinned();
        Self::new(fills, snapshot, range, None, Answer::Body(answer.into_stream()), is_shared)
    }

    /// A fill whose request is sent when the first reader needs it, and `queue` has let it.
    pub(super) fn of_request(
        fills: &Arc<Fills>,
        snapshot: Arc<Snapshot>,
        range: Range<u64>,
        queue: Queue,
        request: BoxFuture<'static, Result<GetResult>>,
    ) -> Self {
        Self::new(fills, snapshot, range, Some(queue), Answer::Awaited(request), true)
    }

    fn new(
        fills: &Arc<Fills>,
        snapshot: Arc<Snapshot>,
        range: Range<u64>,
        queue: Option<Queue>,
        answer: Answer,
        is_shared: bool,
    ) -> Self {
        let runtime = Handle::try_current().ok();
        let timer = runtime.clone();
        let source = Source {
            queue,
            permit: None,
            answer,
            chunk: Bytes::new(),
            n_empty: 0,
            at_end: false,
            timer,
            idle: None,
        };
        let came = Came {
            is_open: source.is_open(),
            source: Some(source),
            ended: None,
            block: (range.start, Bytes::new()),
            start: range.start,
            pieces: VecDeque::new(),
            next: range.start,
        };
        Self {
            snapshot,
            range,
            is_shared,
            fills: Arc::clone(fills),
            runtime,
            waiting: Arc::default(),
            came: Mutex::new(came),
            landing: Arc::new(Semaphore::new(LANDING_MAX)),
        }
    }

    /// Another reader of the fill.
    pub(super) fn join(self: &Arc<Self>) -> FillUse {
        let reader = self.waiting.n_readers.fetch_add(1, Ordering::Relaxed);
        FillUse { fill: Arc::clone(self), reader }
    }

    /// Whether a reader of `snapshot` does well to wait here for the byte at `offset`.
    pub(super) fn will_bring(&self, snapshot: &Snapshot, offset: u64) -> bool {
        if !self.is_shared || !self.range.contains(&offset) || !self.snapshot.is_same(snapshot) {
            return false;
        }
        let came = self.lock();
        let is_near = offset <= came.next.saturating_add(self.fills.blocks.bytes_of(AHEAD_MAX));
        match &came.ended {
            Some(Err(_)) => false,
            Some(Ok(())) => came.has(offset),
            None => is_near && (came.has(offset) || offset >= came.next),
        }
    }

    /// Waits for `have` to find what it looks for in what came.
    fn poll<T>(&self, reader: u64, context: &mut Context<'_>, have: impl Fn(&Came) -> Option<T>) -> Poll<T> {
        loop {
            // Apart, so that the lock is not held any more.
            let found = have(&self.lock());
            if let Some(found) = found {
                return Poll::Ready(found);
            }
            ready!(self.poll_more(reader, context));
        }
    }

    /// Ready when something new has come, or has perhaps. Only for a fill that has not ended.
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

        let mut polled = Polled { fill: self, source: Some(source) };
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
            Poll::Ready(Ok(piece)) if piece.is_empty() => polled.put_back(),
            Poll::Ready(Ok(piece)) => {
                self.take_in(piece);
                polled.put_back();
            }
            Poll::Ready(Err(broken)) => {
                self.lock().ended = Some(Err(broken));
                polled.put_back();
            }
        }
        self.waiting.forget(reader);
        self.waiting.wake_all();
        Poll::Ready(())
    }

    /// The next piece: within a block, and empty when there is other news. An error, if there was none for too long.
    fn step(&self, source: &mut Source, next: u64, context: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        let step = self.advance(source, next, context);
        if step.is_ready() {
            source.idle = None;
            return step;
        }
        if source.queue.is_some() {
            // The store was not asked yet, so it is not silent.
            return Poll::Pending;
        }
        let Some(timer) = &source.timer else { return Poll::Pending };
        let limit = self.fills.origin_timeout;
        let idle = source.idle.get_or_insert_with(|| {
            let _entered = timer.enter();
            Box::pin(sleep(limit))
        });
        // Who reads on where the runtime has been shut down waits without limit: there tokio's timer panics.
        let Ok(is_late) = catch_unwind(AssertUnwindSafe(|| idle.as_mut().poll(context))) else {
            source.timer = None;
            source.idle = None;
            return Poll::Pending;
        };
        ready!(is_late);
        Poll::Ready(Err(Broken::Failed(late(limit))))
    }

    fn advance(
        &self,
        source: &mut Source,
        next: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Broken>> {
        loop {
            let left = self.range.end - next - source.chunk.len() as u64;
            if !source.chunk.is_empty() && (left > 0 || source.at_end) {
                // What is not held need not come by blocks.
                let end = if self.is_shared {
                    self.fills.blocks.end_of(next, self.range.end)
                } else {
                    self.range.end
                };
                let room = end - next;
                let len = source.chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                return Poll::Ready(Ok(source.chunk.split_to(len)));
            }
            let body = match &mut source.answer {
                Answer::Body(body) => body,
                Answer::Awaited(request) => {
                    if let Some(queue) = &mut source.queue {
                        let permit = ready!(queue.poll_unpin(context));
                        source.queue = None;
                        source.permit = permit.map_err(Broken::Failed)?;
                    }
                    let answer = ready!(request.poll_unpin(context));
                    source.permit = None;
                    let body = self.check(answer)?.into_stream();
                    source.answer = Answer::Body(body);
                    return Poll::Ready(Ok(Bytes::new()));
                }
            };
            match ready!(body.poll_next_unpin(context)) {
                None if left == 0 => source.at_end = true,
                None => return Poll::Ready(Err(Broken::Failed(torn(LENGTH)))),
                Some(Err(error)) => return Poll::Ready(Err(Broken::Failed(broken(error)))),
                Some(Ok(chunk)) if chunk.is_empty() => {
                    source.n_empty += 1;
                    if source.n_empty > EMPTY_CHUNKS_MAX {
                        return Poll::Ready(Err(Broken::Failed(torn(ENDLESS))));
                    }
                }
                Some(Ok(chunk)) if chunk.len() as u64 > left => {
                    return Poll::Ready(Err(Broken::Failed(torn(LENGTH))));
                }
                Some(Ok(chunk)) => {
                    source.n_empty = 0;
                    self.fills.blocks.counters.add(Count::BytesFromOrigin, chunk.len() as u64);
                    source.chunk = chunk;
                }
            }
        }
    }

    /// `answer`, if it is the one that was asked for.
    fn check(&self, answer: Result<GetResult>) -> Result<GetResult, Broken> {
        use object_store::Error as E;
        match answer {
            Ok(answer) => {
                // Some stores do not know `If-Match`.
                if !tag::is_same(answer.meta.e_tag.as_deref(), self.snapshot.e_tag())
                    || answer.meta.size != self.snapshot.size
                {
                    return Err(Broken::Replaced);
                }
                match answer.range == self.range {
                    true => Ok(answer),
                    false => Err(Broken::Failed(torn(RANGE))),
                }
            }
            Err(E::Precondition { .. } | E::NotFound { .. }) => Err(Broken::Replaced),
            Err(error) => Err(Broken::Failed(error_of(error, Action::Read, &self.fills.store))),
        }
    }

    /// Adds what came. Called by the one who has the source.
    fn take_in(&self, piece: Bytes) {
        let mut came = self.lock();
        let start = came.start;
        came.next += piece.len() as u64;
        let next = came.next;
        let mut freed = None;
        if !self.is_shared {
            // Its one reader takes it before it asks for more.
            came.start = next;
            freed = Some((mem::replace(&mut came.block, (start, piece)), VecDeque::new()));
        } else {
            came.pieces.push_back(piece);
            if next == self.fills.blocks.end_of(start, self.range.end) {
                let pieces = came.pieces.clone();
                drop(came);
                let block = self.join_block(start, &pieces);
                came = self.lock();
                came.start = next;
                freed = Some((mem::replace(&mut came.block, (start, block)), mem::take(&mut came.pieces)));
            }
        }
        if next == self.range.end {
            came.ended = Some(Ok(()));
        }
        drop(came);
        // Whose buffers they are may run code of the store's.
        drop(freed);
    }

    /// The pieces, which are all of the block that begins at `start`, or the end of one; in a buffer of their own. A
    /// whole one is kept.
    fn join_block(&self, start: u64, pieces: &VecDeque<Bytes>) -> Bytes {
        let mut block = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| block.extend_from_slice(piece));
        let block = Bytes::from(block);
        let blocks = &self.fills.blocks;
        let Some(runtime) = self.runtime.as_ref().filter(|_| blocks.start_of(start) == start) else {
            return block;
        };
        let Ok(permit) = Arc::clone(&self.landing).try_acquire_owned() else { return block };
        let entry = match blocks.entry_of(&self.snapshot, start, block) {
            Ok(entry) => entry,
            Err(block) => return block,
        };
        let block = entry.body().clone();
        let mut landing = Arc::clone(blocks).keep(entry).boxed();
        if landing.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending() {
            runtime.spawn(async move {
                landing.await;
                drop(permit);
            });
        }
        block
    }

    fn lock(&self) -> MutexGuard<'_, Came> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if self.is_shared {
            self.fills.forget(&self.snapshot);
        }
    }
}

impl Came {
    fn has(&self, offset: u64) -> bool {
        let (start, block) = &self.block;
        (*start..start + block.len() as u64).contains(&offset) || (self.start..self.next).contains(&offset)
    }

    /// What came from the byte at `offset` on: a slice of it.
    fn from(&self, offset: u64) -> Option<Bytes> {
        let of =
            |start: u64, bytes: &Bytes| bytes.slice(usize::try_from(offset - start).unwrap_or(usize::MAX)..);
        let (start, block) = &self.block;
        if (*start..start + block.len() as u64).contains(&offset) {
            return Some(of(*start, block));
        }
        // Most readers want what came last.
        let mut start = self.next;
        self.pieces.iter().rev().find_map(|piece| {
            start -= piece.len() as u64;
            (start..start + piece.len() as u64).contains(&offset).then(|| of(start, piece))
        })
    }
}

impl FillUse {
    /// Whether it brings the byte at `offset`, if it does not fail.
    pub(super) fn covers(&self, offset: u64) -> bool {
        self.fill.range.contains(&offset)
    }

    /// Whether the two are of one fill.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fill, &other.fill)
    }

    /// The bytes from `offset` on, as many as there are in one piece.
    pub(super) async fn bytes(&self, offset: u64) -> Step {
        self.wait(|came| match came.from(offset) {
            Some(bytes) => Some(Step::Bytes(bytes)),
            None if offset < came.next => Some(Step::Elsewhere),
            None => came.ended.clone().map(Step::at_end),
        })
        .await
    }

    /// The whole block that begins at `start`.
    pub(super) async fn block(&self, start: u64) -> Step {
        self.wait(|came| match &came.block {
            (held, block) if *held == start && !block.is_empty() => Some(Step::Bytes(block.clone())),
            _ if start < came.start => Some(Step::Elsewhere),
            _ => came.ended.clone().map(Step::at_end),
        })
        .await
    }

    /// Waits for the answer, though not for its body.
    pub(super) async fn opened(&self) -> Result<(), Broken> {
        self.wait(|came| match &came.ended {
            Some(ended) => Some(ended.clone()),
            None => came.is_open.then_some(Ok(())),
        })
        .await
    }

    /// Waits until the backend can take another block, as long as the store may be silent. Whether it can.
    pub(super) async fn can_keep(&self) -> bool {
        let Some(runtime) = &self.fill.runtime else { return false };
        let room = {
            let _entered = runtime.enter();
            timeout(self.fill.fills.origin_timeout, self.fill.landing.acquire())
        };
        matches!(room.await, Ok(Ok(_)))
    }

    /// Reads the block to its end that has the byte before `offset`, in a task, if nobody else does.
    pub(super) fn finish(self, offset: u64) {
        let blocks = &self.fill.fills.blocks;
        let (start, end) = (blocks.start_of(offset - 1), blocks.end_of(offset - 1, self.fill.range.end));
        let came = self.fill.lock();
        let is_coming = came.ended.is_none() && came.start == start && self.fill.is_shared && came.next < end;
        drop(came);
        if let Some(runtime) = self.fill.runtime.clone().filter(|_| is_coming) {
            runtime.spawn(async move {
                self.wait(|came| (came.ended.is_some() || came.next >= end).then_some(())).await;
            });
        }
    }

    async fn wait<T>(&self, have: impl Fn(&Came) -> Option<T>) -> T {
        poll_fn(|context| self.fill.poll(self.reader, context, &have)).await
    }
}

impl Drop for FillUse {
    fn drop(&mut self) {
        self.fill.waiting.forget(self.reader);
    }
}

impl Step {
    fn at_end(ended: Result<(), Broken>) -> Self {
        ended.map_or_else(Self::Broken, |()| Self::Elsewhere)
    }
}

impl Source {
    fn is_open(&self) -> bool {
        matches!(self.answer, Answer::Body(_))
    }
}

/// The source, while it is polled. If that panics, the fill is broken.
struct Polled<'a> {
    fill: &'a Fill,
    source: Option<Source>,
}

impl Polled<'_> {
    fn put_back(mut self) {
        let Some(source) = self.source.take() else { return };
        let mut came = self.fill.lock();
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
            let panicked =
                Error::new(ErrorKind::Panicked, "the store panicked while it was asked for a block");
            self.fill.lock().ended = Some(Err(Broken::Failed(panicked)));
            self.fill.waiting.wake_all();
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

/// How many blocks a reader waits for that it does not want itself, before it makes a request of its own.
const AHEAD_MAX: u64 = 4;

/// Blocks of one fill that may be on their way to a slow backend. The next one is served and not kept.
const LANDING_MAX: usize = 2;
