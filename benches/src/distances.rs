//! The cost of a read by the size of the object and the distance of the store: whole objects over
//! the S3 protocol on the loopback interface, cold and warm, without a cache, through moka and
//! foyer as they are put in front of a store by hand (whole objects, never validated), and through
//! ours. And the size from which validating a copy is cheaper than getting the object again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_facade::{
    cache_store::CachedStore,
    object_store::{
        ObjectStoreExt,
        throttle::{ThrottleConfig, ThrottledStore},
    },
};
use cache_testkit::{FaultyStore, S3Server};

use crate::{
    Row, Stopwatch, publish,
    read_through::{Foyer, Moka, ReadThrough, Result, Source},
    subjects::{
        objects::runtime,
        ranges::{cached, drained, freshness_rules, path},
    },
};

/// Measures all sizes at all distances, publishes the rows as group `distances`, and prints the
/// break-even.
pub fn run() {
    let server = S3Server::start().expect("a port is free");
    runtime().block_on(async {
        let mut rows = Vec::new();
        for first_byte in [0, 1, 30] {
            for (name, len) in SIZES {
                let case = format!("{name}, first byte after {first_byte} ms");
                let bench = Bench::new(&server, Duration::from_millis(first_byte), len);
                rows.extend(bench.compare(&format!("cold, {case}"), false).await);
                rows.extend(bench.compare(&format!("warm, {case}"), true).await);
            }
        }
        publish("distances", &rows);
        break_even(&server).await;
    });
}

/// An object of one size in a store at one distance, and its readers.
struct Bench {
    store: FaultyStore,
    readers: Vec<(&'static str, Reader)>,
    len: u64,
    rounds: usize,
}

enum Reader {
    Uncached,
    Moka(Moka<FaultyStore>),
    Foyer(Foyer<FaultyStore>),
    Ours(CachedStore),
}

impl Bench {
    fn new(server: &S3Server, first_byte: Duration, len: u64) -> Self {
        let body = vec![b'x'; usize::try_from(len).expect("the object fits into memory")];
        server.put(path().as_ref(), body);
        let config = ThrottleConfig { wait_get_per_call: first_byte, ..ThrottleConfig::default() };
        let store = FaultyStore::new(Arc::new(ThrottledStore::new(server.client(), config)));
        let mut readers = vec![
            ("bare", Reader::Uncached),
            ("moka", Reader::Moka(Moka::new(100, store.clone()))),
            ("foyer", Reader::Foyer(Foyer::new(100, store.clone()))),
        ];
        let ours = |(name, freshness)| (name, Reader::Ours(cached(&store, freshness)));
        readers.extend(freshness_rules().map(ours));
        let rounds = if len > 1 << 20 || !first_byte.is_zero() { 15 } else { 201 };
        Self { store, readers, len, rounds }
    }

    /// The median time of each reader; the readers run in turn.
    async fn compare(&self, case: &str, warm: bool) -> Vec<Row> {
        let mut times = vec![Vec::new(); self.readers.len()];
        let mut notes = vec![String::new(); self.readers.len()];
        // The first round only warms up.
        for round in 0..=self.rounds {
            for (n, (_, reader)) in self.readers.iter().enumerate() {
                if !warm {
                    reader.clear().await;
                }
                self.store.reset();
                let watch = Stopwatch::start();
                let len = reader.read(&self.store).await;
                let time = watch.elapsed();
                assert_eq!(len, self.len, "the body is whole");
                if round > 0 {
                    times[n].push(time);
                    let (requests, bytes) = (self.store.count(), self.store.body_bytes());
                    notes[n] = format!("{requests} requests, {bytes} bytes");
                }
            }
        }
        let rows = self.readers.iter().zip(times).zip(notes);
        rows.map(|(((name, _), mut times), note)| {
            times.sort_unstable();
            let median = times[times.len() / 2].as_secs_f64() * 1e6;
            Row::new(case, *name, "bare", (median, "us"), note)
        })
        .collect()
    }
}

/// Prints both times, size by size, at no distance: at any other, both wait for it.
async fn break_even(server: &S3Server) {
    println!("\nbreak-even: a validated hit over a GET without a cache, no distance");
    for kib in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] {
        let rows = Bench::new(server, Duration::ZERO, kib << 10).compare("", true).await;
        let [hit, get] = ["ours:strong", "bare"].map(|name| {
            rows.iter().find(|row| row.subject == name).map_or(f64::NAN, |row| row.value)
        });
        println!("  {kib:>5} KiB  {hit:>8.1} us  {get:>8.1} us  {:.2} x", hit / get);
    }
}

impl Reader {
    /// Returns how many bytes were read.
    async fn read(&self, store: &FaultyStore) -> u64 {
        let path = path();
        let body = match self {
            Self::Uncached => return drained(store.get(&path).await).await,
            Self::Ours(cached) => return drained(cached.get(&path).await).await,
            Self::Moka(cache) => cache.get(path.as_ref()).await,
            Self::Foyer(cache) => cache.get(path.as_ref()).await,
        };
        body.expect("the object exists").len() as u64
    }

    async fn clear(&self) {
        match self {
            Self::Uncached => {}
            Self::Moka(cache) => cache.clear().await,
            Self::Foyer(cache) => cache.clear().await,
            Self::Ours(cached) => cached.clear().await.expect("the cache is open"),
        }
    }
}

impl Source for FaultyStore {
    async fn fetch(&self, key: &str) -> Result<Bytes> {
        let response = self.get(&key.into()).await.expect("the object exists");
        Ok(response.bytes().await.expect("the body is whole"))
    }
}

const SIZES: [(&str, u64); 4] =
    [("4 KiB", 4 << 10), ("256 KiB", 256 << 10), ("8 MiB", 8 << 20), ("64 MiB", 64 << 20)];
