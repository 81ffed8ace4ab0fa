//! How long an entry may be served without a request.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{Entry, Error, ErrorKind, Moment, Result, bus::Listening, prefix_tree::PrefixTree};

/// How long an entry may be served without a request to the origin.
///
/// ```text
///  validated at        max_age              + stale_while_revalidate         time to live
///  |------- fresh --------|-- stale, revalidated in background --|- validated -|-- not served --
///                         |------------ + stale_if_error ------------|  served in an outage
/// ```
///
/// The age of an entry counts from the moment the request was *sent* whose answer confirmed it (RFC
/// 9111 section 4.2.3). All spans saturate: a `Duration::MAX` means "for ever".
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::{Entry, Freshness, Key, Moment, Evaluation};
///
/// let second = Duration::from_secs(1);
/// let rule = Freshness::max_age(60 * second).stale_while_revalidate(30 * second);
/// let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
/// let entry = Entry::builder(&Key::parse("a")?, "body".into()).validated(at(100), None).build();
/// assert_eq!(rule.evaluate(&entry, at(159)), Evaluation::Fresh);
/// assert_eq!(rule.evaluate(&entry, at(189)), Evaluation::StaleWhileRevalidate);
/// assert_eq!(rule.evaluate(&entry, at(190)), Evaluation::MustRevalidate);
/// assert_eq!(Freshness::strong().evaluate(&entry, at(100)), Evaluation::MustRevalidate);
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    spans: Spans,
    /// Its `max_age` holds only while a bus tells of changes.
    is_notified: bool,
    /// The spans that hold otherwise.
    disconnected: Spans,
    /// `disconnected` is notified itself, which is an error.
    is_nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spans {
    max_age: Span,
    stale_while_revalidate: Span,
    stale_if_error: Span,
}

/// Nanoseconds; `FOREVER` for `Duration::MAX`, and the most that a moment can tell for what lies
/// between.
type Span = u64;

const FOREVER: Span = u64::MAX;

/// How a cached entry may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evaluation {
    /// Without a request.
    Fresh,
    /// Without waiting, while it is revalidated in the background.
    StaleWhileRevalidate,
    /// Only after it was revalidated.
    MustRevalidate,
    /// Not at all: its time to live is over.
    Expired,
}

impl Freshness {
    /// Revalidates on every read. The default: reads are linearizable with the writes of all nodes.
    pub const fn strong() -> Self {
        Self::max_age(Duration::ZERO)
    }

    /// Serves without a request for less than `max_age` after the entry was validated, but not
    /// beyond the cache's time to live. Zero is [`Freshness::strong`].
    pub const fn max_age(max_age: Duration) -> Self {
        let spans = Spans { max_age: span(max_age), ..Spans::ZERO };
        Self { spans, is_notified: false, disconnected: Spans::ZERO, is_nested: false }
    }

    /// Serves without a request until a [change bus](crate::ChangeBus) tells that the object has
    /// changed, and for less than `fallback` after the entry was validated. Needs a bus
    /// (`bus` of the builders), without which it is an [`ErrorKind::Config`] error.
    ///
    /// The bound is `fallback`, as `max_age` would be, whatever the bus does: a change that is not
    /// announced, or whose message is lost, is seen after `fallback` at the latest. It applies
    /// while the cache proves that it listens: it has heard a heartbeat of its own that it sent
    /// less than 3 s ago, and has listened without a gap since before the entry was validated.
    /// Other entries are served by [`when_disconnected`](Self::when_disconnected). Zero is
    /// [`Freshness::strong`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use cache_core::Freshness;
    ///
    /// // As fresh as the messages, at worst 10 minutes old; in an outage of the bus 10 seconds.
    /// let rule = Freshness::until_notified(Duration::from_secs(600))
    ///     .when_disconnected(Freshness::max_age(Duration::from_secs(10)));
    /// assert!(rule.check().is_ok());
    /// ```
    pub const fn until_notified(fallback: Duration) -> Self {
        let mut rule = Self::max_age(fallback);
        rule.is_notified = true;
        rule
    }

    /// Sets the rule for an entry while the cache does not listen to the bus, or has not listened
    /// since before the entry was validated. Its `max_age` must not be longer than the fallback,
    /// and it must not be `until_notified` itself: an [`ErrorKind::Config`] error where the rule is
    /// used. Default: [`Freshness::strong`]. With a `max_age`, the requests after an outage of the
    /// bus are spread over that span, as the ages of the entries are.
    #[must_use]
    pub const fn when_disconnected(mut self, rule: Self) -> Self {
        self.disconnected = rule.spans;
        self.is_nested = rule.is_notified || !self.is_notified;
        self
    }

    /// Does not revalidate unless the entry was marked stale: for objects whose key names their
    /// content. Such an entry does not expire either, it is only evicted.
    pub const fn immutable() -> Self {
        Self::max_age(Duration::MAX)
    }

    /// Serves for `span` after `max_age`, and revalidates in the background (RFC 5861 section 3).
    /// Default: zero, which is off. On [`Freshness::strong`] any other value is an
    /// [`ErrorKind::Config`] error where the rule is used.
    #[must_use]
    pub const fn stale_while_revalidate(mut self, span: Duration) -> Self {
        self.spans.stale_while_revalidate = self::span(span);
        self
    }

    /// Serves for `span` after `max_age` if the origin *failed* to answer a request (RFC 5861
    /// section 4), but not if it answered that the object is missing or forbidden. Allowed on
    /// [`Freshness::strong`]. Default: zero, which is off.
    #[must_use]
    pub const fn stale_if_error(mut self, span: Duration) -> Self {
        self.spans.stale_if_error = self::span(span);
        self
    }

    /// Returns whether every read sends a request.
    pub const fn is_strong(&self) -> bool {
        self.spans.max_age == 0
    }

    /// Returns whether no read ever revalidates.
    pub const fn is_immutable(&self) -> bool {
        self.spans.max_age == FOREVER && !self.is_notified
    }

    /// Returns whether it depends on a bus.
    pub const fn is_until_notified(&self) -> bool {
        self.is_notified
    }

    /// Returns how `entry` may be served at `now`, by its age, time to live and must-revalidate
    /// mark alone. Does not consult invalidations, `mark_stale_prefix` or a bus, which only the
    /// cache knows: a rule [`until_notified`](Self::until_notified) is evaluated as if the cache
    /// had listened. Has no side effects.
    pub fn evaluate(&self, entry: &Entry, now: Moment) -> Evaluation {
        let stamp = entry.stamp();
        let Some(validated_at) = stamp.validated_at() else { return Evaluation::MustRevalidate };
        if stamp.has_expired(now) {
            return Evaluation::Expired;
        }
        if stamp.must_revalidate() {
            return Evaluation::MustRevalidate;
        }
        if stamp.is_fresh(now, self.spans.max_age) {
            Evaluation::Fresh
        // RFC 5861, section 3: beyond this age the reader waits for the revalidation.
        // mutant: stale_while_revalidate_end
        } else if age(validated_at, now)
            < self.spans.max_age.saturating_add(self.spans.stale_while_revalidate)
            && !self.is_strong()
        {
            Evaluation::StaleWhileRevalidate
        } else {
            Evaluation::MustRevalidate
        }
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for `stale_while_revalidate` on a strong rule, and for a
    /// `when_disconnected` that is longer than the fallback, is `until_notified` itself, or is set
    /// on a rule that is not.
    pub fn check(&self) -> Result<()> {
        let wrong = |message| Err(Error::new(ErrorKind::Config, message));
        let is_wrong = |spans: &Spans| spans.max_age == 0 && spans.stale_while_revalidate != 0;
        if is_wrong(&self.spans) || is_wrong(&self.disconnected) {
            return wrong(
                "strong() revalidates every read, so it allows no stale_while_revalidate; use \
                    max_age",
            );
        }
        if self.is_nested {
            return wrong(
                "when_disconnected is for a rule until_notified, and takes one that is not, such \
                    as max_age",
            );
        }
        let end = |spans: &Spans| spans.max_age.saturating_add(spans.stale_while_revalidate);
        if self.is_notified && end(&self.disconnected) > end(&self.spans) {
            return wrong(
                "when_disconnected serves for longer than the fallback of until_notified; give it \
                    at most the fallback, stale_while_revalidate included",
            );
        }
        Ok(())
    }

    /// Returns the rule that holds for an entry if the cache has listened to the bus since before
    /// the entry was validated, or if it has not.
    #[inline]
    pub(crate) fn resolved(&self, has_listened: bool) -> Self {
        // An entry that was validated before the cache listened may have changed unheard.
        // mutant: slow_path_listens
        if !self.is_notified || has_listened {
            return *self;
        }
        // An outage of the store is covered as far as either rule allows.
        let Spans { max_age, stale_if_error, .. } = self.spans;
        let end = max_age.saturating_add(stale_if_error);
        let allowed = if stale_if_error == 0 { 0 } else { end };
        let mut spans = self.disconnected;
        spans.stale_if_error = spans.stale_if_error.max(allowed.saturating_sub(spans.max_age));
        Self { spans, ..*self }
    }

    /// The age of `entry` in nanoseconds at the earlier of two moments, if it may be served at the
    /// later one without asking: [`evaluate`](Self::evaluate) returns `Fresh`.
    #[inline]
    pub(crate) fn age_if_met(
        &self,
        entry: &Entry,
        (earlier, later): (Moment, Moment),
        listening: &Listening,
    ) -> Option<u64> {
        let stamp = entry.stamp();
        let mut max_age = self.spans.max_age;
        // An entry that was validated before the cache listened may have changed unheard.
        // mutant: fast_path_listens
        if self.is_notified && !listening.covers(stamp.validated_at()?, later) {
            max_age = self.disconnected.max_age;
        }
        stamp.is_fresh(later, max_age).then(|| stamp.age(earlier))
    }

    /// Whether at `now` a question sent at `asked_at` is as good as one sent now. Strict: under
    /// `strong` none is.
    pub(crate) fn accepts(&self, asked_at: Moment, now: Moment) -> bool {
        // With max_age 0, a request sent at this same moment is not accepted.
        // mutant: accepts_sent_request
        age(asked_at, now) < self.spans.max_age
    }

    /// Whether `entry` may be served although the origin, when asked, failed to answer.
    pub(crate) fn covers_outage(&self, entry: &Entry, now: Moment) -> bool {
        let stamp = entry.stamp();
        let Some(validated_at) = stamp.validated_at() else { return false };
        self.spans.stale_if_error != 0
            && !stamp.has_expired(now)
            // RFC 5861, section 4: beyond this age the error is returned.
            // mutant: stale_if_error_end
            && age(validated_at, now)
                < self.spans.max_age.saturating_add(self.spans.stale_if_error)
    }
}

impl fmt::Debug for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration =
            |span| if span == FOREVER { Duration::MAX } else { Duration::from_nanos(span) };
        let mut shown = f.debug_struct("Freshness");
        let max_age = if self.is_notified { "until_notified" } else { "max_age" };
        shown
            .field(max_age, &duration(self.spans.max_age))
            .field("stale_while_revalidate", &duration(self.spans.stale_while_revalidate))
            .field("stale_if_error", &duration(self.spans.stale_if_error));
        if self.is_notified {
            shown.field("when_disconnected", &self.disconnected);
        }
        shown.finish()
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self::strong()
    }
}

impl Spans {
    const ZERO: Self = Self { max_age: 0, stale_while_revalidate: 0, stale_if_error: 0 };
}

/// At most what a moment can tell: under `FOREVER`.
fn age(validated_at: Moment, now: Moment) -> Span {
    now.as_nanos().saturating_sub(validated_at.as_nanos())
}

const fn span(duration: Duration) -> Span {
    const MAX: u64 = Moment::MAX.as_nanos();
    if duration.as_nanos() == Duration::MAX.as_nanos() {
        return FOREVER;
    }
    match duration.as_secs().checked_mul(1_000_000_000) {
        Some(nanos) if nanos < MAX - 1_000_000_000 => nanos + duration.subsec_nanos() as u64,
        _ => MAX,
    }
}

/// Freshness by key: a default, and rules by prefix, of which the longest wins. Finding the rule
/// for a key takes as long as the key is, however many rules there are.
#[derive(Clone, Default)]
pub struct FreshnessRules {
    default: Freshness,
    rules: Vec<Rule>,
    /// Finds the rule for a key, by its number.
    tree: PrefixTree,
    /// What is to be done with a key that no rule can match is decided by its first byte alone.
    first_bytes: FirstBytes,
}

#[derive(Clone)]
struct Rule {
    prefix: Box<str>,
    freshness: Freshness,
}

/// A set of bytes.
#[derive(Debug, Clone, Copy, Default)]
struct FirstBytes([u64; 4]);

impl FreshnessRules {
    /// `default` for every key.
    pub fn new(default: Freshness) -> Self {
        Self { default, ..Self::default() }
    }

    /// Sets the rule for keys that no prefix matches.
    pub fn set_default(&mut self, freshness: Freshness) {
        self.default = freshness;
    }

    /// Sets the rule for keys that begin with `prefix`, byte for byte. A second rule for one prefix
    /// replaces the first; the empty prefix matches every key.
    pub fn set(&mut self, prefix: &str, freshness: Freshness) {
        let number = *self.tree.entry(prefix.as_bytes()).get_or_insert(self.rules.len());
        match self.rules.get_mut(number) {
            Some(rule) => rule.freshness = freshness,
            None => self.rules.push(Rule { prefix: prefix.into(), freshness }),
        }
        self.first_bytes.insert(prefix);
    }

    /// The rule for `key`.
    #[inline]
    pub fn resolve(&self, key: &str) -> &Freshness {
        if self.first_bytes.has_that_of(key) { self.longest_match(key) } else { &self.default }
    }

    fn longest_match(&self, key: &str) -> &Freshness {
        let found = self.tree.longest_prefix(key.as_bytes());
        found.map_or(&self.default, |number| &self.rules[number].freshness)
    }

    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: see [`Freshness::check`].
    pub fn check(&self) -> Result<()> {
        self.default.check()?;
        self.rules.iter().try_for_each(|rule| rule.freshness.check())
    }

    /// Returns whether any rule depends on a bus.
    pub(crate) fn need_bus(&self) -> bool {
        let mut rules = self.rules.iter().map(|rule| &rule.freshness).chain([&self.default]);
        rules.any(Freshness::is_until_notified)
    }
}

impl fmt::Debug for FreshnessRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_prefix: BTreeMap<_, _> =
            self.rules.iter().map(|rule| (&rule.prefix, &rule.freshness)).collect();
        f.debug_struct("FreshnessRules")
            .field("default", &self.default)
            .field("by_prefix", &by_prefix)
            .finish()
    }
}

impl FirstBytes {
    /// The first byte of `prefix`; all there are if it is empty.
    fn insert(&mut self, prefix: &str) {
        match prefix.as_bytes().first() {
            Some(byte) => self.0[usize::from(byte >> 6)] |= 1 << (byte & 63),
            None => self.0 = [u64::MAX; 4],
        }
    }

    fn has_that_of(&self, key: &str) -> bool {
        key.as_bytes()
            .first()
            .is_some_and(|byte| self.0[usize::from(byte >> 6)] & 1 << (byte & 63) != 0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Key, epoch::Epoch};

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(n: u64) -> Moment {
        Moment::from_nanos(0).saturating_add(secs(n))
    }

    fn held(validated_at: u64, time_to_live: Option<u64>) -> Entry {
        let entry = Entry::builder(&Key::parse("k").unwrap(), Bytes::new()).e_tag("\"1\"").build();
        entry.publish(at(validated_at), time_to_live.map(secs), Epoch(0));
        entry
    }

    #[track_caller]
    fn check(freshness: Freshness, now: u64, verdict: Evaluation) {
        assert_eq!(
            freshness.evaluate(&held(100, Some(300)), at(now)),
            verdict,
            "{freshness:?} at {now}"
        );
    }

    #[test]
    fn strong_always_asks() {
        check(Freshness::strong(), 100, Evaluation::MustRevalidate);
        check(Freshness::strong(), 99, Evaluation::MustRevalidate);
        check(Freshness::strong().stale_if_error(secs(9)), 101, Evaluation::MustRevalidate);
        check(Freshness::max_age(Duration::ZERO), 100, Evaluation::MustRevalidate);
    }

    #[test]
    fn every_boundary_is_strict() {
        let rule = Freshness::max_age(secs(10)).stale_while_revalidate(secs(5));
        check(rule, 50, Evaluation::Fresh); // The clock went back: no age.
        check(rule, 109, Evaluation::Fresh);
        check(rule, 110, Evaluation::StaleWhileRevalidate);
        check(rule, 114, Evaluation::StaleWhileRevalidate);
        check(rule, 115, Evaluation::MustRevalidate);
        check(rule, 399, Evaluation::MustRevalidate);
        check(rule, 400, Evaluation::Expired);
        check(Freshness::immutable(), 399, Evaluation::Fresh);
        check(Freshness::immutable(), 400, Evaluation::Expired);
    }

    #[test]
    fn spans_too_long_to_count_are_as_long_as_can_be_told() {
        let rule = Freshness::max_age(Duration::from_nanos(1_000_000_007));
        assert!(rule.accepts(at(0), Moment::from_nanos(1_000_000_006)));
        assert!(!rule.accepts(at(0), Moment::from_nanos(1_000_000_007)));
        let rule = Freshness::max_age(Duration::from_secs(u64::MAX)).stale_if_error(Duration::MAX);
        assert!(!rule.is_immutable() && !rule.is_strong());
        assert!(rule.accepts(at(1), Moment::MAX));
        assert!(rule.covers_outage(&held(0, None), Moment::MAX));
        assert!(
            format!("{rule:?}").contains("stale_if_error: 18446744073709551615.999999999s"),
            "{rule:?}"
        );
    }

    #[test]
    fn what_does_not_expire_is_immutable_for_ever() {
        assert_eq!(Freshness::immutable().evaluate(&held(0, None), Moment::MAX), Evaluation::Fresh);
        assert_eq!(
            Freshness::max_age(secs(1)).evaluate(&held(0, None), Moment::MAX),
            Evaluation::MustRevalidate
        );
    }

    #[test]
    fn a_marked_entry_is_asked_about_in_every_mode() {
        let entry = held(100, Some(300));
        entry.mark_stale();
        assert_eq!(Freshness::immutable().evaluate(&entry, at(100)), Evaluation::MustRevalidate);
        assert_eq!(Freshness::immutable().evaluate(&entry, at(400)), Evaluation::Expired);
        assert!(Freshness::strong().stale_if_error(secs(1)).covers_outage(&entry, at(100)));
    }

    #[test]
    fn an_outage_is_covered_inside_the_window_and_the_time_to_live_only() {
        let rule = Freshness::max_age(secs(10)).stale_if_error(secs(20));
        assert!(rule.covers_outage(&held(100, None), at(129)));
        assert!(!rule.covers_outage(&held(100, None), at(130)));
        assert!(!rule.covers_outage(&held(100, Some(15)), at(115)));
        assert!(!Freshness::max_age(secs(10)).covers_outage(&held(100, None), at(105)));
        let unvalidated = Entry::builder(&Key::parse("k").unwrap(), Bytes::new()).build();
        assert!(!rule.covers_outage(&unvalidated, at(0)));
    }

    #[test]
    fn stale_while_revalidate_on_strong_is_a_config_error() {
        let bad = Freshness::strong().stale_while_revalidate(secs(1));
        assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::Config);
        let mut rules = FreshnessRules::default();
        rules.set("a", bad);
        assert!(rules.check().is_err());
    }

    #[test]
    fn until_notified_is_bounded_by_its_fallback_and_else_by_when_disconnected() {
        let rule = Freshness::until_notified(secs(100)).stale_if_error(secs(50));
        let rule = rule.when_disconnected(Freshness::max_age(secs(10)));
        assert!(rule.check().is_ok() && rule.is_until_notified());
        let (now, entry) = (at(199), held(100, None));
        assert_eq!(rule.resolved(true).evaluate(&entry, now), Evaluation::Fresh);
        assert_eq!(rule.resolved(true).evaluate(&entry, at(200)), Evaluation::MustRevalidate);
        assert_eq!(rule.resolved(false).evaluate(&entry, at(109)), Evaluation::Fresh);
        assert_eq!(rule.resolved(false).evaluate(&entry, at(110)), Evaluation::MustRevalidate);
        assert!(rule.resolved(false).covers_outage(&entry, at(249)));
        assert!(!rule.resolved(false).covers_outage(&entry, at(250)));
        let strong = Freshness::until_notified(secs(100));
        assert_eq!(strong.resolved(false).evaluate(&entry, at(100)), Evaluation::MustRevalidate);
        assert!(!strong.resolved(false).accepts(at(100), at(100)));
        let plain = Freshness::max_age(secs(10));
        assert_eq!(plain.resolved(false), plain);
        assert!(format!("{rule:?}").contains("until_notified: 100s"), "{rule:?}");
    }

    #[test]
    fn a_contradiction_of_until_notified_is_a_config_error() {
        let notified = Freshness::until_notified(secs(10));
        for wrong in [
            notified.when_disconnected(Freshness::max_age(secs(11))),
            notified.when_disconnected(notified),
            notified
                .when_disconnected(Freshness::max_age(secs(10)).stale_while_revalidate(secs(1))),
            Freshness::max_age(secs(10)).when_disconnected(Freshness::strong()),
            notified.when_disconnected(Freshness::strong().stale_while_revalidate(secs(1))),
        ] {
            assert_eq!(wrong.check().unwrap_err().kind(), ErrorKind::Config, "{wrong:?}");
        }
        assert!(notified.when_disconnected(Freshness::max_age(secs(10))).check().is_ok());
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut rules = FreshnessRules::new(Freshness::strong());
        rules.set("static/", Freshness::max_age(secs(1)));
        rules.set("static/v1/", Freshness::immutable());
        rules.set("static/", Freshness::max_age(secs(2)));
        assert_eq!(*rules.resolve("static/v1/a"), Freshness::immutable());
        assert_eq!(*rules.resolve("static/v2/a"), Freshness::max_age(secs(2)));
        assert_eq!(*rules.resolve("x"), Freshness::strong());
        assert_eq!(*rules.resolve("static"), Freshness::strong());
        rules.set("\u{fc}", Freshness::max_age(secs(3)));
        assert_eq!(*rules.resolve("\u{fc}/a"), Freshness::max_age(secs(3)));
        assert_eq!(*rules.resolve("\u{fd}/a"), Freshness::strong());
        rules.set("", Freshness::max_age(secs(4)));
        assert_eq!(*rules.resolve("x"), Freshness::max_age(secs(4)));
        assert_eq!(*rules.resolve("static/v1/a"), Freshness::immutable());
    }

    /// Against the plainest way to find it, with prefixes of prefixes, and of parts of characters.
    #[test]
    fn the_rule_is_that_of_the_longest_of_many_prefixes() {
        let mut rules = FreshnessRules::new(Freshness::strong());
        let mut plain = Vec::new();
        let mut state = 7_u64;
        let mut draw = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut word = |most: u64| -> String {
            let length = draw(most);
            let letters = ["a", "b", "/", "\u{e4}", "\u{f6}", "\u{1f600}"];
            (0..length)
                .filter_map(|_| letters.get(usize::try_from(draw(6)).ok()?).copied())
                .collect()
        };
        for n in 0..600 {
            let (prefix, rule) = (word(9), Freshness::max_age(secs(n + 1)));
            rules.set(&prefix, rule);
            plain.retain(|(known, _)| *known != prefix);
            plain.push((prefix, rule));
            for _ in 0..20 {
                // No key is empty.
                let key = word(14) + "a";
                let matching = plain.iter().filter(|(prefix, _)| key.starts_with(&**prefix));
                let longest = matching.max_by_key(|(prefix, _)| prefix.len());
                let expected = longest.map_or(Freshness::strong(), |(_, rule)| *rule);
                assert_eq!(*rules.resolve(&key), expected, "{key} after {n}");
            }
        }
    }
}
