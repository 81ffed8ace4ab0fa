//! One request to the wrapped store: counted and timed, and a span where the feature `tracing` is
//! on. That of a request for a head is `cache_core`'s.
//!
//! A request ends with its body. When that breaks off, the request has failed, though it was
//! answered; when nobody wants the rest, it is done.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use cache_core::{
    AtomicErrorCounts, AtomicHistogram, Clock, ErrorCounts, ErrorKind, Histogram, Moment,
    OriginStats, Outcomes, Stats,
};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use object_store::{Error, GetResult, GetResultPayload, Result, path::Path};

use super::{blocks::Blocks, fills::Fills, stats::Count, status::CacheStatus, trace::Span};
use crate::error::{is_outage, kind_of};

/// What the store is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// A head, with bytes or without.
    Read,
    /// Bytes of a version that is known.
    Blocks,
    /// A read that is handed on as it is.
    Bypass,
    Put,
    /// One object.
    Delete,
    /// One page.
    List,
    Copy,
    Rename,
    /// One request of an upload in parts.
    Multipart,
}

/// A request, from its sending on. Dropped before it was answered, it was cancelled.
pub(super) struct Request {
    blocks: Arc<Blocks>,
    clock: Arc<dyn Clock>,
    op: Op,
    sent_at: Moment,
    span: Span,
    /// Body bytes that came.
    bytes: u64,
    is_answered: bool,
    has_ended: bool,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    /// A question for a head was answered "not modified".
    NotModified,
    /// A question for a head was answered "no such object".
    NotFound,
    /// It was answered with an error.
    Refused(ErrorKind),
    /// The store failed to answer, or to send the body.
    Failed(ErrorKind),
    Cancelled,
}

impl Request {
    pub(super) fn send(fills: &Fills, op: Op, location: &Path) -> Self {
        let (blocks, clock) = (Arc::clone(&fills.blocks), Arc::clone(&fills.clock));
        blocks.counters.requests.of(op).sent.fetch_add(1, Ordering::Relaxed);
        let (span, sent_at) = (Span::of_request(&fills.cache, op.name(), location), clock.now());
        Self { blocks, clock, op, sent_at, span, bytes: 0, is_answered: false, has_ended: false }
    }

    /// A request for a head: within the span that `cache_core` has for it.
    pub(super) fn send_for_head(fills: &Fills) -> Self {
        let (blocks, clock) = (Arc::clone(&fills.blocks), Arc::clone(&fills.clock));
        blocks.counters.requests.of(Op::Read).sent.fetch_add(1, Ordering::Relaxed);
        let (span, sent_at) = (Span::current(), clock.now());
        Self {
            blocks,
            clock,
            op: Op::Read,
            sent_at,
            span,
            bytes: 0,
            is_answered: false,
            has_ended: false,
        }
    }

    /// The store's answer; no body follows.
    pub(super) async fn answer<T>(self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.span.around(request).await;
        self.end(answer.as_ref().err());
        answer
    }

    /// The store's answer to a question for several ranges.
    pub(super) async fn ranges(
        mut self,
        request: impl Future<Output = Result<Vec<Bytes>>>,
    ) -> Result<Vec<Bytes>> {
        let answer = self.span.around(request).await;
        self.receive(answer.iter().flatten().map(|part| part.len() as u64).sum());
        self.end(answer.as_ref().err());
        answer
    }

    /// The store's answer, the body of which ends the request, and is counted as that of a read
    /// with `status`. That of a head has none; a file is the caller's own to read, and is taken for
    /// read.
    pub(super) async fn get(
        mut self,
        is_head: bool,
        status: &CacheStatus,
        request: impl Future<Output = Result<GetResult>>,
    ) -> Result<GetResult> {
        let mut answer = match self.span.around(request).await {
            Ok(answer) => answer,
            Err(error) => {
                self.end(Some(&error));
                return Err(error);
            }
        };
        self.answered();
        let len = answer.range.end.saturating_sub(answer.range.start);
        match answer.payload {
            GetResultPayload::Stream(stream) if !is_head => {
                let body = Body { stream, left: len, status: status.clone(), request: Some(self) };
                answer.payload = GetResultPayload::Stream(body.boxed());
            }
            _ => {
                if !is_head {
                    self.receive(len);
                    status.meter().from_origin.fetch_add(len, Ordering::Relaxed);
                }
                self.end(None);
            }
        }
        Ok(answer)
    }

    /// The answer has begun.
    pub(super) fn answered(&mut self) {
        if !self.is_answered {
            self.is_answered = true;
            let took = self.clock.now().saturating_since(self.sent_at);
            let of_op = self.blocks.counters.requests.of(self.op);
            of_op.times.add(took, &Stats::ORIGIN_BOUNDS);
            of_op.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many bytes of the body came.
    pub(super) fn receive(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.blocks.counters.add(Count::BytesFromOrigin, bytes);
    }

    /// It was answered, with an error if there is one, or its body has come.
    pub(super) fn end(mut self, error: Option<&Error>) {
        let outcome = match error {
            None => Outcome::Succeeded,
            Some(Error::NotModified { .. }) if self.op == Op::Read => Outcome::NotModified,
            Some(Error::NotFound { .. }) if self.op == Op::Read => Outcome::NotFound,
            Some(error) => Outcome::of(error),
        };
        self.answered();
        self.end_with(outcome, error);
    }

    /// The store did not answer in time, or did not send the whole body.
    pub(super) fn fail(mut self, kind: ErrorKind) {
        self.end_with(Outcome::Failed(kind), None);
    }

    /// It was one of many that were answered together: when is not known.
    pub(super) fn end_as(mut self, outcome: Outcome) {
        self.end_with(outcome, None);
    }

    fn end_with(&mut self, outcome: Outcome, error: Option<&Error>) {
        self.has_ended = true;
        let requests = &self.blocks.counters.requests;
        if !self.is_answered {
            requests.of(self.op).answered.fetch_add(1, Ordering::Relaxed);
        }
        requests.ended(self.op, outcome);
        match self.op {
            // What came of it says `cache_core`, which knows nothing of the body.
            Op::Read => match outcome {
                Outcome::Succeeded => self.span.bytes(self.bytes),
                Outcome::Failed(_) if self.is_answered => self.span.broken(self.bytes),
                _ => {}
            },
            _ => self.span.end(outcome.name(), self.bytes, error),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // By the store, while it was asked.
        let has_panicked = thread::panicking();
        self.end_with(
            match self.is_answered {
                _ if has_panicked => Outcome::Failed(ErrorKind::Panicked),
                true => Outcome::Succeeded,
                false => Outcome::Cancelled,
            },
            None,
        );
    }
}

/// The request of a fill, which reads its body. It may take several, each in another form, one
/// after the other.
#[derive(Clone, Default)]
pub(super) struct Sent(Arc<Mutex<Option<Request>>>);

impl Sent {
    pub(super) fn new(request: Option<Request>) -> Self {
        Self(Arc::new(Mutex::new(request)))
    }

    /// The store's answer to `request`, the body of which is still to come.
    pub(super) async fn answer<T>(
        &self,
        request: Request,
        asked: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let span = request.span.clone();
        *self.lock() = Some(request);
        let answer = span.around(asked).await;
        let request = self.lock().take();
        match (request, &answer) {
            (Some(mut request), Ok(_)) => {
                request.answered();
                *self.lock() = Some(request);
            }
            (Some(request), Err(error)) => request.end(Some(error)),
            (None, _) => {}
        }
        answer
    }

    pub(super) fn receive(&self, bytes: u64) {
        if let Some(request) = &mut *self.lock() {
            request.receive(bytes);
        }
    }

    /// The store did not answer in time, or did not send the whole body.
    pub(super) fn fail(&self, kind: ErrorKind) {
        let request = self.lock().take();
        if let Some(request) = request {
            request.fail(kind);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a read that was handed on.
struct Body {
    stream: BoxStream<'static, Result<Bytes>>,
    /// How many of the bytes that were announced have not come.
    left: u64,
    status: CacheStatus,
    /// `None` when it has ended.
    request: Option<Request>,
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.poll_next_unpin(context));
        match (&item, self.request.take()) {
            (Some(Ok(bytes)), Some(mut request)) => {
                let len = bytes.len() as u64;
                request.receive(len);
                self.status.meter().from_origin.fetch_add(len, Ordering::Relaxed);
                match self.left.checked_sub(len) {
                    Some(left) => (self.left, self.request) = (left, Some(request)),
                    None => request.fail(ErrorKind::Unavailable),
                }
            }
            (None, Some(request)) if self.left == 0 => request.end(None),
            (_, Some(request)) => request.fail(ErrorKind::Unavailable),
            (_, None) => {}
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl Op {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Blocks => "blocks",
            Self::Bypass => "bypass",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Copy => "copy",
            Self::Rename => "rename",
            Self::Multipart => "multipart",
        }
    }
}

impl Outcome {
    pub(super) fn of(error: &Error) -> Self {
        let kind = kind_of(error);
        if is_outage(error) { Self::Failed(kind) } else { Self::Refused(kind) }
    }

    const PLACES: usize = 6;

    const fn place(self) -> usize {
        match self {
            Self::Succeeded => 0,
            Self::NotModified => 1,
            Self::NotFound => 2,
            Self::Refused(_) => 3,
            Self::Failed(_) => 4,
            Self::Cancelled => 5,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::NotModified => "not_modified",
            Self::NotFound => "not_found",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The counters of all requests.
#[derive(Default)]
pub(super) struct Requests {
    of_ops: [OfOp; Op::Multipart as usize + 1],
    /// Of those for heads, and of all others.
    errors: [AtomicErrorCounts; 2],
}

/// Those of one kind.
#[derive(Default)]
pub(super) struct OfOp {
    sent: AtomicU64,
    /// Or given up before they were.
    answered: AtomicU64,
    ended: [AtomicU64; Outcome::PLACES],
    times: AtomicHistogram,
}

impl Requests {
    pub(super) fn of(&self, op: Op) -> &OfOp {
        &self.of_ops[op as usize]
    }

    /// The errors of all of them, but for those for heads.
    pub(super) fn errors(&self) -> ErrorCounts {
        self.errors[1].snapshot()
    }

    fn ended(&self, op: Op, outcome: Outcome) {
        self.of(op).ended[outcome.place()].fetch_add(1, Ordering::Relaxed);
        if let Outcome::Refused(kind) | Outcome::Failed(kind) = outcome {
            self.errors[usize::from(op != Op::Read)].add(kind);
        }
    }

    /// How many have not been answered, but for those for heads.
    pub(super) fn in_flight(&self) -> u64 {
        self.of_ops
            .iter()
            .map(OfOp::in_flight)
            .sum::<u64>()
            .saturating_sub(self.of(Op::Read).in_flight())
    }

    /// What was asked for heads, in the place of what `cache_core` says of it: that does not know
    /// how bodies ended, and takes a question that had to be asked in another form for one.
    pub(super) fn of_heads(&self, mut heads: OriginStats) -> OriginStats {
        let (reads, outcomes) = (self.of(Op::Read), self.of(Op::Read).outcomes());
        heads.not_modified = reads.n(Outcome::NotModified);
        heads.modified = outcomes.succeeded;
        heads.not_found = reads.n(Outcome::NotFound);
        (heads.refused, heads.failed) = (outcomes.refused, outcomes.failed);
        heads.cancelled = outcomes.cancelled;
        heads.errors_by_kind = self.errors[0].snapshot();
        heads.read_times = reads.times();
        heads.in_flight = reads.in_flight();
        heads
    }
}

impl OfOp {
    fn in_flight(&self) -> u64 {
        // First: what was answered was sent before.
        let answered = self.answered.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(answered)
    }

    fn n(&self, outcome: Outcome) -> u64 {
        self.ended[outcome.place()].load(Ordering::Relaxed)
    }

    pub(super) fn outcomes(&self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        outcomes.succeeded = self.n(Outcome::Succeeded);
        outcomes.refused = self.n(Outcome::Refused(ErrorKind::Other));
        outcomes.failed = self.n(Outcome::Failed(ErrorKind::Other));
        outcomes.cancelled = self.n(Outcome::Cancelled);
        outcomes
    }

    pub(super) fn times(&self) -> Histogram {
        self.times.snapshot()
    }
}
