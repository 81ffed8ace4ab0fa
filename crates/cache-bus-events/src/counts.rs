//! Counters of events by outcome.

/// Counts of a parser since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventCounts {
    /// Documents that were read.
    pub messages: u64,
    /// Documents that could not be read.
    pub errors: u64,
    /// Events that became a change.
    pub changes: u64,
    /// Events that were delivered again, or after a newer event of their object.
    pub repeated: u64,
    /// Events of other buckets.
    pub other_buckets: u64,
    /// Events of objects that are not under the prefix.
    pub other_prefixes: u64,
    /// Events of objects whose name is no [`Key`](cache_core::Key), so that no cache has them.
    pub invalid_keys: u64,
    /// Events that change no object: tags, access lists, storage classes, restores, replication,
    /// and the test that S3 sends when notifications are set up.
    pub ignored: u64,
}
