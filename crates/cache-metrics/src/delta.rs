//! New measurements of histograms, for exporters whose histograms take single measurements.

use std::{collections::HashMap, iter, sync::Arc};

use cache_core::{Bounds, Bucket, Histogram};

use crate::{
    Attributes, CacheSnapshot, Sample, Value,
    names::{Kind, Metric},
    samples,
};

/// The part of each histogram that one exporter already has, by the name of the cache. The next
/// cache with the name continues its totals, so this is kept as long as the registry knows the
/// name.
#[derive(Debug, Default)]
pub(crate) struct HistogramCursor(HashMap<Arc<str>, Histograms>);

type Histograms = HashMap<(&'static str, Attributes), Vec<Bucket>>;

/// The part of one histogram that an exporter does not have yet.
pub(crate) struct Delta {
    pub(crate) cache: Arc<str>,
    pub(crate) metric: &'static Metric,
    pub(crate) attributes: Attributes,
    /// The number of measurements of each bucket, and their mean in seconds.
    pub(crate) measurements: Vec<(u64, f64)>,
}

impl HistogramCursor {
    /// Returns whether anything was taken of a cache called `name` that the registry remembers.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns what is new in `caches`, and advances past it. Names that the registry no longer
    /// knows are forgotten.
    pub(crate) fn take(
        &mut self,
        caches: &[CacheSnapshot],
        is_known: impl Fn(&str) -> bool,
    ) -> Vec<Delta> {
        if self.0.len() > caches.len() {
            self.0.retain(|name, _| is_known(name));
        }
        let mut news = Vec::new();
        for cache in caches {
            let given = self.0.entry(Arc::clone(&cache.name)).or_default();
            for Sample { metric, attributes, value } in samples(&cache.snapshot) {
                let (Value::Histogram(now), Kind::Histogram(bounds)) = (value, metric.kind) else {
                    continue;
                };
                let given = given.entry((metric.name, attributes)).or_default();
                let measurements = take(given, now, bounds);
                if !measurements.is_empty() {
                    let cache = Arc::clone(&cache.name);
                    news.push(Delta { cache, metric, attributes, measurements });
                }
            }
        }
        news
    }
}

/// Returns the measurements in `now` that are not in `given`, and adds them to it. `now` may be
/// older than `given`, and a count may be read before its time: a part of the sum that does not fit
/// into the bucket is returned with the next measurements.
fn take(given: &mut Vec<Bucket>, now: &Histogram, bounds: &Bounds) -> Vec<(u64, f64)> {
    given.resize(now.buckets().len(), Bucket::default());
    let lower = iter::once(None).chain(bounds.iter().map(Some));
    let upper = bounds.iter().map(Some).chain(iter::once(None));
    let mut measurements = Vec::new();
    for (((given, now), lower), upper) in given.iter_mut().zip(now.buckets()).zip(lower).zip(upper)
    {
        let count = now.count.saturating_sub(given.count);
        if count == 0 {
            continue;
        }
        let micros =
            |bound: &std::time::Duration| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        // The bounds of the sum of all new measurements.
        let least = lower.map_or(0, |bound| (micros(bound) + 1).saturating_mul(count));
        let most = upper.map_or(u64::MAX, |bound| micros(bound).saturating_mul(count));
        let together = now.micros.saturating_sub(given.micros).clamp(least, most);
        given.count += count;
        given.micros += together;
        measurements.push((count, together as f64 / count as f64 / MICROS_PER_SECOND));
    }
    measurements
}

const MICROS_PER_SECOND: f64 = 1e6;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::{AtomicHistogram, Stats};

    use super::*;

    const BOUNDS: &Bounds = &Stats::ORIGIN_BOUNDS;

    fn of(millis: &[u64]) -> Histogram {
        let histogram = AtomicHistogram::default();
        millis.iter().for_each(|millis| histogram.add(Duration::from_millis(*millis), BOUNDS));
        histogram.snapshot()
    }

    /// Count and time of a measurement are two counters, and one may be read before the other is
    /// written.
    #[test]
    fn what_is_read_half_way_is_in_its_bucket_and_the_rest_comes_later() {
        let mut given = Vec::new();
        // One measurement, of which 2 ms are there.
        let torn = of(&[26, 26]) - of(&[50]);
        let first = take(&mut given, &torn, BOUNDS);
        assert_eq!(first, [(1, 0.025_001)]);
        // The rest of it, and another one.
        let second = take(&mut given, &of(&[26, 30]), BOUNDS);
        assert_eq!(second, [(1, 0.030_999)]);
        assert!(take(&mut given, &of(&[26, 30]), BOUNDS).is_empty());
    }

    #[test]
    fn what_is_older_than_what_was_given_brings_nothing() {
        let mut given = Vec::new();
        take(&mut given, &of(&[1, 3, 3]), BOUNDS);
        assert!(take(&mut given, &of(&[1, 3]), BOUNDS).is_empty());
        assert_eq!(take(&mut given, &of(&[1, 3, 3, 3]), BOUNDS), [(1, 0.003)]);
    }
}
