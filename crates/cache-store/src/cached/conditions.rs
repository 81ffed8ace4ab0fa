//! Conditions of a read, judged by a version that is known: RFC 9110 section 13.2.2.

use std::time::SystemTime;

use cache_core::{Entry, opaque_tag};
use object_store::GetOptions;

use crate::tag;

/// What a store answers to the conditions of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// With the object.
    Holds,
    /// 304 Not Modified.
    NotModified,
    /// 412 Precondition Failed, by the tag. A version that is not known yet may have it.
    OtherTag,
    /// 412 Precondition Failed, by the date: also of any later version.
    ModifiedSince,
}

/// `None` if it cannot be told: the version has no date that a condition asks about.
pub(super) fn judge(
    options: &GetOptions,
    e_tag: Option<&str>,
    last_modified: Option<SystemTime>,
) -> Option<Judgement> {
    if let Some(tags) = &options.if_match {
        // The strong comparison, section 13.1.1.
        let is_it = |tag: &str| {
            !tag::is_weak(tag) && e_tag.is_some_and(|e_tag| is_strongly_same(tag, e_tag))
        };
        if tags.trim() != "*" && !members(tags).any(is_it) {
            return Some(Judgement::OtherTag);
        }
    } else if let Some(date) = options.if_unmodified_since
        && last_modified? > SystemTime::from(date)
    {
        return Some(Judgement::ModifiedSince);
    }
    if let Some(tags) = &options.if_none_match {
        // The weak comparison, section 13.1.2.
        let is_it = |tag: &str| e_tag.is_some_and(|e_tag| opaque_tag(tag) == opaque_tag(e_tag));
        if tags.trim() == "*" || members(tags).any(is_it) {
            return Some(Judgement::NotModified);
        }
    } else if let Some(date) = options.if_modified_since
        && last_modified? <= SystemTime::from(date)
    {
        return Some(Judgement::NotModified);
    }
    Some(Judgement::Holds)
}

/// The same by a head.
pub(super) fn judge_head(options: &GetOptions, head: &Entry) -> Option<Judgement> {
    judge(options, head.e_tag(), head.last_modified())
}

fn is_strongly_same(tag: &str, e_tag: &str) -> bool {
    !tag::is_weak(e_tag) && opaque_tag(tag) == opaque_tag(e_tag)
}

/// The members of a list of tags, which may have commas in their quotes.
fn members(tags: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = tags.split(move |char| {
        is_quoted ^= char == '"';
        char == ',' && !is_quoted
    });
    parts.map(str::trim).filter(|tag| !tag.is_empty())
}

pub(super) fn is_conditional(options: &GetOptions) -> bool {
    options.if_match.is_some()
        || options.if_none_match.is_some()
        || options.if_modified_since.is_some()
        || options.if_unmodified_since.is_some()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Judgement::*, *};

    fn options(if_match: Option<&str>, if_none_match: Option<&str>) -> GetOptions {
        GetOptions::new().with_if_match(if_match).with_if_none_match(if_none_match)
    }

    #[track_caller]
    fn check(options: &GetOptions, e_tag: &str, expected: Judgement) {
        let date = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(judge(options, Some(e_tag), Some(date)), Some(expected), "{options:?} {e_tag}");
    }

    #[test]
    fn tags_are_lists_and_are_compared_as_the_condition_demands() {
        for tags in ["\"x\"", "\"y\", \"x\"", "\"y\",\"x\"", "*", " * ", "\"a,b\", \"x\"", "x"] {
            check(&options(Some(tags), None), "\"x\"", Holds);
            check(&options(None, Some(tags)), "\"x\"", NotModified);
        }
        for tags in ["\"y\"", "", ",", "\"x,y\"", "\"X\"", "\"y\", \"z\"", "\"*\""] {
            check(&options(Some(tags), None), "\"x\"", OtherTag);
            check(&options(None, Some(tags)), "\"x\"", Holds);
        }
        for (tag, e_tag) in [("W/\"x\"", "\"x\""), ("\"x\"", "W/\"x\""), ("W/\"x\"", "W/\"x\"")] {
            check(&options(Some(tag), None), e_tag, OtherTag);
            check(&options(None, Some(tag)), e_tag, NotModified);
        }
        check(&options(Some("\"a,b\""), None), "\"a,b\"", Holds);
    }

    #[test]
    fn a_tag_counts_before_a_date_and_if_match_before_if_none_match() {
        let at = |seconds| {
            let date = UNIX_EPOCH + Duration::from_secs(seconds);
            Some(chrono::DateTime::<chrono::Utc>::from(date))
        };
        let (before, after) = (at(99), at(101));
        let dated = |since, unmodified| {
            GetOptions::new().with_if_modified_since(since).with_if_unmodified_since(unmodified)
        };
        check(&dated(before, None), "\"x\"", Holds);
        check(&dated(at(100), None), "\"x\"", NotModified);
        check(&dated(None, at(100)), "\"x\"", Holds);
        check(&dated(None, before), "\"x\"", ModifiedSince);
        check(&dated(after, before), "\"x\"", ModifiedSince);
        check(&dated(after, None).with_if_none_match(Some("\"y\"")), "\"x\"", Holds);
        check(&dated(None, before).with_if_match(Some("\"x\"")), "\"x\"", Holds);
        check(&options(Some("\"x\""), Some("\"x\"")), "\"x\"", NotModified);
        check(&options(Some("\"y\""), Some("\"x\"")), "\"x\"", OtherTag);
        assert_eq!(judge(&dated(after, None), Some("\"x\""), None), None);
        assert_eq!(judge(&options(Some("\"y\""), None), Some("\"x\""), None), Some(OtherTag));
    }
}
