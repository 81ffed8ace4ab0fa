//! What was handed on of histograms, for exporters whose own histograms take single measurements.

use std::{collections::HashMap, sync::Arc};

use cache_core::Histogram;

use crate::{Attributes, Collected, Sample, Value, Vocabulary, names::Metric};

/// What one taker has got of each histogram of each cache.
#[derive(Default)]
pub(crate) struct Given {
    caches: Vec<(Arc<str>, Histograms)>,
}

type Histograms = HashMap<(&'static str, Attributes), Histogram>;

/// What a taker has not got yet of one histogram.
pub(crate) struct News {
    pub(crate) cache: Arc<str>,
    pub(crate) metric: &'static Metric,
    pub(crate) attributes: Attributes,
    pub(crate) histogram: Histogram,
}

impl Given {
    /// What is new in `caches`; from now on it is not new any more. What was given of caches that are gone is forgotten.
    pub(crate) fn take(&mut self, caches: &[Collected], vocabulary: &Vocabulary) -> Vec<News> {
        let is_same = |name: &Arc<str>, cache: &Collected| Arc::ptr_eq(name, &cache.name);
        self.caches.retain(|(name, _)| caches.iter().any(|cache| is_same(name, cache)));
        let mut news = Vec::new();
        for cache in caches {
            let known = self.caches.iter().position(|(name, _)| is_same(name, cache));
            let at = known.unwrap_or_else(|| {
                self.caches.push((Arc::clone(&cache.name), HashMap::new()));
                self.caches.len() - 1
            });
            let given = &mut self.caches[at].1;
            for Sample { metric, attributes, value } in (vocabulary.samples)(&cache.snapshot) {
                let Value::Histogram(now) = value else { continue };
                let before = given.insert((metric.name, attributes), *now).unwrap_or_default();
                if before.count() < now.count() {
                    news.push(News {
                        cache: Arc::clone(&cache.name),
                        metric,
                        attributes,
                        histogram: *now - before,
                    });
                }
            }
        }
        news
    }
}

impl News {
    /// Each bucket that has something: how many, and the mean of them in seconds.
    pub(crate) fn measurements(&self) -> impl Iterator<Item = (u64, f64)> {
        let buckets = self.histogram.buckets().iter().filter(|bucket| bucket.count > 0);
        buckets.map(|bucket| (bucket.count, bucket.mean_seconds()))
    }
}
