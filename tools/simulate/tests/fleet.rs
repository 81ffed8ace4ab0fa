//! The simulation of a fleet against caches that run: several of them over one store in memory that
//! counts its requests, in tokio's paused time, with the reads and writes of the same plan.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for other code")]

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Announcement, BusEvent, ChangeBus, Clock, Namespace};
use cache_facade::{
    Freshness, ObjectCache,
    object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
    },
};
use cache_testkit::{
    BusFault, Failure, FaultyStore, LocalBus, Operation, Outcome, Random, TokioClock,
};
use futures_util::{StreamExt, future::join_all, stream, stream::BoxStream};
use simulate::{
    fleet::{Fleet, Plan, Rule, Split},
    read::Columns,
    trace::Trace,
};

/// 400 requests for 40 objects, some of them far more often than others.
fn trace() -> Trace {
    let objects = (0_u32..400).map(|i| i * i % 41 % (i % 29 + 1));
    let text: String = objects.map(|object| format!("{object}\n")).collect();
    Trace::read("t", text.as_bytes(), &Columns::default()).unwrap()
}

/// Three nodes, a minute, from the start.
fn fleet() -> Fleet {
    Fleet {
        nodes: 3,
        reads: 50.0,
        writes: 0.0,
        warm_up: Duration::ZERO,
        span: Duration::from_secs(60),
        round_trip: Duration::from_millis(8),
        ..Fleet::default()
    }
}

/// The same for 20 s, with many reads that overlap.
fn busy() -> Fleet {
    let (span, round_trip) = (Duration::from_secs(20), Duration::from_millis(40));
    Fleet { reads: 500.0, span, round_trip, ..fleet() }
}

/// Requests by kind, and reads that were served a superseded version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counts {
    bodies: u64,
    not_modified: u64,
    lists: u64,
    stale: u64,
}

fn simulated(plan: &Plan<'_>, rule: &str) -> Counts {
    let counts = plan.replay(rule.parse().unwrap()).unwrap();
    Counts {
        bodies: counts.bodies,
        not_modified: counts.not_modified,
        lists: counts.lists,
        stale: counts.stale,
    }
}

/// Runs one cache for each node.
fn measured(plan: &Plan<'_>, fleet: &Fleet, rule: &str) -> Counts {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(plan, fleet, rule.parse().unwrap()))
}

async fn run(plan: &Plan<'_>, fleet: &Fleet, rule: Rule) -> Counts {
    let bucket = FaultyStore::in_memory();
    let objects: BTreeMap<u32, ()> = (0..fleet.nodes)
        .flat_map(|node| plan.reads(node))
        .map(|(_, object)| (object, ()))
        .collect();
    for object in objects.keys() {
        bucket.inner().put(&Path::from(key(*object)), version(0).into()).await.unwrap();
    }
    let store: Arc<dyn ObjectStore> =
        Arc::new(Distant { store: bucket.clone(), half: fleet.round_trip / 2 });
    let clock = Arc::new(TokioClock::new());
    let freshness = match rule {
        Rule::Strong => Freshness::strong(),
        Rule::MaxAge(max_age) => Freshness::max_age(max_age),
        Rule::List { max_age, .. } => Freshness::max_age(max_age),
        Rule::Bus { fallback } => Freshness::until_notified(fallback),
    };
    let bus = LocalBus::new();
    if fleet.lost > 0.0 {
        let is_lost = Random::new(fleet.seed);
        let lost = fleet.lost;
        bus.fault(BusFault::drop_silently().when(move |_| is_lost.unit() < lost));
    }
    let caches: Vec<_> = (0..fleet.nodes)
        .map(|node| {
            let mut cache = ObjectCache::builder(Arc::clone(&store)).clock(clock.clone());
            cache = cache.freshness(freshness).time_to_live(fleet.time_to_live);
            if let Rule::Bus { .. } = rule {
                let bus = LateBus { bus: bus.node(node as usize), delay: fleet.bus_delay };
                cache = cache.bus(Arc::new(bus)).namespace(Namespace::named("t"));
            }
            cache.build().unwrap()
        })
        .collect();

    // In the order of time, writes first, as in the simulation.
    let writes = plan.writes().iter().map(|write| (write.at, 0, write.node, write.object));
    let reads = (0..fleet.nodes)
        .flat_map(|node| plan.reads(node).map(move |(at, object)| (at, 1, node, object)));
    let mut calls: Vec<_> = writes.chain(reads).collect();
    calls.sort_unstable();
    let mut lists = Vec::new();
    if let Rule::List { every, .. } = rule {
        for (node, cache) in (0..).zip(&caches) {
            let first = Duration::from_nanos(plan.first_list(node, every));
            let (cache, clock) = (cache.clone(), Arc::clone(&clock));
            lists.push(tokio::spawn(async move {
                for n in 0.. {
                    sleep_until(&clock, first + every * n).await;
                    let mut pages = cache.read_through().list("o/");
                    while let Some(page) = pages.next().await {
                        page.unwrap();
                    }
                }
            }));
        }
    }
    let mut running = Vec::new();
    let mut n_written = BTreeMap::<u32, u32>::new();
    for (at, kind, node, object) in calls {
        sleep_until(&clock, Duration::from_nanos(at)).await;
        let cache = caches[node as usize].clone();
        if kind == 0 {
            let written = n_written.entry(object).or_default();
            *written += 1;
            let body = version(*written);
            running.push(tokio::spawn(async move {
                cache.put(&key(object), body).await.unwrap();
                0
            }));
        } else {
            // Of the store itself, which counts nothing.
            let current = store_version(bucket.inner(), object).await;
            running.push(tokio::spawn(async move {
                let read = cache.get(&key(object)).await.unwrap();
                u64::from(number(read.bytes()) < current)
            }));
        }
        // The call begins now, and not when the clock next stands.
        tokio::task::yield_now().await;
    }
    let stale = join_all(running).await.into_iter().map(|call| call.unwrap()).sum();
    sleep_until(&clock, fleet.warm_up + fleet.span).await;
    lists.iter().for_each(tokio::task::JoinHandle::abort);

    let requests = bucket.requests();
    let n = |operation: Operation, outcome: Outcome| {
        let is_one = |request: &&cache_testkit::Request| {
            request.operation == operation && request.outcome == outcome
        };
        requests.iter().filter(is_one).count() as u64
    };
    let counts = Counts {
        bodies: n(Operation::Get, Outcome::Answered),
        not_modified: n(Operation::Get, Outcome::Failed(Failure::NotModified)),
        lists: n(Operation::List, Outcome::Answered),
        stale,
    };
    let puts = n(Operation::Put, Outcome::Answered);
    assert_eq!(puts, plan.writes().len() as u64);
    assert_eq!(
        counts.bodies + counts.not_modified + counts.lists + puts,
        requests.len() as u64,
        "other requests"
    );
    counts
}

/// Sleeps until this long after the start of the clock.
async fn sleep_until(clock: &TokioClock, at: Duration) {
    let now = Duration::from_nanos(clock.now().as_nanos());
    tokio::time::sleep(at.saturating_sub(now)).await;
}

fn key(object: u32) -> String {
    format!("o/{object}")
}

async fn store_version(store: &dyn ObjectStore, object: u32) -> u32 {
    let object = store.get(&Path::from(key(object))).await.unwrap();
    number(&object.bytes().await.unwrap())
}

fn number(body: &[u8]) -> u32 {
    str::from_utf8(body).unwrap().parse().unwrap()
}

fn version(number: u32) -> Bytes {
    number.to_string().into()
}

/// A store that processes a request `half` after it was sent, and responds `half` after that.
#[derive(Debug)]
struct Distant {
    store: FaultyStore,
    half: Duration,
}

impl Distant {
    async fn there_and_back<T>(&self, request: impl Future<Output = T>) -> T {
        tokio::time::sleep(self.half).await;
        let response = request.await;
        tokio::time::sleep(self.half).await;
        response
    }
}

impl fmt::Display for Distant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Distant {
    async fn put_opts(&self, at: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.there_and_back(self.store.put_opts(at, body, how)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.there_and_back(self.store.get_opts(at, how)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    /// One page.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, half, prefix) = (self.store.clone(), self.half, prefix.cloned());
        let page = async move {
            tokio::time::sleep(half).await;
            let page: Vec<_> = store.list(prefix.as_ref()).collect().await;
            tokio::time::sleep(half).await;
            stream::iter(page)
        };
        stream::once(page).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, how).await
    }
}

/// A bus whose messages are heard `delay` after they were sent.
struct LateBus {
    bus: LocalBus,
    delay: Duration,
}

#[async_trait]
impl ChangeBus for LateBus {
    async fn announce(&self, message: &Announcement) -> cache_core::Result<()> {
        let (bus, delay, message) = (self.bus.clone(), self.delay, message.clone());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            bus.announce(&message).await.unwrap();
        });
        Ok(())
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        self.bus.listen()
    }
}

/// Simulates and runs the fleet.
#[track_caller]
fn counts(fleet: &Fleet, rule: &str) -> [Counts; 2] {
    let trace = trace();
    let plan = Plan::new(&trace, fleet).unwrap();
    let both = [simulated(&plan, rule), measured(&plan, fleet, rule)];
    let (reads, writes) = (fleet.reads, fleet.writes);
    println!("{rule}, {reads} reads/s, {writes} writes/s: simulated, measured: {both:?}");
    both
}

/// The counts are the same.
#[track_caller]
fn check_equal(fleet: &Fleet, rule: &str) -> Counts {
    let [simulated, measured] = counts(fleet, rule);
    assert_eq!(simulated, measured, "{rule}");
    measured
}

/// The counts differ by one in a hundred at most. Two things that happen in the same millisecond,
/// the tick of tokio's clock, may come in another order.
#[track_caller]
fn check_near(fleet: &Fleet, rule: &str) -> Counts {
    let [simulated, measured] = counts(fleet, rule);
    let within = |a: u64, b: u64, more: u64| a.abs_diff(b) * 100 <= a.max(b) + 100 * more;
    let near = |a, b| within(a, b, 1);
    assert!(
        near(simulated.bodies, measured.bodies)
            && near(simulated.not_modified, measured.not_modified)
            && near(simulated.lists, measured.lists)
            // A bus makes reads stale for a few ticks.
            && within(simulated.stale, measured.stale, 5),
        "{rule}: simulated {simulated:?}, measured {measured:?}"
    );
    measured
}

#[test]
fn strong_reads() {
    assert_eq!(check_equal(&fleet(), "strong").stale, 0);
    let counts = check_near(&busy(), "strong");
    // Some readers share a request.
    assert!(counts.bodies + counts.not_modified < 9_700, "{counts:?}");
    assert_eq!(check_near(&Fleet { writes: 5.0, ..fleet() }, "strong").stale, 0);
}

#[test]
fn reads_by_age() {
    assert!(check_equal(&fleet(), "max_age=10s").not_modified > 100);
    let expiring = Fleet { time_to_live: Duration::from_secs(5), ..fleet() };
    assert!(check_equal(&expiring, "max_age=2s").bodies > 120);
    check_near(&busy(), "max_age=100ms");
    for seed in 1..=4 {
        let written = Fleet { writes: 5.0, seed, ..fleet() };
        assert!(check_near(&written, "max_age=10s").stale > 100);
    }
    // Many reads and writes overlap.
    let contended = Fleet {
        reads: 200.0,
        writes: 50.0,
        round_trip: Duration::from_millis(40),
        span: Duration::from_secs(30),
        ..fleet()
    };
    check_near(&contended, "max_age=10s");
    let by_key = Fleet { writes: 5.0, split: Split::ByKey, ..fleet() };
    assert_eq!(check_near(&by_key, "max_age=10s").stale, 0);
}

#[test]
fn reads_between_lists() {
    let counts = check_near(&fleet(), "list=5s");
    assert!(counts.lists == 36 && counts.not_modified < 50, "{counts:?}");
    for seed in 1..=4 {
        let written = Fleet { writes: 5.0, seed, ..fleet() };
        let counts = check_near(&written, "list=5s");
        assert!(counts.stale > 100, "{counts:?}");
    }
}

#[test]
fn reads_with_a_bus() {
    let counts = check_near(&fleet(), "bus=20s");
    assert!(counts.not_modified < 250 && counts.stale == 0, "{counts:?}");
    for seed in 1..=4 {
        let written = Fleet { writes: 5.0, seed, ..fleet() };
        let counts = check_near(&written, "bus=20s");
        assert!(counts.stale < 20, "{counts:?}");
    }
    let late = Fleet { writes: 5.0, bus_delay: Duration::from_millis(900), ..fleet() };
    let counts = check_near(&late, "bus=20s");
    assert!(counts.stale > 100, "{counts:?}");
}

#[test]
fn reads_with_a_bus_that_loses_messages() {
    // Which ones are lost is drawn by both.
    let lossy = Fleet { writes: 5.0, lost: 0.02, span: Duration::from_secs(200), ..fleet() };
    let [simulated, measured] = counts(&lossy, "bus=5m");
    let n_requests = |counts: &Counts| (counts.bodies + counts.not_modified) as f64;
    let ratio = n_requests(&measured) / n_requests(&simulated);
    assert!((0.8..1.25).contains(&ratio), "{simulated:?}, {measured:?}");
}
