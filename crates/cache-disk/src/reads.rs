//! The reads under way on other threads, which all readers of a record share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak, atomic::AtomicBool},
};

use tokio::sync::watch;

use crate::{
    format::{Fault, Record},
    index::Place,
    sync::lock,
};

/// Why a record was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The work was not begun.
    NotRun,
    /// Its file does not exist: its segment was recycled meanwhile, or another program removed it.
    Gone,
    /// Its file cannot be opened, or the disk does not answer.
    Files,
    /// The file system fails to read it.
    Record,
    /// It is not what was written.
    Fault(Fault),
}

/// A read under way.
pub(crate) struct Read {
    pub(crate) has_begun: Arc<AtomicBool>,
    pub(crate) done: watch::Receiver<ReadResult>,
}

pub(crate) type ReadResult = Option<Result<Record, ReadError>>;

/// All reads under way.
#[derive(Default)]
pub(crate) struct Reads(Mutex<HashMap<Place, Weak<Read>>>);

impl Reads {
    /// Joins the read of the record at `place`, or begins one, whose result is to be sent.
    pub(crate) fn join(&self, place: Place) -> (Arc<Read>, Option<watch::Sender<ReadResult>>) {
        let mut reads = lock(&self.0);
        // Else many readers of one large record would take its length each.
        if let Some(read) = reads.get(&place).and_then(Weak::upgrade) {
            return (read, None);
        }
        let (sender, done) = watch::channel(None);
        let read = Arc::new(Read { has_begun: Arc::default(), done });
        reads.insert(place, Arc::downgrade(&read));
        (read, Some(sender))
    }

    /// Ends the sharing of the read at `place`.
    pub(crate) fn end(&self, place: Place) {
        lock(&self.0).remove(&place);
    }
}
