//! One version of one object, as its head describes it.

use bytes::Bytes;
use cache_core::{Entry, Error, ErrorKind, Key, Storability};
use object_store::{Attributes, ObjectMeta, path::Path};

use crate::{attributes_to_store, tag, version::version_of};

/// A version of the object at `location`.
pub(super) struct ObjectVersion {
    pub(super) location: Path,
    pub(super) size: u64,
    head: Entry,
}

impl ObjectVersion {
    /// `None`, if `head` is not one.
    pub(super) fn of(location: &Path, head: Entry) -> Option<Self> {
        Some(Self { location: location.clone(), size: size_of(&head)?, head })
    }

    /// Of an answer of which nothing is to be cached. `None`, if there is no key for it.
    pub(super) fn of_answer(location: &Path, meta: &ObjectMeta) -> Option<Self> {
        let key = Key::parse(&key_of(location)).ok()?;
        let size = Bytes::copy_from_slice(&meta.size.to_le_bytes());
        Self::of(
            location,
            Entry::builder(&key, size)
                .version(version_of(meta))
                .storability(Storability::NoStore)
                .build(),
        )
    }

    pub(super) fn e_tag(&self) -> Option<&str> {
        self.head.e_tag()
    }

    /// Whether the tag names the bytes, so that what is fetched later can be known to belong to
    /// them.
    pub(super) fn is_pinned(&self) -> bool {
        self.head.storability() == Storability::Revalidatable
    }

    /// Whether the two are one version: of one answer, or of tags that name the bytes.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.head.is_same(&other.head)
            || self.is_pinned()
                && other.is_pinned()
                && tag::is_same(self.e_tag(), other.e_tag())
                && (self.size, &self.location) == (other.size, &other.location)
    }

    pub(super) fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            location: self.location.clone(),
            // Where a server sends no date, object_store says 1970.
            last_modified: self.head.last_modified().map(Into::into).unwrap_or_default(),
            size: self.size,
            e_tag: self.e_tag().map(Into::into),
            version: self.head.version_id().map(Into::into),
        }
    }

    pub(super) fn attributes(&self) -> Attributes {
        // They came from object_store: it has one of each name.
        attributes_to_store(self.head.attributes()).unwrap_or_default()
    }
}

/// Returns the location of the object whose head is at `key`.
pub(super) fn location_of(key: &Key) -> cache_core::Result<Path> {
    Path::parse(&key.as_str()[PREFIX.len()..]).map_err(|error| {
        Error::new(ErrorKind::InvalidKey, "no path of an object store").with_source(error)
    })
}

/// The key of the head of the object at `location`. That of the root, or of a path too long, is no
/// key.
pub(super) fn key_of(location: &Path) -> String {
    prefix_of(location.as_ref())
}

/// The keys of the heads of all objects whose paths begin with `prefix` begin with this.
pub(super) fn prefix_of(prefix: &str) -> String {
    format!("{PREFIX}{prefix}")
}

/// Returns the path of the object whose head or block is at `key`: what follows `h/`, or `b/` and
/// where the block begins. A key of neither form is returned as it is.
pub(super) fn path_of(key: &str) -> &str {
    let of_block = || key.strip_prefix(BLOCK_PREFIX)?.split_once('/').map(|(_, path)| path);
    key.strip_prefix(PREFIX).or_else(of_block).unwrap_or(key)
}

/// The size of the object whose head this is.
pub(super) fn size_of(head: &Entry) -> Option<u64> {
    Some(u64::from_le_bytes(head.body().as_ref().try_into().ok()?))
}

/// The beginning of the keys of all heads.
pub(super) const PREFIX: &str = "h/";

/// The beginning of the keys of all blocks.
pub(super) const BLOCK_PREFIX: &str = "b/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_blocks_belong_to_the_path_of_their_object() {
        for (key, path) in [
            ("h/models/a", "models/a"),
            ("h/h/a", "h/a"),
            ("b/0/a", "a"),
            ("b/1048576/b/2/a", "b/2/a"),
            ("b/1", "b/1"),
            ("c/1/a", "c/1/a"),
            ("", ""),
        ] {
            assert_eq!(path_of(key), path, "{key}");
        }
        assert_eq!(path_of(&key_of(&Path::from("a/b"))), "a/b");
    }
}
