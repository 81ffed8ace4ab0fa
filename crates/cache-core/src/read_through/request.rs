//! One request to the origin: counted, timed, and a span if the feature `tracing` is on.

use std::sync::Arc;

use super::{
    shared::Shared,
    trace::{Cause, Span},
};
use crate::{
    Entry, Error, ErrorKind, Moment, Result, Validation, Validator,
    stats::{Count, Op},
    sync::caught,
};

/// A request that was sent. If it is dropped before its end, it was cancelled.
pub(super) struct Request<V: ?Sized> {
    shared: Arc<Shared<V>>,
    op: Op,
    sent_at: Moment,
    span: Span,
    has_ended: bool,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// A read: not modified.
    NotModified,
    /// A read: with a body of this many bytes, if that is known.
    Modified(Option<u64>),
    /// A read: no such object.
    NotFound,
    /// A write took effect.
    Succeeded,
    /// It was answered with an error.
    Refused(ErrorKind),
    /// The origin failed to answer.
    Failed(ErrorKind),
    Cancelled,
}

impl<V: ?Sized> Request<V> {
    pub(super) fn send(
        shared: &Arc<Shared<V>>,
        op: Op,
        key: &str,
        sent_at: Moment,
        cause: &Cause,
    ) -> Self {
        shared.count(Count::OriginSent);
        let span =
            Span::of_request(&shared.settings.name, op.name(), shared.display_key(key), cause);
        Self { shared: Arc::clone(shared), op, sent_at, span, has_ended: false }
    }

    /// Returns the response. A panic becomes an error.
    pub(super) async fn answer<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        self.span.around(caught(question)).await
    }

    /// Ends the request, which `n_joined` readers shared beside its own.
    pub(super) fn end(mut self, outcome: Outcome, n_joined: impl FnOnce() -> usize) {
        self.has_ended = true;
        if let Outcome::Modified(Some(bytes)) = outcome {
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
            self.record(Outcome::Cancelled, || 0);
        }
    }
}

impl Outcome {
    /// Returns the outcome of a read that validated `held`.
    pub(super) fn of_read<V: Validator + ?Sized>(
        answer: &Result<Validation>,
        held: Option<&Entry>,
        validator: &V,
    ) -> Self {
        match answer {
            Ok(Validation::NotModified) => Self::NotModified,
            // New metadata of the same bytes: the body was not sent again.
            Ok(Validation::Modified(entry))
                if held.is_some_and(|held| shares_body(held, entry)) =>
            {
                Self::Modified(Some(0))
            }
            Ok(Validation::Modified(entry)) => Self::Modified(validator.body_bytes(entry)),
            Ok(Validation::NotFound) => Self::NotFound,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::NotFound,
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_write<T>(answer: &Result<T>) -> Self {
        answer.as_ref().map_or_else(Self::of_error, |_| Self::Succeeded)
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
            Self::NotModified => "not_modified",
            Self::Modified(_) => "modified",
            Self::NotFound => "not_found",
            Self::Succeeded => "succeeded",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    const fn bytes(self) -> Option<u64> {
        if let Self::Modified(bytes) = self { bytes } else { Some(0) }
    }

    const fn error(self) -> Option<ErrorKind> {
        if let Self::Refused(kind) | Self::Failed(kind) = self { Some(kind) } else { None }
    }

    /// A write has none of the outcomes of a read, and a read never just succeeds.
    const fn count(self, op: Op) -> Count {
        match (op, self) {
            (Op::Read, Self::NotModified) => Count::OriginNotModified,
            (Op::Read, Self::Modified(_) | Self::Succeeded) => Count::OriginModified,
            (Op::Read, Self::NotFound) => Count::OriginNotFound,
            (Op::Read, Self::Refused(_)) => Count::OriginRefused,
            (Op::Read, Self::Failed(_)) => Count::OriginFailed,
            (Op::Read, Self::Cancelled) => Count::OriginCancelled,
            (Op::Put, Self::Failed(_)) => Count::PutFailed,
            (Op::Put, Self::Refused(_) | Self::NotFound) => Count::PutRefused,
            (Op::Put, Self::Cancelled) => Count::PutCancelled,
            (Op::Put, _) => Count::PutSucceeded,
            (Op::Delete, Self::Failed(_)) => Count::DeleteFailed,
            (Op::Delete, Self::Refused(_) | Self::NotFound) => Count::DeleteRefused,
            (Op::Delete, Self::Cancelled) => Count::DeleteCancelled,
            (Op::Delete, _) => Count::DeleteSucceeded,
            (Op::List, Self::Failed(_)) => Count::ListFailed,
            (Op::List, Self::Refused(_) | Self::NotFound) => Count::ListRefused,
            (Op::List, Self::Cancelled) => Count::ListCancelled,
            (Op::List, _) => Count::ListSucceeded,
        }
    }
}

/// Returns whether both have the same buffer.
fn shares_body(a: &Entry, b: &Entry) -> bool {
    a.body().as_ptr() == b.body().as_ptr() && a.body().len() == b.body().len()
}
