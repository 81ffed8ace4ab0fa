//! The choice of the way that is better now.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::ranking::Way;

/// The score that the shards of one cache keep together, so that a difference shows soon that each
/// shard alone would need long to notice.
///
/// The score is bounded, so that the distant past does not count against the present: the lead that
/// changes the way is the same after any history. This is a cumulative sum test [9] in either
/// direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Contest(Arc<Score>);

#[derive(Debug, Default)]
struct Score {
    /// A float: the hits by which density leads, from minus to plus the required lead.
    lead: AtomicU32,
    is_recency_better: AtomicBool,
}

impl Contest {
    pub(super) fn way(&self) -> Way {
        if self.0.is_recency_better.load(Ordering::Relaxed) { Way::Recency } else { Way::Density }
    }

    /// Returns the number of shards, without the policy that they were made from.
    pub(super) fn n_shards(&self) -> usize {
        (Arc::strong_count(&self.0) - 1).max(1)
    }

    /// Adds `gain`, the hits that density had more than recency in miniatures of `entries`.
    pub(super) fn count(&self, gain: f32, entries: usize) {
        let required = (LEAD_AN_ENTRY * (entries * self.n_shards()) as f32).max(LEAD_MIN);
        let lead = f32::from_bits(self.0.lead.load(Ordering::Relaxed)) + gain;
        // Of two simultaneous changes one may be lost.
        self.0.lead.store(lead.clamp(-required, required).to_bits(), Ordering::Relaxed);
        if lead.abs() >= required {
            self.0.is_recency_better.store(lead < 0.0, Ordering::Relaxed);
        }
    }
}

/// The required lead of the other way in hits, for each entry of the miniatures of all shards: less
/// may be chance, and more would be late.
const LEAD_AN_ENTRY: f32 = 0.15;
/// The minimum of the required lead.
const LEAD_MIN: f32 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_changes_the_way_of_all_shards_and_what_was_before_does_not_count() {
        let contest = Contest::default();
        let shard = contest.clone();
        assert_eq!(contest.way(), Way::Density);
        (0..1000).for_each(|_| contest.count(1.0, 64));
        (0..31).for_each(|_| contest.count(-1.0, 64));
        assert_eq!(shard.way(), Way::Density);
        shard.count(-1.0, 64);
        assert_eq!(contest.way(), Way::Recency);
        (0..31).for_each(|_| contest.count(1.0, 64));
        assert_eq!(contest.way(), Way::Recency);
        contest.count(1.0, 64);
        assert_eq!(contest.way(), Way::Density);
    }

    #[test]
    fn more_is_asked_for_of_larger_miniatures_and_of_more_of_them() {
        let contest = Contest::default();
        let shards = [contest.clone(), contest.clone(), contest.clone(), contest.clone()];
        assert_eq!(contest.n_shards(), 4);
        // A lead of 0.15 of 256 entries.
        (0..38).for_each(|_| contest.count(-1.0, 64));
        assert_eq!(contest.way(), Way::Density);
        contest.count(-1.0, 64);
        assert_eq!(contest.way(), Way::Recency);
        drop(shards);
        assert_eq!(contest.n_shards(), 1);
    }
}
