//! A program that knows only `ObjectStore`, and what it saves to give it a cached store.

use std::{ops::Range, sync::Arc, time::Duration};

use cache_facade::{
    Bytes, CachedStore, Freshness, Memory,
    object_store::{self, ObjectStore, ObjectStoreExt, path::Path},
};
use cache_testkit::FaultyStore;

/// A table of numbers, in parts. Each ends in a footer of 8 bytes, which says how many numbers it
/// has.
struct Table(Arc<dyn ObjectStore>);

impl Table {
    async fn write(
        &self,
        part: u64,
        numbers: impl Iterator<Item = u64>,
    ) -> object_store::Result<()> {
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.push(numbers.len() as u64);
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        self.0.put(&path(part), bytes.into()).await.map(drop)
    }

    /// As a query engine reads: the size, the footer, then what it needs; here every second number.
    async fn sum(&self) -> object_store::Result<u64> {
        let mut sum = 0;
        for part in 0..PARTS {
            let path = path(part);
            let size = self.0.head(&path).await?.size;
            let count = number(&self.0.get_range(&path, size - 8..size).await?);
            let wanted: Vec<Range<u64>> = (0..count).step_by(2).map(|n| n * 8..n * 8 + 8).collect();
            sum += self.0.get_ranges(&path, &wanted).await?.iter().map(number).sum::<u64>();
        }
        Ok(sum)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A store in memory that counts its requests.
    let bucket = FaultyStore::in_memory();
    let cached = || CachedStore::builder(Arc::new(bucket.clone()), Memory::new());
    let minute = Freshness::max_age(Duration::from_secs(60));

    let bare = Table(Arc::new(bucket.clone()));
    let strong = Table(Arc::new(cached().build()?));
    let relaxed = Table(Arc::new(cached().freshness(minute).build()?));

    for part in 0..PARTS {
        bare.write(part, part * 1000..part * 1000 + 1000).await?;
    }
    println!("query                     sum   requests      bytes");
    let query = async |name: &str, table: &Table| {
        bucket.reset();
        let sum = table.sum().await?;
        let (requests, bytes) = (bucket.count(), bucket.body_bytes());
        println!("{name:<19}{sum:>10}{requests:>11}{bytes:>11}");
        Ok::<_, object_store::Error>((sum, requests, bytes))
    };
    let plain = query("bare", &bare).await?;
    assert_eq!(query("bare, again", &bare).await?, plain);

    // Strong: the bucket is asked each time whether a part has changed. Its bytes come once.
    assert_eq!(query("strong", &strong).await?.0, plain.0);
    assert_eq!(query("strong, again", &strong).await?, (plain.0, plain.1, 0));

    // Relaxed: nor is it asked within a minute.
    assert_eq!(query("relaxed", &relaxed).await?.0, plain.0);
    assert_eq!(query("relaxed, again", &relaxed).await?, (plain.0, 0, 0));

    // A write is seen at once by the store that it goes through, and by every strong one.
    relaxed.write(3, [1_000_000].into_iter()).await?;
    let (sum, ..) = query("bare, changed", &bare).await?;
    assert_ne!(sum, plain.0);
    assert_eq!(query("strong, changed", &strong).await?.0, sum);
    assert_eq!(query("relaxed, changed", &relaxed).await?.0, sum);
    Ok(())
}

fn path(part: u64) -> Path {
    Path::from(format!("table/part-{part}"))
}

fn number(bytes: &Bytes) -> u64 {
    u64::from_le_bytes(bytes.as_ref().try_into().expect("a number has 8 bytes"))
}

const PARTS: u64 = 8;
