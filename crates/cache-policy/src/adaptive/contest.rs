//! Which of the two ways is the better one now.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::ranking::Way;

/// The score that the shards of one cache keep together: what each alone would need long to see,
/// all see soon.
///
/// The score is bounded, so that what was long ago does not count against what is now: it takes the
/// same lead to change the way whatever was before. This is a cumulative sum test [9] in either
/// direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Contest(Arc<Score>);

#[derive(Debug, Default)]
struct Score {
    /// A float: the hits by which density leads, from minus to plus the lead that is asked for.
    lead: AtomicU32,
    is_recency_better: AtomicBool,
}

impl Contest {
    pub(super) fn way(&self) -> Way {
        if self.0.is_recency_better.load(Ordering::Relaxed) { Way::Recency } else { Way::Density }
    }

    /// How many shards there are, beside the pattern that they were made from.
    pub(super) fn n_shards(&self) -> usize {
        (Arc::strong_count(&self.0) - 1).max(1)
    }

    /// Density had `gain` more hits than recency, in miniatures of so many `entries`.
    pub(super) fn count(&self, gain: f32, entries: usize) {
        let asked = (LEAD_AN_ENTRY * (entries * self.n_shards()) as f32).max(LEAD_MIN);
        let lead = f32::from_bits(self.0.lead.load(Ordering::Relaxed)) + gain;
        // Of two shards at once, one may be lost.
        self.0.lead.store(lead.clamp(-asked, asked).to_bits(), Ordering::Relaxed);
        if lead.abs() >= asked {
            self.0.is_recency_better.store(lead < 0.0, Ordering::Relaxed);
        }
    }
}

/// The hits by which the other way must lead, for each entry of the miniatures of all shards: less
/// may be chance, and more would be late.
const LEAD_AN_ENTRY: f32 = 0.15;
/// And at least so many.
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
