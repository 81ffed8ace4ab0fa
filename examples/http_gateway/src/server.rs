//! A server for clients that nobody validates: what each of them can hold on to has a limit.
//!
//! Over the limit of connections a new client is not turned away: the connection that has waited
//! longest for a request is closed instead, so that many clients that say nothing, or half of
//! something, do not make the server deaf. If all are being served, new ones wait in the queue of
//! the listener.

use std::{
    convert::Infallible,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, http::StatusCode};
use cache_facade::cache_core::{Clock, SystemClock};
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Access,
    access::{Exchange, Log},
    connection::{Connection, Connections, Listed, Stream},
};

/// What a client can hold on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections there may be at a time. Zero is one. Default: 400, since most systems
    /// let a process have 1,024 open files, and a response may need one too.
    pub connections: usize,
    /// How long a request may take to arrive: from the connection's beginning, or its first byte,
    /// to the end of its header. Default: 10 s.
    pub header_timeout: Duration,
    /// How long a connection may stay open between two requests. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of a response. Default: 30 s.
    pub write_timeout: Duration,
    /// How long responses may go on after the server was asked to stop. Zero waits for none.
    /// Default: 30 s.
    pub drain_timeout: Duration,
}

/// Serves HTTP/1.
///
/// ```
/// use std::sync::Arc;
/// use cache_facade::{CachedStore, Memory};
/// use http_gateway::{Gateway, Server, demo};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = CachedStore::builder(Arc::new(demo().await?), Memory::new()).build()?;
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let stop = std::future::ready(());
/// let n_cut = Server::new().serve(listener, Gateway::new(store).router(), stop).await;
/// assert_eq!(n_cut, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `serve`"]
pub struct Server {
    limits: Limits,
    log: Log,
}

impl Server {
    /// With the default limits.
    pub fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self { limits: Limits::default(), log: Log { on_request: None, clock } }
    }

    /// Default: those of [`Limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Called with each request once its response has ended. It should not block. Default: nothing.
    pub fn on_request(mut self, call: impl Fn(&Access) + Send + Sync + 'static) -> Self {
        self.log.on_request = Some(Arc::new(call));
        self
    }

    /// Serves until `stop` is ready, then waits for the responses that were begun. Returns how many
    /// connections were cut because `drain_timeout` had passed.
    ///
    /// A dropped future cuts them all.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        stop: impl Future<Output = ()>,
    ) -> usize {
        let limits = self.limits;
        let connections = Arc::new(Connections::default());
        let room = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let graceful = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let next = async {
                let (stream, peer) = accept(&listener, &connections).await;
                (stream, peer, permit(&room, &connections).await)
            };
            let (stream, peer, permit) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            while tasks.try_join_next().is_some() {}
            let connection = connections.add(limits);
            let client = Client {
                peer: peer.ip(),
                connection: Listed(connection),
                router: router.clone(),
                log: self.log.clone(),
                _permit: permit,
            };
            tasks.spawn(client.serve(stream, graceful.watcher()));
        }
        // New clients are refused from here on.
        drop(listener);
        match timeout(limits.drain_timeout, graceful.shutdown()).await {
            Ok(()) => 0,
            Err(_) => {
                while tasks.try_join_next().is_some() {}
                let n_cut = tasks.len();
                tasks.shutdown().await;
                n_cut
            }
        }
    }
}

/// The next client. An error is none of the listener's, but of one client, or of the whole process.
async fn accept(listener: &TcpListener, connections: &Connections) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(client) => return client,
            Err(error) if is_of_client(&error) => {}
            // There are too many open files.
            Err(_) => match connections.close_oldest() {
                // Its task closes the file.
                true => sleep(CLOSE_PAUSE).await,
                false => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Room for one connection more: another one's, if need be.
async fn permit(room: &Arc<Semaphore>, connections: &Connections) -> OwnedSemaphorePermit {
    loop {
        let permit = Arc::clone(room).acquire_owned();
        let permit = if Arc::clone(room).available_permits() > 0 || connections.close_oldest() {
            permit.await
        } else {
            // All are being served.
            tokio::select! {
                permit = permit => permit,
                () = connections.one_waits.notified() => continue,
            }
        };
        if let Ok(permit) = permit {
            return permit;
        }
    }
}

struct Client {
    peer: IpAddr,
    connection: Listed,
    router: Router,
    log: Log,
    _permit: OwnedSemaphorePermit,
}

impl Client {
    async fn serve(self, stream: TcpStream, watcher: Watcher) {
        // A response is written by as few calls as can be: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let connection: &Arc<Connection> = &self.connection.0;
        let service = service_fn(|request| {
            let exchange = Exchange::begin(connection, &self.log, self.peer, &request);
            let router = TowerToHyperService::new(self.router.clone());
            async move {
                let response = router.call(request.map(Body::new)).await?;
                Ok::<_, Infallible>(exchange.follow(response))
            }
        });
        let io = TokioIo::new(Stream::new(stream, Arc::clone(connection)));
        let served = http1::Builder::new()
            // The limits here tell a request that is late from a connection that is idle.
            .header_read_timeout(None)
            .max_header_size(HEADER_SIZE_MAX)
            .serve_connection(io, service);
        if let Some(Err(error)) = connection.drive(watcher.watch(served)).await
            && error.is_parse()
        {
            let status = match error.is_parse_too_large() {
                true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            };
            self.log.note_malformed(self.peer, status);
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 400,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// In bytes. With all connections taken, headers need no more than a few MiB.
const HEADER_SIZE_MAX: usize = 32 * 1024;

const CLOSE_PAUSE: Duration = Duration::from_millis(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
