//! The reads and writes of the workers.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use benches::Stopwatch;
use cache_facade::{CachedObject, ErrorKind, ObjectCache, PutCondition, Result};
use cache_testkit::{Random, Zipf};

use super::{Settings, bodies};

/// The work of all workers.
pub(crate) struct Load {
    nodes: [ObjectCache; 2],
    settings: Settings,
    popularity: Zipf,
    start: Stopwatch,
    tally: Mutex<Tally>,
}

/// How the operations ended.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Dropped by the reader.
    pub(crate) dropped: u64,
    pub(crate) writes: u64,
    /// Reads that failed, by kind.
    pub(crate) failures: BTreeMap<String, u64>,
    /// The first few wrong results.
    pub(crate) wrong: Vec<String>,
}

impl Load {
    /// Starts the clock.
    pub(crate) fn new(nodes: [ObjectCache; 2], settings: Settings) -> Self {
        let popularity = Zipf::new(bodies::KEYS, 0.8);
        Self { nodes, settings, popularity, start: Stopwatch::start(), tally: Mutex::default() }
    }

    pub(crate) fn tally(&self) -> Tally {
        mem::take(&mut self.lock())
    }

    /// Does one operation after the other at one of the nodes, until the time is up.
    pub(crate) async fn work(self: Arc<Self>, worker: usize) {
        let node = &self.nodes[worker % 2];
        let seed = self.settings.seed.wrapping_mul(1_000_003).wrapping_add(worker as u64);
        let random = Random::new(seed);
        let mut version = worker as u64 + 1;
        while self.start.elapsed() < self.settings.span {
            let number = self.popularity.sample(&random);
            let key = bodies::key(number);
            match random.index(1000) {
                0..700 => self.read(node, number).await,
                700..800 => self.read_and_drop(node, number, 1 + random.index(6)).await,
                800..810 => self.storm(node, number).await,
                810..820 => self.read(node, bodies::KEYS + number % (bodies::KEYS / 100)).await,
                820..880 => {
                    version += 64;
                    let _ = node.put(&key, bodies::body(number, version)).await;
                    self.lock().writes += 1;
                }
                880..910 => self.replace(node, number, &mut version).await,
                910..930 => {
                    // The next read must not find it; it is written again at once.
                    let _ = node.delete(&key).await;
                    version += 64;
                    let body = bodies::body(number, version);
                    let _ = node.put_if(&key, body, PutCondition::Absent).await;
                    self.lock().writes += 2;
                }
                930..940 => {
                    version += 64;
                    let put = node.put(&key, bodies::body(number, version));
                    drop(polled(1 + random.index(4), put).await);
                    self.lock().writes += 1;
                }
                940..970 => self.unless_wrong(node.invalidate(&key).await),
                970..999 => self.unless_wrong(node.mark_stale(&key).await),
                _ => match random.index(20) {
                    0 => self.unless_wrong(node.clear().await),
                    _ => self.unless_wrong(node.invalidate_prefix("lax/13/")),
                },
            }
            // A fresh hit never waits: the other tasks must get their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn read(&self, node: &ObjectCache, number: usize) {
        let result = node.get(&bodies::key(number)).await;
        self.count(number, result);
    }

    /// A read that is dropped after a few polls.
    async fn read_and_drop(&self, node: &ObjectCache, number: usize, polls: usize) {
        match polled(polls, node.get(&bodies::key(number))).await {
            Some(result) => self.count(number, result),
            None => self.lock().dropped += 1,
        }
    }

    /// Fifty readers of one key at once, most of which are dropped before the response.
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

    /// Reads an object, and writes it if it still has that version.
    async fn replace(&self, node: &ObjectCache, number: usize, version: &mut u64) {
        let key = bodies::key(number);
        let result = node.get(&key).await;
        let read = result.as_ref().ok().map(CachedObject::version);
        self.count(number, result);
        if let Some(read) = read {
            *version += 64;
            let body = bodies::body(number, *version);
            let _ = node.put_if(&key, body, PutCondition::Matches(read)).await;
            self.lock().writes += 1;
        }
    }

    fn count(&self, number: usize, result: Result<CachedObject>) {
        match result {
            Ok(object) => {
                self.lock().succeeded += 1;
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
                // `Other`: a 304 to an unconditional GET.
                let expected = [NotFound, PermissionDenied, Timeout, Unavailable, Other];
                if !expected.contains(&error.kind()) {
                    self.note(format!("a read failed with {error}"));
                }
            }
        }
    }

    fn unless_wrong(&self, result: Result<()>) {
        if let Err(error) = result {
            self.note(format!("an operation without a request failed with {error}"));
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

/// Polls `future` at most `polls` times. Returns `None` if it was dropped then.
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
