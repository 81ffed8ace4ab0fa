//! Making connections.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};
use cache_core::Result;
use futures_util::FutureExt;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    connection::{Connection, Signals},
    error,
};

pub(crate) struct Server {
    servers: Vec<ServerAddr>,
    options: ConnectOptions,
    /// Without user and password.
    address: String,
    time_limit: Duration,
}

impl Server {
    pub(crate) fn new(
        servers: Vec<ServerAddr>,
        options: ConnectOptions,
        time_limit: Duration,
    ) -> Self {
        let address = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
        let address = servers.iter().map(address).collect::<Vec<_>>().join(", ");
        Self { servers, options, address, time_limit }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        #[cfg(feature = "tls")]
        ensure_crypto();
        let signals = Arc::new(Signals::default());
        let noted = Arc::clone(&signals);
        let options = self.options.clone().event_callback(move |event| {
            noted.note(event);
            std::future::ready(())
        });
        // rustls panics without a provider of cryptography, which is there with the feature `tls`,
        // and a server can require TLS of any client.
        let connected = AssertUnwindSafe(options.connect(&self.servers)).catch_unwind().await;
        let client = connected
            .map_err(|_| error::no_tls(&self.address))?
            .map_err(|error| error::connect(&self.address, error))?;
        Ok(Connection { client, signals })
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
}

/// rustls panics without a provider of cryptography, or with a choice of several: this makes the
/// choice, unless the program has.
#[cfg(feature = "tls")]
fn ensure_crypto() {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    if CryptoProvider::get_default().is_none() {
        // An error says that another thread was first.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}
