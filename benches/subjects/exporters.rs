//! Those who take a cache's figures, as their users have them.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex, Weak,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bench_harness::{Run, Subject};
use cache_facade::{Freshness, ObjectCache, object_store::memory::InMemory};
use cache_metrics::Registry;
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::{
    KeyValue,
    metrics::{
        AsyncInstrument, AsyncInstrumentBuilder, Callback, InstrumentProvider, Meter, MeterProvider as _,
        ObservableCounter, ObservableUpDownCounter,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality, data::ResourceMetrics,
        reader::MetricReader,
    },
};
use tokio::runtime::Runtime;

use super::objects::runtime;

/// An exporter of a registry: each call is a scrape.
pub type Scrape = Box<dyn FnMut() + Send>;

/// Makes an exporter of a registry.
pub type Exporter = fn(&Registry) -> Scrape;

/// Every exporter, by name.
pub const ALL: [(&str, Exporter); 5] = [
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

/// What is handed to a recorder.
fn by_recorder(registry: &Registry) -> Scrape {
    let (recording, recorder) = (registry.recorder_handle(), PrometheusBuilder::new().build_recorder());
    Box::new(move || recording.record_to(&recorder))
}

/// The recorder makes its text of it, too.
fn by_rendered_recorder(registry: &Registry) -> Scrape {
    let (recording, recorder) = (registry.recorder_handle(), PrometheusBuilder::new().build_recorder());
    Box::new(move || {
        recording.record_to(&recorder);
        drop(black_box(recorder.handle().render()));
    })
}

/// What is told to instruments.
fn by_instruments(registry: &Registry) -> Scrape {
    let instruments = Arc::<Instruments>::default();
    registry.observe(&Meter::new(Arc::clone(&instruments) as _));
    Box::new(move || {
        let unsigned = instruments.unsigned.lock().expect("nobody panics");
        unsigned.iter().for_each(|observe| observe(&Nowhere));
        let signed = instruments.signed.lock().expect("nobody panics");
        signed.iter().for_each(|observe| observe(&Nowhere));
    })
}

/// Instruments that keep nothing.
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
        self.unsigned.lock().expect("nobody panics").extend(builder.callbacks);
        ObservableCounter::new()
    }

    fn i64_observable_up_down_counter(
        &self,
        builder: AsyncInstrumentBuilder<'_, ObservableUpDownCounter<i64>, i64>,
    ) -> ObservableUpDownCounter<i64> {
        self.signed.lock().expect("nobody panics").extend(builder.callbacks);
        ObservableUpDownCounter::new()
    }
}

struct Nowhere;

impl<T: Send + Sync> AsyncInstrument<T> for Nowhere {
    fn observe(&self, number: T, attributes: &[KeyValue]) {
        black_box((number, attributes));
    }
}

/// As a reader of the SDK gets it, before it is sent anywhere.
fn by_meter(registry: &Registry) -> Scrape {
    let reader = Reader(Arc::new(ManualReader::default()));
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    registry.observe(&provider.meter("object_cache"));
    let mut metrics = ResourceMetrics::default();
    Box::new(move || {
        // The provider lives as long as the reader.
        let _provider = &provider;
        reader.collect(black_box(&mut metrics)).expect("nobody shuts the reader down");
    })
}

/// A reader that is held beside its provider.
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

/// Scrapes a cache ten times a second, in a thread of its own, until it is dropped.
pub struct Scraping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scraping {
    /// Begins.
    pub fn begin(cache: &ObjectCache, exporter: Exporter) -> Self {
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

/// Scrapes of so many caches, each of which has been used.
pub fn of_many(n_caches: usize, (name, exporter): (&str, Exporter)) -> Subject {
    Subject::new(name, move || {
        let (registry, runtime) = (Registry::new(), runtime());
        let caches: Vec<_> = (0..n_caches).map(|number| used(&runtime, number)).collect();
        caches.iter().for_each(|cache| registry.add(cache));
        let scrape = Mutex::new(exporter(&registry));
        Run::new(move |_, ops| {
            let (_held, mut scrape) = (&caches, scrape.lock().expect("no scrape panics"));
            (0..ops).for_each(|_| scrape());
        })
    })
}

/// A cache that has answered in several ways.
fn used(runtime: &Runtime, number: usize) -> ObjectCache {
    let builder = ObjectCache::builder(Arc::new(InMemory::new())).name(format!("cache-{number}"));
    let cache = builder.freshness(Freshness::immutable()).build().expect("settings are in bounds");
    runtime.block_on(async {
        for i in 0..20 {
            let key = i.to_string();
            cache.put(&key, "a body").await.expect("the store is there");
            cache.get(&key).await.expect("the object is there");
            cache.invalidate(&key).await.expect("the cache is open");
            cache.get(&key).await.expect("the object is there");
            cache.get("nothing").await.expect_err("there is no such object");
        }
    });
    cache
}

/// Much more often than anybody scrapes.
const EVERY: Duration = Duration::from_millis(100);
