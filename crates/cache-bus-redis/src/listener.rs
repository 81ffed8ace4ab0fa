//! Listening: a connection of its own, made again whenever it is lost.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use cache_core::{BusEvent, EventReceiver, EventSender, GapReason, Result, event_queue};
use futures_util::{StreamExt, stream, stream::BoxStream};
use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{error, server::Server};

pub(crate) struct Listener {
    server: Arc<Server>,
    channel: Arc<str>,
    ping_every: Duration,
    buffer: usize,
    subscribed: Option<Subscribed>,
    backoff: ExponentialBackoff,
    /// To be waited for before the next connection.
    delay: Option<Duration>,
    /// Whether the listener was told that there is no connection.
    is_gap_reported: bool,
}

/// A connection whose subscription the server has confirmed.
struct Subscribed {
    events: EventReceiver,
    connection: MultiplexedConnection,
}

impl Listener {
    pub(crate) fn new(
        server: Arc<Server>,
        channel: Arc<str>,
        ping_every: Duration,
        buffer: usize,
    ) -> Self {
        Self {
            server,
            channel,
            ping_every,
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
                if let Some(event) = subscribed.next(&self.server, self.ping_every).await {
                    if event == BusEvent::Connected {
                        self.backoff = backoff();
                        self.is_gap_reported = false;
                    }
                    return event;
                }
                self.subscribed = None;
            } else {
                if let Some(delay) = self.delay.take() {
                    sleep(delay).await;
                }
                if let Ok(subscribed) = self.server.within_limit(self.subscribe()).await {
                    self.subscribed = Some(subscribed);
                    continue;
                }
            }
            self.delay = self.backoff.next();
            if !std::mem::replace(&mut self.is_gap_reported, true) {
                return BusEvent::Gap(GapReason::Disconnected);
            }
        }
    }

    async fn subscribe(&self) -> Result<Subscribed> {
        let (sender, events) = event_queue(self.buffer);
        let mut connection = self.server.connect(move |info| receive(&sender, &info)).await?;
        connection
            .subscribe(&*self.channel)
            .await
            .map_err(|error| error::server("subscribe", self.server.address(), error))?;
        Ok(Subscribed { events, connection })
    }
}

impl Subscribed {
    /// Returns the next event, or `None` if the connection was lost.
    async fn next(&mut self, server: &Server, ping_every: Duration) -> Option<BusEvent> {
        loop {
            match timeout(ping_every, self.events.next()).await {
                Ok(event) => return event,
                // A connection that a router has forgotten looks like one without messages. The
                // stream also gets here first when it was not polled for long: the answer to the
                // ping is then read before its time limit is looked at.
                Err(_) => {
                    let ping = async {
                        let command = redis::cmd("PING");
                        let pinged = command.query_async::<Value>(&mut self.connection).await;
                        pinged.map_err(|error| error::server("ping", server.address(), error))
                    };
                    server.within_limit(ping).await.ok()?;
                }
            }
        }
    }
}

/// Called by the connection for all that the server sends without a request, in order, and for the
/// confirmation of the subscription.
fn receive(queue: &EventSender, info: &PushInfo) {
    match info.kind {
        PushKind::Subscribe => queue.push(BusEvent::Connected),
        // Channel and payload.
        PushKind::Message => queue.push(match info.data.get(1) {
            Some(Value::BulkString(payload)) => BusEvent::from_bytes(payload),
            _ => BusEvent::Unreadable,
        }),
        _ => {}
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
