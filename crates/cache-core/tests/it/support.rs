//! What the tests share.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use cache_core::{
    Backend, Freshness, FreshnessRules, ReadThrough, ReadThroughBuilder, Result, Served, Status,
};
use cache_testkit::{FaultyOrigin, ManualClock, MapBackend, MemoryOrigin, OriginOperation};
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "a/b";

pub(crate) const STRONG: Freshness = Freshness::strong();
pub(crate) const FOREVER: Freshness = Freshness::immutable();

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One node over an origin, with its clock.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) origin: Arc<FaultyOrigin<MemoryOrigin>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cache: ReadThrough<FaultyOrigin<MemoryOrigin>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::over(MapBackend::new())
    }

    pub(crate) fn over(backend: impl Backend) -> Self {
        Self::with(backend, |builder| builder)
    }

    pub(crate) fn with(
        backend: impl Backend,
        set: impl FnOnce(
            ReadThroughBuilder<FaultyOrigin<MemoryOrigin>>,
        ) -> ReadThroughBuilder<FaultyOrigin<MemoryOrigin>>,
    ) -> Self {
        let origin = Arc::new(FaultyOrigin::in_memory());
        let clock = Arc::new(ManualClock::new());
        let builder =
            ReadThrough::builder(Arc::clone(&origin), Arc::new(backend)).clock(clock.clone());
        Self { cache: set(builder).build().unwrap(), origin, clock }
    }

    pub(crate) async fn get(&self, freshness: Freshness) -> Result<Served> {
        self.cache.get(KEY, Some(&freshness)).await
    }

    /// What a get is answered with, as text.
    #[track_caller]
    pub(crate) fn check(
        &self,
        freshness: Freshness,
        body: &str,
        status: Status,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let rig = self.clone();
        let body = body.to_owned();
        async move {
            let got = rig.get(freshness).await.map(|served| (text(&served), served.status));
            assert_eq!(got.unwrap(), (body, status), "asked at {caller}");
        }
    }

    /// A get in a task of its own.
    pub(crate) fn spawn_get(&self, freshness: Freshness) -> JoinHandle<Result<Served>> {
        let rig = self.clone();
        tokio::spawn(async move { rig.get(freshness).await })
    }

    /// What the validations so far asked about. There were no other requests.
    #[track_caller]
    pub(crate) fn e_tags_sent(&self) -> Vec<Option<String>> {
        let requests = self.origin.requests();
        assert!(requests.iter().all(|request| request.operation == OriginOperation::Validate));
        requests.into_iter().map(|request| request.e_tag).collect()
    }

    /// Lets every task go as far as it can.
    pub(crate) async fn settle(&self) {
        settle().await;
    }

    /// Nothing is in the air, and every get was counted once.
    pub(crate) async fn at_rest(&self, gets: u64) {
        settle().await;
        assert_eq!(self.cache.keys_in_flight(), 0, "no key has a state at rest");
        let stats = self.cache.stats();
        assert_eq!(stats.gets(), gets, "{stats:?}");
        // A part of the hits, and not a bucket of its own.
        assert!(stats.hits_from_disk <= stats.hits(), "{stats:?}");
        assert!(stats.bytes_from_disk <= stats.bytes_from_cache, "{stats:?}");
        assert_eq!(stats.origin.requests(), self.origin.count() as u64, "{stats:?}");
    }
}

pub(crate) fn rules(freshness: Freshness) -> FreshnessRules {
    FreshnessRules::new(freshness)
}

pub(crate) fn text(served: &Served) -> String {
    String::from_utf8(served.entry.body().to_vec()).unwrap()
}

/// Lets every task of a current-thread runtime go as far as it can.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Polls once.
pub(crate) fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
