//! The data of an entry, in six bytes.

/// The moment of the last use in 29 bits, whether the entry was used since it was queued in 1, and
/// the number of uses, up to 3, in 2.
///
/// A higher maximum would keep formerly popular entries for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(u32);

impl Seen {
    pub(super) const TICK_MAX: u32 = (1 << 29) - 1;
    pub(super) const USES_MAX: u32 = 3;
    /// The ticks by which moments are moved back when the clock is at its end. The history forgets
    /// ticks beyond 28 bits anyway.
    pub(super) const REBASE: u32 = 1 << 28;

    pub(super) fn new(tick: u32, uses: u32) -> Self {
        Self(tick << 3 | uses.min(Self::USES_MAX))
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn tick(self) -> u32 {
        self.0 >> 3
    }

    pub(super) fn uses(self) -> u32 {
        self.0 & Self::USES_MAX
    }

    pub(super) fn is_hit(self) -> bool {
        self.0 & HIT != 0
    }

    pub(super) fn unmarked(self) -> Self {
        Self(self.0 & !HIT)
    }

    pub(super) fn hit(self, tick: u32) -> Self {
        Self(Self::new(tick, self.uses() + 1).0 | HIT)
    }

    /// Returns the time from `past` to this, in ticks.
    pub(super) fn age(self, past: Self) -> f32 {
        self.tick().saturating_sub(past.tick()) as f32
    }

    pub(super) fn rebased(self) -> Self {
        Self(self.tick().saturating_sub(Self::REBASE) << 3 | self.0 & (HIT | Self::USES_MAX))
    }
}

const HIT: u32 = 1 << 2;

/// A weight, rounded down to 11 significant bits: exact below 2,048, and at most 4 TiB.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight(u16);

impl Weight {
    pub(super) fn new(weight: u64) -> Self {
        let exponent = (u64::BITS - weight.leading_zeros()).saturating_sub(MANTISSA_BITS);
        let bits = u64::from(exponent) << MANTISSA_BITS | weight >> exponent;
        Self(u16::try_from(bits).unwrap_or(u16::MAX))
    }

    pub(super) fn get(self) -> u64 {
        u64::from(self.0 & ((1 << MANTISSA_BITS) - 1)) << (self.0 >> MANTISSA_BITS)
    }

    pub(super) fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u16 {
        self.0
    }
}

const MANTISSA_BITS: u32 = 11;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_weight_is_never_too_high_and_low_by_less_than_a_thousandth(weight in 0u64..1 << 42) {
            let rounded = Weight::new(weight).get();
            prop_assert!(rounded <= weight);
            prop_assert!(weight - rounded <= weight / 1000);
            prop_assert!(weight >= 2048 || rounded == weight);
        }

        #[test]
        fn a_hit_moves_the_moment_counts_and_marks(tick in 0..Seen::TICK_MAX, uses in 1u32..=3, later in 0u32..9) {
            let seen = Seen::new(tick, uses);
            let now = (tick + later).min(Seen::TICK_MAX);
            let hit = seen.hit(now);
            prop_assert_eq!((hit.tick(), hit.uses()), (now, (uses + 1).min(3)));
            prop_assert!(hit.is_hit() && !seen.is_hit() && !hit.unmarked().is_hit());
            prop_assert_eq!(f64::from(hit.age(seen)), f64::from(now - tick));
        }
    }

    #[test]
    fn a_weight_beyond_all_is_the_greatest() {
        assert_eq!(Weight::new(u64::MAX), Weight::from_bits(u16::MAX));
        assert_eq!(Weight::new(0).get(), 0);
    }
}
