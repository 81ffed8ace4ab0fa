//! Faults that are drawn from a seed.

use bytes::Bytes;

use crate::random::Random;

/// How often each fault happens on a [`LocalBus::seeded`](super::LocalBus::seeded) bus: the times
/// in 256. Zero is never; 255 is almost always.
///
/// Later releases may add fields: end a literal with `..FaultRates::NONE`.
///
/// ```
/// use cache_testkit::{FaultRates, LocalBus};
///
/// let rates = FaultRates { drop: 40, reorder: 20, ..FaultRates::NONE };
/// let bus = LocalBus::seeded(7, rates);
/// # let _ = bus;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// For each message and listener: it is dropped, and nothing is reported.
    pub drop: u8,
    /// For each message and listener: it is dropped, and a gap is reported.
    pub drop_reported: u8,
    /// For each message and listener: it is delivered twice.
    pub repeat: u8,
    /// For each message and listener: it waits for a release.
    pub delay: u8,
    /// For each message and listener: it is delivered after the next one.
    pub reorder: u8,
    /// For each message and listener: other bytes are delivered in its place. They are random, cut
    /// short, of a newer format, or of another namespace.
    pub garbage: u8,

    /// For each announcement: it fails, and was not sent.
    pub fail: u8,
    /// For each announcement: it is sent, and fails.
    pub fail_late: u8,
    /// For each announcement: it waits for a release before it is sent.
    pub hang: u8,

    /// After each message: one that was sent earlier is delivered again to all listeners.
    pub replay: u8,
    /// After each message: one of the nodes that listen is disconnected.
    pub cut: u8,
    /// After each message: the nodes that listen are split into two groups.
    pub split: u8,
    /// After each message: one of the nodes that listen hears nothing more and is not told.
    pub blackhole: u8,
    /// After each message: the streams of one node end.
    pub end: u8,
    /// After each message: cuts, splits and blackholes end.
    pub heal: u8,
    /// After each message: delayed messages are delivered, and announcements that hang go on.
    pub release: u8,
}

impl FaultRates {
    /// No faults.
    pub const NONE: Self = Self::all(0);

    /// The same rate for every fault, and for their end.
    pub const fn all(rate: u8) -> Self {
        Self {
            drop: rate,
            drop_reported: rate,
            repeat: rate,
            delay: rate,
            reorder: rate,
            garbage: rate,
            fail: rate,
            fail_late: rate,
            hang: rate,
            replay: rate,
            cut: rate,
            split: rate,
            blackhole: rate,
            end: rate,
            heal: rate,
            release: rate,
        }
    }
}

/// Bytes that are no message of this release and namespace, made from those of `message`.
pub(super) fn garbage(message: &Bytes, random: &Random) -> Bytes {
    let mut bytes = message.to_vec();
    match random.below(4) {
        0 => bytes.iter_mut().for_each(|byte| *byte = random.draw().to_le_bytes()[0]),
        1 => bytes.truncate(random.index(bytes.len().max(1))),
        2 => {
            if let Some(version) = bytes.get_mut(VERSION_AT) {
                *version = version.saturating_add(1);
            }
        }
        _ => {
            // Another namespace, and the same one in every run.
            if let Some(namespace) = bytes.get_mut(NAMESPACE_AT) {
                *namespace = !*namespace;
            }
        }
    }
    bytes.into()
}

/// Where `Announcement::to_bytes` writes them.
const VERSION_AT: usize = 4;
const NAMESPACE_AT: usize = 5;
