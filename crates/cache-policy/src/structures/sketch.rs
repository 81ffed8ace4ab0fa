//! Request frequencies of keys, cached or not.

/// Counts uses of keys up to 15 in fixed space, and forgets slowly: a count-min sketch of 4-bit
/// counters that are halved periodically [1, 2].
///
/// A key has four counters, all in one cache line. The smallest is the estimate: too high if all
/// four are shared with other keys, and too low only by the halving. 16 counters (8 bytes) an
/// entry, up to 16 bytes where the number of lines was rounded up.
///
/// [1] G. Cormode, S. Muthukrishnan: An improved data stream summary: the count-min sketch. J.
/// Algorithms 55, 2005. [2] G. Einziger, R. Friedman, B. Manes: TinyLFU: a highly efficient cache
/// admission policy. ACM ToS 13, 2017.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// A power of two of them.
    lines: Vec<Line>,
    /// The number of entries that the sketch is sized for.
    entries: usize,
    /// Uses counted, halved with the counters.
    uses: usize,
}

/// Row `r` has the 32 counters of words `2 r` and `2 r + 1`.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

impl Sketch {
    /// Returns a sketch for a few entries.
    pub(crate) fn new() -> Self {
        Self { lines: vec![Line([0; 8]); LINES_MIN], entries: ENTRIES_MIN, uses: 0 }
    }

    /// Grows to a size for `n` entries. Counts are kept.
    pub(crate) fn fit(&mut self, n: usize) {
        self.entries = self.entries.max(n);
        while self.lines.len() * ENTRIES_A_LINE < n {
            // A key's line is its hash modulo the number of lines, so each half of the doubled
            // sketch has the counts of its keys.
            self.lines.extend_from_within(..);
        }
    }

    /// Counts a use. After ten uses for each entry, all counts are halved.
    pub(crate) fn add(&mut self, fingerprint: u32) {
        let (at, counters) = self.counters(fingerprint);
        let line = &mut self.lines[at].0;
        let mut is_counted = false;
        for (word, shift) in counters {
            if line[word] >> shift & MAX < MAX {
                line[word] += 1 << shift;
                is_counted = true;
            }
        }
        if is_counted {
            self.uses += 1;
            if self.uses >= USES_AN_ENTRY * self.entries {
                self.halve();
            }
        }
    }

    /// Returns the estimated number of recent uses of the key, 0 to 15.
    pub(crate) fn estimate(&self, fingerprint: u32) -> u8 {
        let (at, counters) = self.counters(fingerprint);
        let line = &self.lines[at].0;
        let counts = counters.map(|(word, shift)| line[word] >> shift & MAX);
        u8::try_from(counts.into_iter().fold(MAX, u64::min)).unwrap_or(u8::MAX)
    }

    fn halve(&mut self) {
        for word in self.lines.iter_mut().flat_map(|line| &mut line.0) {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
        self.uses /= 2;
    }

    /// Returns the key's line, and the word and shift of its counters.
    fn counters(&self, fingerprint: u32) -> (usize, [(usize, u32); 4]) {
        let mixed = u64::from(fingerprint).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let at = (mixed >> 32) as usize & (self.lines.len() - 1);
        let counter = |row: usize| {
            // The lowest bits of a product are mixed the least.
            let bits = mixed >> (12 + 5 * row);
            (2 * row + (bits & 1) as usize, (bits >> 1 & 15) as u32 * 4)
        };
        (at, [counter(0), counter(1), counter(2), counter(3)])
    }
}

const MAX: u64 = 15;
const USES_AN_ENTRY: usize = 10;
const ENTRIES_A_LINE: usize = 8;
/// Enough to keep a few keys apart.
const LINES_MIN: usize = 8;
/// Enough that a tiny cache does not halve its counts all the time.
const ENTRIES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn until_it_forgets_no_estimate_is_too_low_and_few_are_too_high(
            uses in prop::collection::vec(0u32..500, 0..4000),
        ) {
            let mut sketch = Sketch::new();
            sketch.fit(500);
            let mut counts = [0; 500];
            for &key in &uses {
                sketch.add(key);
                counts[key as usize] = MAX.min(counts[key as usize] + 1);
            }
            let estimates = || (0u32..).zip(&counts).map(|(key, &count)| (u64::from(sketch.estimate(key)), count));
            prop_assert!(estimates().all(|(estimate, count)| estimate >= count));
            prop_assert!(estimates().filter(|(estimate, count)| estimate > count).count() <= 25);
        }
    }

    #[test]
    fn counts_are_halved_after_ten_uses_an_entry() {
        let mut sketch = Sketch::new();
        (0..12).for_each(|_| sketch.add(7));
        assert_eq!(sketch.estimate(7), 12);
        (12..USES_AN_ENTRY * ENTRIES_MIN)
            .for_each(|n| sketch.add(1000 + u32::try_from(n).unwrap()));
        assert_eq!(sketch.estimate(7), 6);
    }

    #[test]
    fn a_sketch_that_grows_forgets_nothing() {
        let mut sketch = Sketch::new();
        (0..5).for_each(|_| sketch.add(7));
        sketch.fit(10_000);
        assert_eq!(sketch.estimate(7), 5);
        assert_eq!(sketch.estimate(8), 0);
    }

    #[test]
    fn no_count_passes_15() {
        let mut sketch = Sketch::new();
        sketch.fit(64);
        (0..100).for_each(|_| sketch.add(7));
        assert_eq!(sketch.estimate(7), 15);
    }
}
