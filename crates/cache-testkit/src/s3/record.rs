//! What the server was asked.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use super::bulk;
use crate::Operation;

/// One request to an [`S3Server`](super::S3Server), as it came over the wire.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct S3Request {
    /// What was asked for. An upload of a part that is a copy is an [`Operation::PutPart`], any
    /// list an [`Operation::List`].
    pub operation: Operation,
    /// The key of the object; of a list its prefix; of a bulk delete empty: see
    /// [`keys`](Self::keys).
    pub key: String,
    /// The key that a copy, or a part that is a copy, comes from.
    pub source: Option<String>,
    /// The body that came with it.
    pub body: Bytes,
    /// The status that went to the client; `None` if none did: not yet, or never.
    pub status: Option<u16>,
    /// How many bytes of the answer's body were written to the connection so far.
    pub body_bytes_written: u64,
    pub(super) headers: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
}

impl S3Request {
    pub(super) fn new(operation: Operation, key: &str, headers: Vec<(String, String)>) -> Self {
        Self {
            operation,
            key: key.to_owned(),
            source: None,
            body: Bytes::new(),
            status: None,
            body_bytes_written: 0,
            headers,
            query: Vec::new(),
        }
    }

    /// The keys that it is about: those that a bulk delete names, none if its body makes no sense;
    /// else the one.
    pub fn keys(&self) -> Vec<String> {
        match self.operation {
            Operation::BulkDelete => {
                let named = bulk::named(self).unwrap_or_default();
                named.into_iter().map(|named| named.key).collect()
            }
            _ => vec![self.key.clone()],
        }
    }

    /// The header called `name`, in lower case; the first if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// The parameter of the query called `name`, decoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
}

/// The requests so far. A clone is another handle.
#[derive(Clone)]
pub(super) struct Log {
    requests: Arc<Mutex<Requests>>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Requests {
    /// How many requests came before the last reset.
    forgotten: usize,
    kept: Vec<S3Request>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { requests: Arc::default(), changes: watch::Sender::new(()) }
    }

    /// What `read` makes of the requests in the record. It must not call the server.
    pub(super) fn read<T>(&self, read: impl FnOnce(&[S3Request]) -> T) -> T {
        read(&self.lock().kept)
    }

    pub(super) async fn wait_until(&self, holds: impl Fn(&[S3Request]) -> bool) {
        let mut changes = self.changes.subscribe();
        while !self.read(&holds) {
            changes.changed().await.expect("the log outlives the borrow");
        }
    }

    pub(super) fn reset(&self) {
        let mut requests = self.lock();
        requests.forgotten += requests.kept.len();
        requests.kept.clear();
    }

    pub(super) fn open(&self, request: S3Request) -> Ticket {
        let mut requests = self.lock();
        let id = requests.forgotten + requests.kept.len();
        requests.kept.push(request);
        drop(requests);
        self.changes.send_replace(());
        Ticket { log: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().expect("no code of others runs under this lock")
    }
}

/// A request under way.
pub(super) struct Ticket {
    log: Log,
    id: usize,
}

impl Ticket {
    pub(super) fn answered(&self, status: u16) {
        self.update(|request| request.status = Some(status));
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.update(|request| request.body_bytes_written += bytes as u64);
    }

    /// A request that was forgotten is left alone.
    fn update(&self, update: impl FnOnce(&mut S3Request)) {
        let mut requests = self.log.lock();
        let idx = self.id.checked_sub(requests.forgotten);
        if let Some(request) = idx.and_then(|idx| requests.kept.get_mut(idx)) {
            update(request);
        }
        drop(requests);
        self.log.changes.send_replace(());
    }
}
