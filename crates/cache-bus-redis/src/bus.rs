//! The bus.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_core::{Announcement, BusEvent, ChangeBus, Result};
use futures_util::stream::BoxStream;

use crate::{announcer::Announcer, error, listener::Listener, server::Server};

/// Redis or Valkey pub/sub as a [`ChangeBus`].
///
/// ```
/// use std::time::Duration;
///
/// use cache_bus_redis::RedisBus;
/// use cache_core::Namespace;
///
/// let bus = RedisBus::builder("redis://127.0.0.1", Namespace::named("s3://bucket"))
///     .time_limit(Duration::from_millis(200))
///     .build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
pub struct RedisBus {
    pub(crate) server: Arc<Server>,
    pub(crate) announcer: Announcer,
    pub(crate) channel: Arc<str>,
    pub(crate) ping_every: Duration,
    pub(crate) buffer: usize,
}

impl RedisBus {
    /// Connects, subscribes and disconnects, so that a program can report at its start why it has
    /// no bus. A stream of [`listen`](ChangeBus::listen) reports the same only as a gap.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout` if the server cannot be reached, `Unauthenticated` or
    /// `PermissionDenied` if it refuses the user, `Unsupported` if it is older than Redis 6.
    pub async fn check(&self) -> Result<()> {
        let subscribed = async {
            let mut connection = self.server.connect(|_| ()).await?;
            connection
                .subscribe(&*self.channel)
                .await
                .map_err(|error| error::server("subscribe", self.server.address(), error))
        };
        self.server.within_limit(subscribed).await
    }
}

#[async_trait]
impl ChangeBus for RedisBus {
    /// Publishes `message`, and waits until the server says that it has taken it.
    ///
    /// # Errors
    ///
    /// `Timeout` if that takes longer than the [`time_limit`](crate::RedisBusBuilder::time_limit);
    /// else as [`RedisBus::check`].
    async fn announce(&self, message: &Announcement) -> Result<()> {
        self.announcer.announce(message).await
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        let server = Arc::clone(&self.server);
        let channel = Arc::clone(&self.channel);
        Listener::new(server, channel, self.ping_every, self.buffer).into_stream()
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus")
            .field("address", &self.server.address())
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
