//! The result of a read.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cache_core::{Attributes, Entry, Served, Status, Tier, Version};

/// The result of a read: the bytes, their version and their source.
///
/// A cheap handle to the cached entry: a clone is one atomic increment. The memory of the entry
/// lives as long as any handle, even after the cache dropped it. A handle never changes.
#[derive(Debug, Clone)]
pub struct CachedObject(Served);

impl CachedObject {
    /// Returns the key.
    pub fn key(&self) -> &str {
        self.0.entry.key()
    }

    /// Returns the body.
    pub fn bytes(&self) -> &Bytes {
        self.0.entry.body()
    }

    /// Returns the body alone. Shares the memory of the entry.
    pub fn into_bytes(self) -> Bytes {
        self.0.entry.body().clone()
    }

    /// Returns the version of the bytes, for example for a conditional put. Clones its strings;
    /// [`e_tag`](Self::e_tag) does not.
    pub fn version(&self) -> Version {
        self.0.entry.version()
    }

    /// Returns the ETag in the form that the store sent, if it sent one.
    pub fn e_tag(&self) -> Option<&str> {
        self.0.entry.e_tag()
    }

    /// Returns the store's last-modified date. `None` if it sent none, or if the object is cached
    /// from a put, whose response has no date.
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.0.entry.last_modified()
    }

    /// Returns how the read was served.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// Returns the tier of the cache that the bytes came from: memory, or the disk below it. `None`
    /// if they came from the store.
    pub fn tier(&self) -> Option<Tier> {
        self.0.tier
    }

    /// Returns the age: the time from the request that validated the bytes to the end of this read
    /// (RFC 9111, section 4.2.3).
    pub fn age(&self) -> Duration {
        self.0.age()
    }

    /// Returns the attributes received with the bytes; for an object cached from a put, those that
    /// were put.
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
