//! Announcing: one connection that all announcements share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::client::PublishErrorKind;
use cache_core::{Announcement, Namespace, Result};

use crate::{connection::Connection, error, server::Server};

pub(crate) struct Announcer {
    server: Arc<Server>,
    namespace: Namespace,
    subject: async_nats::Subject,
    /// The connection in use, if there is one.
    current: Mutex<Option<Arc<Connection>>>,
    /// Locked by the caller that makes a connection, so that the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Announcer {
    pub(crate) fn new(server: Arc<Server>, namespace: Namespace) -> Self {
        Self {
            server,
            namespace,
            subject: Announcement::channel(namespace).into(),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) async fn announce(&self, message: &Announcement) -> Result<()> {
        let mut used = None;
        let sent = self.server.within_limit(self.publish(message, &mut used)).await;
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
        message: &Announcement,
        used: &mut Option<Arc<Connection>>,
    ) -> Result<()> {
        let subject = if message.namespace == self.namespace {
            self.subject.clone()
        } else {
            Announcement::channel(message.namespace).into()
        };
        let address = self.server.address();
        loop {
            let (connection, is_reused) = match self.current() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            *used = Some(Arc::clone(&connection));
            if let Some(refusal) = connection.signals.refusal() {
                // The next announcement tries again: the permissions can change.
                self.forget(&connection);
                return Err(error::refused(address, &refusal));
            }
            let client = &connection.client;
            match client.publish(subject.clone(), message.to_bytes().into()).await {
                Ok(()) => return client.flush().await.map_err(|_| error::lost(address)),
                // The client has ended, with its runtime or after its server did, and has not
                // taken the message: another one is made once.
                Err(error) if is_reused && error.kind() == PublishErrorKind::Send => {
                    self.forget(&connection);
                }
                Err(error) => return Err(error::publish(address, error)),
            }
        }
    }

    async fn connect(&self) -> Result<Arc<Connection>> {
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let connection = Arc::new(self.server.connect().await?);
        *self.lock() = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn current(&self) -> Option<Arc<Connection>> {
        let mut current = self.lock();
        current.take_if(|connection| connection.is_lost());
        current.clone()
    }

    /// The next announcement makes a new connection, unless it has one already.
    fn forget(&self, used: &Arc<Connection>) {
        self.lock().take_if(|current| Arc::ptr_eq(current, used));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
