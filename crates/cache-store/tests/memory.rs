//! What reads hold beside what the backend holds, by the allocator: a process of its own, for
//! nothing else may allocate meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::{
    alloc::System,
    fmt, future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Backend, Freshness, IntoBackend, Rejection};
use cache_store::{CachedStore, CachedStoreBuilder, ValidatorStrength};
use cache_testkit::{BackendAction, BackendCall, HookBackend, MapBackend};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, path::Path,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;
const BLOCK: usize = 256 * KIB;
const CHUNK: usize = 32 * KIB;
const BUDGET: usize = 8 * 1024 * KIB;

#[tokio::test]
async fn reads_hold_little_beside_what_the_backend_holds() {
    paused_streams_are_bounded(false).await;
    paused_streams_are_bounded(true).await;
    small_results_keep_no_block().await;
    many_ranges_hold_what_they_return().await;
    blocks_that_are_finished_in_the_background_are_few().await;
    a_slow_backend_is_waited_for_by_few_blocks().await;
}

async fn paused_streams_are_bounded(is_cached: bool) {
    const STREAMS: usize = 200;
    const SIZE: usize = 8 * BLOCK;
    let store = Store::new(SIZE);
    let backend = Arc::new(MapBackend::new());
    let cached = store.cached_over(Arc::<MapBackend>::clone(&backend)).build().unwrap();
    cached.head(&path(0)).await.unwrap();
    if is_cached {
        cached.get(&path(0)).await.unwrap().bytes().await.unwrap();
    }
    let before = Region::new(ALLOCATOR);
    let mut streams = Vec::new();
    for n in 0..STREAMS {
        // Each of an object of its own; cached are those of one.
        let path = path(if is_cached { 0 } else { n });
        let mut stream = cached.get(&path).await.unwrap().into_stream();
        let mut got = 0;
        // Into the second block.
        while got < BLOCK + 1 {
            got += stream.next().await.unwrap().unwrap().len();
        }
        streams.push((stream, got));
    }
    // What was cached is evicted under them.
    backend.clear().await.unwrap();
    let held = allocated(&before);
    assert!(held <= BUDGET + STREAMS * (CHUNK + 16 * KIB), "{held} bytes, cached: {is_cached}");
    // All go on.
    for (mut stream, mut got) in streams {
        while let Some(chunk) = stream.next().await {
            got += chunk.unwrap().len();
        }
        assert_eq!(got, SIZE);
    }
    // And leave room for those who come.
    cached.get(&path(0)).await.unwrap().bytes().await.unwrap();
    let n_requests = store.n_requests();
    cached.get(&path(0)).await.unwrap().bytes().await.unwrap();
    assert_eq!(store.n_requests(), n_requests);
}

async fn small_results_keep_no_block() {
    const LEN: u64 = 4096;
    const RESULTS: usize = 200;
    let store = Store::new(RESULTS * BLOCK);
    let backend = Arc::new(MapBackend::new());
    let cached = store.cached_over(Arc::<MapBackend>::clone(&backend)).build().unwrap();
    for is_cached in [false, true] {
        let before = Region::new(ALLOCATOR);
        let mut results = Vec::new();
        for start in (0..RESULTS).map(|n| (n * BLOCK + 5) as u64) {
            results.push(cached.get_range(&path(0), start..start + LEN).await.unwrap());
            let options = GetOptions::new().with_range(Some(GetRange::Bounded(start..start + LEN)));
            let answer = cached.get_opts(&path(0), options).await.unwrap();
            results.push(answer.bytes().await.unwrap());
            results.extend(
                cached.get_ranges(&path(0), &[start..start + LEN, start..start + 1]).await.unwrap(),
            );
        }
        settle().await;
        if is_cached {
            backend.clear().await.unwrap();
        } else {
            let n_cached = usize::try_from(backend.usage().bytes).unwrap();
            let held = allocated(&before);
            assert!(held <= n_cached + results.len() * 64 * KIB, "{held} bytes, {n_cached} cached");
            continue;
        }
        let held = allocated(&before);
        assert!(held <= results.len() * 16 * KIB, "{held} bytes for {} results", results.len());
        drop(results);
    }
}

async fn many_ranges_hold_what_they_return() {
    const RANGES: usize = 500;
    const FAR: usize = 16 * BLOCK;
    let store = Store::new(RANGES * FAR);
    let ranges: Vec<_> = (0..RANGES).map(|n| (n * FAR) as u64..(n * FAR + 4096) as u64).collect();
    for gap in [0, FAR as u64] {
        // A backend that keeps nothing that counts.
        let cached =
            store.cached_over(rejecting(|| future::ready(()))).coalesce_gap(gap).build().unwrap();
        let ranges = if gap == 0 { &ranges[..] } else { &ranges[..50] };
        store.begin_peak();
        let parts = cached.get_ranges(&path(0), ranges).await.unwrap();
        assert!(parts.iter().all(|part| part.len() == 4096));
        let peak = store.peak();
        assert!(
            peak <= ranges.len() * 3 * 4096 + 2 * 12 * BLOCK,
            "{peak} bytes with a gap of {gap}"
        );
    }
}

async fn blocks_that_are_finished_in_the_background_are_few() {
    let store = Store::new(1000 * BLOCK);
    let cached = store.cached_over(Arc::new(MapBackend::new())).build().unwrap();
    cached.head(&path(0)).await.unwrap();
    store.hang_after(CHUNK);
    for start in (0..1000).map(|n| (n * BLOCK) as u64) {
        cached.get_range(&path(0), start..start + 10).await.unwrap();
        assert!(store.n_open() <= 32 + 1, "{} requests", store.n_open());
    }
    assert_eq!(store.n_open(), 32);
}

async fn a_slow_backend_is_waited_for_by_few_blocks() {
    let store = Store::new(1000 * BLOCK);
    let cached = store.cached_over(rejecting(future::pending)).build().unwrap();
    let before = Region::new(ALLOCATOR);
    let mut body = cached.get(&path(0)).await.unwrap().into_stream();
    while let Some(chunk) = body.next().await {
        chunk.unwrap();
    }
    drop(body);
    let held = allocated(&before);
    assert!(held <= BUDGET + 2 * BLOCK, "{held} bytes");
    assert_eq!(cached.stats().blocks_refused.backend, 1000 - (BUDGET / BLOCK) as u64);
}

async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

fn path(n: usize) -> Path {
    Path::from(format!("objects/{n}"))
}

fn allocated(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

/// Returns a backend that rejects every entry, blocks only after `blocks` has ended.
fn rejecting<F>(blocks: fn() -> F) -> Arc<HookBackend>
where
    F: Future<Output = ()> + Send + 'static,
{
    let reject = || BackendAction::Reject(Rejection::Policy);
    Arc::new(HookBackend::new(MapBackend::new(), move |call| match call {
        BackendCall::Insert(entry) if entry.key().starts_with("b/") => {
            let blocks = blocks();
            BackendAction::wait(async move {
                blocks.await;
                reject()
            })
        }
        BackendCall::Insert(_) => reject(),
        _ => BackendAction::Proceed,
    }))
}

/// A store whose objects are made as they are read, in chunks that are allocated anew.
#[derive(Clone)]
struct Store(Arc<State>);

struct State {
    size: u64,
    n_requests: AtomicUsize,
    n_open: AtomicUsize,
    hangs_after: AtomicUsize,
    peak: AtomicUsize,
    peak_since: std::sync::Mutex<Region<'static, System>>,
}

impl Store {
    fn new(size: usize) -> Self {
        Self(Arc::new(State {
            size: size as u64,
            n_requests: AtomicUsize::new(0),
            n_open: AtomicUsize::new(0),
            hangs_after: AtomicUsize::new(usize::MAX),
            peak: AtomicUsize::new(0),
            peak_since: std::sync::Mutex::new(Region::new(ALLOCATOR)),
        }))
    }

    fn cached_over(&self, backend: impl IntoBackend) -> CachedStoreBuilder {
        CachedStore::builder(Arc::new(self.clone()), backend)
            .validator_strength(ValidatorStrength::Strong)
            .freshness(Freshness::max_age(Duration::from_secs(3600)))
            .block_size(BLOCK as u64)
            .max_in_flight_bytes(BUDGET as u64)
            .coalesce_gap(0)
    }

    fn n_requests(&self) -> usize {
        self.0.n_requests.load(Ordering::Relaxed)
    }

    /// Bodies that were begun and not dropped.
    fn n_open(&self) -> usize {
        self.0.n_open.load(Ordering::Relaxed)
    }

    fn hang_after(&self, bytes: usize) {
        self.0.hangs_after.store(bytes, Ordering::Relaxed);
    }

    fn begin_peak(&self) {
        self.0.peak.store(0, Ordering::Relaxed);
        *self.0.peak_since.lock().unwrap() = Region::new(ALLOCATOR);
    }

    fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    fn body(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        struct Open(Store);
        impl Drop for Open {
            fn drop(&mut self) {
                self.0.0.n_open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.0.n_open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.clone());
        let (start, hangs_after) = (range.start, self.0.hangs_after.load(Ordering::Relaxed) as u64);
        let next = move |(open, at): (Open, u64)| {
            let end = range.end;
            async move {
                if at == end {
                    return None;
                }
                if at - start >= hangs_after {
                    std::future::pending::<()>().await;
                }
                let state = &open.0.0;
                let allocated = allocated(&state.peak_since.lock().unwrap());
                state.peak.fetch_max(allocated, Ordering::Relaxed);
                let len = (end - at).min(CHUNK as u64);
                let chunk = Bytes::from(vec![7; usize::try_from(len).unwrap()]);
                Some((Ok(chunk), (open, at + len)))
            }
        };
        stream::unfold((open, start), next).boxed()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

fn not_here<T>() -> Result<T> {
    Err(Error::NotImplemented { operation: "this".into(), implementer: "Store".into() })
}

#[async_trait]
impl ObjectStore for Store {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.n_requests.fetch_add(1, Ordering::Relaxed);
        let size = self.0.size;
        let range = options.range.map_or(0..size, |range| range.as_range(size).unwrap());
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size,
            e_tag: Some("\"1\"".into()),
            version: None,
        };
        let body = if options.head { stream::empty().boxed() } else { self.body(range.clone()) };
        let payload = GetResultPayload::Stream(body);
        let (attributes, extensions) = Default::default();
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        not_here()
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        not_here()
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::empty().boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        not_here()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        not_here()
    }
}
