//! What is handed on in one export, and what in the next: nothing twice, nothing never, also where
//! exports overlap.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use cache_facade::{
    Freshness, ObjectCache, ReadOptions,
    object_store::{ObjectStoreExt as _, memory::InMemory, path::Path},
};
use cache_metrics::{MetricsSource, Registry, Snapshot};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics},
        reader::MetricReader,
    },
};

use crate::readings::{Meter, Readings, assert_alike, by_text, parse, recorder};

/// A cache that has been hit `hits` times, after one miss.
async fn cache(hits: usize) -> ObjectCache {
    let store = Arc::new(InMemory::new());
    store.put(&Path::from("a"), "12345".into()).await.unwrap();
    let freshness = Freshness::max_age(Duration::from_secs(3600));
    let cache = ObjectCache::builder(store).name("a").freshness(freshness).build().unwrap();
    for _ in 0..=hits {
        cache.get("a").await.unwrap();
    }
    cache
}

async fn ask(cache: &ObjectCache, times: usize) {
    for _ in 0..times {
        cache.get_with("a", ReadOptions::new().freshness(Freshness::strong())).await.unwrap();
    }
}

/// `cache`, whose first snapshot in the thread called "slow" is taken at once and handed on when
/// that is allowed.
fn slow_source(cache: &ObjectCache) -> (MetricsSource, Receiver<()>, Sender<()>) {
    let ((taken, is_taken), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    let (may_go, read_through) = (Mutex::new(may_go), cache.read_through().clone());
    let source = MetricsSource::new(&"a".into(), move || {
        let snapshot = Snapshot::from(read_through.stats());
        if thread::current().name() == Some("slow") {
            // Told once; later the channels are closed.
            let _ = taken.send(());
            let _ = may_go.lock().ok()?.recv();
        }
        Some(snapshot)
    });
    (source, is_taken, go)
}

/// Has `export` take its snapshot, in a thread of its own; then ten requests and `meanwhile`; then
/// lets it go on.
async fn overtaken(
    cache: &ObjectCache,
    (is_taken, go): (Receiver<()>, Sender<()>),
    export: impl FnOnce() + Send,
    meanwhile: impl FnOnce(),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::scope(|scope| {
        let slow =
            thread::Builder::new().name("slow".to_owned()).spawn_scoped(scope, export).unwrap();
        is_taken.recv().unwrap();
        let requests = scope.spawn(|| runtime.block_on(ask(cache, 10)));
        requests.join().unwrap();
        meanwhile();
        drop(go);
        slow.join().unwrap();
    });
    // A runtime must not be dropped within another one.
    runtime.shutdown_background();
}

#[tokio::test]
async fn an_older_snapshot_is_not_handed_on_after_a_newer_one() {
    let cache = cache(0).await;
    let (source, is_taken, go) = slow_source(&cache);
    let registry = Registry::new();
    registry.add(source);
    let (recording, recorder) = (registry.recorder_handle(), recorder());
    recording.record_to(&recorder);
    let export = || recording.record_to(&recorder);
    overtaken(&cache, (is_taken, go), export, || recording.record_to(&recorder)).await;
    recording.record_to(&recorder);
    assert_alike(&parse(&recorder.handle().render()), &by_text(&registry));
}

#[tokio::test]
async fn an_older_round_is_not_observed_after_a_newer_one() {
    let cache = cache(0).await;
    let (source, is_taken, go) = slow_source(&cache);
    let registry = Registry::new();
    registry.add(source);
    let meters = Meter::two_readers(&registry);
    meters[0].read();
    overtaken(&cache, (is_taken, go), || drop(meters[0].read()), || drop(meters[1].read())).await;
    assert_alike(&meters[0].read(), &by_text(&registry));
    assert_alike(&meters[1].read(), &by_text(&registry));
}

/// Each collection takes one snapshot, however many instruments there are.
#[test]
fn a_collection_takes_one_snapshot() {
    let taken = Arc::new(AtomicUsize::new(0));
    let registry = Registry::new();
    let count = Arc::clone(&taken);
    registry.add(MetricsSource::new(&"a".into(), move || {
        count.fetch_add(1, SeqCst);
        Some(Snapshot::default())
    }));
    let meter = Meter::observing(&registry);
    for n in 1..=3 {
        meter.read();
        assert_eq!(taken.load(SeqCst), n);
    }
}

#[tokio::test]
async fn a_cache_that_is_built_anew_goes_on_in_all_exporters() {
    let registry = Registry::new();
    let (recording, recorder, meter) =
        (registry.recorder_handle(), recorder(), Meter::observing(&registry));
    let other = cache(1).await;
    registry.add(MetricsSource::new(&"other".into(), move || Some(other.stats().into())));
    for hits in [100, 7] {
        // With the first one gone, what was given under its name is not forgotten.
        recording.record_to(&recorder);
        meter.read();
        let cache = cache(hits).await;
        registry.add(&cache);
        recording.record_to(&recorder);
        let text = by_text(&registry);
        assert_alike(&parse(&recorder.handle().render()), &text);
        assert_alike(&meter.read(), &text);
    }
    let fresh = "object_cache_requests_total{cache_name=\"a\",result=\"fresh\"}";
    assert_eq!(parse(&recorder.handle().render()).get(fresh), Some(&107.0));
}

/// OpenTelemetry subtracts what was told before.
#[tokio::test]
async fn deltas_of_a_cache_that_is_built_anew_are_its_own() {
    let registry = Registry::new();
    let deltas = Deltas::of(&registry);
    for hits in [100, 7] {
        let cache = cache(hits).await;
        registry.add(&cache);
        assert_eq!(deltas.read("object_cache.requests"), hits as u64 + 1);
    }
}

/// A counter that is left out of one collection is a new one in the next.
#[tokio::test]
async fn deltas_of_a_cache_that_was_gone_for_some_collections_are_its_own() {
    let registry = Registry::new();
    let deltas = Deltas::of(&registry);
    for hits in [100, 7, 5] {
        let cache = cache(hits).await;
        registry.add(&cache);
        assert_eq!(deltas.read("object_cache.requests"), hits as u64 + 1);
        drop(cache);
        // With other caches too, that are gone by the next collection.
        for round in 0..3 {
            let other = self::cache(round).await;
            registry.add(MetricsSource::new(&"other".into(), move || Some(other.stats().into())));
            assert_eq!(deltas.read("object_cache.requests"), round as u64 + 1, "round {round}");
        }
    }
}

/// Its name is in use again, but its counters were not collected with the others.
#[tokio::test]
async fn a_cache_that_is_added_during_a_collection_counts_once() {
    let registry = Registry::new();
    let deltas = Deltas::of(&registry);
    let (first, second) = (cache(100).await, Arc::new(cache(7).await));
    registry.add(&first);
    assert_eq!(deltas.read("object_cache.requests"), 101);
    drop(first);
    let (other, add) = (registry.clone(), Arc::clone(&second));
    // The snapshots of the first round are being taken.
    registry.add(MetricsSource::new(&"other".into(), move || {
        other.add(&*add);
        Some(Snapshot::default())
    }));
    assert_eq!(deltas.read("object_cache.requests"), 0);
    assert_eq!(deltas.read("object_cache.requests"), 8);
}

/// What a reader with delta temporality gets.
struct Deltas {
    reader: Reader,
    _provider: SdkMeterProvider,
}

impl Deltas {
    fn of(registry: &Registry) -> Self {
        let reader = ManualReader::builder().with_temporality(Temporality::Delta).build();
        let reader = Reader(Arc::new(reader));
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        registry.observe(&provider.meter("object_cache"));
        Self { reader, _provider: provider }
    }

    /// The sum over all series of a counter, since the last call.
    fn read(&self, name: &str) -> u64 {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).unwrap();
        total(&metrics, name)
    }
}

/// The sum over all series of a counter.
fn total(metrics: &ResourceMetrics, name: &str) -> u64 {
    let of_it = metrics
        .scope_metrics()
        .flat_map(|scope| scope.metrics())
        .find(|metric| metric.name() == name);
    match of_it.unwrap().data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            sum.data_points().map(|point| point.value()).sum()
        }
        _ => panic!("{name} is no counter"),
    }
}

/// A reader that is held beside its provider.
#[derive(Debug, Clone)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: std::sync::Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// The recorder that is used most is not the one that is forgotten.
#[tokio::test]
async fn a_recorder_that_is_in_use_is_told_from_many_others() {
    let cache = cache(2).await;
    let registry = Registry::new();
    registry.add(&cache);
    let record = |recorder: &_| metrics::with_local_recorder(recorder, || registry.record());
    let (used, others): (_, Vec<_>) =
        (Box::new(recorder()), (0..20).map(|_| Box::new(recorder())).collect());
    record(&*used);
    for other in &others {
        record(&**other);
        record(&*used);
    }
    let durations = |readings: &Readings| readings["object_cache_origin_duration_seconds_count{cache_name=\"a\",op=\"read\"}"];
    assert_eq!(durations(&parse(&used.handle().render())), 1.0);
}
