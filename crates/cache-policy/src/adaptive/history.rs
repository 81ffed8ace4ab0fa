//! The memory of evicted keys.

use super::note::Seen;

/// The keys evicted last, about twice as many as there are entries, each with the moment of its
/// last use and the number of its uses. 4 bytes a key: 16 bits of its hash, 14 of the moment, 2 of
/// the uses.
///
/// A key belongs to a set of 8, in which it replaces the least recently used one. One key in some
/// 8,000 is mistaken for another; the data are only hints.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Empty before the first eviction. Zero is no key.
    sets: Vec<[u32; WAYS]>,
    /// The number of entries that it is sized for.
    entries: usize,
    /// The number of low bits of a moment that are dropped.
    shift: u32,
}

impl History {
    /// Remembers the key of `hash`, evicted `now` from among `n_entries`.
    pub(super) fn push(&mut self, hash: u32, seen: Seen, n_entries: usize, now: u32) {
        self.fit(n_entries);
        let shift = self.shift;
        let (set, tag) = self.set(hash);
        let age = |note: u32| {
            if note == 0 {
                u32::MAX
            } else {
                coarse(now, shift).wrapping_sub(note >> 2) & TICK_MASK
            }
        };
        if let Some(place) = set.iter_mut().max_by_key(|note| age(**note)) {
            *place = tag | coarse(seen.tick(), shift) << 2 | seen.uses();
        }
    }

    /// Returns and forgets what is remembered of the key of `hash`.
    pub(super) fn take(&mut self, hash: u32, now: u32) -> Option<Seen> {
        if self.sets.is_empty() {
            return None;
        }
        let shift = self.shift;
        let (set, tag) = self.set(hash);
        let place = set.iter_mut().find(|note| **note != 0 && **note & TAG_MASK == tag)?;
        let note = std::mem::take(place);
        let age = (coarse(now, shift).wrapping_sub(note >> 2) & TICK_MASK) << shift;
        Some(Seen::new(now.saturating_sub(age), note & Seen::USES_MAX))
    }

    /// Resizes for `n_entries`. Everything is forgotten if the number is far from the old one,
    /// since only parts of the hashes are kept.
    fn fit(&mut self, n_entries: usize) {
        if n_entries > self.entries * 2 || n_entries < self.entries / 4 {
            self.entries = n_entries;
            self.sets = vec![[0; WAYS]; (n_entries * KEYS_AN_ENTRY).div_ceil(WAYS)];
            // 16,384 moments for 32 inserts an entry, far more than a key stays; at most as many
            // bits as make the clock's rebase one of whole rounds.
            self.shift =
                (n_entries / 512).max(1).ilog2().min(Seen::REBASE.ilog2() - TICK_MASK.count_ones());
        }
    }

    /// Returns the key's set, and its part of a note. The hash is mixed, as a miniature's keys all
    /// begin with the same bits.
    fn set(&mut self, hash: u32) -> (&mut [u32; WAYS], u32) {
        let mixed = hash.wrapping_mul(0x9E37_79B1);
        let at = (u64::from(mixed) * self.sets.len() as u64) >> 32;
        (&mut self.sets[at as usize], mixed << 16)
    }
}

fn coarse(tick: u32, shift: u32) -> u32 {
    tick >> shift & TICK_MASK
}

const WAYS: usize = 8;
/// LIRS needs to remember a key for about as long as the age of its stack's bottom. Twice the
/// number of entries loses little.
const KEYS_AN_ENTRY: usize = 2;
const TICK_MASK: u32 = 0x3FFF;
const TAG_MASK: u32 = 0xFFFF_0000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands in for a hash.
    fn hash(n: u32) -> u32 {
        (n + 1).wrapping_mul(0x85EB_CA6B).rotate_left(13).wrapping_mul(0xC2B2_AE35)
    }

    #[test]
    fn what_was_evicted_lately_is_known_once_and_what_was_long_ago_is_not() {
        let mut history = History::default();
        for n in 0..10_000 {
            history.push(hash(n), Seen::new(n, n % 4), 1000, n);
        }
        let mut known = 0;
        for n in 8500..10_000 {
            if let Some(seen) = history.take(hash(n), 10_000) {
                known += 1;
                assert_eq!(seen.uses(), n % 4);
                assert!(n.abs_diff(seen.tick()) < 16, "{n} {seen:?}");
            }
            assert_eq!(history.take(hash(n), 10_000), None);
        }
        assert!(known > 1200, "{known} of the last 1500");
        assert!((0..5000).filter(|&n| history.take(hash(n), 10_000).is_some()).count() < 50);
    }

    #[test]
    fn an_empty_one_knows_nobody() {
        assert_eq!(History::default().take(7, 7), None);
    }
}
