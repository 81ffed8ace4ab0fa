//! What each exporter says, read the way its users read it: the text of Prometheus in all three
//! cases, for that is what their own exporters give.

use std::collections::BTreeMap;

use cache_metrics::{Registry, names::Kind, names::METRICS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::metrics::SdkMeterProvider;

/// Series that are not zero, with sorted labels, and their values.
pub(crate) type Readings = BTreeMap<String, f64>;

/// By our own text.
pub(crate) fn by_text(registry: &Registry) -> Readings {
    parse(&registry.render_prometheus())
}

/// By the `metrics` crate, and its exporter for Prometheus with our bounds.
pub(crate) fn by_recorder(registry: &Registry) -> Readings {
    let recorder = recorder();
    registry.recorder_handle().record_to(&recorder);
    parse(&recorder.handle().render())
}

pub(crate) fn recorder() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            let bounds = bounds.map(|bound| bound.as_secs_f64());
            let name = Matcher::Full(metric.prometheus_name.to_owned());
            builder = builder.set_buckets_for_metric(name, &bounds).unwrap();
        }
    }
    builder.build_recorder()
}

/// By OpenTelemetry, and its exporter for Prometheus.
pub(crate) struct Meter {
    prometheus: prometheus::Registry,
    pub(crate) provider: SdkMeterProvider,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let prometheus = prometheus::Registry::new();
        let provider = SdkMeterProvider::builder().with_reader(exporter(&prometheus)).build();
        Self { prometheus, provider }
    }

    /// One provider with two readers.
    pub(crate) fn two_readers(registry: &Registry) -> [Self; 2] {
        let registries = [(), ()].map(|()| prometheus::Registry::new());
        let mut builder = SdkMeterProvider::builder();
        for prometheus in &registries {
            builder = builder.with_reader(exporter(prometheus));
        }
        let provider = builder.build();
        registry.observe(&provider.meter("object_cache"));
        registries.map(|prometheus| Self { prometheus, provider: provider.clone() })
    }

    pub(crate) fn observing(registry: &Registry) -> Self {
        let meter = Self::new();
        registry.observe(&meter.provider.meter("object_cache"));
        meter
    }

    pub(crate) fn read(&self) -> Readings {
        let families = self.prometheus.gather();
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        parse(&text.replace("object_cache_entry_count{", "object_cache_entries{"))
    }
}

fn exporter(registry: &prometheus::Registry) -> PrometheusExporter {
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
    exporter.scope_info_enabled(false).without_target_info().build().unwrap()
}

/// By all three: they say the same.
#[track_caller]
pub(crate) fn by_all(registry: &Registry) -> Readings {
    let text = by_text(registry);
    assert_alike(&by_recorder(registry), &text);
    assert_alike(&Meter::observing(registry).read(), &text);
    text
}

#[track_caller]
pub(crate) fn assert_alike(some: &Readings, others: &Readings) {
    let series = some.keys().chain(others.keys());
    for name in series {
        let (one, other) = (some.get(name), others.get(name));
        let differ = one.unwrap_or(&0.0) - other.unwrap_or(&0.0);
        assert!(differ.abs() < 1e-9, "{name}: {one:?} and {other:?}");
    }
}

pub(crate) fn parse(text: &str) -> Readings {
    let mut readings = Readings::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = series.split_once('{').expect(line);
        // No label here has a comma.
        let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').map(bound).collect();
        labels.sort();
        let series = format!("{name}{{{}}}", labels.join(","));
        let value: f64 = value.parse().expect(line);
        if value != 0.0 {
            assert!(readings.insert(series, value).is_none(), "twice: {line}");
        }
    }
    readings
}

/// A bound is written in several ways.
fn bound(label: &str) -> String {
    let number =
        label.strip_prefix("le=\"").and_then(|rest| rest.trim_end_matches('"').parse::<f64>().ok());
    number.map_or_else(|| label.to_owned(), |number| format!("le=\"{number}\""))
}
