//! Numbers drawn from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64 [Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014].
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// One of many sequences of one seed: what is drawn from one does not depend on how much is drawn from another.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        Self::new(Self::new(seed ^ stream.rotate_left(32)).draw())
    }

    pub(crate) fn draw(&self) -> u64 {
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
    pub(crate) fn index(&self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
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
