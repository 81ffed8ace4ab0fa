//! What an object's `Cache-Control` asks of a shared cache (RFC 9111 section 5.2.2).
//!
//! | directive | the gateway |
//! | --- | --- |
//! | `no-store`, `private` | does not cache the object |
//! | `no-cache` | revalidates it on every read, and never serves it stale |
//! | `s-maxage`, else `max-age` | revalidates it at that age, if its own rule would do so later |
//! | `s-maxage`, `must-revalidate`, `proxy-revalidate` | never serves it stale |
//!
//! The directives only shorten what the rules of the gateway allow: an object's `max-age` alone
//! never makes it skip a request. A directive with field names (`no-cache="set-cookie"`) counts as
//! one without.

use std::time::Duration;

use cache_facade::{
    CacheStatus, Status,
    object_store::{Attribute, Attributes, ObjectMeta},
};

/// The directives that are obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    no_store: bool,
    no_cache: bool,
    must_revalidate: bool,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
}

/// Whether a shared cache may keep an object with these attributes: their `Cache-Control` has
/// neither `no-store` nor `private`. For `CachedStoreBuilder::cache_if`.
pub fn may_be_cached(_: &ObjectMeta, attributes: &Attributes) -> bool {
    !Directives::of(attributes).no_store
}

impl Directives {
    pub(crate) fn of(attributes: &Attributes) -> Self {
        attributes
            .get(&Attribute::CacheControl)
            .map_or_else(Self::default, |field| Self::parse(field))
    }

    fn parse(field: &str) -> Self {
        let mut directives = Self::default();
        for directive in split(field) {
            let (name, argument) = match directive.split_once('=') {
                Some((name, argument)) => (name.trim(), Some(argument)),
                None => (directive, None),
            };
            match name.to_ascii_lowercase().as_str() {
                "no-store" | "private" => directives.no_store = true,
                "no-cache" => directives.no_cache = true,
                "must-revalidate" | "proxy-revalidate" => directives.must_revalidate = true,
                "max-age" => shorten(&mut directives.max_age, argument),
                "s-maxage" => shorten(&mut directives.s_maxage, argument),
                _ => {}
            }
        }
        directives
    }

    /// For how long the object may be served without a request.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        if self.no_store || self.no_cache {
            Some(Duration::ZERO)
        } else {
            self.s_maxage.or(self.max_age)
        }
    }

    /// Whether it may be served when it is stale and the store fails to answer.
    pub(crate) fn allow_stale(&self) -> bool {
        !self.no_store && !self.no_cache && !self.must_revalidate && self.s_maxage.is_none()
    }

    /// Whether a read may be answered as `status` says.
    pub(crate) fn allow(&self, status: &CacheStatus) -> bool {
        match status.status() {
            Status::Fresh => self.lifetime().is_none_or(|lifetime| status.age() < lifetime),
            Status::Stale => self.allow_stale(),
            _ => true,
        }
    }
}

/// Of several ages the shortest counts, and one that cannot be read is zero (section 4.2.1).
fn shorten(age: &mut Option<Duration>, argument: Option<&str>) {
    let digits = argument.unwrap_or_default().trim().trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large is as good as any large one (section 1.2.2).
    let seconds = if is_number { digits.parse().unwrap_or(u64::MAX) } else { 0 };
    let given = Duration::from_secs(seconds);
    *age = Some(age.map_or(given, |known| known.min(given)));
}

/// The directives of a list. A comma inside a quoted string separates nothing. A semicolon
/// separates too: a wrong `private; max-age=0` is obeyed.
fn split(field: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let separators = move |char: char| {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' | ';' => return !is_quoted,
            _ => {}
        }
        false
    };
    field.split(separators).map(str::trim).filter(|directive| !directive.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, expected: Directives) {
        assert_eq!(Directives::parse(field), expected, "{field}");
    }

    #[test]
    fn each_directive_is_read() {
        let none = Directives::default();
        let seconds = |n| Some(Duration::from_secs(n));
        for field in [
            "",
            ",",
            "public",
            "max-stale=5",
            "x=\"no-store, private\"",
            "no-stores",
            "\"no-store\"",
        ] {
            check(field, none);
        }
        for field in [
            "no-store",
            "NO-STORE",
            "public,no-store",
            "private",
            "private=\"a, b\"",
            "a=1; private",
        ] {
            check(field, Directives { no_store: true, ..none });
        }
        check("x=\"a\\\"b\", no-cache", Directives { no_cache: true, ..none });
        check("no-cache=\"set-cookie\"", Directives { no_cache: true, ..none });
        check("proxy-revalidate", Directives { must_revalidate: true, ..none });
        check("public, max-age=60", Directives { max_age: seconds(60), ..none });
        check("max-age=\"60\"", Directives { max_age: seconds(60), ..none });
        check(
            "max-age=60, s-maxage=5",
            Directives { max_age: seconds(60), s_maxage: seconds(5), ..none },
        );
        check("max-age=60, max-age=7, max-age=80", Directives { max_age: seconds(7), ..none });
        check("max-age=99999999999999999999", Directives { max_age: seconds(u64::MAX), ..none });
        for field in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=a", "max-age=+5"]
        {
            check(field, Directives { max_age: seconds(0), ..none });
        }
    }
}
