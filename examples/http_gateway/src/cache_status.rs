//! What the cache did, in the words of RFC 9211.
//!
//! | outcome | `Cache-Status` |
//! | --- | --- |
//! | fresh, or stale and served all the same | `hit` |
//! | revalidated | `fwd=stale; fwd-status=304` |
//! | refetched | `fwd=stale` |
//! | fetched | `fwd=uri-miss`: there is one thing only to be held of a URL |
//! | passed through | `fwd=bypass` |
//! | the version was at hand, its first bytes were not | `fwd=partial` |
//! | there is no such object, or the store refuses it | `fwd=miss; fwd-status=404` |
//! | there is no such object, which may have been remembered | neither `hit` nor `fwd` |
//! | the store failed | `fwd=miss; detail=unavailable`, or `timeout` |
//!
//! The 304 stands for the store's confirmation that the version is current: the cache revalidates
//! by HEAD, or by the request for the bytes that are missing, and compares.
//!
//! It goes out before the body, so it tells of the first bytes alone: that more of them had to be
//! fetched later is not said. Nor is `stored`: the cache does not tell whether it kept something.

use std::time::Duration;

use axum::http::StatusCode;
use cache_facade::{CacheStatus, ErrorKind, Status, object_store};

use crate::failure;

/// The value of the field in an answer with the status `sent`. `known` tells how it was known which
/// version is current, `body` of what its first bytes were made of; `max_age` is the rule, if not
/// to ask is allowed at all.
pub(crate) fn field(
    known: &CacheStatus,
    body: Option<&CacheStatus>,
    sent: StatusCode,
    max_age: Option<Duration>,
) -> String {
    let is_held = body.is_none_or(|body| body.bytes_from_origin() == 0);
    let mut field = String::from(match known.status() {
        Status::Fresh | Status::Stale if is_held => "object-cache; hit",
        Status::Revalidated if is_held => "object-cache; fwd=stale; fwd-status=304",
        Status::Fresh | Status::Stale | Status::Revalidated => "object-cache; fwd=partial",
        Status::Fetched => "object-cache; fwd=uri-miss",
        Status::Refetched => "object-cache; fwd=stale",
        _ => "object-cache; fwd=bypass",
    });
    // Without it, the store would have answered with the status that is sent (section 2.3).
    let has_changed =
        matches!(known.status(), Status::Fetched | Status::Refetched | Status::Bypass);
    if has_changed && !sent.is_success() {
        field += "; fwd-status=200";
    }
    if body.is_some_and(CacheStatus::coalesced) {
        field += "; collapsed";
    }
    if let Some(max_age) = max_age {
        field += &format!("; ttl={}", seconds(max_age) - seconds(known.age()));
    }
    if known.status() == Status::Stale {
        field += "; detail=stale";
    }
    field
}

/// The value of the field in an answer that is an error, which the status `sent` tells the client.
/// What was cached of the object is not known then; `is_remembered`, if the cache may have answered
/// without a request that there is none.
pub(crate) fn of_error(
    error: &object_store::Error,
    sent: StatusCode,
    is_remembered: bool,
) -> String {
    match failure::kind(error) {
        // The error is the same with and without a request.
        _ if sent == StatusCode::NOT_FOUND && is_remembered => "object-cache".to_owned(),
        Some(ErrorKind::Timeout) => "object-cache; fwd=miss; detail=timeout".to_owned(),
        // The store was not asked, or its answer is not known.
        Some(
            kind @ (ErrorKind::Closed
            | ErrorKind::Backend
            | ErrorKind::Config
            | ErrorKind::Panicked),
        ) => {
            format!("object-cache; detail={}", format!("{kind:?}").to_ascii_lowercase())
        }
        // What it said is passed on.
        _ if sent.is_client_error() => {
            format!("object-cache; fwd=miss; fwd-status={}", sent.as_u16())
        }
        _ => "object-cache; fwd=miss; detail=unavailable".to_owned(),
    }
}

/// The most that a structured field can have (RFC 8941 section 3.3.1), and less.
fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX).min(999_999_999_999_999)
}
