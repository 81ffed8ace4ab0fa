//! Counters of messages by fate.

/// Counts of a [`LocalBus`](super::LocalBus) since it was made.
///
/// Each message that is sent has one fate for each listener that there is: it is `delivered`, one
/// of the losses, or not yet read. A repeated message counts as another copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusCounts {
    /// Calls of `announce`.
    pub announced: u64,
    /// Calls that returned an error.
    pub failed: u64,
    /// Calls that waited until they were released.
    pub hung: u64,
    /// Announcements that were sent, those included whose call returned an error after that.
    pub sent: u64,
    /// Injected messages.
    pub injected: u64,

    /// Messages that a listener has read.
    pub delivered: u64,
    /// Messages dropped for one listener without a report: by a fault, a split or a blackhole.
    pub dropped: u64,
    /// Messages dropped for one listener with a gap.
    pub gaps: u64,
    /// Messages that a listener missed because it was disconnected.
    pub disconnected: u64,
    /// Messages that found the queue of a listener full.
    pub overflowed: u64,
    /// Messages that were in the queue of a listener when its stream was dropped.
    pub unread: u64,

    /// Copies of messages for one listener beyond the first.
    pub repeated: u64,
    /// Messages that waited for a release, for one listener.
    pub delayed: u64,
    /// Messages that were delivered after a later one, for one listener.
    pub reordered: u64,
    /// Messages whose bytes were edited, for one listener.
    pub edited: u64,

    /// How often a subscription was confirmed.
    pub connects: u64,
    /// How often a subscription was disconnected, or could not be made.
    pub cuts: u64,
    /// How many streams there are that were polled and not dropped.
    pub listeners: u64,
    /// How many of them are connected.
    pub connected: u64,
}
