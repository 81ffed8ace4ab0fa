//! A span for each request but those for heads, where the feature `tracing` is on. Those are
//! `cache_core`'s; how many bytes came with the head is said here.

#[cfg(not(feature = "tracing"))]
pub(super) use self::off::Span;
#[cfg(feature = "tracing")]
pub(super) use self::on::Span;

#[cfg(feature = "tracing")]
mod on {
    use cache_core::ErrorKind;
    use object_store::{Error, path::Path};
    use tracing::{Instrument as _, field, info_span};

    use crate::error::kind_of;

    /// A child of the span of the reader that polls the request first.
    #[derive(Clone)]
    pub(crate) struct Span(tracing::Span);

    impl Span {
        pub(crate) fn of_request(cache: &str, op: &'static str, location: &Path) -> Self {
            Self(info_span!(
                target: "object_cache",
                "object_cache.origin",
                otel.kind = "client",
                otel.name = format_args!("object_cache.origin {op}"),
                otel.status_code = field::Empty,
                cache.name = cache,
                key = location.as_ref(),
                op,
                outcome = field::Empty,
                error.r#type = field::Empty,
                bytes = field::Empty,
            ))
        }

        /// That of `cache_core`, where it asks for a head.
        pub(crate) fn current() -> Self {
            Self(tracing::Span::current())
        }

        pub(crate) fn around<F: Future>(&self, request: F) -> impl Future<Output = F::Output> {
            request.instrument(self.0.clone())
        }

        /// So many bytes of the body came.
        pub(crate) fn bytes(&self, bytes: u64) {
            self.0.record("bytes", bytes);
        }

        /// The body broke off after so many bytes.
        pub(crate) fn broken(&self, bytes: u64) {
            self.bytes(bytes);
            self.0.record("error.type", field::debug(ErrorKind::Unavailable));
            self.0.record("otel.status_code", "ERROR");
        }

        pub(crate) fn end(&self, outcome: &'static str, bytes: u64, error: Option<&Error>) {
            self.0.record("outcome", outcome);
            self.bytes(bytes);
            // That the object was replaced meanwhile, or is there already, is an answer like
            // another.
            let is_condition = |error: &&Error| {
                matches!(
                    error,
                    Error::Precondition { .. }
                        | Error::AlreadyExists { .. }
                        | Error::NotModified { .. }
                )
            };
            if let Some(error) = error.filter(|error| !is_condition(error)) {
                self.0.record("error.type", field::debug(kind_of(error)));
                self.0.record("otel.status_code", "ERROR");
            }
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use object_store::{Error, path::Path};

    #[derive(Clone)]
    pub(crate) struct Span;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl Span {
        pub(crate) fn of_request(_: &str, _: &'static str, _: &Path) -> Self {
            Self
        }

        pub(crate) fn around<F: Future>(&self, request: F) -> F {
            request
        }

        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn bytes(&self, _: u64) {}

        pub(crate) fn broken(&self, _: u64) {}

        pub(crate) fn end(&self, _: &'static str, _: u64, _: Option<&Error>) {}
    }
}
