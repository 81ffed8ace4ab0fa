//! Units and capacities of a replay.
//!
//! A trace is replayed *by entries*: each object weighs 1, and the capacity is a number of entries.
//! A trace with sizes is replayed *by bytes* too: an object weighs its size, and the capacity is in
//! bytes.
//!
//! The usual capacities are 1, 5, 10 and 20 % of the distinct keys, or the same shares of the bytes
//! of all objects, rounded down. Shares of fewer than 50 entries are left out: there, chance
//! decides.

use serde::{Deserialize, Serialize};

use crate::{Result, trace::Trace};

/// The unit of weights and capacities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Each object weighs 1.
    Entries,
    /// Each object weighs its size.
    Bytes,
}

/// The unit and the capacity of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The unit of the weights.
    pub unit: Unit,
    /// The capacity; not zero.
    pub capacity: u64,
    /// About how many entries fit.
    pub expected_entries: u64,
}

/// A capacity on the command line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Capacity {
    /// A share of all objects or bytes: above 0, at most 1.
    Share(f64),
    /// Entries or bytes; not zero.
    Exact(u64),
}

/// The default.
pub(crate) const CAPACITIES: [Capacity; 4] =
    [Capacity::Share(0.01), Capacity::Share(0.05), Capacity::Share(0.10), Capacity::Share(0.20)];

/// Shares of fewer entries are left out.
const ENTRIES_MIN: u64 = 50;

impl Unit {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Bytes => "bytes",
        }
    }

    /// The weight of all objects of `trace`.
    pub(crate) fn total(self, trace: &Trace) -> u64 {
        match self {
            Self::Entries => trace.n_distinct(),
            Self::Bytes => trace.total_bytes(),
        }
    }

    /// The weight of an object of `size` bytes.
    pub fn weight(self, size: u64) -> u64 {
        match self {
            Self::Entries => 1,
            Self::Bytes => size,
        }
    }
}

impl Setting {
    /// The setting for `trace` with this capacity; `None` if a share is too small.
    pub(crate) fn new(trace: &Trace, unit: Unit, capacity: Capacity) -> Option<Self> {
        let whole = unit.total(trace);
        let capacity = match capacity {
            Capacity::Share(share) if portion(trace.n_distinct(), share) < ENTRIES_MIN => {
                return None;
            }
            Capacity::Share(share) => portion(whole, share),
            Capacity::Exact(capacity) => capacity,
        };
        let expected =
            u128::from(capacity) * u128::from(trace.n_distinct()) / u128::from(whole.max(1));
        let expected_entries =
            u64::try_from(expected).unwrap_or(u64::MAX).clamp(1, trace.n_distinct().max(1));
        Some(Self { unit, capacity, expected_entries })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a count, rounded down"
)]
fn portion(whole: u64, share: f64) -> u64 {
    // 5 % of 100 is 5, however it is rounded on the way.
    (whole as f64 * share * (1.0 + f64::EPSILON)).floor() as u64
}

impl std::str::FromStr for Capacity {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => {
                let share = percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0);
                share.filter(|share| *share > 0.0 && *share <= 1.0).map(Self::Share)
            }
            None => text.parse().ok().filter(|capacity| *capacity > 0).map(Self::Exact),
        };
        let help =
            "give a positive number of entries (of bytes, if by bytes) or a share such as 5%";
        parsed.ok_or_else(|| format!("capacity {text:?}: {help}").into())
    }
}
