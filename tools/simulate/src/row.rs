//! The result of one replay.

use serde::{Deserialize, Serialize};

use crate::{
    setting::{Setting, Unit},
    trace::Trace,
};

/// The result of one policy on one trace at one capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The trace's name.
    pub trace: String,
    /// The unit of the capacity, and of the weight of an object.
    pub unit: Unit,
    /// The most that is cached.
    pub capacity: u64,
    /// The capacity as a share of all objects, or of the bytes of all objects.
    pub share: f64,
    /// The policy's name.
    pub policy: String,
    /// All requests, including the first for each object.
    pub requests: u64,
    /// Requests whose object was cached.
    pub hits: u64,
    /// `hits` divided by `requests`, from 0 to 1.
    pub hit_ratio: f64,
    /// Bytes of the hits divided by those of all requests, from 0 to 1. Without sizes, the hit
    /// ratio.
    pub byte_hit_ratio: f64,
}

/// The counts of a replay.
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

    pub(crate) fn row(self, trace: &Trace, setting: Setting, policy: &str) -> Row {
        Row {
            trace: trace.name().to_owned(),
            unit: setting.unit,
            capacity: setting.capacity,
            share: ratio(setting.capacity.into(), setting.unit.total(trace).into()),
            policy: policy.to_owned(),
            requests: self.requests,
            hits: self.hits,
            hit_ratio: ratio(u128::from(self.hits), u128::from(self.requests)),
            byte_hit_ratio: ratio(self.hit_bytes, self.bytes),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is not exact")]
fn ratio(part: u128, whole: u128) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
