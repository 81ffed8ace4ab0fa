//! The version of an object, as object_store tells of it.

use std::time::SystemTime;

use cache_core::Version;
use object_store::ObjectMeta;

/// Returns the version that `meta` describes.
pub(crate) fn version_of(meta: &ObjectMeta) -> Version {
    // If a server sends no date, object_store reports 1970.
    let date = SystemTime::from(meta.last_modified);
    Version::default()
        .with_e_tag(meta.e_tag.clone())
        .with_version(meta.version.clone())
        .with_last_modified((date != SystemTime::UNIX_EPOCH).then_some(date))
        .with_size(meta.size)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_version_has_all_that_the_answer_says_of_it() {
        let meta = ObjectMeta {
            location: "a".into(),
            last_modified: (SystemTime::UNIX_EPOCH + Duration::from_nanos(1)).into(),
            size: 3,
            e_tag: Some("\"x\"".into()),
            version: Some("7".into()),
        };
        let Version { e_tag, version, last_modified, size, .. } = version_of(&meta);
        assert_eq!((e_tag, version, size), (meta.e_tag, meta.version, meta.size));
        assert_eq!(last_modified, Some(meta.last_modified.into()));
    }
}
