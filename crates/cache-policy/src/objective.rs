//! The objective that size-aware policies optimize.

/// The ratio that a policy optimizes where objects differ in size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Objective {
    /// The share of reads that need no request to the store. Of two objects that are read equally
    /// often, the smaller one stays. The default: stores bill requests, and a reader waits for
    /// each of them.
    #[default]
    HitRatio,
    /// The share of bytes that are not fetched from the store. Size is no reason to evict an
    /// object.
    ByteHitRatio,
}
