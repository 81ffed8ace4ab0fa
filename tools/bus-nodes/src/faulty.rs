//! Buses around a real one.

use std::{
    process::abort,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bus_nodes::{Line, clock};
use cache_facade::{Announcement, Change, ChangeBus, Result, cache_core::BusEvent};
use futures_util::{
    StreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use tokio::sync::{mpsc, watch};

use crate::say;

/// Prints the announcements that the bus has taken. Aborts the process instead of one, after the put
/// that it is of has returned.
pub(crate) struct Recorded {
    bus: Arc<dyn ChangeBus>,
    changes: AtomicU64,
    abort_at: Option<u64>,
    /// How many puts have returned.
    acknowledged: watch::Receiver<u64>,
}

impl Recorded {
    pub(crate) fn new(
        bus: Arc<dyn ChangeBus>,
        abort_at: Option<u64>,
        acknowledged: watch::Receiver<u64>,
    ) -> Self {
        Self { bus, changes: AtomicU64::new(0), abort_at, acknowledged }
    }
}

#[async_trait]
impl ChangeBus for Recorded {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        let Change::Key { key, e_tag } = &message.change else {
            return self.bus.announce(message).await;
        };
        let key = key.as_str().to_owned();
        let number = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        if Some(number) == self.abort_at {
            // The caller of the put knows that it is done. An error says that the writer has ended.
            let _ = self.acknowledged.clone().wait_for(|puts| *puts >= number).await;
            abort();
        }
        let announced = self.bus.announce(message).await;
        say(&match &announced {
            Ok(()) => {
                let e_tag = e_tag.as_ref().map(ToString::to_string);
                Line::Announced { key, e_tag, at: clock::now() }
            }
            Err(error) => Line::NotAnnounced(format!("announce {key}: {error}")),
        });
        announced
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        self.bus.listen()
    }
}

/// Delivers the heartbeats of its own cache, and nothing else.
#[derive(Default)]
pub(crate) struct Deaf(Mutex<Option<mpsc::UnboundedSender<BusEvent>>>);

#[async_trait]
impl ChangeBus for Deaf {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        if let Some(sender) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // A listener that was dropped hears nothing.
            let _ = sender.send(BusEvent::Message(message.clone()));
        }
        Ok(())
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let events = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|event| (event, receiver))
        });
        stream::once(ready(BusEvent::Connected)).chain(events).boxed()
    }
}
