//! Numbers drawn from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers from a seed: SplitMix64 [Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014].
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// One of many sequences of one seed: what is drawn from one does not depend on how much is
    /// drawn from another.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        Self::new(Self::new(seed ^ stream.rotate_left(32)).draw())
    }

    /// Returns the next 64 bits.
    pub fn draw(&self) -> u64 {
        let mut z = self.0.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed).wrapping_add(GOLDEN_GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`, which is not zero. As even as a test needs.
    pub(crate) fn below(&self, n: u64) -> u64 {
        (self.draw() >> 16) % n
    }

    /// Less than `n`, which is not zero.
    pub fn index(&self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    /// Returns a number from zero up to, but not including, one.
    pub fn unit(&self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether it happens, if it happens `times` in 256.
    pub(crate) fn happens(&self, times: u8) -> bool {
        self.below(256) < u64::from(times)
    }

    /// One of `choices`, of which there is one.
    pub(crate) fn pick<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        let random = Random::new(1_234_567);
        // The first numbers of the reference implementation for this seed.
        assert_eq!(random.draw(), 6_457_827_717_110_365_317);
        assert_eq!(random.draw(), 3_203_168_211_198_807_973);
    }
}
