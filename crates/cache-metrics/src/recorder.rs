//! The `metrics` crate.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit};

use crate::{
    Attributes, Registry, Value,
    delta::Delta,
    names::{CACHE_NAME_LABEL, Kind, METRICS, Metric},
    recorder_cursors::RecorderCursor,
    samples,
};

impl Registry {
    /// Hands all figures to the recorder that is there now: the thread's own, or the global one. To
    /// be called now and then, from a task that ticks, or before the recorder is rendered:
    ///
    /// ```
    /// use cache_metrics::{Registry, names::{Kind, METRICS}};
    /// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // By itself this recorder makes summaries of histograms, which no dashboard can add up: give it the bounds.
    /// let mut builder = PrometheusBuilder::new();
    /// for metric in METRICS {
    ///     if let Kind::Histogram(bounds) = metric.kind {
    ///         let name = Matcher::Full(metric.prometheus_name.to_owned());
    ///         builder = builder.set_buckets_for_metric(name, &bounds.map(|bound| bound.as_secs_f64()))?;
    ///     }
    /// }
    /// let handle = builder.install_recorder()?;
    ///
    /// let registry = Registry::new();
    /// registry.record();
    /// let text = handle.render();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Handles of the recorder are not kept: one that is installed late gets everything since the
    /// caches were built. Without a recorder nothing happens, and nothing is lost. The figures of a
    /// cache that is gone stay in the recorder as they were. One that forgets what is idle gets
    /// counters and gauges again with each call, histograms when there is a new measurement, from
    /// which on it counts then.
    ///
    /// A histogram gets each measurement once, as the mean of those of its bucket since the last
    /// call: its count, and its buckets if they have the bounds in [`names`](crate::names), are
    /// exact, and so is its sum once nothing is being measured; quantiles that it makes otherwise
    /// are as fine as those. The first call hands on all since the cache was built, some 20 ns
    /// each.
    ///
    /// Recorders are told apart by their addresses, which is right for the global one. For
    /// recorders that come and go there is [`recorder_handle`](Self::recorder_handle).
    pub fn record(&self) {
        metrics::with_recorder(|recorder| {
            let cursor = self.recorder_cursors().of(recorder);
            self.hand_on(&cursor, recorder);
        });
    }

    /// A way to hand all figures to one recorder of one's own. It gets everything since the caches
    /// were built.
    pub fn recorder_handle(&self) -> RecorderHandle {
        RecorderHandle { registry: self.clone(), cursor: Mutex::default() }
    }

    fn hand_on(&self, cursor: &Mutex<RecorderCursor>, recorder: &dyn Recorder) {
        let caches = self.collect();
        // The recorder's code runs under no lock.
        let (is_new, deltas) = {
            let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = !std::mem::replace(&mut cursor.is_described, true);
            (is_new, cursor.histograms.take(&caches, |name| self.knows(name)))
        };
        if is_new {
            METRICS.iter().for_each(|metric| describe(recorder, metric));
        }
        for cache in &caches {
            let name = SharedString::from_shared(Arc::clone(&cache.name));
            for sample in samples(&cache.snapshot) {
                let Value::Number(number) = sample.value else { continue };
                let key = key(sample.metric, name.clone(), sample.attributes);
                match sample.metric.kind {
                    Kind::Gauge => recorder.register_gauge(&key, &METADATA).set(number as f64),
                    _ => recorder.register_counter(&key, &METADATA).absolute(number),
                }
            }
        }
        for Delta { cache, metric, attributes, measurements } in deltas {
            let key = key(metric, SharedString::from_shared(cache), attributes);
            let histogram = recorder.register_histogram(&key, &METADATA);
            for (count, seconds) in measurements {
                histogram.record_many(seconds, usize::try_from(count).unwrap_or(usize::MAX));
            }
        }
    }
}

/// What one recorder gets of a [`Registry`], and has got: made by [`Registry::recorder_handle`].
#[derive(Debug)]
pub struct RecorderHandle {
    registry: Registry,
    cursor: Mutex<RecorderCursor>,
}

impl RecorderHandle {
    /// Hands all figures to `recorder`, which is the same each time. Otherwise as
    /// [`Registry::record`].
    pub fn record_to(&self, recorder: &dyn Recorder) {
        self.registry.hand_on(&self.cursor, recorder);
    }
}

fn describe(recorder: &dyn Recorder, metric: &'static Metric) {
    let (name, help) = (metric.prometheus_name.into(), metric.help.into());
    let unit = match metric.unit {
        "By" => Unit::Bytes,
        "s" => Unit::Seconds,
        _ => Unit::Count,
    };
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, Some(unit), help),
        Kind::Gauge => recorder.describe_gauge(name, Some(unit), help),
        Kind::Histogram(_) => recorder.describe_histogram(name, Some(unit), help),
    }
}

fn key(metric: &Metric, cache: SharedString, attributes: Attributes) -> Key {
    let mut labels = Vec::with_capacity(1 + attributes.len());
    labels.push(Label::new(CACHE_NAME_LABEL, cache));
    labels.extend(attributes.iter().map(|(name, value)| Label::from_static_parts(name, value)));
    Key::from_parts(metric.prometheus_name, labels)
}

static METADATA: Metadata<'static> = Metadata::new("object_cache", Level::INFO, None);
