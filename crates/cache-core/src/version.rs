//! What an origin calls one state of an object.

use std::time::SystemTime;

/// One state of an object, as the origin names it. Opaque, kept byte for byte.
///
/// Both names are kept because stores differ in which one a conditional write needs: S3, Azure and
/// memory take the ETag, GCS the version id (its generation).
///
/// Two versions are equal if the origin's names for them are; where it gave none, if date and size
/// are. A tag names a state of *one* key: never compare versions of different keys.
///
/// ```
/// use cache_core::Version;
///
/// let put = Version::default().with_e_tag(Some("\"1\"".into())).with_size(3);
/// assert_eq!(put.e_tag.as_deref(), Some("\"1\""));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Version {
    /// The ETag (RFC 9110 section 8.8.3) with its quotes and its `W/`, if the origin gave one.
    pub e_tag: Option<String>,
    /// The version id (S3), generation (GCS) or version (Azure), if the origin gave one.
    pub version: Option<String>,
    /// When the object was last modified, if known: the answer to a put does not say.
    pub last_modified: Option<SystemTime>,
    /// The body's length in bytes.
    pub size: u64,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.e_tag == other.e_tag
            && self.version == other.version
            && (self.is_named()
                || (self.last_modified == other.last_modified && self.size == other.size))
    }
}

impl Eq for Version {}

impl Version {
    /// Sets the ETag, with its quotes and its `W/`. Default: `None`.
    #[must_use]
    pub fn with_e_tag(mut self, e_tag: Option<String>) -> Self {
        self.e_tag = e_tag;
        self
    }

    /// Sets the version id, generation or version. Default: `None`.
    #[must_use]
    pub fn with_version(mut self, version: Option<String>) -> Self {
        self.version = version;
        self
    }

    /// Sets when the object was last modified. Default: `None`, unknown.
    #[must_use]
    pub fn with_last_modified(mut self, at: Option<SystemTime>) -> Self {
        self.last_modified = at;
        self
    }

    /// Sets the body's length in bytes. Default: zero.
    #[must_use]
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.size = bytes;
        self
    }

    fn is_named(&self) -> bool {
        self.e_tag.is_some() || self.version.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_put_equals_the_answer_to_the_next_get() {
        let put = Version { e_tag: Some("\"1\"".into()), size: 3, ..Version::default() };
        let got = Version { last_modified: Some(SystemTime::UNIX_EPOCH), ..put.clone() };
        assert_eq!(put, got);
        assert_ne!(put, Version { e_tag: Some("\"2\"".into()), ..put.clone() });
    }

    #[test]
    fn without_names_the_date_decides() {
        let one = Version { last_modified: Some(SystemTime::UNIX_EPOCH), ..Version::default() };
        assert_ne!(one, Version { last_modified: None, ..Version::default() });
        assert_eq!(one, one.clone());
    }
}
