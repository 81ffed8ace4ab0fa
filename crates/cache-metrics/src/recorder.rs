//! Export to the `metrics` crate.

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
    /// Records all metrics to the current recorder: that of the thread, or the global one. Call it
    /// at intervals from a task, or before the recorder is rendered:
    ///
    /// ```
    /// use cache_metrics::{Registry, names::{Kind, METRICS}};
    /// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Without bounds this recorder renders summaries, which dashboards cannot add up.
    /// let mut builder = PrometheusBuilder::new();
    /// for metric in METRICS {
    ///     if let Kind::Histogram(bounds) = metric.kind {
    ///         let name = Matcher::Full(metric.prometheus_name.to_owned());
    ///         let bounds = bounds.map(|bound| bound.as_secs_f64());
    ///         builder = builder.set_buckets_for_metric(name, &bounds)?;
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
    /// Handles of the recorder are not kept, so a recorder that is installed late gets everything
    /// since the caches were built. Without a recorder nothing happens and nothing is lost. The
    /// values of a dropped cache stay in the recorder. A recorder that forgets idle metrics gets
    /// counters and gauges again with each call, and a histogram with its next measurement, without
    /// the earlier ones.
    ///
    /// A histogram gets each measurement once, as the mean of its bucket's measurements since the
    /// last call. So its count is exact, and so are its buckets if they have the bounds in
    /// [`names`](crate::names), and its sum once no measurement is being added; quantiles are as
    /// fine as the buckets. The first call records all measurements since the cache was built, some
    /// 20 ns each.
    ///
    /// Recorders are identified by their addresses, which is correct for the global one. For
    /// recorders that are dropped and replaced use [`recorder_handle`](Self::recorder_handle).
    pub fn record(&self) {
        metrics::with_recorder(|recorder| {
            let cursor = self.recorder_cursors().of(recorder);
            self.hand_on(&cursor, recorder);
        });
    }

    /// Returns a handle to record all metrics to one specific recorder, which gets everything since
    /// the caches were built.
    pub fn recorder_handle(&self) -> RecorderHandle {
        RecorderHandle { registry: self.clone(), cursor: Mutex::default() }
    }

    fn hand_on(&self, cursor: &Mutex<RecorderCursor>, recorder: &dyn Recorder) {
        let caches = self.collect();
        // The recorder's code runs without a lock.
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

/// Records a [`Registry`] to one recorder. Returned by [`Registry::recorder_handle`].
#[derive(Debug)]
pub struct RecorderHandle {
    registry: Registry,
    cursor: Mutex<RecorderCursor>,
}

impl RecorderHandle {
    /// Records all metrics to `recorder`, as [`Registry::record`] does. Pass the same recorder each
    /// time.
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
