//! Listening: a connection of its own, made again whenever it is lost.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use async_nats::{Subscriber, client::RequestErrorKind};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use cache_core::{BusEvent, EventReceiver, EventSender, GapReason, Result, event_queue};
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream,
    stream::BoxStream,
};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};

use crate::{connection::Connection, error, server::Server};

pub(crate) struct Listener {
    server: Arc<Server>,
    channel: Arc<str>,
    buffer: usize,
    subscribed: Option<Subscribed>,
    backoff: ExponentialBackoff,
    /// To be waited for before the next connection.
    delay: Option<Duration>,
    /// Whether the listener was told that there is no connection.
    is_gap_reported: bool,
}

/// A subscription that the server has confirmed.
pub(crate) struct Subscribed {
    events: EventReceiver,
    forwarder: JoinHandle<()>,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl Listener {
    pub(crate) fn new(server: Arc<Server>, channel: Arc<str>, buffer: usize) -> Self {
        Self {
            server,
            channel,
            buffer,
            subscribed: None,
            backoff: backoff(),
            delay: None,
            is_gap_reported: false,
        }
    }

    pub(crate) fn into_stream(self) -> BoxStream<'static, BusEvent> {
        stream::unfold(self, |mut listener| async {
            let event = listener.next().await;
            Some((event, listener))
        })
        .boxed()
    }

    async fn next(&mut self) -> BusEvent {
        loop {
            if Handle::try_current().is_err() {
                // Without a runtime there is nothing to wait for but to be polled in one.
                if self.is_gap_reported {
                    poll_fn(|_| match Handle::try_current() {
                        Ok(_) => Poll::Ready(()),
                        Err(_) => Poll::Pending,
                    })
                    .await;
                } else {
                    self.is_gap_reported = true;
                    return BusEvent::Gap(GapReason::Disconnected);
                }
            }
            if let Some(subscribed) = &mut self.subscribed {
                if let Some(event) = subscribed.events.next().await {
                    return event;
                }
                self.subscribed = None;
            } else {
                if let Some(delay) = self.delay.take() {
                    sleep(delay).await;
                }
                let subscribing = subscribe(&self.server, &self.channel, self.buffer);
                if let Ok(subscribed) = self.server.within_limit(subscribing).await {
                    self.subscribed = Some(subscribed);
                    self.backoff = backoff();
                    self.is_gap_reported = false;
                    return BusEvent::Connected;
                }
            }
            self.delay = self.backoff.next();
            if !std::mem::replace(&mut self.is_gap_reported, true) {
                return BusEvent::Gap(GapReason::Disconnected);
            }
        }
    }
}

/// Connects, subscribes, and waits until the server has confirmed it.
pub(crate) async fn subscribe(
    server: &Server,
    channel: &Arc<str>,
    buffer: usize,
) -> Result<Subscribed> {
    let address = server.address();
    let connection = Arc::new(server.connect().await?);
    let client = &connection.client;
    let subscriber = client
        .subscribe(channel.to_string())
        .await
        .map_err(|error| error::subscribe(address, error))?;
    let (queue, events) = event_queue(buffer);
    let forwarder = tokio::spawn(forward(subscriber, Arc::clone(&connection), queue));
    let subscribed = Subscribed { events, forwarder };

    // NATS does not confirm a subscription. But it reads the commands of a connection in order,
    // and so has read it when it answers a later request: that the request has no receiver.
    match client.request(format!("{channel}.confirm"), Vec::new().into()).await {
        Err(error) if error.kind() != RequestErrorKind::NoResponders => {
            return Err(error::not_confirmed(address, error));
        }
        _ => {}
    }
    // The client sends a subscription again on a new connection, without confirmation.
    if connection.is_lost() {
        return Err(error::lost(address));
    }
    match connection.signals.refusal() {
        Some(refusal) => Err(error::refused(address, &refusal)),
        None => Ok(subscribed),
    }
}

/// Moves messages into the queue until the connection is lost. The client's own queue is bounded
/// by messages of any length, and does not tell where messages are missing.
async fn forward(mut subscriber: Subscriber, connection: Arc<Connection>, queue: EventSender) {
    loop {
        let message = match subscriber.next().now_or_never() {
            Some(message) => message,
            None => {
                let changed = pin!(connection.signals.changed());
                match select(subscriber.next(), changed).await {
                    Either::Left((message, _)) => message,
                    Either::Right(_) if connection.signals.refusal().is_some() => return,
                    Either::Right(_) => {
                        if connection.is_lost() {
                            return;
                        }
                        if connection.signals.take_dropped() {
                            queue.push(BusEvent::Gap(GapReason::SlowListener));
                        }
                        continue;
                    }
                }
            }
        };
        // Messages of a second connection of the client come without a sign in between.
        let Some(message) = message.filter(|_| !connection.is_lost()) else { return };
        if connection.signals.take_dropped() {
            queue.push(BusEvent::Gap(GapReason::SlowListener));
        }
        queue.push(BusEvent::from_bytes(&message.payload));
    }
}

/// From 0.1 to 0.2 s up to 2 to 4 s: nodes that lost their server together do not come back
/// together.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .build()
}
