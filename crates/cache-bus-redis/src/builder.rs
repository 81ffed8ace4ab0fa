//! The settings of a [`RedisBus`].

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{Announcement, Error, ErrorKind, Namespace, Result};

use crate::{announcer::Announcer, bus::RedisBus, error, server::Server};

/// Settings of a [`RedisBus`], from [`RedisBus::builder`].
#[derive(Clone)]
#[must_use]
pub struct RedisBusBuilder {
    url: String,
    namespace: Namespace,
    time_limit: Duration,
    ping_every: Duration,
    buffer: usize,
}

impl RedisBus {
    /// Returns the settings of a bus for the caches of `namespace`.
    ///
    /// `url` is one of the `redis` crate: `redis://[user][:password@]host[:port][/database]`,
    /// `rediss://…` with TLS (feature `tls`), `valkey://…`, or `unix:///path/of/the.sock`. The
    /// database does not matter: pub/sub has no databases.
    pub fn builder(url: impl Into<String>, namespace: Namespace) -> RedisBusBuilder {
        RedisBusBuilder::new(url.into(), namespace)
    }
}

impl RedisBusBuilder {
    fn new(url: String, namespace: Namespace) -> Self {
        Self {
            url,
            namespace,
            time_limit: Duration::from_secs(1),
            ping_every: Duration::from_secs(5),
            buffer: 8192,
        }
    }

    /// Sets how long one announcement may take, a new connection included, and how long a listener
    /// waits for a connection or a ping. Default: 1 s. Zero is refused by [`build`](Self::build).
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how long a listener waits for a message before it sends a ping, to find out whether
    /// the connection still works. Default: 5 s. Zero is refused by [`build`](Self::build).
    pub fn ping_every(mut self, interval: Duration) -> Self {
        self.ping_every = interval;
        self
    }

    /// Sets how many messages are kept for a stream that is not polled. More are dropped, and a
    /// gap is reported; also if they have more than 32 MiB. Default: 8,192. Less than 1 counts as
    /// 1, more than 1,048,576 as that.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.buffer = messages;
        self
    }

    /// Returns the bus. Connects to nothing: [`RedisBus::check`] does.
    ///
    /// # Errors
    ///
    /// `Config` if the URL cannot be read, if it needs the feature `tls`, or if a duration is zero.
    pub fn build(self) -> Result<RedisBus> {
        for (name, value) in [("time_limit", self.time_limit), ("ping_every", self.ping_every)] {
            if value.is_zero() {
                let message = format!("{name} of a Redis bus must be more than zero");
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        let client = redis::Client::open(self.url.as_str()).map_err(|error| error::url(&error))?;
        let info = client.get_connection_info();
        // Only with RESP3 the client passes messages on without a queue that has no bound.
        let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
        // Of users that may not, it would fill the server's log of refused commands.
        let settings = settings.set_skip_set_lib_name();
        let info = info.clone().set_redis_settings(settings);
        let client = redis::Client::open(info).map_err(|error| error::url(&error))?;
        let server = Arc::new(Server::new(client, self.time_limit));
        Ok(RedisBus {
            announcer: Announcer::new(Arc::clone(&server), self.namespace),
            channel: Announcement::channel(self.namespace).into(),
            ping_every: self.ping_every,
            buffer: self.buffer,
            server,
        })
    }
}

impl fmt::Debug for RedisBusBuilder {
    /// Without the URL, which can have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBusBuilder")
            .field("namespace", &self.namespace)
            .field("time_limit", &self.time_limit)
            .field("ping_every", &self.ping_every)
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}
