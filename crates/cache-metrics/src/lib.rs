//! Metrics of object-cache, exported to Prometheus, OpenTelemetry or the `metrics` crate.
//!
//! ```
//! # use cache_core::{ReadThrough, Validator};
//! # fn example(cache: &ReadThrough<impl Validator>) {
//! let registry = cache_metrics::Registry::new();
//! registry.add(cache); // Or an `ObjectCache`, or a `CachedStore`.
//! # #[cfg(feature = "prometheus")]
//! let text = registry.render_prometheus(); // The body of `/metrics`.
//! # }
//! ```
//!
//! All exporters *pull*: a cache keeps its counters whether it is exported or not, and exporting
//! costs nothing between two snapshots. Nothing global is installed. Each exporter is a feature:
//!
//! | feature | method | dependency |
//! | --- | --- | --- |
//! | `prometheus` | `Registry::render_prometheus`: the text format of a scrape | none |
//! | `metrics` | `Registry::record`: to the recorder of the `metrics` crate | `metrics` 0.24 |
//! | `opentelemetry` | `Registry::observe`: instruments on a `Meter` | `opentelemetry` 0.33 |
//!
//! [`names`] has every metric with its kind, unit, attributes and help text, as data. To write
//! another exporter, use [`Registry::collect`] and [`samples`].
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod caches;
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
mod delta;
#[cfg(feature = "opentelemetry")]
mod meter;
pub mod names;
#[cfg(feature = "prometheus")]
mod prometheus;
#[cfg(feature = "metrics")]
mod recorder;
#[cfg(feature = "metrics")]
mod recorder_cursors;
mod registry;
mod samples;
mod source;
mod totals;

#[cfg(feature = "metrics")]
pub use metrics;
#[cfg(feature = "opentelemetry")]
pub use opentelemetry;

#[cfg(feature = "prometheus")]
pub use crate::prometheus::CONTENT_TYPE;
#[cfg(feature = "metrics")]
pub use crate::recorder::RecorderHandle;
pub use crate::{
    registry::Registry,
    samples::{Attributes, Sample, Value, samples},
    source::{BlockStats, CacheSnapshot, MetricsSource, Snapshot},
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
