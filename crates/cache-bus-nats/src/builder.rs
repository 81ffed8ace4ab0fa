//! The settings of a [`NatsBus`].

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};
use cache_core::{Announcement, Error, ErrorKind, Namespace, Result};
use percent_encoding::percent_decode_str;

use crate::{announcer::Announcer, bus::NatsBus, error, server::Server};

/// Settings of a [`NatsBus`], from [`NatsBus::builder`].
#[derive(Clone)]
#[must_use]
pub struct NatsBusBuilder {
    urls: String,
    namespace: Namespace,
    options: ConnectOptions,
    time_limit: Duration,
    ping_every: Duration,
    buffer: usize,
}

impl NatsBus {
    /// Returns the settings of a bus for the caches of `namespace`.
    ///
    /// `urls` is `nats://[user:password@]host[:port]`, or `nats://token@host`, or `tls://…` with
    /// the feature `tls`, or several of these with commas between them, for a cluster. A user and
    /// a password are percent-encoded, and those of the last URL that has them count for all.
    pub fn builder(urls: impl Into<String>, namespace: Namespace) -> NatsBusBuilder {
        NatsBusBuilder::new(urls.into(), namespace)
    }
}

impl NatsBusBuilder {
    fn new(urls: String, namespace: Namespace) -> Self {
        Self {
            urls,
            namespace,
            options: ConnectOptions::new().name("object-cache"),
            time_limit: Duration::from_secs(1),
            ping_every: Duration::from_secs(5),
            buffer: 8192,
        }
    }

    /// Sets options of the client: credentials files, keys, certificates. A user or token of the
    /// URL comes before that of the options. The bus sets the event callback, the prefix of
    /// inboxes, capacities, time limits and the rules of reconnecting itself. Default: the name
    /// `object-cache` alone.
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how long one announcement may take, a new connection included, and how long a listener
    /// waits for a connection and the confirmation of its subscription. Default: 1 s. Zero is
    /// refused by [`build`](Self::build).
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how long a connection may be silent before the client sends a ping. It is given up
    /// after two pings without an answer, at the third interval. Default: 5 s. Zero is refused by
    /// [`build`](Self::build).
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

    /// Returns the bus. Connects to nothing: [`NatsBus::check`] does.
    ///
    /// # Errors
    ///
    /// `Config` if a URL cannot be read, if it needs the feature `tls`, or if a duration is zero.
    pub fn build(self) -> Result<NatsBus> {
        for (name, value) in [("time_limit", self.time_limit), ("ping_every", self.ping_every)] {
            if value.is_zero() {
                let message = format!("{name} of a NATS bus must be more than zero");
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        let servers = self.urls.split(',').map(|url| server(url.trim()));
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let options = servers.iter().try_fold(self.options, with_user)?;
        let options = options
            .connection_timeout(self.time_limit)
            .ping_interval(self.ping_every)
            .custom_inbox_prefix(format!("{}.inbox", Announcement::channel(self.namespace)))
            // Whenever a connection is lost, the bus makes a new client, so that no message of the
            // old connection is taken for one of the new. One round of attempts is the smallest
            // number that the client takes.
            .max_reconnects(servers.len())
            .ignore_discovered_servers();
        let server = Arc::new(Server::new(servers, options, self.time_limit));
        Ok(NatsBus {
            announcer: Announcer::new(Arc::clone(&server), self.namespace),
            channel: Announcement::channel(self.namespace).into(),
            buffer: self.buffer,
            server,
        })
    }
}

fn server(url: &str) -> Result<ServerAddr> {
    let server = url.parse::<ServerAddr>().map_err(|error| error::url(&error.to_string()))?;
    match server.scheme() {
        "nats" => {}
        "tls" if cfg!(feature = "tls") => {}
        "tls" => return Err(error::url("tls:// needs the feature `tls` of cache-bus-nats")),
        _ => return Err(error::url("the bus does not use WebSockets")),
    }
    if server.host().is_empty() { Err(error::url("it has no host")) } else { Ok(server) }
}

/// The client takes no user from a URL.
fn with_user(options: ConnectOptions, server: &ServerAddr) -> Result<ConnectOptions> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(error::url("its user or password is not UTF-8")),
    };
    Ok(match (server.username(), server.password()) {
        (Some(user), Some(password)) => {
            options.user_and_password(decoded(user)?, decoded(password)?)
        }
        (Some(token), None) => options.token(decoded(token)?),
        (None, _) => options,
    })
}

impl fmt::Debug for NatsBusBuilder {
    /// Without the URLs, which can have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBusBuilder")
            .field("namespace", &self.namespace)
            .field("time_limit", &self.time_limit)
            .field("ping_every", &self.ping_every)
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}
