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
    /// The tier of the backend that the bytes came from; `None` if they came from the origin.
    pub tier: Option<Tier>,
    pub(super) age_nanos: u64,
}

/// How a read was answered, by `ReadThrough`, `ObjectCache` and `CachedStore`.
// As wide as the tier beside it, and with it as the age, so that a result has no padding, which
// would be copied piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Status {
    /// From a fresh entry, without a request.
    Fresh,
    /// From an entry that the origin validated for this read.
    Revalidated,
    /// From an entry that a list of the origin validated for this read, without a request of its
    /// own.
    RevalidatedByList,
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

/// The tier of a backend that cached bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Tier {
    /// Memory: [`Backend::get_now`](crate::Backend::get_now) returned the entry.
    Memory,
    /// A lower tier, such as a disk: [`Backend::get`](crate::Backend::get) returned it.
    Disk,
}

impl Served {
    pub(super) fn new(
        entry: Entry,
        status: Status,
        tier: Option<Tier>,
        validated_at: Option<Moment>,
        now: Moment,
    ) -> Self {
        let age_nanos = validated_at.map_or(0, |at| now.as_nanos().saturating_sub(at.as_nanos()));
        Self { entry, status, tier, age_nanos }
    }

    /// Returns how long before the end of this read the request was sent that validated the entry.
    pub const fn age(&self) -> Duration {
        Duration::from_nanos(self.age_nanos)
    }
}

impl Tier {
    /// Returns the name in metrics and traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

impl Status {
    /// Returns whether the bytes came from a cached entry.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::Revalidated | Self::RevalidatedByList | Self::Stale)
    }
}
