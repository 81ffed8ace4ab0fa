//! What the nodes are asked to do.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use bench_harness::{Random, Stopwatch, Zipf};
use cache_facade::{CachedObject, ErrorKind, ObjectCache, PutCondition, Result};

use super::{Settings, bodies};

/// The work of all workers.
pub(crate) struct Load {
    nodes: [ObjectCache; 2],
    settings: Settings,
    popularity: Zipf,
    start: Stopwatch,
    tally: Mutex<Tally>,
}

/// What became of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Given up by who asked.
    pub(crate) dropped: u64,
    pub(crate) writes: u64,
    /// Reads that failed, by kind.
    pub(crate) failures: BTreeMap<String, u64>,
    /// What should not have been; the first few.
    pub(crate) wrong: Vec<String>,
}

impl Load {
    /// Begins now.
    pub(crate) fn new(nodes: [ObjectCache; 2], settings: Settings) -> Self {
        let popularity = Zipf::new(bodies::KEYS, 0.8);
        Self { nodes, settings, popularity, start: Stopwatch::start(), tally: Mutex::default() }
    }

    pub(crate) fn tally(&self) -> Tally {
        mem::take(&mut self.lock())
    }

    /// One thing after another until the time is up, at one of the nodes.
    pub(crate) async fn work(self: Arc<Self>, worker: usize) {
        let node = &self.nodes[worker % 2];
        let mut random = Random::new(self.settings.seed.wrapping_mul(1_000_003).wrapping_add(worker as u64));
        let mut version = worker as u64 + 1;
        while self.start.elapsed() < self.settings.span {
            let number = self.popularity.rank(random.unit());
            let key = bodies::key(number);
            match random.below(1000) {
                0..700 => self.read(node, number).await,
                700..800 => self.give_up(node, number, 1 + random.below(6)).await,
                800..810 => self.storm(node, number).await,
                810..820 => self.read(node, bodies::KEYS + number % (bodies::KEYS / 100)).await,
                820..880 => {
                    version += 64;
                    let _ = node.put(&key, bodies::body(number, version)).await;
                    self.lock().writes += 1;
                }
                880..910 => self.replace(node, number, &mut version).await,
                910..930 => {
                    // Which the next read is not to find; it is written again at once.
                    let _ = node.delete(&key).await;
                    version += 64;
                    let _ = node.put_if(&key, bodies::body(number, version), PutCondition::Absent).await;
                    self.lock().writes += 2;
                }
                930..940 => {
                    version += 64;
                    let put = node.put(&key, bodies::body(number, version));
                    drop(polled(1 + random.below(4), put).await);
                    self.lock().writes += 1;
                }
                940..970 => self.unless_wrong(node.invalidate(&key).await),
                970..999 => self.unless_wrong(node.mark_stale(&key).await),
                _ => match random.below(20) {
                    0 => self.unless_wrong(node.clear().await),
                    _ => self.unless_wrong(node.invalidate_prefix("lax/13/")),
                },
            }
            // Fresh copies are served without waiting for anything: others must have their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn read(&self, node: &ObjectCache, number: usize) {
        let answer = node.get(&bodies::key(number)).await;
        self.count(number, answer);
    }

    /// A read whose caller goes away after a few polls.
    async fn give_up(&self, node: &ObjectCache, number: usize, polls: usize) {
        match polled(polls, node.get(&bodies::key(number))).await {
            Some(answer) => self.count(number, answer),
            None => self.lock().dropped += 1,
        }
    }

    /// Fifty readers of one key at once, most of whom go away before their answer.
    async fn storm(self: &Arc<Self>, node: &ObjectCache, number: usize) {
        let readers: Vec<_> = (0..50)
            .map(|_| {
                let (load, node) = (Arc::clone(self), node.clone());
                tokio::spawn(async move { load.read(&node, number).await })
            })
            .collect();
        tokio::task::yield_now().await;
        for (n, reader) in readers.iter().enumerate() {
            if n % 10 != 0 {
                reader.abort();
            }
        }
        for reader in readers {
            match reader.await {
                Ok(()) => {}
                Err(error) if error.is_cancelled() => self.lock().dropped += 1,
                Err(error) => self.note(format!("a reader ended with {error}")),
            }
        }
    }

    /// Reads an object, and writes it if it is still at that version.
    async fn replace(&self, node: &ObjectCache, number: usize, version: &mut u64) {
        let key = bodies::key(number);
        let answer = node.get(&key).await;
        let read = answer.as_ref().ok().map(CachedObject::version);
        self.count(number, answer);
        if let Some(read) = read {
            *version += 64;
            let _ = node.put_if(&key, bodies::body(number, *version), PutCondition::Matches(read)).await;
            self.lock().writes += 1;
        }
    }

    fn count(&self, number: usize, answer: Result<CachedObject>) {
        match answer {
            Ok(object) => {
                self.lock().answered += 1;
                if let Some(wrong) = bodies::wrong(number, object.bytes()) {
                    self.note(wrong);
                }
            }
            Err(error) => {
                let mut tally = self.lock();
                tally.failed += 1;
                *tally.failures.entry(format!("{:?}", error.kind())).or_default() += 1;
                drop(tally);
                use ErrorKind::{NotFound, Other, PermissionDenied, Timeout, Unavailable};
                // `Other`: a "not modified" to a question without a tag.
                if !matches!(error.kind(), NotFound | PermissionDenied | Timeout | Unavailable | Other) {
                    self.note(format!("a read failed with {error}"));
                }
            }
        }
    }

    fn unless_wrong(&self, answer: Result<()>) {
        if let Err(error) = answer {
            self.note(format!("what asks nothing of the store failed with {error}"));
        }
    }

    fn note(&self, wrong: String) {
        let mut tally = self.lock();
        if tally.wrong.len() < 10 {
            tally.wrong.push(wrong);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics under this lock")
    }
}

/// Polls `future` so many times, each time that it is woken. `None` if it was dropped then.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
