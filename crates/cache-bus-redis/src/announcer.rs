//! Announcing: one connection that all announcements share.

use std::sync::{Arc, Mutex, PoisonError};

use cache_core::{Announcement, Namespace, Result};
use redis::aio::MultiplexedConnection;

use crate::{error, server::Server};

pub(crate) struct Announcer {
    server: Arc<Server>,
    namespace: Namespace,
    channel: String,
    /// The connection in use, if there is one.
    current: Mutex<Option<Arc<MultiplexedConnection>>>,
    /// Locked by the caller that makes a connection, so that the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Announcer {
    pub(crate) fn new(server: Arc<Server>, namespace: Namespace) -> Self {
        Self {
            server,
            namespace,
            channel: Announcement::channel(namespace),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) async fn announce(&self, message: &Announcement) -> Result<()> {
        let payload = message.to_bytes();
        let mut used = None;
        let sent = self.server.within_limit(async {
            match self.publish(message.namespace, &payload, &mut used).await {
                Err(Failed::Dropped) => {}
                Err(Failed::With(error)) => return Err(error),
                Ok(()) => return Ok(()),
            }
            // The connection was lost since the last announcement, most likely with its server:
            // nothing is lost if it is back.
            self.publish(message.namespace, &payload, &mut used).await.map_err(
                |failed| match failed {
                    Failed::Dropped => {
                        let lost = redis::RedisError::from(std::io::Error::from(
                            std::io::ErrorKind::ConnectionReset,
                        ));
                        error::server("publish", self.server.address(), lost)
                    }
                    Failed::With(error) => error,
                },
            )
        });
        let sent = sent.await;
        if let (Err(error), Some(used)) = (&sent, &used) {
            // A refusal is an answer: that connection works.
            if error.is_timeout() || error.is_unavailable() {
                self.forget(used);
            }
        }
        sent
    }

    async fn publish(
        &self,
        namespace: Namespace,
        payload: &[u8],
        used: &mut Option<Arc<MultiplexedConnection>>,
    ) -> Result<(), Failed> {
        let other;
        let channel = if namespace == self.namespace {
            &self.channel
        } else {
            other = Announcement::channel(namespace);
            &other
        };
        let reused = self.current();
        let is_reused = reused.is_some();
        let connection = match reused {
            Some(connection) => connection,
            None => self.connect().await.map_err(Failed::With)?,
        };
        *used = Some(Arc::clone(&connection));
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(payload);
        let mut connection = MultiplexedConnection::clone(&connection);
        command.query_async::<u64>(&mut connection).await.map(drop).map_err(|error| {
            if is_reused && error.is_connection_dropped() {
                used.iter().for_each(|used| self.forget(used));
                Failed::Dropped
            } else {
                Failed::With(error::server("publish", self.server.address(), error))
            }
        })
    }

    async fn connect(&self) -> Result<Arc<MultiplexedConnection>> {
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let connection = Arc::new(self.server.connect(|_| ()).await?);
        *self.lock() = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn current(&self) -> Option<Arc<MultiplexedConnection>> {
        self.lock().clone()
    }

    /// The next announcement makes a new connection, unless it has one already.
    fn forget(&self, used: &Arc<MultiplexedConnection>) {
        self.lock().take_if(|current| Arc::ptr_eq(current, used));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<MultiplexedConnection>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Failed {
    /// A connection that had been used before was lost.
    Dropped,
    With(cache_core::Error),
}
