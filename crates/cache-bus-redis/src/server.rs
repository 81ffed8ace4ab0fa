//! Connections to the server.

use std::{future::Future, time::Duration};

use cache_core::Result;
use redis::{AsyncConnectionConfig, Client, PushInfo, aio::MultiplexedConnection};
use tokio::{runtime::Handle, time::timeout};

use crate::error;

pub(crate) struct Server {
    client: Client,
    /// Without user and password.
    address: String,
    time_limit: Duration,
}

impl Server {
    pub(crate) fn new(client: Client, time_limit: Duration) -> Self {
        let address = client.get_connection_info().addr().to_string();
        Self { client, address, time_limit }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Connects, and passes messages and confirmations to `on_push` in the order in which the
    /// server sent them. `on_push` is dropped when the connection is lost. It must not block.
    pub(crate) async fn connect(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection> {
        #[cfg(feature = "tls")]
        self.ensure_crypto();
        // The time limits are those of the callers.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |info| {
                on_push(info);
                Ok::<(), redis::aio::SendError>(())
            });
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| error::server("connect", &self.address, error))
    }

    /// Returns the result of `work`, or `Timeout` if it takes longer than the time limit.
    pub(crate) async fn within_limit<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if Handle::try_current().is_err() {
            return Err(error::no_runtime());
        }
        match timeout(self.time_limit, work).await {
            Ok(result) => result,
            Err(_) => Err(error::timeout(&self.address, self.time_limit)),
        }
    }

    /// rustls panics without a provider of cryptography, or with a choice of several: this makes
    /// the choice, unless the program has.
    #[cfg(feature = "tls")]
    fn ensure_crypto(&self) {
        use rustls::crypto::{CryptoProvider, aws_lc_rs};

        let with_tls = matches!(
            self.client.get_connection_info().addr(),
            redis::ConnectionAddr::TcpTls { .. }
        );
        if with_tls && CryptoProvider::get_default().is_none() {
            // An error says that another thread was first.
            let _ = aws_lc_rs::default_provider().install_default();
        }
    }
}
