//! Reads by result: each call of `get_opts` or `get_ranges` counts once, when it has ended.
//!
//! A read ends with its body, not with its answer: one whose body breaks off is an error, one whose
//! body is dropped before its end was cancelled. However often it began anew, it is one read.
//! `warm` and readahead are none.

use std::{
    error::Error as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use cache_core::{ErrorKind, Status};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use object_store::{Error, GetOptions, GetResult, GetResultPayload, Result};

use super::{
    conditions::is_conditional,
    read_counters::ReadResult,
    stats::{Count, Counters},
    status::{CacheStatus, NotCached},
};
use crate::error::kind_of;

/// What the caller can do about it: the cache's own errors know more than their kinds in
/// object_store.
fn kind_of_read(error: &Error) -> ErrorKind {
    match error.source().and_then(|source| source.downcast_ref::<cache_core::Error>()) {
        Some(error) => error.kind(),
        None => kind_of(error),
    }
}

/// One read under way. Dropped before it has ended, it was cancelled.
pub(super) struct ReadMeter {
    counters: Arc<Counters>,
    /// The caller has a condition of his own, so that it may be that which does not hold.
    is_conditional: bool,
    has_ended: bool,
}

impl ReadMeter {
    /// A read of several ranges.
    pub(super) fn of_ranges(counters: &Arc<Counters>) -> Self {
        Self { counters: Arc::clone(counters), is_conditional: false, has_ended: false }
    }

    pub(super) fn of(counters: &Arc<Counters>, options: &GetOptions) -> Self {
        let is_conditional = is_conditional(options);
        Self { counters: Arc::clone(counters), is_conditional, has_ended: false }
    }

    /// The ranges that were read, if they were; no body is to come.
    pub(super) fn end(self, read: Result<(Vec<Bytes>, CacheStatus)>) -> Result<Vec<Bytes>> {
        match read {
            Ok((parts, status)) => {
                self.count_served(parts.iter().map(|part| part.len() as u64).sum());
                self.succeed(&status);
                Ok(parts)
            }
            Err(error) => Err(self.end_failed(error)),
        }
    }

    fn end_failed(self, error: Error) -> Error {
        self.fail(&error);
        error
    }

    fn count_served(&self, bytes: u64) {
        self.counters.add(Count::BytesServed, bytes);
    }

    /// The same answer, whose body ends the read. That of a `head` has none; a file is the caller's
    /// own to read, and is taken for read.
    pub(super) fn end_with_body(
        self,
        is_head: bool,
        answer: Result<GetResult>,
    ) -> Result<GetResult> {
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.end_failed(error)),
        };
        let status = answer.extensions.get().cloned().unwrap_or_else(CacheStatus::bypass);
        let left = answer.range.end.saturating_sub(answer.range.start);
        match answer.payload {
            GetResultPayload::Stream(stream) if !is_head && left > 0 => {
                let body = MeteredBody { stream, left, status, meter: Some(self) };
                answer.payload = GetResultPayload::Stream(body.boxed());
            }
            _ => {
                self.count_served(if is_head { 0 } else { left });
                self.succeed(&status);
            }
        }
        Ok(answer)
    }

    fn succeed(self, status: &CacheStatus) {
        // Though it was known without a request which version is current: what is counted are
        // bytes, as for whole objects, or a cache that holds nothing but heads would hit always.
        let has_fetched = status.bytes_from_origin() > 0;
        self.end_as(match status.status() {
            Status::Bypass => ReadResult::Bypass,
            Status::Refetched => ReadResult::Refetched,
            Status::Fetched => ReadResult::Fetched,
            // A read that fetched any byte is no hit.
            // mutant: fetched_result
            _ if has_fetched => ReadResult::Fetched,
            Status::Fresh => ReadResult::Fresh,
            Status::Revalidated => ReadResult::Revalidated,
            // `Stale`: there is no other.
            _ => ReadResult::Stale,
        });
    }

    fn fail(self, error: &Error) {
        let is_conditional = self.is_conditional;
        self.end_as(match error {
            Error::NotFound { .. } => ReadResult::NotFound,
            Error::NotModified { .. } if is_conditional => ReadResult::NotModified,
            Error::Precondition { .. } if is_conditional => ReadResult::PreconditionFailed,
            Error::Generic { source, .. } if source.is::<NotCached>() => ReadResult::NotCached,
            _ => ReadResult::Error(kind_of_read(error)),
        });
    }

    fn end_as(mut self, result: ReadResult) {
        self.has_ended = true;
        self.count(result);
    }

    fn count(&self, result: ReadResult) {
        self.counters.reads.add(result);
    }
}

impl Drop for ReadMeter {
    fn drop(&mut self) {
        if !self.has_ended {
            // Of the store's, or of a backend's: the caller has dropped nothing.
            let has_panicked = thread::panicking();
            let panicked = ReadResult::Error(ErrorKind::Panicked);
            self.count(if has_panicked { panicked } else { ReadResult::Cancelled });
        }
    }
}

/// A body that ends its read: with its last byte, with an error, or dropped.
struct MeteredBody {
    stream: BoxStream<'static, Result<Bytes>>,
    /// How many of the bytes that were announced have not been given out.
    left: u64,
    status: CacheStatus,
    /// `None` when the read has ended.
    meter: Option<ReadMeter>,
}

impl Stream for MeteredBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.poll_next_unpin(context));
        match &item {
            Some(Ok(bytes)) => {
                let len = bytes.len() as u64;
                self.left = self.left.saturating_sub(len);
                if let Some(meter) = &self.meter {
                    meter.count_served(len);
                }
            }
            // Also a condition that does not hold any more: the object was replaced, which is not
            // what it was about.
            Some(Err(error)) => self.end(ReadResult::Error(kind_of_read(error))),
            // object_store takes lengths as hints: the caller may not notice, and has not got what
            // was announced. A body that ends early is a failed read.
            // mutant: short_read_result
            None if self.left > 0 => self.end(ReadResult::Error(ErrorKind::Unavailable)),
            None => self.succeed(),
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl MeteredBody {
    fn end(&mut self, result: ReadResult) {
        if let Some(meter) = self.meter.take() {
            meter.end_as(result);
        }
    }

    fn succeed(&mut self) {
        if let Some(meter) = self.meter.take() {
            meter.succeed(&self.status);
        }
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        // Who has all bytes need not ask whether there are more.
        if self.left == 0 {
            self.succeed();
        }
    }
}
