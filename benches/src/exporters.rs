//! The cost of exporting metrics: fresh hits of a cache without an exporter, and of one that each
//! exporter scrapes ten times a second; and a scrape of a hundred caches. With the feature
//! `tracing` too: compiled in and without a subscriber, it should cost nothing.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex, Weak,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use cache_facade::{Freshness, ObjectCache, object_store::memory::InMemory};
use cache_metrics::Registry;
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::{
    KeyValue,
    metrics::{
        AsyncInstrument, AsyncInstrumentBuilder, Callback, InstrumentProvider, Meter,
        MeterProvider as _, ObservableCounter, ObservableUpDownCounter,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
        data::ResourceMetrics, reader::MetricReader,
    },
};
use tokio::runtime::Runtime;

use crate::{
    Case, Row, Run, Subject, compare, publish,
    subjects::{
        hits::Hits,
        objects::{Objects, runtime},
        stores::Store,
    },
};

/// Compares the exporters, and publishes the rows as group `exporters`.
pub fn run() {
    let tracing =
        if cfg!(feature = "tracing") { "tracing compiled in, and off" } else { "no tracing" };
    let objects = Objects::new(&Hits::new(N_KEYS), Store::in_memory());
    let mut subjects = vec![objects.fresh_beside(ALONE, |_| ())];
    subjects.extend(EXPORTERS.map(|(name, exporter)| {
        objects.fresh_beside(name, move |cache| Scraping::start(cache, exporter))
    }));
    let hits = Case::new(format!("fresh hit, {tracing}"), ALONE, (80_000, 60), subjects);
    let scrapes = EXPORTERS.map(|exporter| of_many(N_CACHES, exporter)).into();
    let name = format!("a scrape of {N_CACHES} caches");
    let scrapes = Case::new(name, "prometheus", (20, 20), scrapes);
    let (mut rows, _) = compare(&hits);
    rows.extend(compare(&scrapes).0.into_iter().map(in_micros));
    publish("exporters", &rows);
}

fn in_micros(row: Row) -> Row {
    Row { unit: "us", value: row.value / 1000.0, wall: row.wall / 1000.0, ..row }
}

/// An exporter of a registry: each call is a scrape.
type Scrape = Box<dyn FnMut() + Send>;

/// Makes an exporter of a registry.
type Exporter = fn(&Registry) -> Scrape;

/// The exporters, by name.
const EXPORTERS: [(&str, Exporter); 5] = [
    ("prometheus", by_text),
    ("metrics", by_recorder),
    ("metrics-rendered", by_rendered_recorder),
    ("opentelemetry", by_instruments),
    ("opentelemetry-collected", by_meter),
];

fn by_text(registry: &Registry) -> Scrape {
    let registry = registry.clone();
    Box::new(move || drop(black_box(registry.render_prometheus())))
}

/// Hands the values to a recorder.
fn by_recorder(registry: &Registry) -> Scrape {
    let recorder = PrometheusBuilder::new().build_recorder();
    let recording = registry.recorder_handle();
    Box::new(move || recording.record_to(&recorder))
}

/// The same, and renders the text.
fn by_rendered_recorder(registry: &Registry) -> Scrape {
    let recorder = PrometheusBuilder::new().build_recorder();
    let recording = registry.recorder_handle();
    Box::new(move || {
        recording.record_to(&recorder);
        drop(black_box(recorder.handle().render()));
    })
}

/// Runs the callbacks of instruments.
fn by_instruments(registry: &Registry) -> Scrape {
    let instruments = Arc::<Instruments>::default();
    registry.observe(&Meter::new(Arc::clone(&instruments) as _));
    Box::new(move || {
        let unsigned = instruments.unsigned.lock().expect("nothing panics under this lock");
        unsigned.iter().for_each(|observe| observe(&Nowhere));
        let signed = instruments.signed.lock().expect("nothing panics under this lock");
        signed.iter().for_each(|observe| observe(&Nowhere));
    })
}

/// Instruments that drop their values.
#[derive(Default)]
struct Instruments {
    unsigned: Mutex<Vec<Callback<u64>>>,
    signed: Mutex<Vec<Callback<i64>>>,
}

impl InstrumentProvider for Instruments {
    fn u64_observable_counter(
        &self,
        builder: AsyncInstrumentBuilder<'_, ObservableCounter<u64>, u64>,
    ) -> ObservableCounter<u64> {
        self.unsigned.lock().expect("nothing panics under this lock").extend(builder.callbacks);
        ObservableCounter::new()
    }

    fn i64_observable_up_down_counter(
        &self,
        builder: AsyncInstrumentBuilder<'_, ObservableUpDownCounter<i64>, i64>,
    ) -> ObservableUpDownCounter<i64> {
        self.signed.lock().expect("nothing panics under this lock").extend(builder.callbacks);
        ObservableUpDownCounter::new()
    }
}

struct Nowhere;

impl<T: Send + Sync> AsyncInstrument<T> for Nowhere {
    fn observe(&self, number: T, attributes: &[KeyValue]) {
        black_box((number, attributes));
    }
}

/// Collects as a reader of the SDK does before it sends.
fn by_meter(registry: &Registry) -> Scrape {
    let reader = Reader(Arc::new(ManualReader::default()));
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    registry.observe(&provider.meter("object_cache"));
    let mut metrics = ResourceMetrics::default();
    Box::new(move || {
        // The provider must live as long as the reader.
        let _provider = &provider;
        reader.collect(black_box(&mut metrics)).expect("the reader is not shut down");
    })
}

/// A reader that is kept beside its provider.
#[derive(Debug, Clone)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
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

/// Scrapes a cache ten times a second on a thread of its own, until dropped.
struct Scraping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scraping {
    fn start(cache: &ObjectCache, exporter: Exporter) -> Self {
        let registry = Registry::new();
        registry.add(cache);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut scrape = exporter(&registry);
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                scrape();
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Scraping {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the scraper does not panic");
        }
    }
}

/// Scrapes of `n_caches` caches, all of them used.
fn of_many(n_caches: usize, (name, exporter): (&str, Exporter)) -> Subject {
    Subject::new(name, move || {
        let (registry, runtime) = (Registry::new(), runtime());
        let caches: Vec<_> = (0..n_caches).map(|number| used(&runtime, number)).collect();
        caches.iter().for_each(|cache| registry.add(cache));
        let scrape = Mutex::new(exporter(&registry));
        Run::new(move |_, ops| {
            let (_alive, mut scrape) = (&caches, scrape.lock().expect("no scrape panics"));
            (0..ops).for_each(|_| scrape());
        })
    })
}

/// A cache whose counters of hits, misses and absent objects are not zero.
fn used(runtime: &Runtime, number: usize) -> ObjectCache {
    let builder = ObjectCache::builder(Arc::new(InMemory::new())).name(format!("cache-{number}"));
    let cache = builder.freshness(Freshness::immutable()).build().expect("settings are in bounds");
    runtime.block_on(async {
        for i in 0..20 {
            let key = i.to_string();
            cache.put(&key, "a body").await.expect("the store accepts objects");
            cache.get(&key).await.expect("the object exists");
            cache.invalidate(&key).await.expect("the cache is open");
            cache.get(&key).await.expect("the object exists");
            cache.get("nothing").await.expect_err("the object does not exist");
        }
    });
    cache
}

const ALONE: &str = "no exporter";
const N_KEYS: usize = 1000;
const N_CACHES: usize = 100;

/// Much shorter than any scrape interval in use.
const EVERY: Duration = Duration::from_millis(100);
