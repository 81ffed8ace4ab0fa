//! Reads.

use cache_core::{Error, ErrorKind};
use object_store::{GetOptions, GetResult, Result, path::Path};

use super::{Shared, head};

pub(super) async fn get(shared: &Shared, location: &Path, options: GetOptions) -> Result<GetResult> {
    let head = shared.heads.get(&head::key_of(location), None).await;
    match head {
        Err(error) if error.kind() != ErrorKind::InvalidKey => Err(store_error(location, error)),
        _ => shared.store.get_opts(location, options).await,
    }
}

/// `error` as the kind of error that the store would have answered with. The store's own may be shared by several
/// readers, and is the source of the source.
pub(super) fn store_error(location: &Path, error: Error) -> object_store::Error {
    use object_store::Error as E;
    let (path, kind) = (location.to_string(), error.kind());
    let source = Box::new(error);
    match kind {
        ErrorKind::NotFound => E::NotFound { path, source },
        ErrorKind::PreconditionFailed => E::Precondition { path, source },
        ErrorKind::PermissionDenied => E::PermissionDenied { path, source },
        ErrorKind::Unauthenticated => E::Unauthenticated { path, source },
        ErrorKind::Unsupported => E::NotSupported { source },
        _ => E::Generic { store: "CachedStore", source },
    }
}
