//! The number that orders requests and invalidations.

/// The number that `clear` and `invalidate_prefix` raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u64);

impl Epoch {
    /// The epoch of an entry that no cache of this process has published.
    pub(crate) const NONE: Self = Self(0);
}
