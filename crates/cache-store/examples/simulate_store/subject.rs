//! `CachedStore` as the simulation calls it, and what it is made of.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::{Backend, Namespace, Rejection, Status};
use cache_store::{
    AnsweredFromCache, Bypass, CacheStatus, CachedStore, OnlyIfCached, ValidatorStrength,
};
use cache_testkit::{
    BackendAction, BackendCall, HookBackend, MapBackend, Random, TwoTierBackend, WaitingBackend,
    history::Rule,
    simulated_disk_tier,
    simulation::store::{CachedObjects, Opening},
};
use object_store::{GetOptions, GetResult, ObjectStore, path::Path};

/// Rules that do not hold yet. Each line that goes is one that holds.
///
/// A list that leaves a key out does not mark the cached object or fence its requests:
/// `CachedStore` has no index of the cached keys by prefix, so it does not see which ones a page
/// leaves out.
pub(crate) const NOT_YET: &[Rule] = &[Rule::AbsencesAreHeard];

/// A backend's name, and how it is made from the schedule's seed and the node's number.
pub(crate) type Named = (&'static str, fn(u64, usize) -> Arc<dyn Backend>);

/// In turn: one without limits; one that waits at every call; one that also refuses and fails; one
/// of two tiers, which evicts from memory all the time, and from both now and then; the disk tier
/// over a disk that outlives restarts, under memory that refuses what has to be stored at once.
pub(crate) const BACKENDS: [Named; 5] = [
    ("map", |_, _| Arc::new(MapBackend::new())),
    ("waiting", |seed, node| waiting(0, seed, node)),
    ("refusing", |seed, node| waiting(50, seed, node)),
    ("tiers", tiers),
    ("disk", disk),
];

fn disk(seed: u64, node: usize) -> Arc<dyn Backend> {
    let latency_max = Duration::from_millis(1 + seed % 7).min(LATENCY_MAX);
    let random = Random::new(seed ^ (node as u64) << 16);
    let memory = HookBackend::new(MapBackend::new(), move |call| match call {
        BackendCall::Insert(_) if random.index(2) == 0 => BackendAction::Reject(Rejection::Policy),
        _ => BackendAction::Proceed,
    });
    simulated_disk_tier(memory, namespace(), seed, node, latency_max)
}

/// That of all nodes: what was stored before a restart is found after it.
fn namespace() -> Namespace {
    Namespace::named("the simulated store")
}

fn tiers(seed: u64, node: usize) -> Arc<dyn Backend> {
    let memory_max = usize::try_from(seed % 4).unwrap_or(0);
    let backend = TwoTierBackend::new(memory_max).max_entries(if seed % 8 < 4 { 4 } else { 100 });
    let latency_max = Duration::from_millis(1 + seed % 7).min(LATENCY_MAX);
    Arc::new(backend.waiting(seed ^ (node as u64) << 16, latency_max))
}

fn waiting(spoiled: u8, seed: u64, node: usize) -> Arc<dyn Backend> {
    let latency_max = Duration::from_millis(1 + seed % 7).min(LATENCY_MAX);
    let seed = seed ^ (node as u64) << 16;
    Arc::new(WaitingBackend::new(MapBackend::new(), spoiled, seed).with_latency_max(latency_max))
}

/// The cache of a node over a backend.
pub(crate) fn open(opening: &Opening<'_>, (name, backend): Named) -> Arc<dyn CachedObjects> {
    let schedule = opening.schedule;
    let cached =
        CachedStore::builder(Arc::clone(&opening.store), backend(opening.seed, opening.node))
            .clock(Arc::clone(&opening.clock))
            .namespace(namespace())
            .freshness(opening.freshness)
            .time_to_live(schedule.time_to_live)
            .origin_timeout(schedule.origin_timeout)
            .block_size(schedule.block_size)
            .coalesce_gap(schedule.coalesce_gap)
            .readahead(schedule.readahead)
            .max_object_size(schedule.max_object_size)
            .validator_strength(ValidatorStrength::Strong)
            .build();
    let cached = cached.expect("no setting of a schedule is wrong");
    // A few calls of the backend, one after the other, each of which may find others before it.
    let hearing = if name == "map" { Duration::ZERO } else { 10 * LATENCY_MAX };
    Arc::new(Subject { cached, hearing })
}

/// `None`: the store answered.
fn status(status: Status) -> Option<Status> {
    (status != Status::Bypass).then_some(status)
}

struct Subject {
    cached: CachedStore,
    hearing: Duration,
}

const LATENCY_MAX: Duration = Duration::from_millis(7);

#[async_trait]
impl CachedObjects for Subject {
    fn objects(&self) -> &dyn ObjectStore {
        &self.cached
    }

    fn past_the_cache(&self, mut options: GetOptions) -> GetOptions {
        options.extensions.insert(Bypass);
        options
    }

    fn only_if_cached(&self, mut options: GetOptions) -> GetOptions {
        options.extensions.insert(OnlyIfCached);
        options
    }

    fn status(&self, answer: &GetResult) -> Option<Status> {
        status(answer.extensions.get::<CacheStatus>()?.status())
    }

    fn status_of_error(&self, error: &object_store::Error) -> Option<Status> {
        status(error.source()?.downcast_ref::<AnsweredFromCache>()?.status())
    }

    fn hearing_takes(&self) -> Duration {
        self.hearing
    }

    async fn invalidate(&self, location: &Path) -> bool {
        self.cached.invalidate(location).await.is_ok()
    }

    fn invalidate_prefix(&self, prefix: &str) -> bool {
        self.cached.invalidate_prefix(prefix).is_ok()
    }

    async fn clear(&self) -> bool {
        self.cached.clear().await.is_ok()
    }

    async fn close(&self) {
        // If the backend fails to free its memory, it is closed all the same.
        let _ = self.cached.close().await;
    }
}
