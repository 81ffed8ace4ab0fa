//! `--disk`: one cache with a disk tier, closed in the middle and opened again over the same
//! directory. Every object is read once in each part.

use std::{error::Error, io::Write, path::Path, sync::Arc, time::Duration};

use cache_facade::{
    Clock, DiskTier, Freshness, Memory, Namespace, ObjectCache, Stats,
    cache_core::{TierState, TierStats},
    object_store::{ObjectStore, ObjectStoreExt, path::Path as Location},
};
use cache_testkit::TokioClock;
use tokio::task::JoinSet;

use crate::{
    bodies,
    bucket::{Bucket, Requests},
    units::{bytes, count, time},
};

/// The size of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) n_objects: usize,
    pub(crate) n_readers: usize,
    /// To the store.
    pub(crate) round_trip: Duration,
    /// Of memory, in bytes: less than the objects have.
    pub(crate) memory: u64,
    /// Of the disk, in bytes: more than the objects have.
    pub(crate) disk: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_objects: 1000,
            n_readers: 32,
            round_trip: Duration::from_millis(40),
            memory: 4 << 20,
            disk: 256 << 20,
        }
    }
}

/// The counts of one part of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) reads: u64,
    /// Reads whose entry was on disk, or waited to be written.
    pub(crate) disk: u64,
    /// Reads whose body came from the store.
    pub(crate) store: u64,
    /// Requests without a body.
    pub(crate) not_modified: u64,
    /// As the store counted them.
    pub(crate) gets: u64,
    pub(crate) bytes: u64,
    /// Bodies that were not the object's.
    pub(crate) wrong: u64,
    /// The most bytes that a reader has seen wait to be written.
    pub(crate) queue: u64,
    /// The median of the reads.
    pub(crate) median: Duration,
}

/// Plays all parts over the directory `path` and writes a line for each. Returns whether all bodies
/// and all counts were right.
///
/// # Errors
///
/// If the directory cannot be used, a read fails, or `out` does.
pub(crate) async fn run(
    settings: Settings,
    path: &Path,
    out: &mut dyn Write,
) -> Result<bool, Box<dyn Error>> {
    let bucket = Arc::new(Bucket::new(settings.round_trip));
    for number in 0..settings.n_objects {
        let body = bodies::body(number, VERSION).into();
        bucket.inner().put(&Location::from(bodies::key(number)), body).await?;
    }
    writeln!(
        out,
        "{} objects {} ms away; {} of memory over {} of disk\n\n{}",
        count(settings.n_objects as u64),
        settings.round_trip.as_millis(),
        bytes(settings.memory),
        bytes(settings.disk),
        heading(),
    )?;
    let cache = open(settings, &bucket, path)?;
    started(&cache).await;
    let cold = read_all(settings, &cache, &bucket).await?;
    writeln!(out, "{}", line("first reads", &cold))?;
    let warm = read_all(settings, &cache, &bucket).await?;
    writeln!(out, "{}", line("again", &warm))?;
    writeln!(out, "{}", tier_line(&tier(&cache), &[cold, warm]))?;

    cache.close().await?;
    let written = tier(&cache);
    drop(cache);
    writeln!(
        out,
        "\nclosed, and opened over the same directory:\n{}",
        tier_line(&written, &[cold, warm])
    )?;

    let cache = open(settings, &bucket, path)?;
    started(&cache).await;
    let recovered = tier(&cache).recovered;
    writeln!(out, "{} entries found again\n\n{}", count(recovered), heading())?;
    let restarted = read_all(settings, &cache, &bucket).await?;
    writeln!(out, "{}", line("first reads", &restarted))?;
    let again = read_all(settings, &cache, &bucket).await?;
    writeln!(out, "{}", line("again", &again))?;
    writeln!(out, "{}", tier_line(&tier(&cache), &[restarted, again]))?;
    cache.close().await?;

    let findings = findings(settings.n_objects as u64, recovered, [cold, warm, restarted, again]);
    match findings.len() {
        0 => writeln!(out, "\nall bodies and all counts are right")?,
        n => writeln!(out, "\n{n} counts are wrong:\n  {}", findings.join("\n  "))?,
    }
    Ok(findings.is_empty())
}

fn open(
    settings: Settings,
    bucket: &Arc<Bucket>,
    path: &Path,
) -> Result<ObjectCache, cache_facade::Error> {
    let store: Arc<dyn ObjectStore> = Arc::clone(bucket) as _;
    ObjectCache::builder(store)
        .name("disk")
        .clock(Arc::new(TokioClock::new()))
        .freshness(Freshness::max_age(Duration::from_secs(3600)))
        .backend(Memory::new().max_capacity(settings.memory))
        .disk(DiskTier::new(path).max_capacity(settings.disk))
        // Without it nothing is found again.
        .namespace(Namespace::named("demo"))
        .build()
}

/// Waits until the entries on disk are known. Look-ups miss until then.
async fn started(cache: &ObjectCache) {
    while tier(cache).state == TierState::Starting {
        tokio::task::yield_now().await;
    }
}

fn tier(cache: &ObjectCache) -> TierStats {
    cache.lower_tier().unwrap_or_default()
}

/// Reads each object once, with several readers.
async fn read_all(
    settings: Settings,
    cache: &ObjectCache,
    bucket: &Bucket,
) -> Result<Part, Box<dyn Error>> {
    let before = (cache.stats(), tier(cache), bucket.requests());
    let mut readers = JoinSet::new();
    for reader in 0..settings.n_readers {
        let (cache, clock) = (cache.clone(), TokioClock::new());
        readers.spawn(async move {
            let (mut wrong, mut queue, mut times) = (0, 0, Vec::new());
            for number in (reader..settings.n_objects).step_by(settings.n_readers) {
                let begun = clock.now();
                let object = cache.get(&bodies::key(number)).await?;
                times.push(clock.now().saturating_since(begun));
                wrong += u64::from(bodies::version(number, object.bytes()) != Some(VERSION));
                queue = tier(&cache).queue_bytes.max(queue);
            }
            Ok::<_, cache_facade::Error>((wrong, queue, times))
        });
    }
    let (mut wrong, mut queue, mut times) = (0, 0, Vec::new());
    while let Some(read) = readers.join_next().await {
        let (is_wrong, waited, took) = read??;
        (wrong, queue) = (wrong + is_wrong, waited.max(queue));
        times.extend(took);
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let after = (cache.stats(), tier(cache), bucket.requests());
    Ok(Part { wrong, queue, median, ..part(before, after) })
}

/// The difference between two moments.
fn part(
    (stats, tier, store): (Stats, TierStats, Requests),
    (stats_after, tier_after, store_after): (Stats, TierStats, Requests),
) -> Part {
    let stats = stats_after - stats;
    Part {
        reads: stats.gets(),
        disk: tier_after.hits - tier.hits,
        store: stats.misses(),
        not_modified: stats.origin.not_modified,
        gets: store_after.gets - store.gets,
        bytes: store_after.bytes - store.bytes,
        ..Part::default()
    }
}

fn heading() -> String {
    format!(
        "{:<12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>11}{:>9}",
        "", "reads", "memory", "disk", "store", "GETs", "304", "sent", "p50"
    )
}

fn line(name: &str, part: &Part) -> String {
    format!(
        "{name:<12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>11}{:>9}",
        count(part.reads),
        count(part.memory()),
        count(part.disk),
        count(part.store),
        count(part.gets),
        count(part.not_modified),
        bytes(part.bytes),
        time(part.median),
    )
}

fn tier_line(tier: &TierStats, parts: &[Part]) -> String {
    let queue = parts.iter().map(|part| part.queue).max().unwrap_or_default();
    // A closed tier has let go of its index.
    let entries = match tier.state {
        TierState::Closed => String::new(),
        _ => format!("{} entries, ", count(tier.entries)),
    };
    format!(
        "disk {}: {entries}{}; written {} for {} of entries; queue {}, at most {}; {} dropped",
        tier.state.as_str(),
        bytes(tier.bytes),
        bytes(tier.written_bytes),
        bytes(tier.payload_bytes),
        bytes(tier.queue_bytes),
        bytes(queue),
        count(tier.dropped.total()),
    )
}

impl Part {
    /// Reads whose entry was in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.reads.saturating_sub(self.disk + self.store)
    }
}

/// The counts that are not as they must be, a line each.
pub(crate) fn findings(n: u64, recovered: u64, parts: [Part; 4]) -> Vec<String> {
    let [cold, warm, restarted, again] = parts;
    let wrong: u64 = parts.iter().map(|part| part.wrong).sum();
    let of_disk = [("second", warm), ("fourth", again)]
        .map(|(name, part)| (format!("GETs in the {name} part"), part.gets, 0));
    [
        ("wrong bodies".to_owned(), wrong, 0),
        ("bodies from the store at first".to_owned(), cold.store, n),
        ("GETs at first".to_owned(), cold.gets, n),
        ("entries found again".to_owned(), recovered, n),
        ("entries from disk after the restart".to_owned(), restarted.disk, n),
        ("304s after the restart".to_owned(), restarted.not_modified, n),
        ("GETs after the restart".to_owned(), restarted.gets, n),
        ("bytes sent after the restart".to_owned(), restarted.bytes, 0),
    ]
    .into_iter()
    .chain(of_disk)
    .filter(|(_, is, must)| is != must)
    .map(|(name, is, must)| format!("{name}: {is}, not {must}"))
    .collect()
}

/// Of all objects: nothing is written meanwhile.
const VERSION: u64 = 1;
