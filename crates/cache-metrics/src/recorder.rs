//! The `metrics` crate.

use std::{ptr, sync::Arc};

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit};

use crate::{
    Attributes, Registry, Value, Vocabulary,
    given::{Given, News},
    names::{Kind, Metric},
};

impl Registry {
    /// Hands all figures to the recorder that is there now: the thread's own, or the global one. To be called now and
    /// then, from a task that ticks, or before the recorder is rendered:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cache_metrics::Registry;
    /// # async fn ticking(registry: Registry) {
    /// let mut tick = tokio::time::interval(Duration::from_secs(10));
    /// loop {
    ///     tick.tick().await;
    ///     registry.record();
    /// }
    /// # }
    /// ```
    ///
    /// Handles of the recorder are not kept: one that is installed late gets everything since the caches were built, and
    /// one that has forgotten a metric because it was idle gets it again. Without a recorder nothing happens, and nothing
    /// is lost. The figures of a cache that is gone stay in the recorder as they were.
    ///
    /// A histogram gets each measurement once, as the mean of those of its bucket since the last call: its count and sum,
    /// and its buckets if they have the bounds in [`names`](crate::names), are exact; quantiles that it makes otherwise are
    /// as fine as those. Recorders are told apart by their addresses; of more than 16 the first is forgotten.
    pub fn record(&self) {
        metrics::with_recorder(|recorder| self.record_to(recorder));
    }

    /// The same, to `recorder`.
    pub fn record_to(&self, recorder: &dyn Recorder) {
        let caches = self.collect();
        for vocabulary in self.vocabularies() {
            // The recorder's code runs under no lock.
            let (is_new, news) = {
                let mut recorded = self.recorded();
                let (is_new, given) = recorded.given_to(recorder, vocabulary);
                (is_new, given.take(&caches, vocabulary))
            };
            if is_new {
                vocabulary.metrics.iter().for_each(|metric| describe(recorder, metric));
            }
            for cache in &caches {
                let name = SharedString::from_shared(Arc::clone(&cache.name));
                for sample in (vocabulary.samples)(&cache.snapshot) {
                    let Value::Number(number) = sample.value else { continue };
                    let key = key(sample.metric.prometheus_name, vocabulary, name.clone(), sample.attributes);
                    match sample.metric.kind {
                        Kind::Gauge => recorder.register_gauge(&key, &METADATA).set(number as f64),
                        _ => recorder.register_counter(&key, &METADATA).absolute(number),
                    }
                }
            }
            for news in news {
                let News { cache, metric, attributes, .. } = &news;
                let name = SharedString::from_shared(Arc::clone(cache));
                let key = key(metric.prometheus_name, vocabulary, name, attributes);
                let histogram = recorder.register_histogram(&key, &METADATA);
                for (count, mean) in news.measurements() {
                    histogram.record_many(mean, usize::try_from(count).unwrap_or(usize::MAX));
                }
            }
        }
    }
}

/// What each recorder has got.
#[derive(Default)]
pub(crate) struct Recorded(Vec<ByRecorder>);

struct ByRecorder {
    /// Where the recorder is.
    address: usize,
    vocabulary: &'static Vocabulary,
    given: Given,
}

impl Recorded {
    /// What `recorder` has got; and whether this is the first time.
    fn given_to(&mut self, recorder: &dyn Recorder, vocabulary: &'static Vocabulary) -> (bool, &mut Given) {
        let address = ptr::from_ref(recorder).cast::<()>().addr();
        let is_it = |known: &ByRecorder| known.address == address && ptr::eq(known.vocabulary, vocabulary);
        let known = self.0.iter().position(is_it);
        if known.is_none() {
            if self.0.len() == RECORDERS_MAX {
                self.0.remove(0);
            }
            self.0.push(ByRecorder { address, vocabulary, given: Given::default() });
        }
        let at = known.unwrap_or(self.0.len() - 1);
        (known.is_none(), &mut self.0[at].given)
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

fn key(name: &'static str, vocabulary: &Vocabulary, cache: SharedString, attributes: Attributes) -> Key {
    let mut labels = Vec::with_capacity(1 + attributes.len());
    labels.push(Label::new(vocabulary.cache_label, cache));
    labels.extend(attributes.iter().map(|(name, value)| Label::from_static_parts(name, value)));
    Key::from_parts(name, labels)
}

static METADATA: Metadata<'static> = Metadata::new("object_cache", Level::INFO, None);

const RECORDERS_MAX: usize = 16;
