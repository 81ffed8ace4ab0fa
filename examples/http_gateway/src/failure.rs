//! What a client is told of an error.

use std::{error::Error as StdError, iter};

use axum::http::StatusCode;
use cache_facade::{Error, ErrorKind, object_store};

/// The status for an error of the store, or of the cache.
pub(crate) fn status(error: &object_store::Error) -> StatusCode {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => StatusCode::NOT_FOUND,
        E::PermissionDenied { .. } => StatusCode::FORBIDDEN,
        _ => match kind(error) {
            Some(ErrorKind::InvalidKey) => StatusCode::NOT_FOUND,
            Some(ErrorKind::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Some(ErrorKind::Closed) => StatusCode::SERVICE_UNAVAILABLE,
            Some(ErrorKind::Backend | ErrorKind::Config | ErrorKind::Panicked) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            // It failed, could not be reached, does not know our credentials, or said what cannot be.
            _ => StatusCode::BAD_GATEWAY,
        },
    }
}

/// What the cache makes of the error. `None`, if it only passed on what the store said.
pub(crate) fn kind(error: &object_store::Error) -> Option<ErrorKind> {
    let first: &(dyn StdError + 'static) = error;
    let mut causes = iter::successors(Some(first), |error| (*error).source());
    causes.find_map(|cause| cause.downcast_ref::<Error>()).map(Error::kind)
}
