//! The freshness rules of the demo, and the staleness that each allows.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use cache_facade::Freshness;

/// A freshness rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Strong,
    MaxAge,
    /// Without requests until the bus tells of a change.
    Notified,
    /// [`Rule::MaxAge`] with stale-while-revalidate and stale-if-error.
    Stale,
    Immutable,
}

impl Rule {
    pub(crate) const ALL: [Self; 5] =
        [Self::Strong, Self::MaxAge, Self::Notified, Self::Stale, Self::Immutable];

    pub(crate) fn freshness(self) -> Freshness {
        match self {
            Self::Strong => Freshness::strong(),
            Self::MaxAge => Freshness::max_age(MAX_AGE),
            // While the bus is cut: strong.
            Self::Notified => Freshness::until_notified(FALLBACK),
            Self::Stale => Freshness::max_age(MAX_AGE)
                .stale_while_revalidate(WHILE_REVALIDATE)
                .stale_if_error(IF_ERROR),
            Self::Immutable => Freshness::immutable(),
        }
    }

    /// A read may miss writes of the other node that returned less than this before it began.
    /// `None`: any write. Writes of the same node are never missed.
    pub(crate) fn lag(self) -> Option<Duration> {
        match self {
            Self::Strong => Some(Duration::ZERO),
            Self::MaxAge => Some(MAX_AGE),
            // All that is promised; it is milliseconds while the bus delivers.
            Self::Notified => Some(FALLBACK),
            Self::Stale => Some(MAX_AGE + LONGEST),
            Self::Immutable => None,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::MaxAge => "max_age 2 s",
            Self::Notified => "until_notified 30 s",
            Self::Stale => "max_age 2 s + stale",
            Self::Immutable => "immutable",
        }
    }
}

/// The current rule.
#[derive(Debug, Default)]
pub(crate) struct Switch(AtomicUsize);

impl Switch {
    pub(crate) fn rule(&self) -> Rule {
        Rule::ALL[self.0.load(Ordering::Relaxed) % Rule::ALL.len()]
    }

    pub(crate) fn set(&self, rule: Rule) {
        let idx = Rule::ALL.iter().position(|one| *one == rule).unwrap_or_default();
        self.0.store(idx, Ordering::Relaxed);
    }

    /// The next rule; after the last, the first.
    pub(crate) fn next(&self) -> Rule {
        Rule::ALL[(self.0.load(Ordering::Relaxed) + 1) % Rule::ALL.len()]
    }
}

const MAX_AGE: Duration = Duration::from_secs(2);
const FALLBACK: Duration = Duration::from_secs(30);
const WHILE_REVALIDATE: Duration = Duration::from_secs(10);
const IF_ERROR: Duration = Duration::from_secs(60);

/// The longest time after `max_age` for which a rule allows stale entries.
pub(crate) const LONGEST: Duration = IF_ERROR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_goes_round() {
        let switch = Switch::default();
        assert_eq!(switch.rule(), Rule::Strong);
        for rule in [Rule::MaxAge, Rule::Notified, Rule::Stale, Rule::Immutable, Rule::Strong] {
            assert_eq!(switch.next(), rule);
            switch.set(rule);
            assert_eq!(switch.rule(), rule);
        }
    }

    #[test]
    fn every_rule_is_one_that_the_cache_takes() {
        Rule::ALL.iter().for_each(|rule| rule.freshness().check().unwrap());
    }
}
