//! The result of a read.

use std::time::Duration;

use crate::{Entry, Moment};

/// What a read got.
#[derive(Debug, Clone)]
pub struct Served {
    /// The copy.
    pub entry: Entry,
    /// Where it came from.
    pub status: Status,
    pub(super) age_nanos: u64,
}

/// How a read was answered: by `ReadThrough`, `ObjectCache` and `CachedStore`.
// As wide as what it lies beside, so that a result has no padding, which would be copied piece by
// piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Status {
    /// From a fresh entry, without asking.
    Fresh,
    /// From an entry that the origin confirmed for this read.
    Revalidated,
    /// Fetched; nothing was held.
    Fetched,
    /// Fetched in the place of a held copy that the origin did not confirm.
    Refetched,
    /// From an entry past its `max_age`: it is revalidated in the background, or the store failed
    /// to answer.
    Stale,
    /// By the store, as if there were no cache. Only reads of a `CachedStore` are.
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

    /// How long before this read ended the request was sent that validated the copy.
    pub const fn age(&self) -> Duration {
        Duration::from_nanos(self.age_nanos)
    }
}

impl Status {
    /// Whether the bytes came from a cached copy.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::Revalidated | Self::Stale)
    }
}
