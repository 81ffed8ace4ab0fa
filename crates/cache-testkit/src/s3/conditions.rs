//! The conditions of a request: RFC 9110 section 13.

use chrono::{DateTime, Utc};

use super::S3Request;

/// An ETag, RFC 9110 section 8.8.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    is_weak: bool,
    /// With its quotes, as all that a client sends may be compared to it.
    opaque: String,
}

impl Tag {
    pub(super) fn new(text: &str) -> Self {
        match text.strip_prefix("W/") {
            Some(opaque) => Self { is_weak: true, opaque: opaque.to_owned() },
            None => Self { is_weak: false, opaque: text.to_owned() },
        }
    }

    fn is_strongly(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    fn is_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

/// What a condition is judged by: the object as it is, or as a fault shows it.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) tag: Option<Tag>,
    pub(super) modified: DateTime<Utc>,
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    NotModified,
    Failed,
}

/// In the order of RFC 9110 section 13.2.2. `is_read`: a GET or HEAD, whose failed `If-None-Match`
/// is good news.
pub(super) fn judge(request: &S3Request, current: Option<&Current>, is_read: bool) -> Verdict {
    let tags = |name| request.header(name).map(Tags::parse);
    // Only reads, and only of what there is, have a date to compare.
    let date = |name| request.header(name).filter(|_| is_read).and_then(parse_date).zip(current);
    if let Some(tags) = tags("if-match") {
        if !tags.hold(current, Tag::is_strongly) {
            return Verdict::Failed;
        }
    } else if date("if-unmodified-since").is_some_and(|(since, current)| current.modified > since) {
        return Verdict::Failed;
    }
    if let Some(tags) = tags("if-none-match") {
        if tags.hold(current, Tag::is_weakly) {
            return if is_read { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if date("if-modified-since").is_some_and(|(since, current)| current.modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Go
}

/// Whether the range of `request` is of the version that its `If-Range` means (RFC 9110 section
/// 13.1.5).
pub(super) fn range_applies(request: &S3Request, current: &Current) -> bool {
    request.header("if-range").is_none_or(|wanted| {
        current.tag.as_ref().is_some_and(|tag| tag.is_strongly(&Tag::new(wanted)))
    })
}

enum Tags {
    Any,
    These(Vec<Tag>),
}

impl Tags {
    /// A comma inside of quotes is a part of the tag. What is no tag is compared as it stands, and
    /// so matches nothing that this server gives out.
    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let (mut tags, mut tag, mut is_quoted) = (Vec::new(), String::new(), false);
        for char in text.chars() {
            is_quoted ^= char == '"';
            if char == ',' && !is_quoted {
                tags.push(std::mem::take(&mut tag));
            } else {
                tag.push(char);
            }
        }
        tags.push(tag);
        Self::These(tags.iter().map(|tag| Tag::new(tag.trim())).collect())
    }

    fn hold(&self, current: Option<&Current>, is_same: fn(&Tag, &Tag) -> bool) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::These(tags), Some(current)) => {
                current.tag.as_ref().is_some_and(|held| tags.iter().any(|tag| is_same(held, tag)))
            }
        }
    }
}

pub(super) fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

pub(super) fn format_date(date: DateTime<Utc>) -> String {
    date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    const DATE: &str = "Tue, 24 Nov 2026 00:00:00 GMT";
    const EARLIER: &str = "Mon, 23 Nov 2026 23:59:59 GMT";

    #[track_caller]
    fn check(tag: Option<&str>, is_read: bool, headers: &[(&str, &str)], expected: Verdict) {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let request = S3Request::new(Operation::Get, "a", headers.collect());
        let modified = parse_date(DATE).unwrap();
        let current = tag.map(|tag| Current { tag: Some(Tag::new(tag)), modified });
        assert_eq!(judge(&request, current.as_ref(), is_read), expected, "{request:?}");
    }

    #[test]
    fn if_match_compares_strongly() {
        let get = |tag, sent, expected| check(tag, true, &[("if-match", sent)], expected);
        get(Some("\"a\""), "\"a\"", Verdict::Go);
        get(Some("\"a\""), "\"b\", \"a\"", Verdict::Go);
        get(Some("\"a\""), "*", Verdict::Go);
        get(Some("\"a\""), "\"b\"", Verdict::Failed);
        get(Some("\"a\""), "W/\"a\"", Verdict::Failed);
        get(Some("W/\"a\""), "W/\"a\"", Verdict::Failed);
        get(None, "*", Verdict::Failed);
        get(Some("\"a\""), "a", Verdict::Failed);
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let get = |tag, sent, expected| check(tag, true, &[("if-none-match", sent)], expected);
        get(Some("\"a\""), "\"a\"", Verdict::NotModified);
        get(Some("\"a\""), "W/\"a\"", Verdict::NotModified);
        get(Some("W/\"a\""), "\"a\"", Verdict::NotModified);
        get(Some("\"a\""), "\"b\" ,W/\"a\"", Verdict::NotModified);
        get(Some("\"a\""), "*", Verdict::NotModified);
        get(Some("\"a\""), "\"b\"", Verdict::Go);
        get(None, "*", Verdict::Go);
        check(Some("\"a\""), false, &[("if-none-match", "*")], Verdict::Failed);
        check(None, false, &[("if-none-match", "*")], Verdict::Go);
    }

    #[test]
    fn a_comma_inside_of_a_tag_is_a_part_of_it() {
        check(Some("\"a,b\""), true, &[("if-none-match", "\"x\", \"a,b\"")], Verdict::NotModified);
        check(Some("\"a\""), true, &[("if-none-match", "\"a,b\"")], Verdict::Go);
    }

    #[test]
    fn dates_count_only_where_there_is_no_tag() {
        let get =
            |headers: &[(&str, &str)], expected| check(Some("\"a\""), true, headers, expected);
        get(&[("if-modified-since", DATE)], Verdict::NotModified);
        get(&[("if-modified-since", EARLIER)], Verdict::Go);
        get(&[("if-modified-since", DATE), ("if-none-match", "\"b\"")], Verdict::Go);
        get(&[("if-unmodified-since", DATE)], Verdict::Go);
        get(&[("if-unmodified-since", EARLIER)], Verdict::Failed);
        get(&[("if-unmodified-since", EARLIER), ("if-match", "\"a\"")], Verdict::Go);
        get(&[("if-modified-since", "no date")], Verdict::Go);
        check(Some("\"a\""), false, &[("if-modified-since", DATE)], Verdict::Go);
    }

    #[test]
    fn a_failed_if_match_comes_before_a_not_modified() {
        let both = [("if-match", "\"b\""), ("if-none-match", "\"a\"")];
        check(Some("\"a\""), true, &both, Verdict::Failed);
    }

    #[test]
    fn a_date_comes_back() {
        assert_eq!(format_date(parse_date(DATE).unwrap()), DATE);
    }
}
