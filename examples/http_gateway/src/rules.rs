//! For how long objects are served without a request to the bucket.

use std::time::Duration;

use cache_facade::Freshness;

/// For how long an object may be served without a request to the bucket. The default is zero
/// everywhere: every read is revalidated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    /// Without a request. `Duration::MAX` is for objects that never change.
    pub max_age: Duration,
    /// After that, at once, while a request in the background revalidates it (RFC 5861 section 3).
    /// Not beside a `max_age` of zero.
    pub stale_while_revalidate: Duration,
    /// After that, if the bucket fails to answer (RFC 5861 section 4).
    pub stale_if_error: Duration,
}

/// A rule for all objects, and others by the prefix of their keys, of which the longest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where no prefix says otherwise.
    pub default: Rule,
    /// Prefixes are compared byte for byte: `static/` rather than `static`.
    pub by_prefix: Vec<(String, Rule)>,
    /// How long it is remembered that an object does not exist, within what its rule allows: not
    /// where `max_age` is zero. Zero, the default, remembers nothing.
    pub negative_ttl: Duration,
}

impl Rule {
    /// Reads `max-age=60, stale-while-revalidate=30, stale-if-error=600`, in seconds, or
    /// `immutable`.
    ///
    /// # Errors
    ///
    /// A sentence for the caller, if there is another word, no number of seconds, or a
    /// `stale-while-revalidate` without `max-age`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rule = Self::default();
        for directive in text.split(',').map(str::trim) {
            let (name, seconds) = directive.split_once('=').unwrap_or((directive, ""));
            let span = match name {
                "immutable" if seconds.is_empty() => {
                    rule.max_age = Duration::MAX;
                    continue;
                }
                "max-age" => &mut rule.max_age,
                "stale-while-revalidate" => &mut rule.stale_while_revalidate,
                "stale-if-error" => &mut rule.stale_if_error,
                _ => return Err(format!("{directive:?} is no part of a freshness rule")),
            };
            let n =
                seconds.parse().map_err(|_| format!("{directive:?} needs a number of seconds"))?;
            *span = Duration::from_secs(n);
        }
        rule.check()
    }

    /// # Errors
    ///
    /// A sentence for the caller, if the spans contradict each other.
    pub(crate) fn check(self) -> Result<Self, String> {
        match self.freshness().check() {
            Ok(()) => Ok(self),
            Err(_) => Err("stale-while-revalidate needs a max-age that is not zero".to_owned()),
        }
    }

    pub(crate) fn freshness(&self) -> Freshness {
        Freshness::max_age(self.max_age)
            .stale_while_revalidate(self.stale_while_revalidate)
            .stale_if_error(self.stale_if_error)
    }

    /// How long a copy may be of any use after it was last validated.
    fn longest(&self) -> Duration {
        self.max_age.saturating_add(self.stale_while_revalidate.max(self.stale_if_error))
    }
}

impl Rules {
    /// The rule for `key`.
    pub(crate) fn of(&self, key: &str) -> &Rule {
        let matching = self.by_prefix.iter().filter(|(prefix, _)| key.starts_with(&**prefix));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(&self.default, |(_, rule)| rule)
    }

    /// The same for the longest-lived of all objects.
    pub(crate) fn longest(&self) -> Duration {
        self.all().map(Rule::longest).max().unwrap_or_default()
    }

    /// Whether an answer that there is no object `key` may have been given without a request.
    pub(crate) fn remember_missing(&self, key: &str) -> bool {
        !self.negative_ttl.is_zero() && !self.of(key).max_age.is_zero()
    }

    /// # Errors
    ///
    /// A sentence for the caller, if the rules contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.default.check()?;
        if !self.negative_ttl.is_zero() && self.all().all(|rule| rule.max_age.is_zero()) {
            return Err("a negative-ttl needs a max-age that is not zero".to_owned());
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Rule> {
        self.by_prefix.iter().map(|(_, rule)| rule).chain([&self.default])
    }

    /// Adds a rule such as `static/=max-age=60`. A second one for a prefix replaces the first.
    ///
    /// # Errors
    ///
    /// A sentence for the caller.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        // Prefixes may have an `=` too (`date=2025-01-01/`).
        let splits =
            text.match_indices('=').map(|(at, _)| (&text[..at], Rule::parse(&text[at + 1..])));
        let splits: Vec<_> = splits.collect();
        let readable =
            splits.iter().find_map(|(prefix, rule)| Some((*prefix, *rule.as_ref().ok()?)));
        let Some((prefix, rule)) = readable else {
            let why = splits.into_iter().find_map(|(_, rule)| rule.err());
            let why = why.unwrap_or_else(|| "there is no =".to_owned());
            return Err(format!("{text:?} is no PREFIX=RULE: {why}"));
        };
        // Keys do not begin with one, but the paths of URLs do.
        let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
        self.by_prefix.retain(|(known, _)| known != prefix);
        self.by_prefix.push((prefix.to_owned(), rule));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_longest_prefix_counts() {
        let mut rules = Rules::default();
        for text in [
            "a/=max-age=5",
            "/a/b/=immutable",
            "date=2025/=max-age=7,stale-if-error=9",
            "a/=max-age=6",
        ] {
            rules.add(text).unwrap();
        }
        for (key, max_age) in [
            ("a/c", seconds(6)),
            ("a/b/c", Duration::MAX),
            ("a", seconds(0)),
            ("date=2025/x", seconds(7)),
            ("date=2026/x", seconds(0)),
        ] {
            assert_eq!(rules.of(key).max_age, max_age, "{key}");
        }
        assert_eq!(rules.longest(), Duration::MAX);
    }

    #[test]
    fn a_rule_is_read_or_an_error() {
        let rule = Rule::parse("max-age=1, stale-while-revalidate=2,stale-if-error=3").unwrap();
        let expected = Rule {
            max_age: seconds(1),
            stale_while_revalidate: seconds(2),
            stale_if_error: seconds(3),
        };
        assert_eq!((rule, rule.longest()), (expected, seconds(4)));
        for text in [
            "",
            "max-age",
            "max-age=x",
            "max-age=-1",
            "immutable=1",
            "fresh=1",
            "stale-while-revalidate=1",
        ] {
            assert!(Rule::parse(text).is_err(), "{text}");
            assert!(Rules::default().add(&format!("a/={text}")).is_err(), "{text}");
        }
        assert!(Rules::default().add("a").unwrap_err().contains("PREFIX=RULE"));
    }
}
