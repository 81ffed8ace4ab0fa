//! Many readers of one key at once, with the origin held until all of them wait.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bench_harness::{Run, Subject, key};
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, Origin, PutCondition, Result, Validation, Validator, Version,
};
use cache_facade::ObjectCache;
use foyer_memory::CacheProperties;
use tokio::{
    runtime::Runtime,
    sync::{Notify, watch},
};

use super::tables::{E_TAG, body};

/// So many readers.
pub const READERS: u64 = 1000;

/// The bursts, over caches that let one of many ask. An operation is a whole burst; the figure is the number of
/// requests in each.
///
/// Our readers are strong: they take no answer to a question that was asked before they came, and so need two
/// requests. Those of the peers take what is there; it is removed before each burst. `bare` are tasks that wait
/// for the origin and nothing else, each by itself.
pub fn subjects(runtime: &Arc<Runtime>) -> Vec<Subject> {
    vec![
        subject("ours", runtime, Ours::new),
        subject("quick_cache", runtime, |held| QuickCache(quick_cache::sync::Cache::new(100), held)),
        subject("foyer", runtime, |held| {
            Foyer(foyer_memory::CacheBuilder::new(100).build::<CacheProperties>(), held)
        }),
        subject("moka", runtime, |held| Moka(moka::future::Cache::new(100), held)),
        subject("bare", runtime, Bare),
    ]
}

/// Reads the one key.
trait Reader: Send + Sync + 'static {
    fn read(&self) -> impl Future<Output = ()> + Send;
    /// Has the next burst ask.
    fn forget(&self) -> impl Future<Output = ()>;
}

fn subject<R: Reader>(name: &str, runtime: &Arc<Runtime>, make: fn(Arc<Held>) -> R) -> Subject {
    let runtime = Arc::clone(runtime);
    Subject::new(name, move || {
        let held = Arc::new(Held::default());
        let (reader, runtime) = (Arc::new(make(Arc::clone(&held))), Arc::clone(&runtime));
        let bursts = Arc::new(AtomicU64::new(0));
        let figure = {
            let (held, bursts) = (Arc::clone(&held), Arc::clone(&bursts));
            move || held.n_asked() as f64 / bursts.load(Ordering::Relaxed) as f64
        };
        Run::new(move |_, ops| {
            for _ in 0..ops {
                runtime.block_on(burst(&reader, &held));
                bursts.fetch_add(1, Ordering::Relaxed);
            }
        })
        .with_figure(figure)
    })
}

async fn burst<R: Reader>(reader: &Arc<R>, held: &Arc<Held>) {
    held.close();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (reader, held) = (Arc::clone(reader), Arc::clone(held));
            tokio::spawn(async move { held.count(reader.read()).await })
        })
        .collect();
    held.open_when_all_wait().await;
    for reader in readers {
        reader.await.expect("no reader panics");
    }
    reader.forget().await;
}

/// An origin that answers once all readers wait.
#[derive(Default)]
struct Held {
    is_open: watch::Sender<bool>,
    n_asked: AtomicU64,
    n_asked_before: AtomicU64,
    n_waiting: AtomicU64,
    somebody_came: Notify,
}

impl Held {
    fn close(&self) {
        self.is_open.send_replace(false);
        self.n_waiting.store(0, Ordering::SeqCst);
        self.n_asked_before.store(self.n_asked(), Ordering::SeqCst);
    }

    async fn ask(&self) -> Bytes {
        self.n_asked.fetch_add(1, Ordering::SeqCst);
        self.somebody_came.notify_one();
        self.wait().await;
        body()
    }

    async fn wait(&self) {
        let opened = self.is_open.subscribe().wait_for(|is_open| *is_open).await.is_ok();
        assert!(opened, "the origin outlives its readers");
    }

    /// Counts a reader once it has been polled and so waits.
    async fn count(&self, reader: impl Future<Output = ()>) {
        let (mut reader, mut is_first) = (pin!(reader), true);
        poll_fn(|context| {
            let poll = reader.as_mut().poll(context);
            if mem::take(&mut is_first) && self.n_waiting.fetch_add(1, Ordering::SeqCst) + 1 == READERS {
                self.somebody_came.notify_one();
            }
            poll
        })
        .await;
    }

    async fn open_when_all_wait(&self) {
        let all_wait = || {
            let n_asked = self.n_asked() - self.n_asked_before.load(Ordering::SeqCst);
            n_asked > 0 && self.n_waiting.load(Ordering::SeqCst) == READERS
        };
        while !all_wait() {
            self.somebody_came.notified().await;
        }
        self.is_open.send_replace(true);
    }

    fn n_asked(&self) -> u64 {
        self.n_asked.load(Ordering::SeqCst)
    }
}

struct Ours(ObjectCache);
struct QuickCache(quick_cache::sync::Cache<String, Bytes>, Arc<Held>);
struct Foyer(foyer_memory::Cache<String, Bytes>, Arc<Held>);
struct Moka(moka::future::Cache<String, Bytes>, Arc<Held>);
struct Bare(Arc<Held>);

impl Ours {
    fn new(held: Arc<Held>) -> Self {
        let cache = ObjectCache::builder_with_origin(Arc::new(HeldOrigin(held))).build();
        Self(cache.expect("settings are in bounds"))
    }
}

impl Reader for Ours {
    async fn read(&self) {
        self.0.get(&key(0)).await.expect("the object is there");
    }

    async fn forget(&self) {}
}

impl Reader for QuickCache {
    async fn read(&self) {
        match self.0.get_value_or_guard_async(&*key(0)).await {
            Ok(_) => {}
            Err(guard) => assert!(guard.insert(self.1.ask().await).is_ok(), "nobody removed the guard"),
        }
    }

    async fn forget(&self) {
        self.0.remove(&*key(0));
    }
}

impl Reader for Foyer {
    async fn read(&self) {
        let held = Arc::clone(&self.1);
        let fetch = || async move { Ok::<_, Error>(held.ask().await) };
        self.0.get_or_fetch(&*key(0), fetch).await.expect("the object is there");
    }

    async fn forget(&self) {
        self.0.remove(&*key(0));
    }
}

impl Reader for Moka {
    async fn read(&self) {
        let fetch = async { Ok::<_, Error>(self.1.ask().await) };
        self.0.try_get_with_by_ref(&*key(0), fetch).await.expect("the object is there");
    }

    async fn forget(&self) {
        self.0.invalidate(&*key(0)).await;
    }
}

impl Reader for Bare {
    async fn read(&self) {
        self.0.ask().await;
    }

    async fn forget(&self) {}
}

struct HeldOrigin(Arc<Held>);

#[async_trait]
impl Validator for HeldOrigin {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let body = self.0.ask().await;
        Ok(match held {
            Some(_) => Validation::NotModified,
            None => Validation::Modified(Entry::builder(key, body).e_tag(E_TAG).build()),
        })
    }
}

#[async_trait]
impl Origin for HeldOrigin {
    async fn put(&self, _key: &Key, _body: Bytes, _condition: PutCondition) -> Result<Version> {
        Err(Error::new(ErrorKind::Unsupported, "this origin is read only"))
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "this origin is read only"))
    }
}
