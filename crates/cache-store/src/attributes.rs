//! Attributes, as this workspace and as object_store names them.

use std::borrow::Cow;

use cache_core::{Attributes, Error, ErrorKind, Result};
use object_store::Attribute;

/// The attributes of an answer, by their names here: the lower-case header name, `storage-class`,
/// or `metadata.<name>`.
///
/// A kind of attribute that object_store gets in later versions is left out.
pub fn attributes_from_store(attributes: &object_store::Attributes) -> Attributes {
    let named = attributes
        .iter()
        .filter_map(|(attribute, value)| Some((name_of(attribute)?, value.as_ref())));
    named.collect()
}

/// The same attributes for object_store: the inverse of [`attributes_from_store`].
///
/// # Errors
///
/// Of kind `Unsupported`, if object_store has no attribute of one of the names.
pub fn attributes_to_store(attributes: &Attributes) -> Result<object_store::Attributes> {
    attributes.iter().map(|(name, value)| Ok((attribute_of(name)?, value.to_owned()))).collect()
}

fn name_of(attribute: &Attribute) -> Option<Cow<'static, str>> {
    if let Attribute::Metadata(name) = attribute {
        return Some(format!("{METADATA}{name}").into());
    }
    let known = PLAIN.iter().find(|(known, _)| known == attribute)?;
    Some(known.1.into())
}

fn attribute_of(name: &str) -> Result<Attribute> {
    if let Some(name) = name.strip_prefix(METADATA) {
        return Ok(Attribute::Metadata(name.to_owned().into()));
    }
    match PLAIN.iter().find(|(_, known)| *known == name) {
        Some((attribute, _)) => Ok(attribute.clone()),
        None => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "an object store has no attribute {name:?}; one of the user's own is \
                    {METADATA}<name>"
            ),
        )),
    }
}

const METADATA: &str = "metadata.";

const PLAIN: [(Attribute, &str); 6] = [
    (Attribute::CacheControl, "cache-control"),
    (Attribute::ContentDisposition, "content-disposition"),
    (Attribute::ContentEncoding, "content-encoding"),
    (Attribute::ContentLanguage, "content-language"),
    (Attribute::ContentType, "content-type"),
    (Attribute::StorageClass, "storage-class"),
];
