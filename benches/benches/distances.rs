//! What does a read cost whose object is so many bytes long, in a store that is so far away? Whole objects over S3's
//! protocol on the loopback interface, cold and warm, through the bare store, through moka and foyer as they are put in
//! front of a store by hand (whole objects, never validated), and through ours. And from which size on is asking whether a
//! copy is still right cheaper than getting the object anew?

#[path = "../subjects/mod.rs"]
mod subjects;

use std::{sync::Arc, time::Duration};

use bench_harness::{Row, Stopwatch, publish};
use bytes::Bytes;
use cache_facade::{
    Freshness,
    cache_store::CachedStore,
    object_store::{
        ObjectStoreExt,
        path::Path,
        throttle::{ThrottleConfig, ThrottledStore},
    },
};
use cache_testkit::{FaultyStore, S3Server};

use crate::subjects::ranges::{HOUR, cached, drained, path};

fn main() {
    let server = S3Server::start().expect("a port is free");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(async {
        let mut rows = Vec::new();
        for first_byte in [0, 1, 30] {
            for (name, len) in SIZES {
                let case = format!("{name}, first byte after {first_byte} ms");
                let bench = Bench::new(&server, Duration::from_millis(first_byte), len);
                rows.extend(bench.compare(&format!("cold, {case}"), false).await);
                rows.extend(bench.compare(&format!("warm, {case}"), true).await);
            }
        }
        publish("distances", &rows).expect("the target folder can be written to");
        break_even(&server).await;
    });
}

/// An object of one size in a store at one distance, and who reads it.
struct Bench {
    store: FaultyStore,
    readers: Vec<(&'static str, Reader)>,
    len: u64,
    rounds: usize,
}

impl Bench {
    fn new(server: &S3Server, first_byte: Duration, len: u64) -> Self {
        server.put(path().as_ref(), vec![b'x'; usize::try_from(len).expect("it fits")]);
        let config = ThrottleConfig { wait_get_per_call: first_byte, ..ThrottleConfig::default() };
        let store = FaultyStore::new(Arc::new(ThrottledStore::new(server.client(), config)));
        let ours = |freshness| Reader::Ours(cached(&store, freshness));
        let readers = vec![
            ("bare", Reader::Bare),
            ("moka", Reader::Moka(moka::future::Cache::new(100))),
            ("foyer", Reader::Foyer(foyer_memory::CacheBuilder::new(100).build())),
            ("ours:immutable", ours(Freshness::immutable())),
            ("ours:max_age", ours(Freshness::max_age(HOUR))),
            ("ours:strong", ours(Freshness::strong())),
        ];
        let rounds = if len > 1 << 20 || !first_byte.is_zero() { 15 } else { 201 };
        Self { store, readers, len, rounds }
    }

    /// The median time of each reader, who take turns.
    async fn compare(&self, case: &str, warm: bool) -> Vec<Row> {
        let mut seen = vec![Vec::new(); self.readers.len()];
        let mut asked = vec![(0, 0); self.readers.len()];
        // The first round only warms up.
        for round in 0..=self.rounds {
            for (n, (_, reader)) in self.readers.iter().enumerate() {
                if !warm {
                    reader.forget().await;
                }
                self.store.reset();
                let watch = Stopwatch::start();
                let len = reader.read(&self.store).await;
                let took = watch.elapsed();
                assert_eq!(len, self.len, "the body is whole");
                if round > 0 {
                    seen[n].push(took);
                    asked[n] = (self.store.count(), self.store.body_bytes());
                }
            }
        }
        let rows = self.readers.iter().zip(seen).zip(asked);
        rows.map(|(((name, _), mut seen), (requests, bytes))| {
            seen.sort_unstable();
            Row {
                case: case.to_owned(),
                subject: (*name).to_owned(),
                reference: "bare".to_owned(),
                threads: 1,
                unit: "us",
                value: seen[seen.len() / 2].as_secs_f64() * 1e6,
                wall: 0.0,
                note: format!("{requests} requests, {bytes} bytes"),
            }
        })
        .collect()
    }
}

/// Prints both sides, from size to size, without a distance: with one, both wait for it.
async fn break_even(server: &S3Server) {
    println!("\nbreak-even: a validated hit over a get of the bare store, no distance");
    for kib in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] {
        let bench = Bench::new(server, Duration::ZERO, kib << 10);
        let rows = bench.compare("", true).await;
        let of = |name| rows.iter().find(|row| row.subject == name).map_or(f64::NAN, |row| row.value);
        let (hit, get) = (of("ours:strong"), of("bare"));
        println!("  {kib:>5} KiB  {hit:>8.1} us  {get:>8.1} us  {:.2} x", hit / get);
    }
}

enum Reader {
    Bare,
    Moka(moka::future::Cache<Path, Bytes>),
    Foyer(foyer_memory::Cache<Path, Bytes>),
    Ours(CachedStore),
}

impl Reader {
    /// How many bytes came.
    async fn read(&self, store: &FaultyStore) -> u64 {
        let path = path();
        let fetch =
            async { store.get(&path).await.expect("it is there").bytes().await.expect("it is whole") };
        match self {
            Self::Bare => drained(store.get(&path).await).await,
            Self::Ours(cached) => drained(cached.get(&path).await).await,
            Self::Moka(cache) => cache.get_with_by_ref(&path, fetch).await.len() as u64,
            Self::Foyer(cache) => match cache.get(&path) {
                Some(entry) => entry.value().len() as u64,
                None => cache.insert(path.clone(), fetch.await).value().len() as u64,
            },
        }
    }

    async fn forget(&self) {
        match self {
            Self::Bare => {}
            Self::Moka(cache) => {
                cache.invalidate_all();
                cache.run_pending_tasks().await;
            }
            Self::Foyer(cache) => cache.clear(),
            Self::Ours(cached) => cached.clear().await.expect("the cache is open"),
        }
    }
}

const SIZES: [(&str, u64); 4] =
    [("4 KiB", 4 << 10), ("256 KiB", 256 << 10), ("8 MiB", 8 << 20), ("64 MiB", 64 << 20)];
