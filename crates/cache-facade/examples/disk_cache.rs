//! A working set of ten times the memory, with a disk below it, before and after a restart.
//!
//! ```text
//! disk_cache [DIRECTORY]
//! ```
//!
//! The directory is the disk's; without an argument it is one that the program removes at its end.
//! If an earlier run has left its entries there, the first part begins with them.
//!
//! Each part reads all objects twice. The second part is a new cache over the same directory, as
//! the next process would have: it sends one request for each object, and gets no bytes.

use std::{env, error::Error, path::Path, sync::Arc};

use cache_facade::{
    CachedStore, CachedStoreStats, DiskTier, Memory, Namespace,
    cache_core::TierState,
    object_store::{ObjectStoreExt as _, path::Path as Location},
};
use cache_testkit::FaultyStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut argument = env::args().skip(1);
    let own = tempfile::tempdir()?;
    let directory = argument.next().map_or_else(|| own.path().to_owned(), Into::into);

    // A store that counts its requests.
    let store = FaultyStore::in_memory();
    for number in 0..OBJECTS {
        store.inner().put(&location(number), body(number).into()).await?;
    }
    println!(
        "{OBJECTS} objects of {} KiB, {} KiB of memory\n",
        OBJECT_BYTES / 1024,
        MEMORY_BYTES / 1024
    );
    println!("part      requests  bytes from the store  blocks: in memory  on disk  fetched");
    let first = part(&store, &directory, "first").await?;
    let second = part(&store, &directory, "restarted").await?;

    let all = OBJECTS as u64 * OBJECT_BYTES as u64;
    let blocks = all / BLOCK_BYTES;
    let (first, was_empty) = first;
    if was_empty {
        // The first reads fetch the bytes, the second ones find evicted blocks on disk.
        assert_eq!((first.requests(), first.bytes_from_origin), (2 * OBJECTS as u64, all));
        assert_eq!((first.blocks_missed, first.blocks_hit), (blocks, blocks));
        assert!(first.blocks_from_disk > blocks / 2);
    }
    // After the restart, each read of an object is one request, which confirms its version.
    let (second, _) = second;
    assert_eq!((second.requests(), second.bytes_from_origin), (2 * OBJECTS as u64, 0));
    assert_eq!((second.blocks_missed, second.blocks_hit), (0, 2 * blocks));
    assert!(second.blocks_from_disk > blocks, "memory was empty, and is small");
    Ok(())
}

/// Reads all objects twice through a new cache over `directory`. Also returns whether that was
/// empty.
async fn part(
    store: &FaultyStore,
    directory: &Path,
    name: &str,
) -> Result<(CachedStoreStats, bool), Box<dyn Error>> {
    let cached =
        CachedStore::builder(Arc::new(store.clone()), Memory::new().max_capacity(MEMORY_BYTES))
            .block_size(BLOCK_BYTES)
            .disk(DiskTier::new(directory).max_capacity(1 << 30))
            // The same name in every process, or nothing is found again.
            .namespace(Namespace::named("an example's store as reader"))
            .build()?;
    // Until the disk was read, its blocks are fetched like any others. Programs need not wait.
    while cached.lower_tier().is_some_and(|tier| tier.state == TierState::Starting) {
        tokio::task::yield_now().await;
    }
    let was_empty = cached.lower_tier().is_some_and(|tier| tier.recovered == 0);
    store.reset();
    for number in (0..OBJECTS).chain(0..OBJECTS) {
        let read = cached.get(&location(number)).await?.bytes().await?;
        assert_eq!(read, body(number));
    }
    let stats = cached.stats();
    assert_eq!(
        (stats.requests(), stats.bytes_from_origin),
        (store.count() as u64, store.body_bytes())
    );
    println!(
        "{name:<10}{:>8}{:>22}{:>19}{:>9}{:>9}",
        store.count(),
        store.body_bytes(),
        stats.blocks_hit - stats.blocks_from_disk,
        stats.blocks_from_disk,
        stats.blocks_missed,
    );
    // Writes the entries that still wait; they stay on disk.
    cached.close().await?;
    Ok((stats, was_empty))
}

fn location(number: usize) -> Location {
    Location::from(format!("tables/{number}"))
}

fn body(number: usize) -> Vec<u8> {
    (0..=250).cycle().skip(number).take(OBJECT_BYTES).collect()
}

const OBJECTS: usize = 40;
const OBJECT_BYTES: usize = 256 * 1024;
const BLOCK_BYTES: u64 = 64 * 1024;
/// A tenth of the objects.
const MEMORY_BYTES: u64 = 1024 * 1024;
