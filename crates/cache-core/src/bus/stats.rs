//! Counters of a bus.

use std::time::Duration;

/// A snapshot of the counters of a cache's change bus. Running totals since the cache was built,
/// but for `is_listening`, `queued` and `listening_for`, which say how it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusStats {
    /// Changes that were announced.
    pub announced: u64,
    /// Changes whose announcement failed, or took too long. Other caches find the gap.
    pub announce_errors: u64,
    /// How often the queue of announcements was full, and one message for all objects took the
    /// place of all that were in it.
    pub overflows: u64,
    /// Announcements that wait to be sent, now.
    pub queued: u64,
    /// Heartbeats that were sent.
    pub heartbeats_sent: u64,
    /// Messages that were heard, of any kind.
    pub received: u64,
    /// Heartbeats that were heard, own ones too.
    pub heartbeats: u64,
    /// Own changes that were heard.
    pub own: u64,
    /// Changes that marked an entry, a prefix or all entries.
    pub marked: u64,
    /// Changes of objects that were not cached, or cached with the announced version.
    pub unmarked: u64,
    /// Messages of another namespace, which are dropped.
    pub other_namespace: u64,
    /// Messages that could not be read, or name no valid key, which are dropped.
    pub unreadable: u64,
    /// Changes under the number of this cache that it has not sent: another cache has the same
    /// number. They are applied.
    pub same_node: u64,
    /// Gaps in the numbers of other caches' messages.
    pub sequence_gaps: u64,
    /// Gaps that the bus reported because the listener was too slow.
    pub slow_listener_gaps: u64,
    /// Gaps because of messages in a newer format.
    pub format_gaps: u64,
    /// Connections that were lost or could not be made.
    pub disconnects: u64,
    /// How often the cache began to listen.
    pub listens: u64,
    /// The cache listens: entries that were validated since then are fresh under a rule
    /// `until_notified`.
    pub is_listening: bool,
    /// For how long it has listened without a gap; zero if it does not.
    pub listening_for: Duration,
    /// For how long it has not listened, in total, since it was built.
    pub disconnected_for: Duration,
}
