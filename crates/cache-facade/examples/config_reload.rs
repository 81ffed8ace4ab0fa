//! Typed configuration: decoded once for each version, and reloaded when another node writes it.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_facade::{
    Bytes, ErrorKind, Freshness, ObjectCache, Result, object_store::memory::InMemory,
};

#[derive(Debug, PartialEq)]
struct Config {
    greeting: String,
    requests_max: u32,
}

impl Config {
    /// Lines of `name = value`. With serde it is `serde_json::from_slice(bytes)`.
    fn decode(bytes: &Bytes) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        let lines = str::from_utf8(bytes)?.lines();
        let values: HashMap<_, _> = lines.filter_map(|line| line.split_once(" = ")).collect();
        let value = |name| values.get(name).ok_or_else(|| format!("{name} is missing"));
        Ok(Self {
            greeting: (*value("greeting")?).to_owned(),
            requests_max: value("requests_max")?.parse()?,
        })
    }
}

/// The service's side: what it answers requests with.
struct Service {
    cache: ObjectCache,
    n_decoded: AtomicUsize,
}

impl Service {
    /// Called for every request. Asks nobody while the copy is fresh, which the watch sees to.
    async fn config(&self) -> Result<Arc<Config>> {
        let decode = |bytes: &Bytes| {
            self.n_decoded.fetch_add(1, Ordering::Relaxed);
            Config::decode(bytes)
        };
        self.cache.get_decoded(KEY, decode).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let bucket = Arc::new(InMemory::new());
    let operator = ObjectCache::builder(bucket.clone()).name("operator").build()?;
    operator.put(KEY, "greeting = hello\nrequests_max = 10").await?;

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

    operator.put(KEY, "greeting = good evening\nrequests_max = 20").await?;
    updates.next().await.expect("a watch of a good key goes on")?;
    let config = service.config().await?;
    println!("reloaded: {config:?}");
    assert_eq!(*config, Config { greeting: "good evening".to_owned(), requests_max: 20 });
    assert_eq!(service.n_decoded.load(Ordering::Relaxed), 2);

    // A slip of the operator's is an error of this version; the last good one is still in `config`.
    operator.put(KEY, "greeting = good night\nrequests_max = a few").await?;
    updates.next().await.expect("a watch of a good key goes on")?;
    let error = service.config().await.expect_err("a few is no number");
    let cause = error.source().expect("the decoder says why");
    println!("kept {:?}: {error}: {cause}", config.greeting);
    assert_eq!((error.kind(), &*config.greeting), (ErrorKind::Decode, "good evening"));
    Ok(())
}

const KEY: &str = "config/service.conf";
