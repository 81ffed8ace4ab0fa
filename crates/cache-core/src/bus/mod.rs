//! The contract with a change bus: hints between the caches of one store that an object has
//! changed.
//!
//! A hint can only cost requests: a message marks entries, it never renews one. Correctness does
//! not depend on it. A lost, repeated, late or reordered message leaves an entry no older than the
//! fallback of [`Freshness::until_notified`](crate::Freshness::until_notified) allows.

mod codec;
mod listener;
mod listening;
mod queue;
mod stats;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub(crate) use self::{
    listener::{Heard, Listener, Noticed},
    listening::Listening,
};
pub use self::{
    queue::{EventReceiver, EventSender, event_queue},
    stats::BusStats,
};
use crate::{Key, Namespace, Result};

/// Carries announcements of changes between caches.
///
/// # Contract
///
/// *The caller* listens with one stream at a time for each cache, and polls it whenever it can. It
/// drops and opens streams at any time.
///
/// *The implementor* MUST
///
/// * deliver what one `announce` after another of one process was given in that order, or report a
///   [`BusEvent::Gap`];
/// * yield [`BusEvent::Connected`] only after the server has confirmed the subscription: a message
///   that is announced later is delivered, or a gap is reported;
/// * deliver a cache its own announcements too: it proves by them that it is connected;
/// * yield [`BusEvent::Gap`] when the connection is lost, and whenever messages may have been
///   dropped, by the server or by the client;
/// * connect again by itself, with back-off, and yield `Connected` again;
/// * not keep messages without bound for a stream that is not polled: it drops them and reports a
///   gap ([`event_queue`] does).
///
/// It need not deliver a message, deliver it once, or deliver it in time: that costs staleness up
/// to the fallback, or requests, never more. It need not tell a server that accepts and never
/// delivers: caches find out by their heartbeats.
#[async_trait]
pub trait ChangeBus: Send + Sync + 'static {
    /// Sends `message` to all caches that listen. `Ok` says that the server has taken it, if it
    /// tells.
    ///
    /// # Errors
    ///
    /// If the message was not sent, or may not have been. The caller does not repeat it: listeners
    /// find the gap in the numbers of the messages.
    ///
    /// A dropped future may have sent the message.
    async fn announce(&self, message: &Announcement) -> Result<()>;

    /// Listens. The stream does not end; a stream that ends is taken for a lost connection, and
    /// opened again. Connects when it is first polled.
    fn listen(&self) -> BoxStream<'static, BusEvent>;
}

/// An event that a [`ChangeBus`] reports to a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// The server has confirmed the subscription. Each later message is delivered, or a
    /// gap is reported.
    Connected,
    /// A message.
    Message(Announcement),
    /// Messages may have been lost since `Connected`. Nothing is trusted until the cache hears its
    /// own next heartbeat.
    Gap(GapReason),
    /// A message that could not be read, and is dropped. If it was an announcement, the next one
    /// of its sender shows the gap.
    Unreadable,
}

/// Why messages may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The connection was lost, or could not be made.
    Disconnected,
    /// The listener was too slow, and the server or the client dropped messages.
    SlowListener,
    /// A message has a newer format, so that its change is unknown.
    NewerFormat,
}

/// A message on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The store whose objects it is about. Caches ignore messages of another namespace.
    pub namespace: Namespace,
    /// The sender: a number that is drawn at random when a cache is built.
    pub node: u64,
    /// The number of the change among those of its sender, from 1. A heartbeat has none of its
    /// own: zero.
    pub seq: u64,
    /// The change.
    pub change: Change,
}

/// The change that a message announces.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// An object was written, deleted, or may have been.
    Key {
        /// The object's path.
        key: Key,
        /// The ETag of the new version; `None` if it was deleted, or if that is unknown.
        e_tag: Option<Box<str>>,
    },
    /// Objects whose paths begin with this prefix, byte for byte, may have changed.
    Prefix(Box<str>),
    /// Any object may have changed.
    All,
    /// The sender is there.
    Heartbeat {
        /// The number of this heartbeat. Its sender knows when it sent it.
        beat: u64,
        /// The `seq` of the sender's last change; zero if there was none.
        last_seq: u64,
    },
}

impl Announcement {
    /// Returns the channel, subject or topic that messages of `namespace` are sent on. It has
    /// letters, digits, `-` and `.` alone.
    pub fn channel(namespace: Namespace) -> String {
        format!("object-cache.{:016x}", namespace.bits())
    }
}

impl BusEvent {
    /// Returns the event for the bytes of a message, as [`Announcement::to_bytes`] wrote them: a
    /// gap if they have a newer format, [`Unreadable`](Self::Unreadable) if they are no message.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match Announcement::from_bytes(bytes) {
            Ok(message) => Self::Message(message),
            Err(error) if error.kind() == crate::ErrorKind::Unsupported => {
                Self::Gap(GapReason::NewerFormat)
            }
            Err(_) => Self::Unreadable,
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::SlowListener => "slow listener",
            Self::NewerFormat => "newer format",
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ChangeBus + ?Sized> ChangeBus for Arc<T> {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        (**self).announce(message).await
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        (**self).listen()
    }
}

const _: fn(&dyn ChangeBus) = |_| ();
