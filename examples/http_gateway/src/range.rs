//! Which bytes are asked for (RFC 9110 section 14).

use std::ops::Range;

use axum::http::{HeaderMap, header};
use cache_facade::object_store::GetRange;

/// The range that the headers ask for. `None`, and so the whole, if they ask for several, in a unit
/// that is not known, or for what cannot be read: section 14.2 leaves that open.
pub(crate) fn asked(headers: &HeaderMap) -> Option<GetRange> {
    let mut fields = headers.get_all(header::RANGE).iter();
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    let (unit, set) = field.to_str().ok()?.split_once('=')?;
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    match (specs.next(), specs.next()) {
        (Some(spec), None) if unit.trim().eq_ignore_ascii_case("bytes") => range(spec),
        _ => None,
    }
}

/// What that is of an object of `size` bytes; `None`, if it has no byte of it.
pub(crate) fn of_size(range: &GetRange, size: u64) -> Option<Range<u64>> {
    range.as_range(size).ok().filter(|range| !range.is_empty())
}

fn range(spec: &str) -> Option<GetRange> {
    match spec.split_once('-')? {
        ("", len) => Some(GetRange::Suffix(number(len)?)),
        (first, "") => Some(GetRange::Offset(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let end = last.checked_add(1);
            (first <= last)
                .then(|| end.map_or(GetRange::Offset(first), |end| GetRange::Bounded(first..end)))
        }
    }
}

/// A number that is too large for any object is that all the same.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// Of an object of ten bytes: `None` is the whole, an empty range is 416.
    #[track_caller]
    fn check(field: &'static str, expected: impl Into<Option<(u64, u64)>>) {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(field))]);
        let range = asked(&headers).map(|range| of_size(&range, 10).unwrap_or_default());
        assert_eq!(range, expected.into().map(|(start, end)| start..end), "{field}");
    }

    #[test]
    fn a_single_range_is_read() {
        check("bytes=0-0", (0, 1));
        check("bytes=2-4", (2, 5));
        check("bytes=2-99", (2, 10));
        check("bytes=2-99999999999999999999", (2, 10));
        check("bytes=9-", (9, 10));
        check("bytes=-3", (7, 10));
        check("bytes=-99", (0, 10));
        check("BYTES=1-2", (1, 3));
        check("bytes= , 1-2 ,", (1, 3));
    }

    #[test]
    fn a_range_without_a_byte_cannot_be_satisfied() {
        for field in [
            "bytes=10-",
            "bytes=10-12",
            "bytes=-0",
            "bytes=99999999999999999999-",
            "bytes=18446744073709551615-",
        ] {
            check(field, (0, 0));
        }
    }

    #[test]
    fn any_other_range_is_the_whole() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1-0",
            "bytes=a-b",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=--1",
            "bytes=0x1-2",
            "bytes 0-1",
        ] {
            check(field, None);
        }
    }

    #[test]
    fn two_fields_are_several_ranges() {
        let field = |text| (header::RANGE, HeaderValue::from_static(text));
        let headers = HeaderMap::from_iter([field("bytes=0-1"), field("bytes=2-3")]);
        assert_eq!(headers.get_all(header::RANGE).iter().count(), 2);
        assert_eq!(asked(&headers), None);
    }
}
