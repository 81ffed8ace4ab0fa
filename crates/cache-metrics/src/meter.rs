//! OpenTelemetry.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Histogram, Meter},
};

use crate::{
    Attributes, CacheSnapshot, Registry, Value,
    delta::{Delta, HistogramCursor},
    names::{CACHE_NAME, Kind, METRICS, Metric},
    samples,
};

impl Registry {
    /// Has `meter` export all figures of the caches that are, and will be, in this registry. The
    /// instruments are the meter's, and go with its provider; they hold no cache. To be called once
    /// for a provider: twice, and histograms count twice. Each collection takes one snapshot of
    /// each cache, unless another reader of the provider collects at the same time: then both may
    /// see parts of either.
    ///
    /// OpenTelemetry has no observable histogram. So ours are fed when the others are observed:
    /// each measurement since the last collection once, as the mean of those of its bucket, with
    /// the bounds in [`names`](crate::names) as advice. Their counts and buckets are exact, and so
    /// are their sums once nothing is being measured; the least and the greatest are as fine as the
    /// buckets. They are not fed where a view drops all other instruments; they stay, as they were,
    /// when their cache is gone; and the first collection hands on all since the cache was built,
    /// some 80 ns each.
    ///
    /// Counters stay too, as long as the registry remembers the name of a dropped cache: with delta
    /// temporality, a counter that is left out of one collection counts its whole past again when a
    /// cache of that name is built anew. Gauges of a dropped cache are not observed.
    ///
    /// # Before the process ends
    ///
    /// Figures are read when a reader collects, which a periodic one does once a minute by default.
    /// Of a cache that is dropped, all since the last collection is lost; of a job that takes less
    /// than a minute, all. So a job must
    ///
    /// 1. wait for its last request to end,
    /// 2. call `force_flush` or `shutdown` of the meter provider *while its caches live*,
    /// 3. and only then drop them.
    ///
    /// Both calls block their thread until the exporter is done: on a current-thread runtime call
    /// them on another thread (`spawn_blocking`), for an exporter that needs the runtime would wait
    /// for itself.
    ///
    /// # Cardinality
    ///
    /// `object_cache.origin.requests` has up to 14 series a name, 22 for a `CachedStore`, where the
    /// SDK takes 2,000 an instrument by default. For more than 90 names in one provider, those that
    /// are remembered among them, give it a view with a higher `cardinality_limit`.
    pub fn observe(&self, meter: &Meter) {
        Observed::begin(self.clone(), meter);
    }
}

/// The instruments of one meter.
struct Observed {
    registry: Registry,
    histograms: Vec<(&'static str, Histogram<f64>)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is observed in this round, by instrument.
    round: Arc<HashMap<&'static str, Vec<Observation>>>,
    /// Which instruments have been observed in it.
    seen: Vec<&'static str>,
    cursor: HistogramCursor,
}

/// A number, and what it is told apart by.
type Observation = (u64, Vec<KeyValue>);

impl Observed {
    fn begin(registry: Registry, meter: &Meter) {
        let histograms = METRICS.iter().filter_map(|metric| {
            let Kind::Histogram(bounds) = metric.kind else { return None };
            let bounds = bounds.iter().map(|bound| bound.as_secs_f64()).collect();
            let builder = meter.f64_histogram(metric.name).with_unit(metric.unit);
            Some((
                metric.name,
                builder.with_description(metric.help).with_boundaries(bounds).build(),
            ))
        });
        let histograms = histograms.collect();
        // Each round begins with all instruments unseen.
        let seen = METRICS.iter().map(|metric| metric.name).collect();
        let state = Mutex::new(State { seen, ..State::default() });
        let observed = Arc::new(Self { registry, histograms, state });
        for metric in METRICS {
            let observed = Arc::clone(&observed);
            match metric.kind {
                Kind::Counter => {
                    let builder = meter.u64_observable_counter(metric.name).with_unit(metric.unit);
                    let observe = move |instrument: &dyn AsyncInstrument<u64>| {
                        observed.observe(metric, |number, attributes| {
                            instrument.observe(number, attributes)
                        });
                    };
                    builder.with_description(metric.help).with_callback(observe).build();
                }
                // They add up over caches.
                Kind::Gauge => {
                    let builder =
                        meter.i64_observable_up_down_counter(metric.name).with_unit(metric.unit);
                    let observe = move |instrument: &dyn AsyncInstrument<i64>| {
                        observed.observe(metric, |number, attributes| {
                            instrument
                                .observe(i64::try_from(number).unwrap_or(i64::MAX), attributes);
                        });
                    };
                    builder.with_description(metric.help).with_callback(observe).build();
                }
                Kind::Histogram(_) => {}
            }
        }
    }

    fn observe(&self, metric: &'static Metric, tell: impl Fn(u64, &[KeyValue])) {
        for (number, attributes) in self.round(metric.name).get(metric.name).into_iter().flatten() {
            tell(*number, attributes);
        }
    }

    /// What the instruments are to observe: this round, or, if `name` has been observed in it, a
    /// new one.
    fn round(&self, name: &'static str) -> Arc<HashMap<&'static str, Vec<Observation>>> {
        let mut state = self.state();
        if state.seen.contains(&name) {
            // Other code runs under no lock.
            drop(state);
            let (caches, mut others) = self.registry.collect_with_others();
            state = self.state();
            // The SDK knows nothing yet of the rest.
            others.retain(|other| state.cursor.has(&other.name));
            let deltas = state.cursor.take(&caches, |name| self.registry.knows(name));
            let round = by_instrument(&caches, &others);
            (state.round, state.seen) = (Arc::new(round), Vec::new());
            drop(state);
            deltas.iter().for_each(|delta| self.feed(delta));
            state = self.state();
        }
        state.seen.push(name);
        Arc::clone(&state.round)
    }

    fn feed(&self, delta: &Delta) {
        let Some((_, histogram)) =
            self.histograms.iter().find(|(name, _)| *name == delta.metric.name)
        else {
            return;
        };
        let attributes = key_values(&delta.cache, delta.attributes);
        for (count, seconds) in &delta.measurements {
            (0..*count).for_each(|_| histogram.record(*seconds, &attributes));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is observed of `caches`, and of the `others` that are not exported any more or not yet: for
/// those, the counters that have counted. By instrument; caches first, in case the SDK takes no
/// more.
fn by_instrument(
    caches: &[CacheSnapshot],
    others: &[CacheSnapshot],
) -> HashMap<&'static str, Vec<Observation>> {
    let mut round = HashMap::<_, Vec<_>>::new();
    let mut observe = |cache: &CacheSnapshot, counters_only: bool| {
        for sample in samples(&cache.snapshot) {
            let Value::Number(number) = sample.value else { continue };
            if counters_only && (number == 0 || sample.metric.kind != Kind::Counter) {
                continue;
            }
            let attributes = key_values(&cache.name, sample.attributes);
            round.entry(sample.metric.name).or_default().push((number, attributes));
        }
    };
    caches.iter().for_each(|cache| observe(cache, false));
    others.iter().for_each(|cache| observe(cache, true));
    round
}

fn key_values(cache: &Arc<str>, attributes: Attributes) -> Vec<KeyValue> {
    let cache = KeyValue::new(CACHE_NAME, Arc::clone(cache));
    let others = attributes.iter().map(|(name, value)| KeyValue::new(*name, *value));
    [cache].into_iter().chain(others).collect()
}
