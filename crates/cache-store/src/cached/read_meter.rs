//! Reads by result: each call of `get_opts` or `get_ranges` counts once, when it has ended.
//!
//! A read ends with its body, not with its answer: one whose body breaks off is an error, one whose
//! body is dropped before its end was cancelled. However often it began anew, it is one read.
//! `warm` and readahead are none.

use std::{
    error::Error as _,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use cache_core::{AtomicErrorCounts, ErrorCounts, ErrorKind, Status};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use object_store::{Error, GetOptions, GetResult, GetResultPayload, Result};

use super::{
    Shared,
    blocks::Blocks,
    stats::Count,
    status::{CacheStatus, NotCached},
};
use crate::error::kind_of;

/// Reads of a [`CachedStore`](crate::CachedStore) that have ended, by result. Every `get`, `head`,
/// `get_range` and `get_ranges` is in exactly one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reads {
    /// Served from cached bytes, without a request.
    pub fresh: u64,
    /// Served from cached bytes; the store confirmed for this read that they are current.
    pub revalidated: u64,
    /// Served from cached bytes past their `max_age`.
    pub stale: u64,
    /// Some bytes had to be fetched, of the version that was cached or of an object of which none
    /// was. A `head` of an object that was not cached.
    pub fetched: u64,
    /// Fetched, because the cached version was not the current one.
    pub refetched: u64,
    /// Answered by the store alone: asked for with [`Bypass`](crate::Bypass), or something that the
    /// cache does not answer.
    pub bypass: u64,
    /// There is no such object.
    pub not_found: u64,
    /// The object is as the caller's own condition says that he has it (304).
    pub not_modified: u64,
    /// The caller's own condition does not hold (412).
    pub precondition_failed: u64,
    /// Asked for with [`OnlyIfCached`](crate::OnlyIfCached), and not cached, or not fresh.
    pub not_cached: u64,
    /// Failed in any other way, before the body or in the middle of it.
    pub errors: u64,
    /// The caller dropped the read, or its body, before its end.
    pub cancelled: u64,
    /// `errors` by kind.
    pub errors_by_kind: ErrorCounts,
}

impl Reads {
    /// Reads served from cached bytes.
    pub fn hits(&self) -> u64 {
        self.fresh + self.revalidated + self.stale
    }

    /// Reads for which bytes had to be fetched.
    pub fn misses(&self) -> u64 {
        self.fetched + self.refetched
    }

    /// Returns the number of all reads that have ended.
    pub fn total(&self) -> u64 {
        let Self {
            bypass,
            not_found,
            not_modified,
            precondition_failed,
            not_cached,
            errors,
            cancelled,
            ..
        } = self;
        let others = bypass + not_found + not_modified + precondition_failed + not_cached;
        self.hits() + self.misses() + others + errors + cancelled
    }

    /// Hits among hits and misses, from 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        match self.hits() + self.misses() {
            0 => 0.0,
            all => self.hits() as f64 / all as f64,
        }
    }
}

impl fmt::Display for Reads {
    /// Writes one line: all reads, then those of each result that is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        let by_result = [
            ("fresh", self.fresh),
            ("revalidated", self.revalidated),
            ("stale", self.stale),
            ("fetched", self.fetched),
            ("refetched", self.refetched),
            ("bypass", self.bypass),
            ("not found", self.not_found),
            ("not modified", self.not_modified),
            ("precondition failed", self.precondition_failed),
            ("not cached", self.not_cached),
            ("errors", self.errors),
            ("cancelled", self.cancelled),
        ];
        let mut separator = ": ";
        for (name, count) in by_result.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{count} {name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadResult {
    Fresh,
    Revalidated,
    Stale,
    Fetched,
    Refetched,
    Bypass,
    NotFound,
    NotModified,
    PreconditionFailed,
    NotCached,
    Error(ErrorKind),
    Cancelled,
}

impl ReadResult {
    const PLACES: usize = 12;

    const fn place(self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Revalidated => 1,
            Self::Stale => 2,
            Self::Fetched => 3,
            Self::Refetched => 4,
            Self::Bypass => 5,
            Self::NotFound => 6,
            Self::NotModified => 7,
            Self::PreconditionFailed => 8,
            Self::NotCached => 9,
            Self::Error(_) => 10,
            Self::Cancelled => 11,
        }
    }
}

/// What the caller can do about it: the cache's own errors know more than their kinds in
/// object_store.
fn kind_of_read(error: &Error) -> ErrorKind {
    match error.source().and_then(|source| source.downcast_ref::<cache_core::Error>()) {
        Some(error) => error.kind(),
        None => kind_of(error),
    }
}

/// A number for each [`ReadResult`].
#[derive(Default)]
pub(super) struct ReadCounters {
    results: [AtomicU64; ReadResult::PLACES],
    errors: AtomicErrorCounts,
}

impl ReadCounters {
    pub(super) fn snapshot(&self) -> Reads {
        let of = |result: ReadResult| self.results[result.place()].load(Ordering::Relaxed);
        Reads {
            fresh: of(ReadResult::Fresh),
            revalidated: of(ReadResult::Revalidated),
            stale: of(ReadResult::Stale),
            fetched: of(ReadResult::Fetched),
            refetched: of(ReadResult::Refetched),
            bypass: of(ReadResult::Bypass),
            not_found: of(ReadResult::NotFound),
            not_modified: of(ReadResult::NotModified),
            precondition_failed: of(ReadResult::PreconditionFailed),
            not_cached: of(ReadResult::NotCached),
            errors: of(ReadResult::Error(ErrorKind::Other)),
            cancelled: of(ReadResult::Cancelled),
            errors_by_kind: self.errors.snapshot(),
        }
    }
}

/// One read under way. Dropped before it has ended, it was cancelled.
pub(super) struct ReadMeter {
    blocks: Arc<Blocks>,
    /// The caller has a condition of his own, so that it may be that which does not hold.
    is_conditional: bool,
    has_ended: bool,
}

impl ReadMeter {
    /// A read of several ranges.
    pub(super) fn of_ranges(shared: &Shared) -> Self {
        Self { blocks: Arc::clone(&shared.fills.blocks), is_conditional: false, has_ended: false }
    }

    pub(super) fn of(shared: &Shared, options: &GetOptions) -> Self {
        let is_conditional = options.if_match.is_some()
            || options.if_none_match.is_some()
            || options.if_modified_since.is_some()
            || options.if_unmodified_since.is_some();
        let mut meter = Self::of_ranges(shared);
        meter.is_conditional = is_conditional;
        meter
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
        self.blocks.counters.add(Count::BytesServed, bytes);
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
        let reads = &self.blocks.counters.reads;
        reads.results[result.place()].fetch_add(1, Ordering::Relaxed);
        if let ReadResult::Error(kind) = result {
            reads.errors.add(kind);
        }
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
