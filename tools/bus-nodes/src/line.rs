//! What a process is told, and what it prints.

use serde::{Deserialize, Serialize};

/// A line of a process's standard input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Command {
    /// Writes each key so many times, then prints [`Line::Done`].
    Write(u64),
    /// Writes each key again and again, with a pause of so many milliseconds, until the next
    /// command.
    WriteEach(u64),
    /// Announces so many changes of other keys under the number of another cache, then prints
    /// [`Line::Done`].
    Flood(u64),
}

/// A line that a process prints. Moments are nanoseconds of [`clock::now`](crate::clock::now).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Line {
    /// A writer sends a put.
    Sending {
        /// The key.
        key: String,
        /// The number.
        value: u64,
        /// The moment before it is sent.
        at: u64,
    },
    /// The put has returned without an error.
    Acknowledged {
        /// The key.
        key: String,
        /// The number.
        value: u64,
        /// The ETag of the new version.
        e_tag: Option<String>,
        /// The moment after it returned.
        at: u64,
    },
    /// The bus has taken the announcement of a version, as far as it tells.
    Announced {
        /// The key.
        key: String,
        /// The ETag of the version.
        e_tag: Option<String>,
        /// The moment after `announce` returned.
        at: u64,
    },
    /// An announcement has failed.
    NotAnnounced(String),
    /// A read has returned a number.
    Read(Read),
    /// A put or a read has failed.
    Failed(String),
    /// A command is done.
    Done,
    /// The counters of the bus, when the process ends.
    Stats {
        /// Gaps in the numbers of other caches' messages.
        sequence_gaps: u64,
        /// All counters, to print.
        all: String,
    },
}

/// A read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Read {
    /// The key.
    pub key: String,
    /// The number that was read; zero if the object does not exist.
    pub value: u64,
    /// The moment before it was called.
    pub began: u64,
    /// The moment after it returned.
    pub ended: u64,
    /// The status, as `Debug` writes it.
    pub status: String,
    /// Whether the cache listened meanwhile.
    pub listens: Listens,
}

/// Whether a cache listened while it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listens {
    /// Before and after the read.
    Yes,
    /// At no moment.
    No,
    /// Neither is certain.
    Changed,
}
