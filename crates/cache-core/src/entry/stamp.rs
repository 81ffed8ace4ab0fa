//! When an entry was validated, and for how long that is good.

use std::time::Duration;

use crate::{Moment, clock::nanos};

/// When an entry was validated, as read at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(super) validated: u64,
    pub(super) time_to_live: Span,
}

impl Stamp {
    pub(crate) fn validated_at(self) -> Option<Moment> {
        (self.validated != NEVER).then(|| Moment::from_nanos(self.validated & !MUST_REVALIDATE))
    }

    pub(crate) fn must_revalidate(self) -> bool {
        self.validated & MUST_REVALIDATE != 0
    }

    pub(crate) fn has_expired(self, now: Moment) -> bool {
        self.validated_at().is_some_and(|at| {
            now.as_nanos().saturating_sub(at.as_nanos()) >= self.time_to_live.nanos()
        })
    }

    /// Whether it is not marked, has not expired, and was validated less than `max_age` nanoseconds
    /// before `now`.
    #[inline]
    pub(crate) fn is_fresh(self, now: Moment, max_age: u64) -> bool {
        // A marked entry is not fresh at any age, and none is fresh beyond its time to live.
        // mutant: must_revalidate_mark
        let is_validated = self.validated & MUST_REVALIDATE == 0;
        is_validated && self.age(now) < max_age.min(self.time_to_live.nanos())
    }

    /// Of one that is validated and not marked, the nanoseconds since then.
    #[inline]
    pub(crate) fn age(self, now: Moment) -> u64 {
        now.as_nanos().saturating_sub(self.validated)
    }

    pub(super) fn expires_at(self) -> Option<Moment> {
        let (validated_at, span) = (self.validated_at()?, self.time_to_live.nanos());
        (span != u64::MAX).then(|| Moment::from_nanos(validated_at.as_nanos().saturating_add(span)))
    }
}

/// A time to live in 4 bytes, every entry has one: its nanoseconds, if they have more than 27 bits
/// without the last of them. So one of five minutes may be 2 microseconds shorter than was asked
/// for, never longer. One of nine years is for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(u32);

impl Span {
    pub(super) const FOR_EVER: Self = Self(u32::MAX);

    pub(super) fn new(time_to_live: Option<Duration>) -> Self {
        let nanos = time_to_live.map_or(u64::MAX, nanos);
        let n_cut = (u64::BITS - nanos.leading_zeros()).saturating_sub(DIGITS);
        match u32::try_from(nanos >> n_cut) {
            Ok(digits) if n_cut < 1 << (u32::BITS - DIGITS) => Self(n_cut << DIGITS | digits),
            _ => Self::FOR_EVER,
        }
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// `u64::MAX` for ever.
    fn nanos(self) -> u64 {
        if self.0 == u32::MAX {
            return u64::MAX;
        }
        u64::from(self.0 & ((1 << DIGITS) - 1)) << (self.0 >> DIGITS)
    }
}

/// Has the mark, and is no moment.
pub(super) const NEVER: u64 = u64::MAX;
pub(super) const MUST_REVALIDATE: u64 = 1 << 63;
/// The bits that are kept of a span; the others say how many were cut off.
const DIGITS: u32 = 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_for_ever_has_no_deadline_from_the_first_moment_on() {
        for validated in [0, 1, u64::MAX >> 2] {
            let stamp = |time_to_live| Stamp { validated, time_to_live: Span::new(time_to_live) };
            assert_eq!(stamp(None).expires_at(), None);
            let at = stamp(Some(Duration::from_nanos(5))).expires_at();
            assert_eq!(at, Some(Moment::from_nanos(validated + 5)));
        }
    }

    #[test]
    fn a_span_is_exact_or_hardly_shorter() {
        let nanos = |span| Span::new(Some(Duration::from_nanos(span))).nanos();
        for bit in 0..57 {
            for span in [1 << bit, (1 << bit) + 1, (2 << bit) - 1] {
                let kept = nanos(span);
                assert!(kept <= span && span - kept <= span >> (DIGITS - 1), "{span}: {kept}");
                assert!(span >= 1 << DIGITS || kept == span, "{span}: {kept}");
            }
        }
        assert_eq!(nanos(60_000_000_000), 60_000_000_000);
        for span in [1 << 58, u64::MAX >> 1, u64::MAX] {
            assert_eq!(nanos(span), u64::MAX, "{span}");
        }
        assert_eq!(Span::new(None).nanos(), u64::MAX);
    }
}
