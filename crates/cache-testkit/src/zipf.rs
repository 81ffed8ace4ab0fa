//! Popularity as in Zipf's law [1].
//!
//! [1] Breslau et al., "Web Caching and Zipf-like Distributions", INFOCOM 1999.

use crate::Random;

/// A Zipf distribution over ranks.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The share of the ranks up to each.
    cumulated: Vec<f64>,
}

impl Zipf {
    /// Rank r of `n`, counted from one, has a weight of 1/r^`exponent`.
    pub fn new(n: usize, exponent: f64) -> Self {
        let mut cumulated: Vec<f64> = Vec::with_capacity(n);
        let mut sum = 0.0;
        for rank in 1..=n {
            sum += (rank as f64).powf(-exponent);
            cumulated.push(sum);
        }
        cumulated.iter_mut().for_each(|share| *share /= sum);
        Self { cumulated }
    }

    /// Draws a rank, counted from zero. Returns zero if there are no ranks.
    pub fn sample(&self, random: &Random) -> usize {
        self.rank(random.unit())
    }

    /// Returns the rank, counted from zero, at `share` of the total weight.
    fn rank(&self, share: f64) -> usize {
        let rank = self.cumulated.partition_point(|up_to| *up_to <= share);
        rank.min(self.cumulated.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_zipfs_shares() {
        let zipf = Zipf::new(4, 1.0);
        // Weights 1, 1/2, 1/3, 1/4 of a sum of 25/12: shares 0.48, 0.24, 0.16, 0.12.
        for (share, rank) in
            [(0.0, 0), (0.479, 0), (0.481, 1), (0.719, 1), (0.721, 2), (0.879, 2), (0.881, 3)]
        {
            assert_eq!(zipf.rank(share), rank, "at {share}");
        }
        assert_eq!(zipf.rank(1.0), 3);
    }
}
