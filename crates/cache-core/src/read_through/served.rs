//! The result of a read.

use std::time::Duration;

use crate::{Entry, Moment};

/// The result of a read.
#[derive(Debug, Clone)]
pub struct Served {
    /// The entry.
    pub entry: Entry,
    /// How the read was answered.
    pub status: Status,
    pub(super) age_nanos: u64,
}

/// How a read was answered: by `ReadThrough`, `ObjectCache` and `CachedStore`.
// As wide as what it lies beside, so that a result has no padding, which would be copied piece by
// piece.
/// How a read was answered, by `ReadThrough`, `ObjectCache` and `CachedStore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Status {
    /// From a fresh entry, without a request.
    Fresh,
    /// From an entry that the origin validated for this read.
    Revalidated,
    /// From the origin; nothing was cached.
    Fetched,
    /// From the origin, in place of a cached entry that could not be validated.
    Refetched,
    /// From an entry past its `max_age`: it is revalidated in the background, or the origin failed
    /// to answer.
    Stale,
    /// From the store, past the cache. Only `CachedStore` reads so.
    Bypass,
}

impl Served {
    pub(super) fn new(
        entry: Entry,
        status: Status,
        validated_at: Option<Moment>,
        now: Moment,
    ) -> Self {
        let age_nanos = validated_at.map_or(0, |at| now.as_nanos().saturating_sub(at.as_nanos()));
        Self { entry, status, age_nanos }
    }

    /// Returns how long before the end of this read the request was sent that validated the entry.
    pub const fn age(&self) -> Duration {
        Duration::from_nanos(self.age_nanos)
    }
}

impl Status {
    /// Returns whether the bytes came from a cached entry.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::Revalidated | Self::Stale)
    }
}
