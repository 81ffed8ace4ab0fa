//! Errors of documents.

use cache_core::{Error, ErrorKind};

/// The document is not what the parser reads.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Decode, message)
}

/// `name` is no JSON, or not of the expected shape.
pub(crate) fn json(name: &str, error: serde_json::Error) -> Error {
    invalid(format!("{name} cannot be read: {error}")).with_source(error)
}
