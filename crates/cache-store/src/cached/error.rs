//! The errors of this store, as object_store's.

use std::{fmt, time::Duration};

use cache_core::{Error, ErrorKind, Key, TierDrops, TierStats};
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

/// The error for an object of which the backend has not kept these bytes of blocks.
pub(super) fn not_kept(bytes: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "{bytes} bytes were read and not cached: the backend rejected them, did not take them \
             within origin_timeout, or there was no room in max_in_flight_bytes; raise \
             max_capacity, or warm fewer objects at a time"
        ),
    )
}

/// The error for entries under pinned prefixes that a lower tier has lost between the two
/// snapshots; `None` if there are none. No entry has more than `block_size` bytes.
pub(super) fn pins_lost(before: &TierStats, now: &TierStats, block_size: u64) -> Option<Error> {
    let lost = |of: fn(&TierDrops) -> u64| of(&now.pins_lost).saturating_sub(of(&before.pins_lost));
    let causes = [
        (lost(|lost| lost.pin_limit), "pinned entries take half of max_capacity at most: raise it"),
        (lost(|lost| lost.recycled), "pinned entries take half of max_capacity at most: raise it"),
        (lost(|lost| lost.queue_full), "the disk is slower than the reads: raise queue_bytes"),
        (lost(|lost| lost.too_large), "larger than a segment: raise segment_bytes"),
        (lost(|lost| lost.not_admitted), "a rule of the tier keeps them out"),
        (lost(|lost| lost.unavailable), "the tier does not work at present"),
        (lost(|lost| lost.write_error), "the disk failed"),
        (lost(|lost| lost.corrupt), "the disk failed"),
    ];
    let n_lost = lost(TierDrops::total);
    if n_lost == 0 {
        return None;
    }
    let causes = causes.iter().filter(|(n, _)| *n > 0);
    let causes: Vec<_> = causes.map(|(n, cause)| format!("{n}: {cause}")).collect();
    let message = format!(
        "{n_lost} entries under pinned prefixes were not kept, of up to {} bytes ({}); {} bytes \
         are pinned, of a capacity of {}",
        n_lost.saturating_mul(block_size),
        causes.join("; "),
        now.pinned_bytes,
        now.capacity_bytes,
    );
    Some(Error::new(ErrorKind::Config, message))
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
