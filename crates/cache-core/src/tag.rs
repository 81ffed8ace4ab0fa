//! How what an origin says of a version is compared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The opaque part of an ETag (RFC 9110 section 8.8.3): without `W/`, and without quotes. Two tags
/// are the same by the weak comparison of section 8.8.3.2 if this is equal. Quotes are left aside
/// because some stores leave them out: Azure does in its lists.
///
/// ```
/// assert_eq!(cache_core::opaque_tag("W/\"x\""), cache_core::opaque_tag("x"));
/// ```
pub fn opaque_tag(e_tag: &str) -> &str {
    let opaque = e_tag.strip_prefix("W/").unwrap_or(e_tag);
    let in_quotes = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    // Some lists leave the quotes out, so a tag is compared without them.
    // mutant: opaque_tag
    in_quotes.unwrap_or(opaque)
}

/// Whether two ETags are the same opaque tag.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    opaque_tag(one) == opaque_tag(other)
}

/// Whether the origin says that the tag is weak.
pub(crate) fn is_weak(e_tag: &str) -> bool {
    e_tag.starts_with("W/")
}

/// Whether two dates of a version are the same as far as both tell: an HTTP date has whole seconds,
/// and the date of the same version in a list may have more.
pub fn is_same_date(one: SystemTime, other: SystemTime) -> bool {
    let parts = |date: SystemTime| match date.duration_since(UNIX_EPOCH) {
        Ok(since) => (i128::from(since.as_secs()), since.subsec_nanos()),
        Err(before) => whole_seconds_before(before.duration()),
    };
    let ((one, one_nanos), (other, other_nanos)) = (parts(one), parts(other));
    // HTTP dates have whole seconds: a finer date of a list is still the same version.
    // mutant: whole_second_dates
    one == other && (one_nanos == other_nanos || one_nanos == 0 || other_nanos == 0)
}

/// A date before 1970, as the second that it is in and the nanoseconds from there.
fn whole_seconds_before(span: Duration) -> (i128, u32) {
    match (i128::from(span.as_secs()), span.subsec_nanos()) {
        (seconds, 0) => (-seconds, 0),
        (seconds, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_weakness_are_left_aside() {
        for tag in ["x", "\"x\"", "W/\"x\"", "W/x"] {
            assert!(is_same(tag, "\"x\""), "{tag}");
        }
        for tag in ["", "\"\"", "\"x", "x\"", "\"X\"", "w/\"x\"", "\"\"x\"\"", "W/"] {
            assert!(!is_same(tag, "\"x\""), "{tag}");
        }
        assert!(is_same("", "\"\"") && is_same("\"", "\""));
    }

    #[test]
    fn dates_are_compared_as_far_as_both_tell() {
        let at = |millis: u64| UNIX_EPOCH + Duration::from_millis(millis);
        assert!(is_same_date(at(5000), at(5000)) && is_same_date(at(5123), at(5123)));
        assert!(is_same_date(at(5000), at(5999)) && is_same_date(at(5999), at(5000)));
        assert!(!is_same_date(at(5000), at(6000)) && !is_same_date(at(5000), at(4999)));
        assert!(!is_same_date(at(5123), at(5124)));
        let before = |millis: u64| UNIX_EPOCH - Duration::from_millis(millis);
        assert!(
            is_same_date(before(2000), before(1500)) && !is_same_date(before(2000), before(2500))
        );
        assert!(!is_same_date(before(500), at(500)));
    }
}
