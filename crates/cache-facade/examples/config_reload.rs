//! Typed configuration: decoded once for each version, and reloaded when another node writes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_facade::{ErrorKind, Freshness, ObjectCache, Result, object_store::memory::InMemory};
use serde::Deserialize;

#[derive(Debug, PartialEq, Deserialize)]
struct Config {
    greeting: String,
    requests_max: u32,
}

/// The service's side: what it answers requests with.
struct Service {
    cache: ObjectCache,
    n_decoded: AtomicUsize,
}

impl Service {
    /// Called for every request. Asks nobody while the copy is fresh, which the watch sees to.
    async fn config(&self) -> Result<Arc<Config>> {
        let decode = |bytes: &cache_facade::Bytes| {
            self.n_decoded.fetch_add(1, Ordering::Relaxed);
            serde_json::from_slice(bytes)
        };
        self.cache.get_decoded(KEY, decode).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let bucket = Arc::new(InMemory::new());
    let operator = ObjectCache::builder(bucket.clone()).name("operator").build()?;
    operator.put(KEY, r#"{"greeting": "hello", "requests_max": 10}"#).await?;

    let hour = Freshness::max_age(Duration::from_secs(3600));
    let cache = ObjectCache::builder(bucket).name("service").freshness(hour).build()?;
    let mut updates = cache.watch(KEY, Duration::from_millis(10));
    let service = Service { cache, n_decoded: AtomicUsize::new(0) };

    // The watch brings each version into the cache; whoever asks then gets it.
    updates.next().await.expect("a watch of a good key goes on")?;
    for _ in 0..1000 {
        assert_eq!(service.config().await?.requests_max, 10);
    }
    println!("1,000 requests answered: {} decoded", service.n_decoded.load(Ordering::Relaxed));
    assert_eq!(service.n_decoded.load(Ordering::Relaxed), 1);

    operator.put(KEY, r#"{"greeting": "good evening", "requests_max": 20}"#).await?;
    updates.next().await.expect("a watch of a good key goes on")?;
    let config = service.config().await?;
    println!("reloaded: {config:?}");
    assert_eq!(*config, Config { greeting: "good evening".to_owned(), requests_max: 20 });
    assert_eq!(service.n_decoded.load(Ordering::Relaxed), 2);

    // A slip of the operator's is an error of this version; the last good one is still in `config`.
    operator.put(KEY, r#"{"greeting": "good "#).await?;
    updates.next().await.expect("a watch of a good key goes on")?;
    let error = service.config().await.expect_err("it is half a document");
    println!("kept {:?}: {error}", config.greeting);
    assert_eq!(error.kind(), ErrorKind::Decode);
    Ok(())
}

const KEY: &str = "config/service.json";
