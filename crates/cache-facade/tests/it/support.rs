//! The stores that scenarios run over, and what a scenario does with them.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    pin::pin,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use cache_facade::{
    CachedObject, Error, ErrorKind, Freshness, Memory, ObjectCache, ObjectCacheBuilder, Result,
    Status, ValidatorStrength, object_store,
};
use cache_testkit::{Fault, FaultyStore, ManualClock, Operation, Request, S3Server};
use object_store::{
    ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory, path::Path,
};
use tempfile::TempDir;

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    /// Memory, and the copies in moka.
    #[cfg(feature = "moka")]
    Moka,
    Disk,
    /// The S3 server of the test kit, which is always there.
    Loopback,
    S3,
    Azure,
}

/// One bucket, which several nodes share, and in it a corner of the scenario's own.
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) store: FaultyStore,
    clock: Arc<ManualClock>,
    corner: String,
    /// How many requests have been looked at.
    seen: AtomicUsize,
    _folder: Option<TempDir>,
    _server: Option<S3Server>,
}

impl World {
    /// A bucket of `kind`; `None` if there is no such server, which is said once.
    pub(crate) fn open(kind: Kind) -> Option<Self> {
        let (mut folder, mut server) = (None, None);
        let bucket: Arc<dyn ObjectStore> = match kind {
            Kind::Memory => Arc::new(InMemory::new()),
            #[cfg(feature = "moka")]
            Kind::Moka => Arc::new(InMemory::new()),
            Kind::Disk => {
                let root = folder.insert(TempDir::new().unwrap());
                Arc::new(LocalFileSystem::new_with_prefix(root.path()).unwrap())
            }
            Kind::Loopback => Arc::new(server.insert(S3Server::start().unwrap()).client()),
            Kind::S3 => s3()?,
            Kind::Azure => azure()?,
        };
        Some(Self {
            kind,
            store: FaultyStore::new(bucket),
            clock: Arc::default(),
            corner: format!("{:016x}", RandomState::new().hash_one(())),
            seen: AtomicUsize::new(0),
            _folder: folder,
            _server: server,
        })
    }

    /// A node that asks on every read.
    pub(crate) fn node(&self) -> ObjectCache {
        self.node_with(|builder| builder)
    }

    pub(crate) fn node_fresh(&self, freshness: Freshness) -> ObjectCache {
        self.node_with(|builder| builder.freshness(freshness))
    }

    pub(crate) fn node_with(
        &self,
        set: impl FnOnce(ObjectCacheBuilder) -> ObjectCacheBuilder,
    ) -> ObjectCache {
        let mut builder =
            ObjectCache::builder(Arc::new(self.store.clone())).clock(self.clock.clone());
        if self.kind == Kind::Disk {
            // Older kernels repeat tags. Bodies that follow each other here differ in size, so
            // theirs do not.
            builder = builder.validator_strength(ValidatorStrength::Strong);
        }
        set(builder.backend(self.memory())).build().unwrap()
    }

    /// The memory of a node.
    pub(crate) fn memory(&self) -> Memory {
        match self.kind {
            #[cfg(feature = "moka")]
            Kind::Moka => Memory::new().eviction(cache_facade::Eviction::Moka),
            _ => Memory::new(),
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The key called `name` in this support's corner of the bucket.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.corner)
    }

    /// Another node writes.
    pub(crate) async fn write(&self, key: &str, body: &str) {
        self.store.inner().put(&Path::from(key), body.to_owned().into()).await.unwrap();
    }

    /// Another node deletes.
    pub(crate) async fn erase(&self, key: &str) {
        self.store.inner().delete(&Path::from(key)).await.unwrap();
    }

    /// The requests since the last look.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let requests = self.store.requests();
        let seen = self.seen.swap(requests.len(), Ordering::SeqCst);
        requests[seen..].to_vec()
    }

    /// Checks the requests since the last look, and how many bytes of bodies came with them.
    #[track_caller]
    pub(crate) fn cost(&self, operations: &[Operation], body_bytes: u64) {
        let requests = self.requests();
        let made: Vec<_> = requests.iter().map(|request| request.operation).collect();
        assert_eq!(made, operations);
        assert_eq!(requests.iter().map(|request| request.bytes_delivered).sum::<u64>(), body_bytes);
    }

    /// Checks that the requests that nodes counted are those that were made.
    #[track_caller]
    pub(crate) fn balance(&self, nodes: &[&ObjectCache]) {
        let counted: u64 = nodes.iter().map(|node| node.stats().origin.requests()).sum();
        assert_eq!(counted, self.store.count() as u64);
    }

    /// `n` reads that overlap one round trip: the store answers none before all of them have asked.
    pub(crate) async fn burst(
        &self,
        node: &ObjectCache,
        key: &str,
        n: u64,
    ) -> Vec<Result<CachedObject>> {
        let (coalesced, gets) = (node.stats().coalesced, self.store.gets());
        self.store.fault(Fault::hold().on(Operation::Get));
        let readers: Vec<_> = (0..n).map(|_| spawn_get(node, key)).collect();
        // The one who is to open the next flight counts as neither.
        let arrived = || node.stats().coalesced - coalesced + (self.store.gets() - gets) as u64;
        until(|| arrived() >= n - 1).await;
        self.store.release_all();
        let mut answers = Vec::new();
        for reader in readers {
            answers.push(reader.await.unwrap());
        }
        answers
    }
}

/// A read in a task of its own.
pub(crate) fn spawn_get(
    node: &ObjectCache,
    key: &str,
) -> tokio::task::JoinHandle<Result<CachedObject>> {
    let (node, key) = (node.clone(), key.to_owned());
    tokio::spawn(async move { node.get(&key).await })
}

/// Gives way until `holds`.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// Gives way until nothing of `node` is in the air.
pub(crate) async fn at_rest(node: &ObjectCache) {
    until(|| node.read_through().keys_in_flight() == 0).await;
}

/// Polls `future` so many times, each time that it is woken. `None` if it was dropped then.
pub(crate) async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    if polls == 0 {
        return None;
    }
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Checks what a read got.
#[track_caller]
pub(crate) fn got(read: &Result<CachedObject>, body: &str, status: Status) {
    let object = read.as_ref().unwrap();
    assert_eq!((object.bytes().as_ref(), object.status()), (body.as_bytes(), status));
}

/// Checks how a call failed.
#[track_caller]
pub(crate) fn failed<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

/// Runs `scenario`; one that takes this long hangs.
pub(crate) async fn run(kind: Kind, scenario: impl AsyncFnOnce(&World)) {
    if let Some(support) = World::open(kind) {
        tokio::time::timeout(Duration::from_secs(60), scenario(&support))
            .await
            .expect("the scenario hangs");
    }
}

#[cfg(feature = "aws")]
fn s3() -> Option<Arc<dyn ObjectStore>> {
    let (endpoint, bucket) =
        server("OBJECT_CACHE_TEST_S3_ENDPOINT", "OBJECT_CACHE_TEST_S3_BUCKET")?;
    let builder = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id("test")
        .with_secret_access_key("test");
    Some(Arc::new(builder.build().unwrap()))
}

#[cfg(feature = "azure")]
fn azure() -> Option<Arc<dyn ObjectStore>> {
    // The account of every azurite server; its key is published.
    const ACCOUNT: &str = "devstoreaccount1";
    const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let (endpoint, container) =
        server("OBJECT_CACHE_TEST_AZURE_ENDPOINT", "OBJECT_CACHE_TEST_AZURE_CONTAINER")?;
    let builder = object_store::azure::MicrosoftAzureBuilder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_account(ACCOUNT)
        .with_access_key(KEY)
        .with_container_name(container);
    Some(Arc::new(builder.build().unwrap()))
}

#[cfg(not(feature = "aws"))]
fn s3() -> Option<Arc<dyn ObjectStore>> {
    static SAID: Once = Once::new();
    left_out(&SAID, "the scenarios over S3: the feature `aws` is off")
}

#[cfg(not(feature = "azure"))]
fn azure() -> Option<Arc<dyn ObjectStore>> {
    static SAID: Once = Once::new();
    left_out(&SAID, "the scenarios over Azure: the feature `azure` is off")
}

/// Where a server is and what to use of it, if both variables say so.
#[cfg(any(feature = "aws", feature = "azure"))]
fn server(endpoint: &str, bucket: &str) -> Option<(String, String)> {
    static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let found = std::env::var(endpoint).ok().zip(std::env::var(bucket).ok());
    let needed = std::env::var_os("OBJECT_CACHE_TEST_SERVERS_NEEDED").is_some();
    assert!(
        found.is_some() || !needed,
        "{endpoint} or {bucket} is not set, but servers are needed here"
    );
    let mut said = SAID.lock().unwrap();
    if found.is_none() && !said.iter().any(|variable| variable == endpoint) {
        said.push(endpoint.to_owned());
        return left_out(
            &Once::new(),
            &format!("the scenarios over a server: set {endpoint} and {bucket}"),
        );
    }
    found
}

/// Says what is left out; past the test harness, which hides what tests print.
fn left_out<T>(said: &Once, what: &str) -> Option<T> {
    said.call_once(|| {
        let _ = std::io::stderr().write_all(format!("left out: {what}\n").as_bytes());
    });
    None
}
