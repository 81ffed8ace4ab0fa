//! The bus.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use cache_core::{Announcement, BusEvent, ChangeBus, Result};
use futures_util::stream::BoxStream;

use crate::{
    announcer::Announcer,
    listener::{Listener, subscribe},
    server::Server,
};

/// NATS as a [`ChangeBus`].
///
/// ```
/// use std::time::Duration;
///
/// use cache_bus_nats::NatsBus;
/// use cache_core::Namespace;
///
/// let bus = NatsBus::builder("nats://127.0.0.1", Namespace::named("s3://bucket"))
///     .time_limit(Duration::from_millis(200))
///     .build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
pub struct NatsBus {
    pub(crate) server: Arc<Server>,
    pub(crate) announcer: Announcer,
    pub(crate) channel: Arc<str>,
    pub(crate) buffer: usize,
}

impl NatsBus {
    /// Connects, subscribes and disconnects, so that a program can report at its start why it has
    /// no bus. A stream of [`listen`](ChangeBus::listen) reports the same only as a gap.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout` if no server can be reached, `Unauthenticated` or
    /// `PermissionDenied` if it refuses the user.
    pub async fn check(&self) -> Result<()> {
        self.server.within_limit(subscribe(&self.server, &self.channel, 1)).await.map(drop)
    }
}

#[async_trait]
impl ChangeBus for NatsBus {
    /// Publishes `message`, and waits until it is written to the socket. Core NATS confirms
    /// nothing: the message is lost without an error if the connection is lost just then.
    ///
    /// # Errors
    ///
    /// `Timeout` if that takes longer than the [`time_limit`](crate::NatsBusBuilder::time_limit),
    /// `TooLarge` if the server takes no messages of that length; else as [`NatsBus::check`]. NATS
    /// reports that a user may not publish only after the first message: the next one gets
    /// `PermissionDenied`.
    async fn announce(&self, message: &Announcement) -> Result<()> {
        self.announcer.announce(message).await
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        let server = Arc::clone(&self.server);
        Listener::new(server, Arc::clone(&self.channel), self.buffer).into_stream()
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBus")
            .field("address", &self.server.address())
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
