//! Races that a cache in front of a slow origin can lose. Each is held at a gate; none waits for a
//! clock, so that every run gives the same outcomes.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::Freshness;
use cache_facade::ObjectCache;
use tokio::{
    sync::Mutex,
    task::{JoinHandle, yield_now},
};

pub use crate::read_through::gated_origin::PLANNED_PANIC;
use crate::read_through::{
    Foyer, Moka, QuickCache, ReadThrough, Result,
    gated_origin::{GatedOrigin, Response},
};

/// The races, in the order of a contender's outcomes.
pub const RACES: [&str; 5] = [
    "a write and an invalidation during an older read; the reads that begin after them",
    "the first of 21 readers is dropped",
    "the origin panics at the first of 21 readers",
    "the origin fails, 50 readers",
    "an object changes, and changes back (ETags made of the content); then a read",
];

/// The caches. Each is used as its documentation shows, with its default settings.
pub const CONTENDERS: [Contender; 5] = [
    Contender { name: "moka", run: || all(|origin, _| Moka::new(100, origin), KNOWS_NO_TAGS) },
    Contender {
        name: "quick_cache",
        run: || all(|origin, _| QuickCache::new(100, origin), KNOWS_NO_TAGS),
    },
    Contender {
        name: "foyer-memory",
        run: || all(|origin, _| Foyer::new(100, origin), KNOWS_NO_TAGS),
    },
    Contender { name: "object_store", run: || all(Sketch::new, VALIDATES) },
    Contender { name: OURS, run: || all(ours, VALIDATES) },
];

/// The name of this cache.
pub const OURS: &str = "object-cache";

/// A cache.
#[derive(Debug)]
pub struct Contender {
    /// The name of its package, or of the package whose documentation shows it.
    pub name: &'static str,
    run: fn() -> Outcomes,
}

impl Contender {
    /// Runs all races.
    pub async fn run(&self) -> [Outcome; RACES.len()] {
        (self.run)().await
    }
}

/// The outcome of a race.
#[derive(Debug)]
pub struct Outcome {
    /// What was observed; the unwanted part is bold, in Markdown.
    pub text: String,
    /// Whether a user would want it so.
    pub is_good: bool,
}

type Outcomes = Pin<Box<dyn Future<Output = [Outcome; RACES.len()]>>>;

/// How long a cache may serve an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// As long as it is cached.
    StayFresh,
    /// After a validation, if the cache can.
    AreValidated,
}

const VALIDATES: bool = true;
const KNOWS_NO_TAGS: bool = false;

fn all<C: ReadThrough>(make: fn(Arc<GatedOrigin>, Entries) -> C, validates: bool) -> Outcomes {
    Box::pin(async move {
        let set_up = |entries| {
            let origin = GatedOrigin::new(V1);
            let cache = Arc::new(make(Arc::clone(&origin), entries));
            (origin, cache)
        };
        [
            invalidated_while_loading(set_up(Entries::StayFresh)).await,
            leader_dropped(set_up(Entries::StayFresh)).await,
            leader_panics(set_up(Entries::StayFresh)).await,
            origin_fails(set_up(Entries::StayFresh)).await,
            changed_back(set_up(Entries::AreValidated), validates).await,
        ]
    })
}

/// An origin, and a cache in front of it.
type SetUp<C> = (Arc<GatedOrigin>, Arc<C>);

async fn invalidated_while_loading<C: ReadThrough>((origin, cache): SetUp<C>) -> Outcome {
    let early = read(&cache);
    settle().await;
    origin.write(V2);
    let invalidation = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { cache.invalidate(KEY).await }
    });
    settle().await;
    let is_prompt = invalidation.is_finished();
    let late = read(&cache);
    settle().await;
    origin.release_all();
    invalidation.await.expect("it does not panic");
    answered(early).await;
    let late = answered(late).await;
    let last = answered(read(&cache)).await;
    let name = |body| if body == V2 { "the new" } else { "**the old**" };
    let is_good = late == V2 && last == V2;
    let text = match (is_prompt, late == last) {
        (true, true) => format!("{} body, then and later", name(late)),
        (true, false) => format!("{} body, later {}", name(late), name(last)),
        (false, _) => format!("{} body; the invalidation waits for the read", name(late)),
    };
    Outcome { text, is_good }
}

async fn leader_dropped<C: ReadThrough>((origin, cache): SetUp<C>) -> Outcome {
    let leader = read(&cache);
    let waiters = waiters(&cache).await;
    leader.abort();
    settle().await;
    origin.release_all();
    let waiters = ended(waiters).await;
    let requests = counted(origin.n_requests(), "request");
    Outcome { text: format!("{waiters}, {requests}"), is_good: waiters.n_answered == 20 }
}

async fn leader_panics<C: ReadThrough>((origin, cache): SetUp<C>) -> Outcome {
    origin.panic_once();
    let leader = read(&cache);
    let waiters = waiters(&cache).await;
    origin.release_all();
    let (waiters, leader) = (ended(waiters).await, ended(vec![leader]).await);
    let is_well = ended(vec![read(&cache)]).await.n_answered == 1;
    let next = if is_well { "is answered" } else { "**is not answered**" };
    Outcome {
        text: format!("{waiters}; the next read {next}"),
        is_good: waiters.n_hanging + leader.n_hanging == 0 && is_well,
    }
}

async fn origin_fails<C: ReadThrough>((origin, cache): SetUp<C>) -> Outcome {
    origin.fail();
    let readers: Vec<_> = (0..50).map(|_| read(&cache)).collect();
    let mut n_round_trips = 0;
    settle().await;
    while origin.release() {
        n_round_trips += 1;
        settle().await;
    }
    let readers = ended(readers).await;
    let requests = counted(origin.n_requests(), "request");
    Outcome {
        text: format!("{requests}, {}", counted(n_round_trips, "round trip")),
        is_good: readers.n_hanging == 0 && n_round_trips <= 2,
    }
}

async fn changed_back<C: ReadThrough>((origin, cache): SetUp<C>, validates: bool) -> Outcome {
    origin.release_all();
    if !validates {
        return Outcome { text: "knows no ETags".to_owned(), is_good: true };
    }
    let mut last = Bytes::new();
    for body in [V1, V2, V1] {
        origin.write(body);
        last = answered(read(&cache)).await;
    }
    let is_good = last == V1;
    let text = if is_good { "the current body" } else { "**the body before**, as confirmed" };
    Outcome { text: text.to_owned(), is_good }
}

type Read = JoinHandle<Result<Bytes>>;

fn read(cache: &Arc<impl ReadThrough>) -> Read {
    let cache = Arc::clone(cache);
    tokio::spawn(async move { cache.get(KEY).await })
}

async fn answered(read: Read) -> Bytes {
    read.await.expect("it does not panic").expect("the origin responds")
}

/// Lets the reads so far make their requests, and begins 20 more.
async fn waiters(cache: &Arc<impl ReadThrough>) -> Vec<Read> {
    settle().await;
    let waiters = (0..20).map(|_| read(cache)).collect();
    settle().await;
    waiters
}

/// How a number of reads ended.
struct Ended {
    n_answered: usize,
    n_failed: usize,
    n_hanging: usize,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_answered, n_failed, n_hanging } = self;
        let parts = [(n_answered, "answered"), (n_failed, "errors"), (n_hanging, "**hang**")];
        let parts = parts.iter().filter(|(n, _)| **n > 0).map(|(n, text)| format!("{n} {text}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// Once every task has run as far as it can, a read that has not ended hangs. It is dropped.
async fn ended(reads: Vec<Read>) -> Ended {
    settle().await;
    let mut ended = Ended { n_answered: 0, n_failed: 0, n_hanging: 0 };
    for read in reads {
        if !read.is_finished() {
            read.abort();
            ended.n_hanging += 1;
        } else if matches!(read.await, Ok(Ok(_))) {
            ended.n_answered += 1;
        } else {
            ended.n_failed += 1;
        }
    }
    ended
}

fn counted(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Lets every task run as far as it can. The runtime has one thread, and no task waits for a clock
/// or for another process: after many more turns than any task needs, each waits for the origin or
/// has ended.
async fn settle() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

const TURNS: usize = 2000;

fn ours(origin: Arc<GatedOrigin>, entries: Entries) -> ObjectCache {
    let freshness = match entries {
        Entries::StayFresh => Freshness::max_age(Duration::from_secs(3600)),
        Entries::AreValidated => Freshness::strong(),
    };
    let builder = ObjectCache::builder_with_origin(origin).freshness(freshness);
    builder.build().expect("settings are in bounds")
}

/// The sketch in the documentation of object_store 0.14 under "Conditional Fetch", for one key. It
/// takes `&mut self` there, so several readers need a lock around it; and it keeps an object's
/// first ETag when the object changes, as there.
struct Sketch {
    entry: Mutex<Option<(Bytes, String)>>,
    origin: Arc<GatedOrigin>,
    entries: Entries,
}

impl Sketch {
    fn new(origin: Arc<GatedOrigin>, entries: Entries) -> Self {
        Self { entry: Mutex::default(), origin, entries }
    }
}

impl ReadThrough for Sketch {
    async fn get(&self, _key: &str) -> Result<Bytes> {
        let mut entry = self.entry.lock().await;
        match &mut *entry {
            Some((body, e_tag)) => {
                if self.entries == Entries::AreValidated
                    && let Response::Object(new, _) = self.origin.get(Some(e_tag)).await?
                {
                    *body = new;
                }
                Ok(body.clone())
            }
            None => {
                let Response::Object(body, e_tag) = self.origin.get(None).await? else {
                    unreachable!("no ETag was sent")
                };
                *entry = Some((body.clone(), e_tag));
                Ok(body)
            }
        }
    }

    async fn invalidate(&self, _key: &str) {
        *self.entry.lock().await = None;
    }
}

const KEY: &str = "a";
const V1: Bytes = Bytes::from_static(b"one");
const V2: Bytes = Bytes::from_static(b"two");
