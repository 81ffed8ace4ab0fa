//! One request to the origin: counted and timed, and a span where the feature `tracing` is on.

use std::sync::Arc;

use super::{
    Shared,
    held::caught,
    trace::{Cause, Span},
};
use crate::{
    Entry, Error, ErrorKind, Moment, Result, Validation, Validator,
    stats::{Count, Op},
};

/// A request that was sent. Dropped before it has ended, it was abandoned.
pub(super) struct Request<V: ?Sized> {
    shared: Arc<Shared<V>>,
    op: Op,
    sent_at: Moment,
    span: Span,
    has_ended: bool,
}

/// What came of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// A read: not modified.
    Unchanged,
    /// A read: with a body, and its length in bytes if that is known.
    Changed(Option<u64>),
    /// A read: no such object.
    Gone,
    /// A write took effect.
    Done,
    /// It was answered with an error.
    Refused(ErrorKind),
    /// The origin failed to answer.
    Failed(ErrorKind),
    Abandoned,
}

impl<V: ?Sized> Request<V> {
    pub(super) fn send(shared: &Arc<Shared<V>>, op: Op, key: &str, sent_at: Moment, cause: &Cause) -> Self {
        shared.count(Count::OriginSent);
        let span = Span::of_request(&shared.settings.name, op.name(), shared.shown(key), cause);
        Self { shared: Arc::clone(shared), op, sent_at, span, has_ended: false }
    }

    /// What the origin says. A panic is an error.
    pub(super) async fn answer<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        self.span.around(caught(question)).await
    }

    /// It was answered, for so many readers beside the one who asked.
    pub(super) fn end(mut self, outcome: Outcome, n_joined: impl FnOnce() -> usize) {
        self.has_ended = true;
        if let Outcome::Changed(Some(bytes)) = outcome {
            self.shared.counters.add(Count::BytesFromOrigin, bytes);
        }
        let took = self.shared.clock.now().saturating_since(self.sent_at);
        self.shared.counters.add_answer(self.op, took);
        self.record(outcome, n_joined);
    }

    fn record(&self, outcome: Outcome, n_joined: impl FnOnce() -> usize) {
        self.shared.count(outcome.count(self.op));
        if let Some(kind) = outcome.error() {
            self.shared.counters.add_origin_error(kind);
        }
        self.span.end(outcome.name(), outcome.bytes(), outcome.error(), n_joined);
    }
}

impl<V: ?Sized> Drop for Request<V> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.record(Outcome::Abandoned, || 0);
        }
    }
}

impl Outcome {
    /// Of a read that validated `held`.
    pub(super) fn of_read<V: Validator + ?Sized>(
        answer: &Result<Validation>,
        held: Option<&Entry>,
        validator: &V,
    ) -> Self {
        match answer {
            Ok(Validation::NotModified) => Self::Unchanged,
            // Other metadata of the same bytes: the body did not come again.
            Ok(Validation::Modified(entry)) if held.is_some_and(|held| shares_body(held, entry)) => {
                Self::Changed(Some(0))
            }
            Ok(Validation::Modified(entry)) => Self::Changed(validator.body_bytes(entry)),
            Ok(Validation::NotFound) => Self::Gone,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Gone,
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_write<T>(answer: &Result<T>) -> Self {
        answer.as_ref().map_or_else(Self::of_error, |_| Self::Done)
    }

    fn of_error(error: &Error) -> Self {
        if error.is_outage() || error.kind() == ErrorKind::Panicked {
            Self::Failed(error.kind())
        } else {
            Self::Refused(error.kind())
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed(_) => "changed",
            Self::Gone => "gone",
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    const fn bytes(self) -> Option<u64> {
        if let Self::Changed(bytes) = self { bytes } else { Some(0) }
    }

    const fn error(self) -> Option<ErrorKind> {
        if let Self::Refused(kind) | Self::Failed(kind) = self { Some(kind) } else { None }
    }

    /// A write is never unchanged, changed or gone; a read is never done.
    const fn count(self, op: Op) -> Count {
        match (op, self) {
            (Op::Read, Self::Unchanged) => Count::OriginUnchanged,
            (Op::Read, Self::Changed(_) | Self::Done) => Count::OriginChanged,
            (Op::Read, Self::Gone) => Count::OriginGone,
            (Op::Read, Self::Refused(_)) => Count::OriginRefused,
            (Op::Read, Self::Failed(_)) => Count::OriginFailed,
            (Op::Read, Self::Abandoned) => Count::OriginAbandoned,
            (Op::Put, Self::Failed(_)) => Count::PutFailed,
            (Op::Put, Self::Refused(_) | Self::Gone) => Count::PutRefused,
            (Op::Put, Self::Abandoned) => Count::PutAbandoned,
            (Op::Put, _) => Count::PutDone,
            (Op::Delete, Self::Failed(_)) => Count::DeleteFailed,
            (Op::Delete, Self::Refused(_) | Self::Gone) => Count::DeleteRefused,
            (Op::Delete, Self::Abandoned) => Count::DeleteAbandoned,
            (Op::Delete, _) => Count::DeleteDone,
        }
    }
}

/// Whether both have the very buffer.
fn shares_body(a: &Entry, b: &Entry) -> bool {
    a.body().as_ptr() == b.body().as_ptr() && a.body().len() == b.body().len()
}
