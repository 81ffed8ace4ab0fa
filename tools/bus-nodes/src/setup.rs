//! How a process is set up.

use std::{sync::Arc, time::Duration};

use cache_facade::object_store::ObjectStore;
use serde::{Deserialize, Serialize};

/// The argument of `bus-nodes`, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// The store that all processes share.
    pub store: Store,
    /// The address of the bus: `redis://…` or `nats://…`.
    pub bus: String,
    /// The name of the namespace, the same in all processes of the store.
    pub namespace: String,
    /// The keys to write, or to read.
    pub keys: Vec<String>,
    /// What the process does.
    pub role: Role,
}

/// What a process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Role {
    /// It writes ascending numbers as it is told.
    Writer(Writer),
    /// It reads each key in a loop of its own.
    Reader(Reader),
}

/// How a writer writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Writer {
    /// The first number of each key. From 1 on; zero stands for an object that does not exist.
    pub first: u64,
    /// The process aborts after the put of this number, counted from 1, has returned, and before it
    /// is announced.
    pub abort_at: Option<u64>,
}

/// How a reader reads: `until_notified(fallback).when_disconnected(..)`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reader {
    /// The fallback.
    pub fallback: Duration,
    /// The `max_age` while the cache does not listen. Zero is a strong rule.
    pub disconnected: Duration,
    /// The pause between two reads of a key.
    pub pause: Duration,
    /// How many messages the bus keeps while the cache does not read them; `None`: its default.
    pub buffer: Option<usize>,
    /// A fault that the ledger has to find.
    pub fault: Option<Fault>,
}

impl Default for Reader {
    /// Reads each 10 ms, and strong while the cache does not listen. The fallback is a minute: it
    /// plays no part in a test.
    fn default() -> Self {
        Self {
            fallback: Duration::from_secs(60),
            disconnected: Duration::ZERO,
            pause: Duration::from_millis(10),
            buffer: None,
            fault: None,
        }
    }
}

/// A fault that is planted in a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// It reads under `immutable`.
    Immutable,
    /// Its bus delivers its own heartbeats without a server, and nothing else: a proof of nothing.
    Deaf,
}

/// A store on a test server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Store {
    /// S3, that is moto.
    S3,
    /// Azure, that is azurite.
    Azure,
}

impl Store {
    /// Returns a client of the server that the environment names.
    ///
    /// # Errors
    ///
    /// A text that says what is missing: a feature of this program, or variables of the
    /// environment, which `cargo xtask servers` sets.
    pub fn open(self) -> Result<Arc<dyn ObjectStore>, String> {
        match self {
            Self::S3 => s3(),
            Self::Azure => azure(),
        }
    }
}

#[cfg(feature = "aws")]
fn s3() -> Result<Arc<dyn ObjectStore>, String> {
    use cache_facade::object_store::aws::AmazonS3Builder;

    let (endpoint, bucket) =
        server("OBJECT_CACHE_TEST_S3_ENDPOINT", "OBJECT_CACHE_TEST_S3_BUCKET")?;
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id("test")
        .with_secret_access_key("test");
    Ok(Arc::new(builder.build().map_err(|error| error.to_string())?))
}

#[cfg(not(feature = "aws"))]
fn s3() -> Result<Arc<dyn ObjectStore>, String> {
    Err("the feature `aws` is off".to_owned())
}

#[cfg(feature = "azure")]
fn azure() -> Result<Arc<dyn ObjectStore>, String> {
    use cache_facade::object_store::azure::MicrosoftAzureBuilder;

    // The account of every azurite server; its key is published.
    const ACCOUNT: &str = "devstoreaccount1";
    const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let (endpoint, container) =
        server("OBJECT_CACHE_TEST_AZURE_ENDPOINT", "OBJECT_CACHE_TEST_AZURE_CONTAINER")?;
    let builder = MicrosoftAzureBuilder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_account(ACCOUNT)
        .with_access_key(KEY)
        .with_container_name(container);
    Ok(Arc::new(builder.build().map_err(|error| error.to_string())?))
}

#[cfg(not(feature = "azure"))]
fn azure() -> Result<Arc<dyn ObjectStore>, String> {
    Err("the feature `azure` is off".to_owned())
}

#[cfg(any(feature = "aws", feature = "azure"))]
fn server(endpoint: &str, bucket: &str) -> Result<(String, String), String> {
    let found = std::env::var(endpoint).ok().zip(std::env::var(bucket).ok());
    found.ok_or_else(|| format!("set {endpoint} and {bucket}, or use `cargo xtask servers`"))
}
