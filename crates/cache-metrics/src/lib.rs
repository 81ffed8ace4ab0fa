//! The metrics of object-cache: what they are called, and how a snapshot of a cache's counters becomes them.
//!
//! * [`names`] is the one vocabulary: every metric with its kind, unit, attributes and help text, as data;
//! * [`samples`] maps a [`cache_core::Stats`] to it. Pure: nothing is registered, kept or installed, and a cache
//!   pays nothing for it between two calls.
//!
//! ```
//! use cache_core::Stats;
//!
//! let mut stats = Stats::default();
//! stats.fresh = 3;
//! for sample in cache_metrics::samples(&stats) {
//!     println!("{}{:?} {}", sample.metric.name, sample.attributes, sample.value);
//! }
//! ```
#![forbid(unsafe_code)]

pub mod names;
mod samples;

pub use crate::samples::{Sample, samples};
