//! The order of the events of one key.

use std::cmp::Ordering;

/// A sequencer: hexadecimal digits, which are greater for a later event of the same key.
///
/// Sequencers differ in length. AWS has documented two ways to compare them then: pad the shorter
/// one with zeros on the left, or on the right. An event is older only if it is by both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sequencer(Box<str>);

impl Sequencer {
    /// `None` if it has other characters, or is longer than any that S3 sends.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_sequencer = (1..=LEN_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sequencer.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// Whether this is surely of an event before that of `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.cmp_left_padded(other) == Ordering::Less
            && self.cmp_right_padded(other) == Ordering::Less
    }

    fn cmp_left_padded(&self, other: &Self) -> Ordering {
        let (one, two) = (self.0.trim_start_matches('0'), other.0.trim_start_matches('0'));
        one.len().cmp(&two.len()).then_with(|| one.cmp(two))
    }

    fn cmp_right_padded(&self, other: &Self) -> Ordering {
        self.0.trim_end_matches('0').cmp(other.0.trim_end_matches('0'))
    }
}

const LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, is_before: bool) {
        let (one, other) = (Sequencer::parse(one).unwrap(), Sequencer::parse(other).unwrap());
        assert_eq!(one.is_before(&other), is_before, "{one:?} {other:?}");
    }

    #[test]
    fn equal_lengths_are_compared_as_numbers() {
        check("0055AED6DCD90281E5", "0055AED6DCD90281E6", true);
        check("0055AED6DCD90281E6", "0055AED6DCD90281E5", false);
        check("0055AED6DCD90281E5", "0055aed6dcd90281e5", false);
        check("09", "0a", true);
        check("0A", "0b", true);
    }

    #[test]
    fn other_lengths_are_compared_in_both_ways() {
        // 0x12 is before 0x21f either way, and 0x21f before neither.
        check("12", "21f", true);
        check("21f", "12", false);
        // 0x9 < 0x10, but 0x90 > 0x10.
        check("9", "10", false);
        check("10", "9", false);
        // One is the other with a zero at its end, or at its start: neither is surely before.
        check("12", "120", false);
        check("12", "012", false);
        check("012", "12", false);
    }

    #[test]
    fn other_characters_are_no_sequencer() {
        for text in ["", "0x1", "g", "1 ", "é", &"1".repeat(65)] {
            assert_eq!(Sequencer::parse(text), None, "{text}");
        }
    }
}
