//! Long polls: a client that has the current version waits for the next one
//! (`Prefer: wait=30`, RFC 7240 section 4.3, beside `If-None-Match`).

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::clock;

/// The limits of waiting requests, and their number. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Waits {
    /// No request waits for longer. Zero: none waits.
    pub(crate) longest: Duration,
    /// After how long without a signal the object is read again.
    pub(crate) poll: Duration,
    room: Arc<Semaphore>,
    n_max: usize,
}

/// A request that may wait. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    pub(crate) deadline: Instant,
    span: Duration,
    _permit: SemaphorePermit<'a>,
}

impl Waits {
    pub(crate) fn new() -> Self {
        Self {
            longest: Duration::from_secs(60),
            poll: Duration::from_secs(5),
            room: Arc::new(Semaphore::new(N_MAX)),
            n_max: N_MAX,
        }
    }

    pub(crate) fn set_max(&mut self, n_max: usize) {
        self.n_max = n_max.min(Semaphore::MAX_PERMITS);
        self.room = Arc::new(Semaphore::new(self.n_max));
    }

    /// `None` if the client does not want to wait, or may not.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Wait<'_>> {
        // Without it there is no version whose end could be waited for.
        headers.get(header::IF_NONE_MATCH)?;
        let span = Duration::from_secs(wanted(headers)?).min(self.longest);
        if span.is_zero() {
            return None;
        }
        let permit = self.room.try_acquire().ok()?;
        Some(Wait { deadline: clock::now() + span, span, _permit: permit })
    }

    /// How many requests wait, or are being read to find out whether they have to.
    pub(crate) fn len(&self) -> usize {
        self.n_max - self.room.available_permits()
    }
}

impl Wait<'_> {
    /// `Preference-Applied`.
    pub(crate) fn applied(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = HeaderValue::try_from(format!("wait={}", self.span.as_secs())).ok()?;
        Some((APPLIED, value))
    }
}

/// The seconds of the first `wait` among the preferences; `None` if there is none, or it is no
/// number.
fn wanted(headers: &HeaderMap) -> Option<u64> {
    let fields = headers.get_all(PREFER).iter().filter_map(|field| field.to_str().ok());
    let value = fields.flat_map(preferences).find_map(|preference| {
        // Parameters of the preference follow a semicolon.
        let first = preference.split(';').next()?;
        let (name, value) = first.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim())
    })?;
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More than that many is as good as for ever.
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// The preferences of a field: its parts between commas that are in no quoted string.
fn preferences(field: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    field.split(move |glyph| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match glyph {
            '\\' if is_quoted => is_escaped = !was_escaped,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        glyph == ',' && !is_quoted
    })
}

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How many may wait: a quarter of the connections.
const N_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&'static str], expected: Option<u64>) {
        let fields = fields.iter().map(|field| (PREFER, HeaderValue::from_static(field)));
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, field)| {
            headers.append(name, field);
        });
        assert_eq!(wanted(&headers), expected, "{headers:?}");
    }

    #[test]
    fn the_first_wait_is_found_among_other_preferences() {
        for field in [
            "wait=30",
            "Wait = 30",
            "respond-async, wait=30",
            "return=minimal; foo=\"some, parameter\" , wait=\"30\"; x=1",
            "x=\"a \\\" wait=1, b\", wait=30, wait=40",
        ] {
            check(&[field], Some(30));
        }
        check(&["respond-async", "wait=30", "wait=40"], Some(30));
        check(&["wait=99999999999999999999999"], Some(u64::MAX));
        check(&["wait=0"], Some(0));
    }

    #[test]
    fn anything_else_is_no_wait() {
        for field in [
            "",
            "wait",
            "wait=",
            "wait=\"",
            "wait=-1",
            "wait=+1",
            "wait=1.5",
            "wait=soon",
            "x; wait=30",
            "x=\"wait=30",
            "waits=30",
            ",,;=,",
        ] {
            check(&[field], None);
        }
        check(&[], None);
    }

    #[test]
    fn a_wait_is_bounded_and_takes_room() {
        let headers = |wait: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_static(wait));
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
            headers
        };
        let mut waits = Waits::new();
        waits.set_max(1);
        let wait = waits.begin(&headers("wait=7")).unwrap();
        assert_eq!((wait.applied().unwrap().1.to_str().unwrap(), waits.len()), ("wait=7", 1));
        assert!(waits.begin(&headers("wait=7")).is_none());
        drop(wait);
        assert_eq!(waits.len(), 0);
        let longest = waits.begin(&headers("wait=99999999999999999999999")).unwrap();
        assert_eq!(longest.applied().unwrap().1, "wait=60");
        drop(longest);
        assert!(waits.begin(&headers("wait=0")).is_none());
        let mut without = headers("wait=7");
        without.remove(header::IF_NONE_MATCH);
        assert!(waits.begin(&without).is_none());
        waits.longest = Duration::ZERO;
        assert!(waits.begin(&headers("wait=7")).is_none());
    }
}
