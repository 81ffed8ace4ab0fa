//! What a store was asked.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use object_store::{GetOptions, GetRange, PutMode, PutOptions, PutPayload, path::Path};

use super::Failure;

/// One request to a [`FaultyStore`](super::FaultyStore).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// What was asked for.
    pub operation: Operation,
    /// The object; of a list its prefix (the root if it had none), of a copy or a rename the source.
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
    /// How much of the object's body was given out so far. A body that the wrapped store gives as a file
    /// counts whole when it is given out: what is read of a file cannot be seen.
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

/// The requests so far. A clone is another handle.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Requests>>);

#[derive(Default)]
struct Requests {
    /// How many requests came before the last reset.
    forgotten: usize,
    kept: Vec<Request>,
}

impl Log {
    /// What `read` makes of the requests in the record. It must not call the store.
    pub(super) fn read<T>(&self, read: impl FnOnce(&[Request]) -> T) -> T {
        read(&self.lock().kept)
    }

    pub(super) fn reset(&self) {
        let mut requests = self.lock();
        requests.forgotten += requests.kept.len();
        requests.kept.clear();
    }

    pub(super) fn open(&self, request: Request) -> Ticket {
        let mut requests = self.lock();
        let id = requests.forgotten + requests.kept.len();
        requests.kept.push(request.clone());
        drop(requests);
        Ticket { counter: Counter { log: self.clone(), id }, request, open: true }
    }

    /// A request that was forgotten is left alone.
    fn update(&self, id: usize, update: impl FnOnce(&mut Request)) {
        let mut requests = self.lock();
        let idx = id.checked_sub(requests.forgotten);
        if let Some(request) = idx.and_then(|idx| requests.kept.get_mut(idx)) {
            update(request);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().expect("no code of others runs under this lock")
    }
}

/// A request under way. Dropped before it is closed, it is recorded as dropped.
pub(super) struct Ticket {
    counter: Counter,
    request: Request,
    open: bool,
}

impl Ticket {
    /// The request as it came.
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn counter(&self) -> Counter {
        self.counter.clone()
    }

    pub(super) fn reach(&self) {
        self.counter.log.update(self.counter.id, |request| request.reached_store = true);
    }

    pub(super) fn close(&mut self, outcome: Outcome) {
        self.open = false;
        self.counter.log.update(self.counter.id, |request| request.outcome = outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.close(Outcome::Dropped);
        }
    }
}

/// Counts what is delivered for one request, also after its answer.
#[derive(Clone)]
pub(super) struct Counter {
    log: Log,
    id: usize,
}

impl Counter {
    pub(super) fn add(&self, bytes: u64) {
        self.log.update(self.id, |request| request.bytes_delivered += bytes);
    }
}
