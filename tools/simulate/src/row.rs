//! What one replay found.

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, Unit};

/// What one policy made of one trace at one capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The trace's name.
    pub trace: String,
    /// What the capacity is in, and an object weighs.
    pub unit: Unit,
    /// The most that was held.
    pub capacity: u64,
    /// The policy's name.
    pub policy: String,
    /// All requests, the first of each object included.
    pub requests: u64,
    /// Those that found their object held.
    pub hits: u64,
    /// `hits` of `requests`, from 0 to 1.
    pub hit_ratio: f64,
    /// The bytes of the hits of those of all requests, from 0 to 1. The hit ratio if no object has a size.
    pub byte_hit_ratio: f64,
}

/// What is counted in a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    bytes: u128,
    hit_bytes: u128,
}

impl Count {
    pub(crate) fn add(&mut self, size: u64, is_hit: bool) {
        self.requests += 1;
        self.bytes += u128::from(size);
        if is_hit {
            self.hits += 1;
            self.hit_bytes += u128::from(size);
        }
    }

    pub(crate) fn row(self, trace: &str, setting: Setting, policy: &str) -> Row {
        Row {
            trace: trace.to_owned(),
            unit: setting.unit,
            capacity: setting.capacity,
            policy: policy.to_owned(),
            requests: self.requests,
            hits: self.hits,
            hit_ratio: ratio(u128::from(self.hits), u128::from(self.requests)),
            byte_hit_ratio: ratio(self.hit_bytes, self.bytes),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is no exact number")]
fn ratio(part: u128, whole: u128) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
