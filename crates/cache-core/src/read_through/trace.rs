//! What the feature `tracing` tells: a span for each request to the origin, and warnings. Without
//! the feature, nothing of this is there. A fresh hit never comes here.

#[cfg(not(feature = "tracing"))]
pub(super) use self::off::{Cause, Span, Warnings, in_caller_span};
#[cfg(feature = "tracing")]
pub(super) use self::on::{Cause, Span, Warnings, in_caller_span};

#[cfg(feature = "tracing")]
mod on {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use tracing::{Instrument as _, field, info_span, warn};

    use crate::{Error, ErrorKind, Moment, Rejection};

    /// The call that causes a request, by the span that it is made in. Noted where the call is, for
    /// the request may be sent by a task.
    #[derive(Debug)]
    pub(crate) enum Cause {
        /// It waits for this request.
        Caller(tracing::Span),
        /// It has its answer already, or waits with others: nobody's request is a part of it.
        Background(tracing::Span),
    }

    impl Cause {
        pub(crate) fn caller() -> Self {
            Self::Caller(tracing::Span::current())
        }

        pub(crate) fn background() -> Self {
            Self::Background(tracing::Span::current())
        }
    }

    /// `task`, inside the span of the call that spawns it.
    pub(crate) fn in_caller_span<F: Future>(task: F) -> impl Future<Output = F::Output> {
        task.in_current_span()
    }

    /// One request to the origin. A child of the span of its caller, or a root that follows from
    /// it.
    #[derive(Debug)]
    pub(crate) struct Span(tracing::Span);

    impl Span {
        pub(crate) fn of_request(cache: &str, op: &'static str, key: &str, cause: &Cause) -> Self {
            let parent = if let Cause::Caller(span) = cause { span.id() } else { None };
            let span = info_span!(
                target: TARGET,
                parent: parent,
                "object_cache.origin",
                otel.kind = "client",
                otel.name = format_args!("object_cache.origin {op}"),
                otel.status_code = field::Empty,
                cache.name = cache,
                key,
                op,
                outcome = field::Empty,
                error.r#type = field::Empty,
                bytes = field::Empty,
                waiters = field::Empty,
            );
            if let Cause::Background(read) = cause {
                span.follows_from(read);
            }
            Self(span)
        }

        pub(crate) fn around<F: Future>(&self, request: F) -> impl Future<Output = F::Output> {
            request.instrument(self.0.clone())
        }

        pub(crate) fn end(
            &self,
            outcome: &'static str,
            bytes: Option<u64>,
            error: Option<ErrorKind>,
            n_joined: impl FnOnce() -> usize,
        ) {
            if self.0.is_disabled() {
                return;
            }
            self.0.record("outcome", outcome);
            if let Some(bytes) = bytes {
                self.0.record("bytes", bytes);
            }
            self.0.record("waiters", n_joined());
            if let Some(kind) = error {
                self.0.record("error.type", field::debug(kind));
                self.0.record("otel.status_code", "ERROR");
            }
        }
    }

    /// Says that something is amiss, at most once in [`EVERY`] for each kind.
    #[derive(Debug, Default)]
    pub(crate) struct Warnings {
        /// Served stale while it is asked behind, which the rule wants.
        stale: Limit,
        /// Served stale because the origin does not answer.
        outage: Limit,
        refused: Limit,
        refresh: Limit,
    }

    impl Warnings {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        /// A copy was served past its `max_age`; `error` is why the origin did not answer, unless
        /// it is only now asked.
        pub(crate) fn stale(
            &self,
            cache: &str,
            key: &str,
            age: Duration,
            error: Option<&Error>,
            now: Moment,
        ) {
            let limit = if error.is_some() { &self.outage } else { &self.stale };
            let Some(left_out) = limit.take(now) else { return };
            let error = error.map(field::display);
            let age_seconds = age.as_secs_f64();
            warn!(target: TARGET, { cache.name = cache, key, age_seconds, left_out, error }, "served stale");
        }

        /// A list that keeps entries fresh failed, after one that did not.
        pub(crate) fn refresh_failed(&self, cache: &str, prefix: &str, error: &Error, now: Moment) {
            let Some(left_out) = self.refresh.take(now) else { return };
            let error = field::display(error);
            warn!(target: TARGET, { cache.name = cache, prefix, error, left_out }, "a refresh failed");
        }

        /// A body was not kept.
        pub(crate) fn refused(
            &self,
            cache: &str,
            key: &str,
            bytes: usize,
            why: Option<Rejection>,
            now: Moment,
        ) {
            let Some(left_out) = self.refused.take(now) else { return };
            let why = why.map(field::debug);
            warn!(target: TARGET, { cache.name = cache, key, bytes, why, left_out }, "not kept");
        }
    }

    /// Lets one through in [`EVERY`], and counts the others.
    #[derive(Debug, Default)]
    struct Limit {
        /// Zero before the first.
        next_at: AtomicU64,
        left_out: AtomicU64,
    }

    impl Limit {
        /// How many were left out since the last that was let through; `None` for one to be left
        /// out.
        fn take(&self, now: Moment) -> Option<u64> {
            let next_at = self.next_at.load(Ordering::Relaxed);
            let then = now.saturating_add(EVERY).as_nanos();
            let is_due = now.as_nanos() >= next_at
                && self
                    .next_at
                    .compare_exchange(next_at, then, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if is_due {
                return Some(self.left_out.swap(0, Ordering::Relaxed));
            }
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    const TARGET: &str = "object_cache";
    const EVERY: Duration = Duration::from_secs(10);
}

#[cfg(not(feature = "tracing"))]
mod off {
    use std::time::Duration;

    use crate::{Error, ErrorKind, Moment, Rejection};

    #[derive(Debug)]
    pub(crate) struct Cause;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl Cause {
        pub(crate) fn caller() -> Self {
            Self
        }

        pub(crate) fn background() -> Self {
            Self
        }
    }

    pub(crate) fn in_caller_span<F: Future>(task: F) -> F {
        task
    }

    #[derive(Debug)]
    pub(crate) struct Span;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl Span {
        pub(crate) fn of_request(_: &str, _: &'static str, _: &str, _: &Cause) -> Self {
            Self
        }

        pub(crate) fn around<F: Future>(&self, request: F) -> F {
            request
        }

        pub(crate) fn end(
            &self,
            _: &'static str,
            _: Option<u64>,
            _: Option<ErrorKind>,
            _: impl FnOnce() -> usize,
        ) {
        }
    }

    #[derive(Debug)]
    pub(crate) struct Warnings;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl Warnings {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn stale(&self, _: &str, _: &str, _: Duration, _: Option<&Error>, _: Moment) {}

        pub(crate) fn refresh_failed(&self, _: &str, _: &str, _: &Error, _: Moment) {}

        pub(crate) fn refused(&self, _: &str, _: &str, _: usize, _: Option<Rejection>, _: Moment) {}
    }
}
