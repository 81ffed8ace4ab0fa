//! What a store was asked.

use std::time::SystemTime;

use object_store::{GetOptions, GetRange, PutMode, PutOptions, PutPayload, path::Path};

use super::Failure;
use crate::log::Recorded;

/// One request to a [`FaultyStore`](super::FaultyStore).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// What was asked for.
    pub operation: Operation,
    /// The object; of a list its prefix (the root if it had none), of a copy or a rename the
    /// source.
    pub location: Path,
    /// Where a copy or a rename goes to.
    pub target: Option<Path>,
    /// `If-Match` of a get or head, as it was sent.
    pub if_match: Option<String>,
    /// `If-None-Match` of a get or head, as it was sent.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since` of a get or head.
    pub if_modified_since: Option<SystemTime>,
    /// `If-Unmodified-Since` of a get or head.
    pub if_unmodified_since: Option<SystemTime>,
    /// The range of a get or head.
    pub range: Option<GetRange>,
    /// The version id of a get or head.
    pub version: Option<String>,
    /// The condition of a put.
    pub put_mode: Option<PutMode>,
    /// The length of the body of a put or a part.
    pub bytes_sent: u64,
    /// How much of the object's body was given out so far. A body that the wrapped store gives as a
    /// file counts whole when it is given out: what is read of a file cannot be seen.
    pub bytes_delivered: u64,
    /// Whether the wrapped store was asked.
    pub reached_store: bool,
    /// What the caller got.
    pub outcome: Outcome,
}

/// What a [`Request`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `put_opts`.
    Put,
    /// `put_multipart_opts`.
    StartMultipart,
    /// `put_part` of a multipart upload.
    PutPart,
    /// `complete` of a multipart upload.
    CompleteMultipart,
    /// `abort` of a multipart upload.
    AbortMultipart,
    /// `get_opts` for the body.
    Get,
    /// `get_opts` without the body.
    Head,
    /// `get_ranges`.
    GetRanges,
    /// One location of a `delete_stream`.
    Delete,
    /// Many locations of a `delete_stream` in one request. Of an `S3Server` alone.
    BulkDelete,
    /// `list` and `list_with_offset`.
    List,
    /// `list_with_delimiter`.
    ListWithDelimiter,
    /// `copy_opts`.
    Copy,
    /// `rename_opts`.
    Rename,
}

/// How a [`Request`] ended for its caller. A body may still be on its way after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Not yet.
    Running,
    /// The caller got an answer.
    Answered,
    /// The caller got an error.
    Failed(Failure),
    /// The caller dropped the request before it was answered, or a panic ended it.
    Dropped,
}

impl Request {
    pub(super) fn new(operation: Operation, location: &Path) -> Self {
        Self {
            operation,
            location: location.clone(),
            target: None,
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            range: None,
            version: None,
            put_mode: None,
            bytes_sent: 0,
            bytes_delivered: 0,
            reached_store: false,
            outcome: Outcome::Running,
        }
    }

    pub(super) fn get(location: &Path, options: &GetOptions) -> Self {
        Self {
            if_match: options.if_match.clone(),
            if_none_match: options.if_none_match.clone(),
            if_modified_since: options.if_modified_since.map(SystemTime::from),
            if_unmodified_since: options.if_unmodified_since.map(SystemTime::from),
            range: options.range.clone(),
            version: options.version.clone(),
            ..Self::new(if options.head { Operation::Head } else { Operation::Get }, location)
        }
    }

    pub(super) fn put(location: &Path, payload: &PutPayload, options: &PutOptions) -> Self {
        let mode = Some(options.mode.clone());
        Self { put_mode: mode, ..Self::new(Operation::Put, location) }.with_body(payload)
    }

    pub(super) fn to(self, target: &Path) -> Self {
        Self { target: Some(target.clone()), ..self }
    }

    pub(super) fn with_body(self, payload: &PutPayload) -> Self {
        Self { bytes_sent: payload.content_length() as u64, ..self }
    }
}

impl Recorded for Request {
    fn dropped(&mut self) {
        self.outcome = Outcome::Dropped;
    }
}
