//! Export to OpenTelemetry.

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
    /// Creates instruments on `meter` for all caches that are, or will be, in this registry. They
    /// are dropped with the meter's provider and keep no cache alive. Call this once for each
    /// provider: after a second call histograms count twice. Each collection takes one snapshot of
    /// each cache; if two readers of the provider collect at the same time, each may see parts of
    /// both snapshots.
    ///
    /// OpenTelemetry has no observable histogram. So histograms are recorded when the other
    /// instruments are observed: each measurement since the last collection once, as the mean of
    /// its bucket, with the bounds in [`names`](crate::names) as advice. Counts and buckets are
    /// exact, and so are sums once no measurement is being added; minimum and maximum are as fine
    /// as the buckets. Histograms are not recorded if a view drops all other instruments. They stay
    /// when their cache is dropped. The first collection records all measurements since the cache
    /// was built, some 80 ns each.
    ///
    /// Counters of a dropped cache stay as long as the registry remembers its name: with delta
    /// temporality, a counter that is missing in one collection would count its whole past again
    /// when a cache of that name is built. Gauges of a dropped cache are not observed.
    ///
    /// # Before the process ends
    ///
    /// Counters are read when a reader collects, by default once a minute for a periodic one. A
    /// dropped cache loses its counts since the last collection, and a job that takes less than a
    /// minute loses all. So a job must
    ///
    /// 1. wait for its last request to end,
    /// 2. call `force_flush` or `shutdown` of the meter provider *while its caches live*,
    /// 3. and only then drop them.
    ///
    /// Both calls block their thread until the exporter is done. On a current-thread runtime call
    /// them on another thread (`spawn_blocking`), or an exporter that needs the runtime deadlocks.
    ///
    /// # Cardinality
    ///
    /// `object_cache.origin.requests` has up to 14 series for each name, 22 for a `CachedStore`.
    /// The SDK's default limit is 2,000 for each instrument. For more than 90 names in one
    /// provider, including remembered ones, add a view with a higher `cardinality_limit`.
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
    /// The observations of this round, by instrument.
    round: Arc<HashMap<&'static str, Vec<Observation>>>,
    /// The instruments that have been observed in this round.
    seen: Vec<&'static str>,
    cursor: HistogramCursor,
}

/// A value and its attributes.
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
                            instrument.observe(number, attributes);
                        });
                    };
                    builder.with_description(metric.help).with_callback(observe).build();
                }
                // An up-down counter, as the values add up over caches.
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

    /// Returns the current round, or a new one if `name` has already been observed in it.
    fn round(&self, name: &'static str) -> Arc<HashMap<&'static str, Vec<Observation>>> {
        let mut state = self.state();
        if state.seen.contains(&name) {
            // Other code runs without the lock.
            drop(state);
            let (caches, mut others) = self.registry.collect_with_others();
            state = self.state();
            // The SDK has not seen the others yet.
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

/// Returns the observations of `caches`, and the nonzero counters of `others`, which are no longer
/// or not yet exported. By instrument; `caches` come first, in case the SDK reaches its limit.
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
