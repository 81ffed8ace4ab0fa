//! The bucket and the prefix whose objects a cache has.

use cache_core::{Change, Key};

use crate::counts::EventCounts;

/// The objects that a parser reports.
#[derive(Debug)]
pub(crate) struct Scope {
    bucket: Box<str>,
    /// With the slash at its end; empty for the whole bucket.
    prefix: Box<str>,
}

impl Scope {
    pub(crate) fn new(bucket: String) -> Self {
        Self { bucket: bucket.into(), prefix: "".into() }
    }

    pub(crate) fn set_prefix(&mut self, prefix: &str) {
        let prefix = prefix.trim_matches('/');
        self.prefix = if prefix.is_empty() { "".into() } else { format!("{prefix}/").into() };
    }

    /// Returns the key of an object. Counts one that has none here. `None` as the name is one that
    /// is no text.
    pub(crate) fn key(
        &self,
        bucket: &str,
        name: Option<&str>,
        counts: &mut EventCounts,
    ) -> Option<Key> {
        if bucket != &*self.bucket {
            counts.other_buckets += 1;
            return None;
        }
        let Some(name) = name else {
            counts.invalid_keys += 1;
            return None;
        };
        let Some(name) = name.strip_prefix(&*self.prefix) else {
            counts.other_prefixes += 1;
            return None;
        };
        let key = Key::parse(name).ok();
        counts.invalid_keys += u64::from(key.is_none());
        key
    }
}

/// The change of an object. A tag that is longer than any store's is left out: then the change
/// marks whatever is cached.
pub(crate) fn change(key: Key, e_tag: Option<&str>, counts: &mut EventCounts) -> Change {
    counts.changes += 1;
    let e_tag = e_tag.filter(|tag| !tag.is_empty() && tag.len() <= TAG_LEN_MAX).map(quoted);
    Change::Key { key, e_tag }
}

/// Events have tags without the quotes that the header `ETag` has.
fn quoted(tag: &str) -> Box<str> {
    if tag.ends_with('"') { tag.into() } else { format!("\"{tag}\"").into() }
}

const TAG_LEN_MAX: usize = 1024;
