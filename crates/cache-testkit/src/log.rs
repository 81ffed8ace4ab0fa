//! A record of requests, each with what became of it.

use std::sync::{Arc, Mutex, MutexGuard};

/// A request that can be in a [`Log`].
pub(crate) trait Recorded: Clone {
    /// It ended without an answer: its caller dropped it, or a panic ended it.
    fn dropped(&mut self);
}

/// The requests so far. A clone is another handle.
pub(crate) struct Log<R>(Arc<Mutex<Requests<R>>>);

struct Requests<R> {
    /// How many requests came before the last reset.
    forgotten: usize,
    kept: Vec<R>,
}

impl<R: Recorded> Log<R> {
    /// What `read` makes of the requests in the record. It must not call what is recorded.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&[R]) -> T) -> T {
        read(&self.lock().kept)
    }

    pub(crate) fn reset(&self) {
        let mut requests = self.lock();
        requests.forgotten += requests.kept.len();
        requests.kept.clear();
    }

    pub(crate) fn open(&self, request: R) -> Ticket<R> {
        let mut requests = self.lock();
        let id = requests.forgotten + requests.kept.len();
        requests.kept.push(request.clone());
        drop(requests);
        Ticket { line: Line { log: self.clone(), id }, request, open: true }
    }

    fn lock(&self) -> MutexGuard<'_, Requests<R>> {
        self.0.lock().expect("no code of others runs under this lock")
    }
}

impl<R> Clone for Log<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for Log<R> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Requests { forgotten: 0, kept: Vec::new() })))
    }
}

/// A request under way. Dropped before it is closed, it is recorded as dropped.
pub(crate) struct Ticket<R: Recorded> {
    line: Line<R>,
    request: R,
    open: bool,
}

impl<R: Recorded> Ticket<R> {
    /// The request as it came.
    pub(crate) fn request(&self) -> &R {
        &self.request
    }

    /// Its line in the record, to be written on also when it is closed.
    pub(crate) fn line(&self) -> &Line<R> {
        &self.line
    }

    pub(crate) fn close(&mut self, update: impl FnOnce(&mut R)) {
        self.open = false;
        self.line.update(update);
    }
}

impl<R: Recorded> Drop for Ticket<R> {
    fn drop(&mut self) {
        if self.open {
            self.close(R::dropped);
        }
    }
}

/// What is recorded of one request.
#[derive(Clone)]
pub(crate) struct Line<R> {
    log: Log<R>,
    id: usize,
}

impl<R: Recorded> Line<R> {
    /// A request that was forgotten is left alone.
    pub(crate) fn update(&self, update: impl FnOnce(&mut R)) {
        let mut requests = self.log.lock();
        let idx = self.id.checked_sub(requests.forgotten);
        if let Some(request) = idx.and_then(|idx| requests.kept.get_mut(idx)) {
            update(request);
        }
    }
}
