//! One request to the wrapped store: counted and timed, and a span where the feature `tracing` is
//! on. That of a request for a head is `cache_core`'s.
//!
//! A request ends with its body. When that breaks off, the request has failed, though it was
//! answered; when nobody wants the rest, it is done.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Clock, ErrorKind, Moment};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use object_store::{Error, GetResult, GetResultPayload, ObjectStore, Result, path::Path};

use super::{
    request_counters::{Op, Outcome},
    stats::{Count, Counters},
    status::CacheStatus,
    trace::Span,
};

/// The wrapped store, with the clock, the timeout and the counters of the requests sent to it.
pub(super) struct Upstream {
    /// The name of the cache, in traces.
    pub(super) cache: Arc<str>,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) clock: Arc<dyn Clock>,
    /// How long the store may take to answer, and between two chunks of a body.
    pub(super) timeout: Duration,
    pub(super) counters: Arc<Counters>,
}

/// A request, from its sending on. Dropped before it was answered, it was cancelled.
pub(super) struct Request {
    upstream: Arc<Upstream>,
    op: Op,
    sent_at: Moment,
    span: Span,
    /// Body bytes that came.
    bytes: u64,
    is_answered: bool,
    has_ended: bool,
}

impl Request {
    /// Counts the request as sent, and opens its span.
    pub(super) fn send(upstream: &Arc<Upstream>, op: Op, location: &Path) -> Self {
        let span = Span::of_request(&upstream.cache, op.name(), location);
        Self::new(upstream, op, span)
    }

    /// A request for a head, within the span that `cache_core` opened for it.
    pub(super) fn send_for_head(upstream: &Arc<Upstream>) -> Self {
        Self::new(upstream, Op::Read, Span::current())
    }

    fn new(upstream: &Arc<Upstream>, op: Op, span: Span) -> Self {
        upstream.counters.requests.sent(op);
        let (upstream, sent_at) = (Arc::clone(upstream), upstream.clock.now());
        Self { upstream, op, sent_at, span, bytes: 0, is_answered: false, has_ended: false }
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
            let took = self.upstream.clock.now().saturating_since(self.sent_at);
            self.upstream.counters.requests.answered(self.op, Some(took));
        }
    }

    /// So many bytes of the body came.
    pub(super) fn receive(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.upstream.counters.add(Count::BytesFromOrigin, bytes);
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
        let requests = &self.upstream.counters.requests;
        if !self.is_answered {
            requests.answered(self.op, None);
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

/// The request of a fetch, which reads its body. It may take several, each in another form, one
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
