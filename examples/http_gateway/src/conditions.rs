//! Whether a client's conditions hold (RFC 9110 section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use cache_facade::object_store::ObjectMeta;

/// What an answer says of the version that it is about.
#[derive(Debug)]
pub(crate) struct Version<'a> {
    e_tag: Option<&'a str>,
    /// To the second, as HTTP has it.
    last_modified: Option<SystemTime>,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All hold, or there are none.
    Met,
    /// The client has this version: 304.
    NotModified,
    /// The client wanted another version: 412.
    Failed,
}

impl<'a> Version<'a> {
    pub(crate) fn of(meta: &'a ObjectMeta) -> Self {
        let date = SystemTime::from(meta.last_modified);
        let seconds = date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            // What is no tag to HTTP would not be one to the client either.
            e_tag: meta.e_tag.as_deref().filter(|tag| tags(tag).eq([*tag])),
            // Stores that give no date are shown with that of 1970.
            last_modified: (1..YEAR_10000)
                .contains(&seconds)
                .then(|| UNIX_EPOCH + Duration::from_secs(seconds)),
        }
    }

    pub(crate) fn e_tag(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.e_tag?.as_bytes()).ok()
    }

    /// The tag, if it stands for these bytes and no others.
    pub(crate) fn strong_tag(&self) -> Option<String> {
        self.e_tag.filter(|tag| !tag.starts_with(WEAK)).map(str::to_owned)
    }

    pub(crate) fn last_modified(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(httpdate::fmt_http_date(self.last_modified?)).ok()
    }

    /// In the order of section 13.2.2.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Verdict {
        if let Some(field) = text(headers, &header::IF_MATCH) {
            if !self.is_among(&field, is_same) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date(headers, &header::IF_UNMODIFIED_SINCE)
            && self.last_modified.is_some_and(|modified| modified > date)
        {
            return Verdict::Failed;
        }
        if let Some(field) = text(headers, &header::IF_NONE_MATCH) {
            if self.is_among(&field, is_alike) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date(headers, &header::IF_MODIFIED_SINCE)
            && self.last_modified.is_some_and(|modified| modified <= date)
        {
            return Verdict::NotModified;
        }
        Verdict::Met
    }

    /// Whether the part that the client has is of this version, so that another part of it is of
    /// use (section 13.1.5). A date never says so: the store may have written twice within its
    /// second.
    pub(crate) fn is_in_range_of(&self, headers: &HeaderMap) -> bool {
        text(headers, &header::IF_RANGE).is_none_or(|field| {
            let mut tags = tags(&field);
            self.e_tag.is_some_and(|own| {
                tags.next().is_some_and(|tag| is_same(own, tag)) && tags.next().is_none()
            })
        })
    }

    fn is_among(&self, field: &str, compare: fn(&str, &str) -> bool) -> bool {
        field.trim() == "*"
            || self.e_tag.is_some_and(|own| tags(field).any(|tag| compare(own, tag)))
    }
}

/// Whether one of the conditions that [`Version::judge`] knows is there.
pub(crate) fn are_in(headers: &HeaderMap) -> bool {
    [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

/// The strong comparison of section 8.8.3.2.
fn is_same(one: &str, other: &str) -> bool {
    one == other && !one.starts_with(WEAK)
}

/// The weak one.
fn is_alike(one: &str, other: &str) -> bool {
    let opaque = |tag| str::strip_prefix(tag, WEAK).unwrap_or(tag);
    opaque(one) == opaque(other)
}

/// The entity tags of a list, up to the first thing that is none.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opaque = rest.strip_prefix(WEAK).unwrap_or(rest).strip_prefix('"')?;
        let len = opaque.find('"').filter(|len| opaque[..*len].chars().all(is_of_tag))?;
        let (tag, after) = rest.split_at(rest.len() - opaque.len() + len + 1);
        let after = after.trim_start_matches([' ', '\t']);
        rest = if after.is_empty() || after.starts_with(',') { after } else { return None };
        Some(tag)
    })
}

/// `etagc` without the quote, which ends the tag.
fn is_of_tag(char: char) -> bool {
    !char.is_control() && char != ' '
}

/// The fields of that name as one list. `None` if there are none.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let fields: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|field| String::from_utf8_lossy(field.as_bytes()))
        .collect();
    (!fields.is_empty()).then(|| fields.join(","))
}

/// The date in the field of that name, if it is one.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

const WEAK: &str = "W/";

/// In seconds since 1970: the first that an HTTP date cannot tell.
const YEAR_10000: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Wed, 01 Jan 2025 00:00:00 GMT";
    const LATER: &str = "Wed, 01 Jan 2025 00:00:01 GMT";
    const EARLIER: &str = "Tue, 31 Dec 2024 23:59:59 GMT";

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn version(e_tag: &str) -> Version<'_> {
        Version {
            e_tag: Some(e_tag),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(1_735_689_600)),
        }
    }

    /// Against the version `"a"` of the second that `DATE` says.
    #[track_caller]
    fn check(fields: &[(HeaderName, &'static str)], expected: Verdict) {
        assert_eq!(version("\"a\"").judge(&headers(fields)), expected, "{fields:?}");
    }

    #[test]
    fn a_list_is_read_tag_by_tag() {
        for (list, expected) in [
            ("\"a\"", &["\"a\""][..]),
            ("\"a\", W/\"b\"", &["\"a\"", "W/\"b\""]),
            (" ,\t\"a\" , ,\"b,c\",", &["\"a\"", "\"b,c\""]),
            ("\"\"", &["\"\""]),
            ("\"a\" \"b\"", &[]),
            ("\"a\", b, \"c\"", &["\"a\""]),
            ("w/\"a\"", &[]),
            ("\"a", &[]),
            ("\"a b\"", &[]),
            ("", &[]),
        ] {
            assert!(
                tags(list).eq(expected.iter().copied()),
                "{list}: {:?}",
                tags(list).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn none_match_compares_weakly() {
        for field in ["\"a\"", "W/\"a\"", "\"x\", W/\"a\", \"y\"", "*", " * "] {
            check(&[(header::IF_NONE_MATCH, field)], Verdict::NotModified);
        }
        for field in ["\"b\"", "a", "\"x\", \"y\"", "", "\"A\"", "\"*\""] {
            check(&[(header::IF_NONE_MATCH, field)], Verdict::Met);
        }
        let weak = headers(&[(header::IF_NONE_MATCH, "\"a\"")]);
        assert_eq!(version("W/\"a\"").judge(&weak), Verdict::NotModified);
    }

    #[test]
    fn several_fields_are_one_list() {
        check(
            &[(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"a\"")],
            Verdict::NotModified,
        );
    }

    #[test]
    fn match_compares_strongly() {
        check(&[(header::IF_MATCH, "\"x\", \"a\"")], Verdict::Met);
        check(&[(header::IF_MATCH, "*")], Verdict::Met);
        check(&[(header::IF_MATCH, "W/\"a\"")], Verdict::Failed);
        check(&[(header::IF_MATCH, "\"b\"")], Verdict::Failed);
        check(
            &[(header::IF_MATCH, "\"a\""), (header::IF_NONE_MATCH, "\"a\"")],
            Verdict::NotModified,
        );
        let weak = headers(&[(header::IF_MATCH, "W/\"a\"")]);
        assert_eq!(version("W/\"a\"").judge(&weak), Verdict::Failed);
    }

    #[test]
    fn a_date_counts_where_there_is_no_tag() {
        check(&[(header::IF_MODIFIED_SINCE, DATE)], Verdict::NotModified);
        check(&[(header::IF_MODIFIED_SINCE, LATER)], Verdict::NotModified);
        check(&[(header::IF_MODIFIED_SINCE, EARLIER)], Verdict::Met);
        check(&[(header::IF_MODIFIED_SINCE, "yesterday")], Verdict::Met);
        check(
            &[(header::IF_MODIFIED_SINCE, LATER), (header::IF_NONE_MATCH, "\"b\"")],
            Verdict::Met,
        );
        check(&[(header::IF_UNMODIFIED_SINCE, EARLIER)], Verdict::Failed);
        check(&[(header::IF_UNMODIFIED_SINCE, DATE)], Verdict::Met);
        check(&[(header::IF_UNMODIFIED_SINCE, EARLIER), (header::IF_MATCH, "\"a\"")], Verdict::Met);
    }

    #[test]
    fn a_range_goes_on_with_the_same_version_alone() {
        let is_in_range =
            |e_tag, field| version(e_tag).is_in_range_of(&headers(&[(header::IF_RANGE, field)]));
        assert!(version("\"a\"").is_in_range_of(&headers(&[])));
        assert!(is_in_range("\"a\"", "\"a\""));
        assert!(!is_in_range("\"a\"", "\"b\""));
        assert!(!is_in_range("\"a\"", "\"a\", \"a\""));
        assert!(!is_in_range("W/\"a\"", "W/\"a\""));
        assert!(!is_in_range("\"a\"", DATE));
        // Such a tag makes no `If-Match` for the store either.
        assert_eq!(
            (version("\"a\"").strong_tag(), version("W/\"a\"").strong_tag()),
            (Some("\"a\"".to_owned()), None)
        );
    }
}
