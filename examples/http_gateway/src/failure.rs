//! What a client is told of an error.

use std::{error::Error as StdError, io, iter};

use axum::http::StatusCode;
use cache_facade::{Error, ErrorKind, object_store};

/// The status for an error of the store, or of the cache.
pub(crate) fn status(error: &object_store::Error) -> StatusCode {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => StatusCode::NOT_FOUND,
        E::PermissionDenied { .. } => StatusCode::FORBIDDEN,
        _ if is_no_file_name(error) => StatusCode::NOT_FOUND,
        _ => match kind(error) {
            Some(ErrorKind::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Some(ErrorKind::Closed) => StatusCode::SERVICE_UNAVAILABLE,
            Some(ErrorKind::Backend | ErrorKind::Config | ErrorKind::Panicked) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            // It failed, could not be reached, does not know our credentials, or said what cannot
            // be.
            _ => StatusCode::BAD_GATEWAY,
        },
    }
}

/// The error in words for whoever runs the gateway, with what it came from.
pub fn describe(error: &object_store::Error) -> String {
    let first: &(dyn StdError + 'static) = error;
    let causes: Vec<_> =
        iter::successors(Some(first), |error| (*error).source()).map(ToString::to_string).collect();
    let causes = causes.join(": ");
    match SHORT.iter().any(|short| causes.contains(short)) {
        true => format!(
            "the file or object became shorter while it was sent, so the client was cut off \
                ({causes})"
        ),
        false => causes,
    }
}

/// What the cache makes of the error. `None`, if it only passed on what the store said.
pub(crate) fn kind(error: &object_store::Error) -> Option<ErrorKind> {
    find::<Error>(error).map(Error::kind)
}

/// Whether the store may have refused the range that was asked for. No store has an error of its
/// own for that: the words of the innermost cause are all that tells. The outer ones name the
/// object, whose key may have any words in it.
pub(crate) fn may_be_about_range(error: &object_store::Error) -> bool {
    let first: &(dyn StdError + 'static) = error;
    let innermost = iter::successors(Some(first), |error| (*error).source()).last();
    let words = innermost.map(|cause| cause.to_string().to_lowercase()).unwrap_or_default();
    words.contains("range") || words.contains("status code: 416")
}

/// Whether a file system cannot have a file of this name, and so has none.
fn is_no_file_name(error: &object_store::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory};
    find::<io::Error>(error)
        .is_some_and(|error| matches!(error.kind(), InvalidFilename | IsADirectory | NotADirectory))
}

/// The error, or what it came from, that is an `E`.
fn find<E: StdError + 'static>(error: &object_store::Error) -> Option<&E> {
    let first: &(dyn StdError + 'static) = error;
    iter::successors(Some(first), |error| (*error).source()).find_map(|cause| cause.downcast_ref())
}

/// What a store, or the cache over it, calls a body that ends before the length that it had at
/// first.
const SHORT: [&str; 4] = [
    "Out of range of file",
    "is not as long as the origin said",
    "the body never ends",
    "failed to fill whole buffer",
];
