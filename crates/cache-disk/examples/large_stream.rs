//! Streams an object that is much larger than memory through a `CachedStore` with a disk tier:
//! cold, until all of it is on disk, then warm, beside `cat` of the same files.
//!
//! ```sh
//! cargo run --release -p cache-disk --example large_stream                # 2 GiB
//! cargo run --release -p cache-disk --example large_stream -- 10 600 DIR  # 10 GiB, under DIR
//! ```
//!
//! It takes as many bytes of disk as the object has, in a folder that it removes; no test runs it.
//! The store makes up the bytes, and sends 600 MB a second by default, as a network of 5 Gbit/s
//! does. With 0 it sends as fast as it is read: faster than any disk writes, so that blocks for
//! which the queue has no room are refused, since no reader waits for the disk.
#![forbid(unsafe_code)]

use std::{
    env, fmt, fs,
    future::ready,
    io,
    ops::Range,
    path::Path as Directory,
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Clock as _, Moment, SystemClock};
use cache_disk::{DiskAdmission, DiskTier};
use cache_facade::{
    Freshness, Memory,
    cache_store::{CachedStore, ValidatorStrength},
    object_store::{
        CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
        ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
        PutResult, Result, path::Path,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

type AnyResult<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> AnyResult<()> {
    let mut args = env::args().skip(1);
    let gib: u64 = args.next().map_or(Ok(2), |gib| gib.parse())?;
    let rate: f64 = args.next().map_or(Ok(600.0), |rate| rate.parse())?;
    let under = args.next().map_or_else(env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(under)?;
    let len = gib << 30;
    let store = Arc::new(Endless { len, rate: rate * 1e6, pattern: pattern() });
    let tier = DiskTier::new(directory.path())
        .max_capacity(2 * len)
        .admission(DiskAdmission::Always)
        .write_budget(None);
    let memory = Memory::new().max_capacity(100 << 20);
    let cached = CachedStore::builder(Arc::clone(&store) as Arc<dyn ObjectStore>, memory)
        .freshness(Freshness::immutable())
        .validator_strength(ValidatorStrength::Strong)
        .disk(tier)
        .build()?;
    let stats = || cached.lower_tier().ok_or("it has a tier");

    println!("{gib} GiB, with 100 MiB of memory; resident: {} MiB", resident_max_mib());
    let seconds = read(&cached, &store, 1).await?;
    println!("cold: {:.2} GB/s, {} blocks wait", gb(len) / seconds, stats()?.queue_entries);
    while stats()?.queue_entries > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!(
        "on disk: {} entries, {:.4} of the object's bytes; refused for want of room: {}",
        stats()?.entries,
        gb(stats()?.payload_bytes) / gb(len),
        stats()?.dropped.queue_full
    );
    println!("resident at most: {} MiB", resident_max_mib());
    for _ in 0..3 {
        let (by_cat, bytes) = cat(directory.path())?;
        let seconds = read(&cached, &store, 64).await?;
        let (warm, cat) = (gb(len) / seconds, gb(bytes) / by_cat);
        println!("warm: {warm:.2} GB/s, cat: {cat:.2} GB/s, {:.2} of it", warm / cat);
    }
    println!("resident at most: {} MiB; {} hits on disk", resident_max_mib(), stats()?.hits);
    cached.close().await?;
    Ok(())
}

/// Reads the whole object, compares every `nth` part, and returns the seconds.
async fn read(cached: &CachedStore, store: &Endless, nth: usize) -> AnyResult<f64> {
    let start = now();
    let mut parts = cached.get(&Path::from("large")).await?.into_stream();
    let (mut at, mut n_parts) = (0, 0);
    while let Some(part) = parts.try_next().await? {
        if n_parts % nth == 0 {
            assert_eq!(part, store.bytes(at, part.len()), "the bytes at {at}");
        }
        (at, n_parts) = (at + part.len() as u64, n_parts + 1);
    }
    assert_eq!(at, store.len, "the object is whole");
    Ok(now().saturating_since(start).as_secs_f64())
}

/// Returns the seconds in which `cat` reads the segments, and their bytes.
fn cat(directory: &Directory) -> io::Result<(f64, u64)> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    for file in fs::read_dir(directory)? {
        let file = file?;
        bytes += file.metadata()?.len();
        files.push(file.path());
    }
    files.sort_unstable();
    let start = now();
    let status = Command::new("cat").args(files).stdout(Stdio::null()).status()?;
    assert!(status.success(), "cat can read the segments");
    Ok((now().saturating_since(start).as_secs_f64(), bytes))
}

fn now() -> Moment {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    CLOCK.now()
}

fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// The most memory that this process had resident; zero where the system does not tell.
fn resident_max_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() >> 10
}

/// A store of one object, whose bytes repeat a pattern that is as long as no block.
#[derive(Debug)]
struct Endless {
    len: u64,
    /// Bytes a second; zero is no limit.
    rate: f64,
    pattern: Bytes,
}

impl Endless {
    fn bytes(&self, at: u64, len: usize) -> Bytes {
        let at = usize::try_from(at % PERIOD as u64).unwrap_or_default();
        self.pattern.slice(at..at + len)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Endless {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: Default::default(),
            size: self.len,
            e_tag: Some("\"1\"".to_owned()),
            version: None,
        };
        options.check_preconditions(&meta)?;
        let range = match options.range {
            Some(range) => range
                .as_range(self.len)
                .map_err(|error| Error::Generic { store: "endless", source: Box::new(error) })?,
            None => 0..self.len,
        };
        let store = Self { len: self.len, rate: self.rate, pattern: self.pattern.clone() };
        let (store, begin, start) = (Arc::new(store), range.start, now());
        let part = move |rest: Range<u64>| {
            let store = Arc::clone(&store);
            async move {
                if store.rate > 0.0 {
                    let due = Duration::from_secs_f64((rest.start - begin) as f64 / store.rate);
                    let ahead = due.saturating_sub(now().saturating_since(start));
                    // A timer wakes at a millisecond: not for each part.
                    if ahead > Duration::from_millis(5) {
                        tokio::time::sleep(ahead).await;
                    }
                }
                let len = (rest.end - rest.start).min(PART as u64);
                let bytes = store.bytes(rest.start, usize::try_from(len).unwrap_or_default());
                (len > 0).then(|| (Ok(bytes), rest.start + len..rest.end))
            }
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::unfold(range.clone(), part).boxed()),
            meta,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(ready(Err(read_only()))).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(ready(Err(read_only()))).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(read_only())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endless")
    }
}

fn read_only() -> Error {
    Error::NotImplemented { operation: "writing".into(), implementer: "endless".into() }
}

/// Long enough for a slice of any part at any offset.
fn pattern() -> Bytes {
    (0..PERIOD + SLICE_MAX).map(|at| u8::try_from(at % PERIOD % 251).unwrap_or_default()).collect()
}

const PERIOD: usize = (1 << 20) + 7;
const SLICE_MAX: usize = 64 << 20;
/// As an HTTP client delivers them.
const PART: usize = 64 << 10;
