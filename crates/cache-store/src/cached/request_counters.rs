//! The counters of requests to the store, by operation and outcome.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cache_core::{
    AtomicErrorCounts, AtomicHistogram, ErrorCounts, ErrorKind, Histogram, OriginStats, Outcomes,
    Stats,
};
use object_store::Error;

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

impl Op {
    pub(super) const fn name(self) -> &'static str {
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

    pub(super) const fn name(self) -> &'static str {
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
    /// Counts a request that is sent now.
    pub(super) fn sent(&self, op: Op) {
        self.of(op).sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a response; `took` is the time since the request was sent, where it is known.
    pub(super) fn answered(&self, op: Op, took: Option<Duration>) {
        if let Some(took) = took {
            self.of(op).times.add(took, &Stats::ORIGIN_BOUNDS);
        }
        self.of(op).answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, op: Op) -> &OfOp {
        &self.of_ops[op as usize]
    }

    /// The errors of all of them, but for those for heads.
    pub(super) fn errors(&self) -> ErrorCounts {
        self.errors[1].snapshot()
    }

    pub(super) fn ended(&self, op: Op, outcome: Outcome) {
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
