//! Many readers of one key at once; the origin is held back until all of them wait.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cache_facade::ObjectCache;
use tokio::{runtime::Runtime, sync::Notify};

use super::tables::body;
use crate::{
    Run, Subject,
    read_through::{Foyer, Moka, QuickCache, ReadThrough, Uncached, gated_origin::GatedOrigin},
    workload::key,
};

/// The readers of a burst.
pub(crate) const READERS: u64 = 1000;

/// Bursts, through caches that coalesce requests. An operation is a whole burst; the figure is the
/// number of requests in each.
///
/// Our readers are strong: they do not accept the response to a request that was sent before they
/// began, and so need two requests. The readers of the peers accept the cached body, which is
/// removed before each burst. The readers of `bare` each make a request.
pub(crate) fn subjects(runtime: &Arc<Runtime>) -> Vec<Subject> {
    vec![
        subject("ours", runtime, |origin| {
            ObjectCache::builder_with_origin(origin).build().expect("settings are in bounds")
        }),
        subject("quick_cache", runtime, |origin| QuickCache::new(100, origin)),
        subject("foyer", runtime, |origin| Foyer::new(100, origin)),
        subject("moka", runtime, |origin| Moka::new(100, origin)),
        subject("bare", runtime, Uncached),
    ]
}

fn subject<C: ReadThrough>(
    name: &str,
    runtime: &Arc<Runtime>,
    make: fn(Arc<GatedOrigin>) -> C,
) -> Subject {
    let runtime = Arc::clone(runtime);
    // Our cache keeps its entry: every strong read makes a request.
    let keeps_entry = name == "ours";
    Subject::new(name, move || {
        let origin = GatedOrigin::new(body());
        let (cache, runtime) = (Arc::new(make(Arc::clone(&origin))), Arc::clone(&runtime));
        let n_bursts = Arc::new(AtomicU64::new(0));
        let figure = {
            let (origin, n_bursts) = (Arc::clone(&origin), Arc::clone(&n_bursts));
            move || origin.n_requests() as f64 / n_bursts.load(Ordering::Relaxed) as f64
        };
        let work = move |_, ops| {
            for _ in 0..ops {
                runtime.block_on(async {
                    burst(&cache, &origin).await;
                    if !keeps_entry {
                        cache.invalidate(&key(0)).await;
                    }
                });
                n_bursts.fetch_add(1, Ordering::Relaxed);
            }
        };
        Run::new(work).with_figure(figure)
    })
}

async fn burst(cache: &Arc<impl ReadThrough>, origin: &GatedOrigin) {
    origin.close();
    let n_requests_before = origin.n_requests();
    let waiting = Arc::new(Waiting::default());
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (cache, waiting) = (Arc::clone(cache), Arc::clone(&waiting));
            tokio::spawn(async move {
                waiting.counted(cache.get(&key(0))).await.expect("the object exists");
            })
        })
        .collect();
    waiting.all.notified().await;
    origin.more_requests_than(n_requests_before).await;
    origin.release_all();
    for reader in readers {
        reader.await.expect("no reader panics");
    }
}

/// Counts readers that wait.
#[derive(Default)]
struct Waiting {
    n: AtomicU64,
    all: Notify,
}

impl Waiting {
    /// Counts a reader once it has been polled.
    async fn counted<T>(&self, reader: impl Future<Output = T>) -> T {
        let (mut reader, mut is_first) = (pin!(reader), true);
        poll_fn(|context| {
            let poll = reader.as_mut().poll(context);
            if mem::take(&mut is_first) && self.n.fetch_add(1, Ordering::SeqCst) + 1 == READERS {
                self.all.notify_one();
            }
            poll
        })
        .await
    }
}
