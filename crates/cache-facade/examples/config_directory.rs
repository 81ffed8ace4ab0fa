//! A directory of 1,000 typed files, read again when one of them changes: one LIST and one GET, in
//! place of 1,000 conditional GETs. Prints the requests, and their price on S3.
//!
//! Runs over a store in memory. With `OBJECT_CACHE_FOLDER=/path` over a folder on local disk, into
//! which it writes.

use std::{collections::BTreeMap, env, error::Error as StdError, sync::Arc, time::Duration};

use cache_facade::{
    Bytes, ObjectCache, PrefixChange, Result,
    object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory},
};
use futures_util::StreamExt as _;

/// The limits of one customer.
#[derive(Debug, PartialEq)]
struct Limits {
    requests: u32,
    burst: u32,
}

impl Limits {
    /// Lines of `name = value`. With serde it is `serde_json::from_slice(bytes)`.
    fn decode(bytes: &Bytes) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        let lines = str::from_utf8(bytes)?.lines();
        let values: BTreeMap<_, _> = lines.filter_map(|line| line.split_once(" = ")).collect();
        let value = |name| -> Result<u32, Box<dyn StdError + Send + Sync>> {
            Ok(values.get(name).ok_or_else(|| format!("{name} is missing"))?.parse()?)
        };
        Ok(Self { requests: value("requests")?, burst: value("burst")? })
    }
}

type Directory = BTreeMap<String, Arc<Limits>>;

/// Reads and decodes all files that have changed; the others come from the cache.
async fn load(cache: &ObjectCache) -> Result<Directory> {
    let mut files = cache.get_decoded_prefix(FOLDER, Limits::decode);
    let mut directory = Directory::new();
    while let Some(file) = files.next().await {
        let (object, limits) = file?;
        directory.insert(object.key().to_owned(), limits);
    }
    Ok(directory)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let bucket: Arc<dyn ObjectStore> = match env::var("OBJECT_CACHE_FOLDER") {
        Ok(folder) => Arc::new(LocalFileSystem::new_with_prefix(folder)?),
        Err(_) => Arc::new(InMemory::new()),
    };
    let operator = ObjectCache::builder(Arc::clone(&bucket)).name("operator").build()?;
    for n in 0..N_FILES {
        operator.put(&key(n), format!("requests = {n}\nburst = 10")).await?;
    }

    let cache = ObjectCache::builder(bucket).name("service").build()?;
    // Files on local disk have a timestamp as their ETag, which is trusted when it is old enough.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let directory = load(&cache).await?;
    assert_eq!((directory.len(), directory[&key(7)].burst), (N_FILES, 10));
    report("first load", &cache, 0, 0);

    let Requests { lists, gets } = requests(&cache);
    let again = load(&cache).await?;
    report("nothing changed", &cache, lists, gets);
    assert!(Arc::ptr_eq(&again[&key(7)], &directory[&key(7)]), "it was not decoded again");

    // Tells which files have changed, and when to load again.
    let mut changes = cache.watch_prefix(FOLDER, Duration::from_millis(10));
    for _ in 0..N_FILES {
        changes.next().await.expect("a watch goes on")?;
    }
    operator.put(&key(7), "requests = 7\nburst = 99").await?;
    let PrefixChange::Modified { key: changed, .. } = changes.next().await.expect("it goes on")?
    else {
        return Err("one file was modified".into());
    };
    drop(changes);

    let Requests { lists, gets } = requests(&cache);
    let directory = load(&cache).await?;
    report("one file changed", &cache, lists, gets);
    assert_eq!(*directory[changed.as_str()], Limits { requests: 7, burst: 99 });
    println!(
        "1,000 conditional GETs instead: 1000 requests, ${:.7} on S3",
        1000.0 * DOLLARS_PER_GET,
    );
    Ok(())
}

struct Requests {
    lists: u64,
    gets: u64,
}

fn requests(cache: &ObjectCache) -> Requests {
    let stats = cache.stats().origin;
    Requests { lists: stats.lists.requests(), gets: stats.reads() }
}

fn report(name: &str, cache: &ObjectCache, lists_before: u64, gets_before: u64) {
    let Requests { lists, gets } = requests(cache);
    let (lists, gets) = (lists - lists_before, gets - gets_before);
    let dollars = lists as f64 * DOLLARS_PER_LIST + gets as f64 * DOLLARS_PER_GET;
    println!("{name}: {lists} LIST, {gets} GET, ${dollars:.7} on S3");
}

fn key(n: usize) -> String {
    format!("{FOLDER}customer-{n:04}")
}

const FOLDER: &str = "limits/";
const N_FILES: usize = 1000;
/// S3 Standard in us-east-1.
const DOLLARS_PER_LIST: f64 = 0.005 / 1000.0;
const DOLLARS_PER_GET: f64 = 0.0004 / 1000.0;
