//! What a response of the store has shown of an object outside of the requests of the cache.

use std::{fmt, mem, sync::Arc, time::SystemTime};

use crate::{Entry, Storability, Version, tag};

/// What a response of the store has shown of an object.
#[derive(Clone)]
#[non_exhaustive]
pub enum Observation {
    /// It is at this version. The size is not compared. ETags are compared as opaque tags: quotes
    /// and `W/` are left aside, as some lists leave them out. Of equal tags, another version id or
    /// date tells of changed metadata; dates are compared in seconds where one of them has no more.
    Version(Version),
    /// It is at a version that the response does not name, as after `412 Precondition Failed`. The
    /// function returns whether an entry can be of that version.
    Condition(Arc<dyn Fn(&Entry) -> bool + Send + Sync>),
    /// It may be at any version, as after a write whose result is not known: no entry can be taken
    /// for current.
    Changed,
    /// There is no such object.
    Absent,
    /// It may not be read with these credentials.
    Forbidden,
}

impl Observation {
    /// Returns whether `entry` can be of the observed version.
    pub(crate) fn fits(&self, entry: &Entry) -> bool {
        match self {
            Self::Version(version) => {
                !entry.is_negative() && is_same(names(version), names_of(entry))
            }
            Self::Condition(holds) => !entry.is_negative() && holds(entry),
            Self::Absent => entry.is_negative(),
            Self::Changed | Self::Forbidden => false,
        }
    }

    /// Returns whether a list that shows this can renew `entry`, which fits: their ETags are
    /// equal, and neither is weak. A timestamp counts where it is old enough, which the entry's
    /// storability tells.
    pub(crate) fn renews(&self, entry: &Entry) -> bool {
        // A weak tag, or none, says nothing of the bytes.
        // mutant: list_renews_strong
        matches!(self, Self::Version(version) if names_bytes(version))
            && entry.e_tag().is_some_and(|e_tag| !tag::is_weak(e_tag))
            && entry.storability() == Storability::Revalidatable
    }

    /// Returns whether the entry has to be removed. One that only has to be revalidated can still
    /// cover an outage.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self, Self::Absent | Self::Forbidden)
    }
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => f.debug_tuple("Version").field(version).finish(),
            Self::Condition(_) => f.write_str("Condition"),
            Self::Changed => f.write_str("Changed"),
            Self::Absent => f.write_str("Absent"),
            Self::Forbidden => f.write_str("Forbidden"),
        }
    }
}

/// What was observed of a key while a request for it was in flight.
#[derive(Debug, Default)]
pub(crate) enum Heard {
    #[default]
    Nothing,
    /// This version, which has a strong ETag.
    Version(Version),
    /// Something that no response can be compared with.
    Other,
}

impl Heard {
    pub(crate) fn add(&mut self, observation: &Observation) {
        *self = match (mem::take(self), observation) {
            (Self::Nothing, Observation::Version(shown)) if names_bytes(shown) => {
                Self::Version(shown.clone())
            }
            (Self::Version(heard), Observation::Version(shown))
                if is_same(names(&heard), names(shown)) =>
            {
                // The more precise one, so that the other does not let another date pass.
                let is_dated = heard.last_modified.is_some();
                Self::Version(if is_dated { heard } else { shown.clone() })
            }
            _ => Self::Other,
        };
    }

    pub(crate) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Returns whether a response that brought `entry`, or none, is as new as all that was
    /// observed.
    pub(crate) fn allows(&self, entry: Option<&Entry>) -> bool {
        match self {
            Self::Nothing => true,
            // An older version may have the same ETag if that does not identify the bytes.
            Self::Version(heard) => entry.is_some_and(|entry| {
                entry.storability() == Storability::Revalidatable
                    && is_same(names(heard), names_of(entry))
            }),
            // A response of another version than the one observed is older or unordered.
            // mutant: heard_other
            Self::Other => false,
        }
    }
}

/// Returns whether there is an ETag that is not marked as weak.
fn names_bytes(version: &Version) -> bool {
    version.e_tag.as_deref().is_some_and(|e_tag| !tag::is_weak(e_tag))
}

/// ETag, version id and date, as far as they are known.
type Names<'a> = (Option<&'a str>, Option<&'a str>, Option<SystemTime>);

fn names(version: &Version) -> Names<'_> {
    (version.e_tag.as_deref(), version.version.as_deref(), version.last_modified)
}

fn names_of(entry: &Entry) -> Names<'_> {
    (entry.e_tag(), entry.version_id(), entry.last_modified())
}

/// Returns whether the two can be of one version, as far as both tell.
fn is_same((tag, id, date): Names<'_>, (other_tag, other_id, other_date): Names<'_>) -> bool {
    let are_equal_tags = match (tag, other_tag) {
        (Some(tag), Some(other)) => tag::is_same(tag, other),
        (tag, other) => tag == other,
    };
    are_equal_tags
        && id.zip(other_id).is_none_or(|(id, other)| id == other)
        && date.zip(other_date).is_none_or(|(date, other)| tag::is_same_date(date, other))
}

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;

    use super::*;
    use crate::Key;

    fn version(e_tag: Option<&str>, id: Option<&str>, date: Option<u64>) -> Version {
        let last_modified = date.map(|millis| UNIX_EPOCH + Duration::from_millis(millis));
        Version {
            e_tag: e_tag.map(Into::into),
            version: id.map(Into::into),
            last_modified,
            size: 0,
        }
    }

    fn entry(version: Version) -> Entry {
        Entry::builder(&Key::parse("a").expect("a key"), Bytes::new()).version(version).build()
    }

    #[test]
    fn of_equal_tags_another_date_or_id_is_another_version() {
        let cached = entry(version(Some("\"x\""), Some("7"), Some(5000)));
        let fits = |shown: Version| Observation::Version(shown).fits(&cached);
        assert!(
            fits(version(Some("x"), None, None))
                && fits(version(Some("W/\"x\""), Some("7"), Some(5999)))
        );
        assert!(
            !fits(version(Some("x"), Some("8"), None))
                && !fits(version(Some("x"), None, Some(6000)))
        );
        assert!(
            !fits(version(Some("y"), Some("7"), Some(5000)))
                && !fits(version(None, Some("7"), Some(5000)))
        );
    }

    #[test]
    fn an_answer_has_to_be_all_that_was_heard() {
        let shown = |date| Observation::Version(version(Some("x"), None, date));
        let answer = |e_tag, date, keep| {
            let version = version(e_tag, None, date);
            Entry::builder(&Key::parse("a").expect("a key"), Bytes::new())
                .version(version)
                .storability(keep)
                .build()
        };
        let mut heard = Heard::default();
        assert!(heard.is_nothing() && heard.allows(None));
        for date in [None, Some(5000), None] {
            heard.add(&shown(date));
            assert!(heard.allows(Some(&answer(
                Some("\"x\""),
                Some(5000),
                Storability::Revalidatable
            ))));
            assert!(!heard.is_nothing() && !heard.allows(None));
        }
        for other in [
            answer(Some("\"x\""), Some(6000), Storability::Revalidatable),
            answer(Some("\"y\""), Some(5000), Storability::Revalidatable),
            answer(Some("\"x\""), Some(5000), Storability::FreshOnly),
        ] {
            assert!(!heard.allows(Some(&other)), "{other:?}");
        }
        heard.add(&shown(Some(6000)));
        assert!(!heard.allows(Some(&answer(
            Some("\"x\""),
            Some(6000),
            Storability::Revalidatable
        ))));
    }
}
