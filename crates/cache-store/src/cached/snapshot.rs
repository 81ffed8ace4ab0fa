//! One version of one object, as its head describes it.

use bytes::Bytes;
use cache_core::{Entry, Key, Storability};
use object_store::{Attributes, ObjectMeta, path::Path};

use super::head;
use crate::{attributes_to_store, tag, validator::version_of};

/// A version of the object at `location`.
pub(super) struct Snapshot {
    pub(super) location: Path,
    pub(super) size: u64,
    head: Entry,
}

impl Snapshot {
    /// `None`, if `head` is not one.
    pub(super) fn of(location: &Path, head: Entry) -> Option<Self> {
        Some(Self { location: location.clone(), size: head::size_of(&head)?, head })
    }

    /// Of an answer of which nothing is to be cached. `None`, if there is no key for it.
    pub(super) fn of_answer(location: &Path, meta: &ObjectMeta) -> Option<Self> {
        let key = Key::parse(&head::key_of(location)).ok()?;
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
