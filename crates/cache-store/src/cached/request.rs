//! One request to the wrapped store: counted and timed, and a span where the feature `tracing` is on. What asks for a head
//! is not among these: `cache_core` counts it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use cache_core::{
    AtomicErrorCounts, AtomicHistogram, Clock, ErrorCounts, ErrorKind, Histogram, Moment, Outcomes, Stats,
};
use object_store::{Error, Result, path::Path};

use super::{blocks::Blocks, fills::Fills, trace::Span};
use crate::error::{is_outage, kind_of};

/// What the store is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Bytes of a version that is known.
    Blocks,
    Put,
    /// One object.
    Delete,
    /// Copies, renames, uploads in parts, lists, and what was handed on as it was.
    Other,
}

/// A request, from its sending on. Dropped before it was answered, it was abandoned.
pub(super) struct Request {
    blocks: Arc<Blocks>,
    clock: Arc<dyn Clock>,
    op: Op,
    sent_at: Moment,
    span: Span,
    has_ended: bool,
}

/// What came of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Done,
    /// It was answered with an error.
    Refused(ErrorKind),
    /// The store failed to answer.
    Failed(ErrorKind),
    Abandoned,
}

impl Request {
    pub(super) fn send(fills: &Fills, op: Op, location: &Path) -> Self {
        let (blocks, clock) = (Arc::clone(&fills.blocks), Arc::clone(&fills.clock));
        blocks.counters.requests.of(op).sent();
        let (span, sent_at) = (Span::of_request(&fills.cache, op.name(), location), clock.now());
        Self { blocks, clock, op, sent_at, span, has_ended: false }
    }

    /// The store's answer; of a body nothing need be there yet.
    pub(super) async fn answer<T>(self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.span.around(request).await;
        self.end(answer.as_ref().err());
        answer
    }

    /// It was answered, with an error if there is one.
    pub(super) fn end(mut self, error: Option<&Error>) {
        self.has_ended = true;
        let took = self.clock.now().saturating_since(self.sent_at);
        self.blocks.counters.requests.of(self.op).times.add(took, &Stats::ORIGIN_BOUNDS);
        self.record(error.map_or(Outcome::Done, Outcome::of), error);
    }

    /// The same for one of many that were answered together: when is not known.
    pub(super) fn end_as(mut self, outcome: Outcome) {
        self.has_ended = true;
        self.record(outcome, None);
    }

    fn record(&self, outcome: Outcome, error: Option<&Error>) {
        self.blocks.counters.requests.ended(self.op, outcome);
        self.span.end(outcome.name(), error);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.has_ended {
            // By the store, while it was asked.
            let has_panicked = thread::panicking();
            let failed = Outcome::Failed(ErrorKind::Panicked);
            self.record(if has_panicked { failed } else { Outcome::Abandoned }, None);
        }
    }
}

impl Op {
    const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }
}

impl Outcome {
    pub(super) fn of(error: &Error) -> Self {
        let kind = kind_of(error);
        if is_outage(error) { Self::Failed(kind) } else { Self::Refused(kind) }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The counters of all requests.
#[derive(Default)]
pub(super) struct Requests {
    of_ops: [OfOp; 4],
    errors: AtomicErrorCounts,
}

/// Those of one kind.
#[derive(Default)]
pub(super) struct OfOp {
    sent: AtomicU64,
    ended: [AtomicU64; 4],
    times: AtomicHistogram,
}

impl Requests {
    pub(super) fn of(&self, op: Op) -> &OfOp {
        &self.of_ops[op as usize]
    }

    /// The errors of all of them.
    pub(super) fn errors(&self) -> ErrorCounts {
        self.errors.snapshot()
    }

    fn ended(&self, op: Op, outcome: Outcome) {
        self.of(op).ended(outcome);
        if let Outcome::Refused(kind) | Outcome::Failed(kind) = outcome {
            self.errors.add(kind);
        }
    }

    /// How many have not ended.
    pub(super) fn in_flight(&self) -> u64 {
        let ended: u64 = self.of_ops.iter().map(|of_op| of_op.outcomes().requests()).sum();
        // After those that have ended: they were sent before.
        let sent: u64 = self.of_ops.iter().map(|of_op| of_op.sent.load(Ordering::Relaxed)).sum();
        sent.saturating_sub(ended)
    }
}

impl OfOp {
    fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, outcome: Outcome) {
        let place = match outcome {
            Outcome::Done => 0,
            Outcome::Refused(_) => 1,
            Outcome::Failed(_) => 2,
            Outcome::Abandoned => 3,
        };
        self.ended[place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn outcomes(&self) -> Outcomes {
        let [done, refused, failed, abandoned] = self.ended.each_ref().map(|n| n.load(Ordering::Relaxed));
        let mut outcomes = Outcomes::default();
        (outcomes.done, outcomes.refused) = (done, refused);
        (outcomes.failed, outcomes.abandoned) = (failed, abandoned);
        outcomes
    }

    pub(super) fn times(&self) -> Histogram {
        self.times.snapshot()
    }
}
