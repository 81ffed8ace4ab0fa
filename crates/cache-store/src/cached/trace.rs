//! A span for each request for blocks, where the feature `tracing` is on. Those for heads are `cache_core`'s.

#[cfg(not(feature = "tracing"))]
pub(super) use self::off::Span;
#[cfg(feature = "tracing")]
pub(super) use self::on::Span;

#[cfg(feature = "tracing")]
mod on {
    use std::ops::Range;

    use object_store::path::Path;
    use tracing::{Instrument as _, field, info_span};

    /// A child of the span of the reader that polls the request first.
    pub(crate) struct Span(tracing::Span);

    impl Span {
        pub(crate) fn of_request(cache: &str, location: &Path, range: &Range<u64>) -> Self {
            Self(info_span!(
                target: "object_cache",
                "object_cache.origin",
                otel.kind = "client",
                otel.name = "object_cache.origin blocks",
                otel.status_code = field::Empty,
                cache.name = cache,
                key = location.as_ref(),
                op = "blocks",
                outcome = field::Empty,
                bytes = range.end - range.start,
            ))
        }

        pub(crate) fn around<F: Future>(&self, request: F) -> impl Future<Output = F::Output> {
            request.instrument(self.0.clone())
        }

        pub(crate) fn end(&self, outcome: &'static str) {
            self.0.record("outcome", outcome);
            if matches!(outcome, "refused" | "failed") {
                self.0.record("otel.status_code", "ERROR");
            }
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use std::ops::Range;

    use object_store::path::Path;

    pub(crate) struct Span;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl Span {
        pub(crate) fn of_request(_: &str, _: &Path, _: &Range<u64>) -> Self {
            Self
        }

        pub(crate) fn around<F: Future>(&self, request: F) -> F {
            request
        }

        pub(crate) fn end(&self, _: &'static str) {}
    }
}
