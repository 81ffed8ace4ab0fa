//! The memory of an entry, above its key, body and ETag; and of a stream, above what the cache
//! holds. Counted are the bytes requested from the allocator, not those it rounds up to.

use std::sync::Arc;

use bytes::Bytes;
use cache_facade::{
    cache_core::Backend,
    cache_policy::{Lru, MemoryBackend},
    cache_store::CachedStore,
    object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem},
};
use futures_util::TryStreamExt;

use crate::{
    Row, Run, Subject, publish,
    subjects::{
        objects::runtime,
        ranges::{Object, path},
        tables::{self, E_TAG, Table, Work},
    },
    workload::{Workload, parsed},
};

/// The bytes and the allocations in use.
pub type InUse = fn() -> (f64, f64);

/// Measures entries and streams, and publishes the rows as group `memory`.
pub fn run(in_use: InUse) {
    let mut rows = Vec::new();
    for (size, n, body_bytes) in CASES {
        let case = format!("{size} entries, bodies of {body_bytes} bytes");
        let work = Fill { workload: Workload::cycle(n), body_bytes };
        for subject in tables::all(&work).into_iter().chain([tables::locked_map(&work)]) {
            rows.push(entry(&subject, &case, &work, in_use));
        }
    }
    rows.extend(stream(in_use));
    publish("memory", &rows);
}

const CASES: [(&str, usize, usize); 4] = [
    ("10^4", 10_000, 100),
    ("10^5", 100_000, 100),
    ("10^6", 1_000_000, 100),
    ("10^5", 100_000, 4096),
];

fn entry(subject: &Subject, case: &str, work: &Fill, in_use: InUse) -> Row {
    let n = work.workload.keys().len() as f64;
    // quick_cache with bodies only, moka and foyer keep no ETag.
    let keeps_tag = ["ours", "quick_cache-arc", "rwlock-map"].contains(&subject.name());
    let tag = if keeps_tag { E_TAG.len() } else { 0 };
    let content = (work.workload.keys()[0].len() + work.body_bytes + tag) as f64;
    let (before, calls_before) = in_use();
    let ready = subject.set_up();
    let (after, calls_after) = in_use();
    let overhead = (after - before) / n - content;
    ready.run(1);
    let once_read = (in_use().0 - before) / n - content;
    let accounted = match ready.figure() {
        0.0 => String::new(),
        bytes => format!("; accounts for {:.3} of it", bytes / (after - before)),
    };
    let calls = (calls_after - calls_before) / n;
    let note =
        format!("{calls:.1} allocations; {once_read:.1} bytes once each was read{accounted}");
    Row::new(case, subject.name(), "quick_cache", (overhead, "bytes"), note)
}

/// Fills a table with as many entries as there are keys.
#[derive(Clone)]
struct Fill {
    workload: Workload,
    body_bytes: usize,
}

impl Work for Fill {
    /// With a little more room, so that an uneven shard evicts nothing.
    fn capacity(&self) -> u64 {
        let n = self.workload.keys().len() as u64;
        n + n / 8
    }

    /// An operation is a look-up of each key. The figure is the bytes that the table accounts for.
    fn start<T: Table>(self, table: T) -> Run {
        for key in self.workload.keys() {
            table.insert(&parsed(key), Bytes::from(vec![b'x'; self.body_bytes]));
        }
        table.settle();
        let accounted = table.accounted_bytes();
        let run = move |_, ops| {
            for _ in 0..ops {
                self.workload.keys().iter().for_each(|key| _ = table.get(key));
            }
        };
        Run::new(run).with_figure(move || accounted)
    }
}

/// The peak of a stream from local disk, in blocks above what the cache holds; and that of the
/// store without a cache. Sampled at each chunk.
fn stream(in_use: InUse) -> [Row; 2] {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = LocalFileSystem::new_with_prefix(folder.path()).expect("the folder exists");
    let (store, runtime): (Arc<dyn ObjectStore>, _) = (Arc::new(store), runtime());
    let put = async { store.put(&path(), Object::whole(64 << 20).body().into()).await };
    runtime.block_on(put).expect("the store accepts objects");

    let backend = MemoryBackend::builder(Lru::new()).max_capacity(8 * BLOCK).shards(1).build();
    let backend: Arc<dyn Backend> = Arc::new(backend.expect("settings are in bounds"));
    let builder = CachedStore::builder(Arc::clone(&store), Arc::clone(&backend));
    let cached = builder.block_size(BLOCK).build().expect("settings are in bounds");

    let peak = |store: &dyn ObjectStore| {
        let in_use = || in_use().0 - backend.usage().bytes as f64;
        runtime.block_on(async {
            let before = in_use();
            let mut chunks = store.get(&path()).await.expect("the object exists").into_stream();
            let mut peak: f64 = 0.0;
            while let Some(chunk) = chunks.try_next().await.expect("the body is whole") {
                peak = peak.max(in_use() - before);
                drop(chunk);
            }
            peak / BLOCK as f64
        })
    };
    [("ours", peak(&cached)), ("bare", peak(&store))].map(|(subject, peak)| {
        let note = format!("of {BLOCK} bytes; sampled at each part");
        Row::new("a stream of 64 MiB from local disk", subject, "bare", (peak, "blocks"), note)
    })
}

/// The default block size, in bytes.
const BLOCK: u64 = 1 << 20;
