//! What a read returns.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cache_core::{Attributes, Entry, Served, Status, Version};

/// An object as a read got it: its bytes, the version that they are of, and where they came from.
///
/// A handle to the held copy: a clone is one atomic add, and the copy's memory lives as long as a
/// handle does, also after the cache has dropped it. What it says does not change.
#[derive(Debug, Clone)]
pub struct CachedObject(Served);

impl CachedObject {
    /// The key.
    pub fn key(&self) -> &str {
        self.0.entry.key()
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        self.0.entry.body()
    }

    /// The body, without the rest. Shares the memory of the copy.
    pub fn into_bytes(self) -> Bytes {
        self.0.entry.body().clone()
    }

    /// The version that the bytes are of: for a conditional put, say. Copies its names; to look at
    /// one of them, there is [`e_tag`](Self::e_tag).
    pub fn version(&self) -> Version {
        self.0.entry.version()
    }

    /// The ETag, as the store wrote it, if it gave one.
    pub fn e_tag(&self) -> Option<&str> {
        self.0.entry.e_tag()
    }

    /// When the store says that the object was last modified. `None` if it did not say, and for a
    /// copy that is kept from a put: the answer to a put has no date.
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.0.entry.last_modified()
    }

    /// Where the bytes came from.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// How long before this read ended the request was sent whose answer validated the bytes.
    pub fn age(&self) -> Duration {
        self.0.age()
    }

    /// Returns the attributes that came with the bytes; for an object that is cached from a put,
    /// those that were put.
    pub fn attributes(&self) -> &Attributes {
        self.0.entry.attributes()
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.0.entry
    }
}

impl From<Served> for CachedObject {
    fn from(served: Served) -> Self {
        Self(served)
    }
}

impl AsRef<[u8]> for CachedObject {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
