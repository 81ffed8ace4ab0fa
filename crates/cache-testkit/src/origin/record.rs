//! What an origin was asked.

use bytes::Bytes;
use cache_core::{Entry, ErrorKind, Key, PutCondition};

use crate::log::Recorded;

/// One request to a [`FaultyOrigin`](super::FaultyOrigin).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OriginRequest {
    /// What was asked for.
    pub operation: OriginOperation,
    /// The object; of a list the prefix.
    pub key: String,
    /// The number of the page in its list, from zero.
    pub page: usize,
    /// The ETag that was sent with a validation: that of the held entry.
    pub e_tag: Option<String>,
    /// The condition of a put.
    pub condition: Option<PutCondition>,
    /// The length of the body of a put.
    pub bytes_sent: u64,
    /// Whether the wrapped origin was asked.
    pub reached_origin: bool,
    /// What the caller got.
    pub outcome: OriginOutcome,
}

/// What an [`OriginRequest`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginOperation {
    /// `Validator::validate`.
    Validate,
    /// `Origin::put`.
    Put,
    /// `Origin::delete`.
    Delete,
    /// A page of a `Validator::list`.
    List,
}

/// How an [`OriginRequest`] ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginOutcome {
    /// Not yet.
    Running,
    /// The validation said that the held version is current.
    Unchanged,
    /// The validation brought a body of so many bytes.
    Changed(u64),
    /// The validation said that there is no such object.
    Gone,
    /// The number of objects on the page; zero too if the list was found to have ended.
    Listed(usize),
    /// The put or delete was acknowledged.
    Done,
    /// The caller got an error.
    Failed(ErrorKind),
    /// The caller dropped the request before it was answered, or a panic ended it.
    Dropped,
}

impl OriginRequest {
    pub(super) fn validate(key: &Key, held: Option<&Entry>) -> Self {
        let e_tag = held.and_then(Entry::e_tag).map(String::from);
        Self { e_tag, ..Self::new(OriginOperation::Validate, key) }
    }

    pub(super) fn put(key: &Key, body: &Bytes, condition: &PutCondition) -> Self {
        let (condition, bytes_sent) = (Some(condition.clone()), body.len() as u64);
        Self { condition, bytes_sent, ..Self::new(OriginOperation::Put, key) }
    }

    pub(super) fn delete(key: &Key) -> Self {
        Self::new(OriginOperation::Delete, key)
    }

    pub(super) fn list(prefix: &str, page: usize) -> Self {
        Self { page, ..Self::new(OriginOperation::List, prefix) }
    }

    fn new(operation: OriginOperation, key: impl AsRef<str>) -> Self {
        Self {
            operation,
            key: key.as_ref().to_owned(),
            page: 0,
            e_tag: None,
            condition: None,
            bytes_sent: 0,
            reached_origin: false,
            outcome: OriginOutcome::Running,
        }
    }
}

impl Recorded for OriginRequest {
    fn dropped(&mut self) {
        self.outcome = OriginOutcome::Dropped;
    }
}
