//! One connection, used until it is lost for the first time.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use async_nats::{Client, Event, ServerError};
use tokio::sync::Notify;

pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) signals: std::sync::Arc<Signals>,
}

impl Connection {
    /// Returns whether the connection was lost, even if the client has another one by now.
    pub(crate) fn is_lost(&self) -> bool {
        // The client drops events when it has many. It counts each connection before it reads a
        // message from it.
        self.signals.is_lost.load(Ordering::Acquire)
            || self.client.statistics().connects.load(Ordering::Acquire) > 1
    }
}

/// The events of a client that matter to a bus.
#[derive(Default)]
pub(crate) struct Signals {
    is_lost: AtomicBool,
    has_dropped: AtomicBool,
    /// The server's text, if it has refused a command.
    refusal: Mutex<Option<String>>,
    changed: Notify,
}

impl Signals {
    pub(crate) fn note(&self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.is_lost.store(true, Ordering::Release),
            Event::SlowConsumer(_) => self.has_dropped.store(true, Ordering::Release),
            // Permissions. The subscription or the message is then not there.
            Event::ServerError(ServerError::Other(text)) => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            }
            _ => return,
        }
        // Kept for the next waiter if there is none.
        self.changed.notify_one();
    }

    /// Waits for the next event. One waiter at a time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns whether the client has dropped messages since the last call.
    pub(crate) fn take_dropped(&self) -> bool {
        self.has_dropped.load(Ordering::Acquire) && self.has_dropped.swap(false, Ordering::AcqRel)
    }

    /// Returns the server's text if it has refused a command.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
