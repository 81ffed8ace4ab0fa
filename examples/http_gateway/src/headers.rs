//! What is said of an object.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use cache_facade::object_store::{Attribute, Attributes, ObjectMeta};

use crate::{conditions::Version, content_type};

/// What a client that has the object needs to hear too: the fields of a 304 (RFC 9110 section
/// 15.4.5).
pub(crate) fn of_version(meta: &ObjectMeta, attributes: &Attributes) -> HeaderMap {
    let version = Version::of(meta);
    let kept = said(attributes, &Attribute::CacheControl);
    let fields = [
        (header::ETAG, version.e_tag()),
        (header::LAST_MODIFIED, version.last_modified()),
        // Kept, but not used without asking: that costs the store nothing while the object is fresh
        // here.
        (header::CACHE_CONTROL, Some(kept.unwrap_or(HeaderValue::from_static("no-cache")))),
    ];
    collect(fields)
}

/// The same, and what the bytes are.
pub(crate) fn of_object(meta: &ObjectMeta, attributes: &Attributes) -> HeaderMap {
    let guess = || HeaderValue::from_static(content_type::guess(meta.location.as_ref()));
    let fields = [
        (
            header::CONTENT_TYPE,
            Some(said(attributes, &Attribute::ContentType).unwrap_or_else(guess)),
        ),
        (header::CONTENT_ENCODING, said(attributes, &Attribute::ContentEncoding)),
        (header::CONTENT_LANGUAGE, said(attributes, &Attribute::ContentLanguage)),
        (header::CONTENT_DISPOSITION, said(attributes, &Attribute::ContentDisposition)),
        (header::ACCEPT_RANGES, Some(HeaderValue::from_static("bytes"))),
        // There always is a type, so nobody has to guess another one: text that somebody uploaded
        // stays text.
        (header::X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff"))),
    ];
    let mut headers = of_version(meta, attributes);
    headers.extend(collect(fields));
    headers.extend(metadata(attributes));
    headers
}

/// The metadata that users gave the object, under the names that S3 has for it. What cannot be a
/// field of HTTP is left out, and so is what clients might refuse for its size, in the order of the
/// names.
fn metadata(attributes: &Attributes) -> HeaderMap {
    let mut known: Vec<(&str, &str)> = attributes
        .iter()
        .filter_map(|(attribute, value)| match attribute {
            Attribute::Metadata(name) => Some((&**name, value.as_ref())),
            _ => None,
        })
        .collect();
    known.sort_unstable();
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in known {
        let field = HeaderName::from_bytes(format!("{METADATA}{name}").as_bytes());
        let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes());
        let (Ok(field), Ok(value)) = (field, value) else { continue };
        bytes += field.as_str().len() + value.len();
        if bytes > METADATA_BYTES_MAX || headers.len() == METADATA_FIELDS_MAX {
            break;
        }
        // Names that differ in case alone are one to HTTP: the first stays.
        headers.entry(field).or_insert(value);
    }
    headers
}

/// What the store says, if HTTP can say it.
fn said(attributes: &Attributes, attribute: &Attribute) -> Option<HeaderValue> {
    let value: &str = attributes.get(attribute)?.as_ref();
    HeaderValue::from_bytes(value.as_bytes()).ok().filter(|value| !value.is_empty())
}

fn collect<const N: usize>(fields: [(HeaderName, Option<HeaderValue>); N]) -> HeaderMap {
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What the names of users' metadata begin with.
const METADATA: &str = "x-amz-meta-";

/// Many clients take 8 KiB of header at most, or a hundred fields. S3 stores 2 KiB.
const METADATA_BYTES_MAX: usize = 4096;
const METADATA_FIELDS_MAX: usize = 50;
