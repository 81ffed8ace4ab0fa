//! What an exporter goes through: metrics that belong together, and their samples.

use crate::{Sample, Snapshot, micrometer, names, samples};

/// Metrics that have the cache's name under one attribute: our own ([`names`]), or those of [`micrometer`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Vocabulary {
    /// The attribute that has the cache's name.
    pub cache_attribute: &'static str,
    /// The same for Prometheus, and for the `metrics` crate.
    pub cache_label: &'static str,
    /// Every metric, in the order in which they are exported.
    pub metrics: &'static [&'static names::Metric],
    /// What a snapshot says, grouped by metric, in that order.
    pub samples: fn(&Snapshot) -> Vec<Sample<'_>>,
}

/// Our own names, and then those that are exported beside them if that is asked for.
pub(crate) static VOCABULARIES: [Vocabulary; 2] = [
    Vocabulary {
        cache_attribute: names::CACHE_NAME,
        cache_label: names::CACHE_NAME_LABEL,
        metrics: &names::METRICS,
        samples: |snapshot| samples(snapshot).collect(),
    },
    Vocabulary {
        cache_attribute: micrometer::CACHE,
        cache_label: micrometer::CACHE,
        metrics: &micrometer::METRICS,
        samples: |snapshot| micrometer::samples(snapshot).into(),
    },
];
