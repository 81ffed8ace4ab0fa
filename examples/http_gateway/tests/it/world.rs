//! A store that counts, a gateway over it, and a client that hides nothing.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use cache_facade::{
    Bytes, CachedStore, CachedStoreBuilder, Freshness, Memory,
    object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions, path::Path},
};
use cache_testkit::{FaultyStore, ManualClock, Operation};
use http_gateway::Gateway;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(crate) struct World {
    pub(crate) store: FaultyStore,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cached: CachedStore,
    /// The keys of what failed.
    pub(crate) failures: Arc<Mutex<Vec<String>>>,
    server: Server,
}

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

/// What came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl World {
    /// The store is asked each time. Blocks have 10 bytes.
    pub(crate) async fn strong() -> Self {
        Self::new(|builder| builder, |gateway| gateway).await
    }

    /// The store is asked once in a minute.
    pub(crate) async fn lasting() -> Self {
        Self::new(
            |builder| builder.freshness(Freshness::max_age(MINUTE)),
            |gateway| gateway.max_age(MINUTE),
        )
        .await
    }

    pub(crate) async fn new(
        set: impl FnOnce(CachedStoreBuilder) -> CachedStoreBuilder,
        set_gateway: impl FnOnce(Gateway) -> Gateway,
    ) -> Self {
        let store = FaultyStore::in_memory();
        let clock = Arc::new(ManualClock::new());
        let builder = CachedStore::builder(Arc::new(store.clone()), Memory::new())
            .clock(clock.clone())
            .block_size(10);
        let cached = set(builder).build().unwrap();
        let failures: Arc<Mutex<Vec<String>>> = Arc::default();
        let gateway = Gateway::new(cached.clone()).on_failure({
            let failures = Arc::clone(&failures);
            move |key, _| failures.lock().unwrap().push(key.to_string())
        });
        let server = Server::start(set_gateway(gateway).router()).await;
        Self { store, clock, cached, failures, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// What another program writes, and nobody counts.
    pub(crate) async fn put(&self, key: &str, body: impl Into<Bytes>) {
        self.put_with(key, body, []).await;
    }

    pub(crate) async fn put_with<const N: usize>(
        &self,
        key: &str,
        body: impl Into<Bytes>,
        attributes: [(Attribute, &'static str); N],
    ) {
        let attributes = Attributes::from_iter(attributes);
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.store
            .inner()
            .put_opts(&Path::parse(key).unwrap(), body.into().into(), options)
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.store.inner().delete(&Path::parse(key).unwrap()).await.unwrap();
    }

    /// The tag that the store has for the object.
    pub(crate) async fn tag(&self, key: &str) -> String {
        self.store.inner().head(&Path::parse(key).unwrap()).await.unwrap().e_tag.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers).await
    }

    pub(crate) async fn head_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("HEAD", path, headers).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.address(), method, path, headers).await
    }

    /// Whatever came before the connection ended.
    pub(crate) async fn raw(&self, path: &str) -> Vec<u8> {
        raw(self.address(), "GET", path, &[]).await
    }

    /// Sends the request, and reads nothing.
    pub(crate) async fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> TcpStream {
        begin(self.address(), method, path, headers).await
    }

    /// The requests that the store has had since the last call, and the bytes of bodies that it
    /// gave out for them.
    pub(crate) fn asked(&self) -> (Vec<Operation>, u64) {
        let (requests, bytes) = (self.store.requests(), self.store.body_bytes());
        self.store.reset();
        (requests.iter().map(|request| request.operation).collect(), bytes)
    }
}

impl Server {
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self::try_parse(bytes).expect("an answer has a head")
    }

    /// `None`, if there was no whole head.
    pub(crate) fn try_parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).unwrap().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let body = Bytes::copy_from_slice(&bytes[end + 4..]);
        Some(Self { status, headers: lines.map(field).collect(), body })
    }

    /// The only field of that name. `None` if there is none.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields: Vec<_> = self.headers.iter().filter(|(known, _)| known == name).collect();
        assert!(fields.len() <= 1, "{fields:?}");
        fields.first().map(|(_, value)| value.as_str())
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[track_caller]
    pub(crate) fn is_whole(&self) -> bool {
        self.header("content-length").unwrap().parse() == Ok(self.body.len())
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[]).await
}

pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    Answer::parse(&raw(address, method, path, headers).await)
}

async fn raw(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    rest(begin(address, method, path, headers).await).await
}

/// What is answered to these bytes.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request).await.unwrap();
    Answer::parse(&rest(connection).await)
}

/// Whatever comes before the connection ends.
pub(crate) async fn rest(mut connection: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that was cut may say so; what came before counts.
    let _ = connection.read_to_end(&mut bytes).await;
    bytes
}

pub(crate) async fn begin(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

/// Bytes that tell where they are.
pub(crate) fn bytes(len: usize) -> Bytes {
    (0..=250).cycle().take(len).collect()
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Nothing was asked.
pub(crate) const NOTHING: (Vec<Operation>, u64) = (Vec::new(), 0);
