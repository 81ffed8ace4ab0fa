//! The errors of this store, as object_store's.

use std::{fmt, time::Duration};

use cache_core::{Error, ErrorKind, Key};
use object_store::path::Path;

/// `error` as the kind of error that the store would have answered with. The store's own may be
/// shared by several readers, and is the source of the source.
pub(super) fn store_error(location: &Path, error: Error) -> object_store::Error {
    use object_store::Error as E;
    let (path, kind) = (location.to_string(), error.kind());
    let is_not_modified =
        OwnError::of(&error).is_some_and(|own| matches!(own.0, E::NotModified { .. }));
    // A `Generic` error has no path of its own.
    let source = Box::new(match Key::parse(&path) {
        Ok(key) => error.with_key(&key),
        Err(_) => error,
    });
    match kind {
        _ if is_not_modified => E::NotModified { path, source },
        ErrorKind::NotFound => E::NotFound { path, source },
        ErrorKind::PreconditionFailed => E::Precondition { path, source },
        ErrorKind::PermissionDenied => E::PermissionDenied { path, source },
        ErrorKind::Unauthenticated => E::Unauthenticated { path, source },
        ErrorKind::Unsupported => E::NotSupported { source },
        _ => E::Generic { store: STORE, source },
    }
}

/// The error for an object that was replaced while it was read.
pub(super) fn replaced() -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        "the object was replaced while it was read: read it again",
    )
}

/// The error for an answer, or a part of it, that did not come in time.
pub(super) fn late(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("the origin did not answer within {limit:?} (origin_timeout)"),
    )
}

/// The error of a request whose form was one reader's: its range, its conditions. Others that
/// shared the request make their own.
#[derive(Debug)]
pub(super) struct OwnError(pub(super) object_store::Error);

impl OwnError {
    /// The one that is the cause of `error`.
    pub(super) fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store answered so to the range, or the conditions, of one reader")
    }
}

impl std::error::Error for OwnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What errors call this store.
pub(super) const STORE: &str = "CachedStore";
