//! The settings of a disk tier.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use cache_core::{Error, ErrorKind, Result};

use crate::files::{Directory, Files};

/// Settings of a tier on disk, below the memory of a cache: for working sets that are larger than
/// memory, and for caches that are warm after a restart.
///
/// The builders of the caches take it (`.disk(…)`);
/// [`TieredBackend::new`](crate::TieredBackend::new) puts it under a backend of your own. The
/// directory is made with the mode 0700, if there is none, and locked: a second cache over it is a
/// `Config` error, in this process or another one. Entries of an earlier process are found again if
/// the cache has the same [`Namespace`](cache_core::Namespace), and each is revalidated before it
/// is first served: one request without a body.
///
/// ```
/// use cache_disk::{DiskAdmission, DiskTier};
///
/// let tier = DiskTier::new("/var/cache/app")
///     .max_capacity(100 << 30)
///     .admission_for("logs/", DiskAdmission::Never)
///     .pin("tables/");
/// ```
///
/// # Files
///
/// Entries are written one behind the other into segment files. A removed entry is not shown any
/// more, but its bytes stay on disk until its segment is recycled. The checksums detect damage, not
/// forgery: a program that can write to the directory decides what is in it. Nothing is encrypted.
#[derive(Debug, Clone)]
#[must_use]
pub struct DiskTier {
    path: PathBuf,
    max_capacity: u64,
    segment_bytes: Option<u64>,
    queue_bytes: u64,
    write_budget: Option<u64>,
    rules: Rules,
}

/// Which entries are written to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskAdmission {
    /// None.
    Never,
    /// All of them, when they are stored.
    #[default]
    Always,
    /// Those that were used again before memory evicted them, when it does; those of up to 512
    /// bytes at once. Spares a disk that wears out, at the price of a request for what is used
    /// twice with a long time in between. With a memory backend that does not tell what it evicts
    /// ([`on_eviction`](cache_core::Backend::on_eviction)), the same as `Always`.
    OnReuse,
}

/// The rules by prefix.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    default: DiskAdmission,
    by_prefix: Vec<(Box<str>, DiskAdmission)>,
    pinned: Vec<Box<str>>,
}

/// Settings that were found to be right.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) max_capacity: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) queue_bytes: u64,
    /// In bytes a second.
    pub(crate) write_budget: Option<u64>,
    pub(crate) rules: Rules,
}

impl DiskTier {
    /// Returns the default settings for a tier in the directory at `path`.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            max_capacity: CAPACITY_BYTES,
            segment_bytes: None,
            queue_bytes: QUEUE_BYTES,
            write_budget: Some(WRITE_BUDGET),
            rules: Rules::default(),
        }
    }

    /// Sets the most bytes that the files may have, with removed entries that are not yet recycled.
    /// Less than four segments, or 256 KiB, is an error. Default: 10 GiB.
    pub fn max_capacity(mut self, bytes: u64) -> Self {
        self.max_capacity = bytes;
        self
    }

    /// Sets the size of a segment file: what is evicted in one piece, and the largest entry that
    /// can be written. Less than 64 KiB, 4 GiB or more, and more than a quarter of the capacity is
    /// an error. Default: 64 MiB, or a sixteenth of the capacity if that is less.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = Some(bytes);
        self
    }

    /// Sets the most bytes of entries that may wait to be written, in memory beside the cache's own
    /// capacity. An entry that comes when there is no room is written while memory has it, or else
    /// dropped and counted; no reader waits. A pinned entry that is larger than that waits alone.
    /// Zero is an error. Default: 64 MiB.
    pub fn queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Limits the bytes a second that are written, averaged over a minute, so that a disk does not
    /// wear out early: after a quiet minute, a burst of sixty times the budget is written at the
    /// disk's speed. `None` is no limit; zero is an error. Default: 20 MB a second.
    pub fn write_budget(mut self, bytes_a_second: impl Into<Option<u64>>) -> Self {
        self.write_budget = bytes_a_second.into();
        self
    }

    /// Sets which entries are written, where no prefix has a rule of its own. Negative entries, and
    /// those that cannot be revalidated, are never written. Default: [`DiskAdmission::Always`].
    pub fn admission(mut self, admission: DiskAdmission) -> Self {
        self.rules.default = admission;
        self
    }

    /// Sets which entries are written of objects whose paths begin with `prefix`, byte for byte.
    /// The longest prefix wins; a second rule for the same prefix replaces the first.
    pub fn admission_for(mut self, prefix: &str, admission: DiskAdmission) -> Self {
        let by_prefix = &mut self.rules.by_prefix;
        by_prefix.retain(|(other, _)| **other != *prefix);
        by_prefix.push((prefix.into(), admission));
        by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        self
    }

    /// Keeps all that is read or written under `prefix`, byte for byte: a mirror. An entry stored
    /// there waits for room in the queue instead of being dropped, whatever the admission is, and
    /// is written again when its segment is recycled. Pinned entries take at most half of the
    /// capacity; beyond that, further ones are not pinned, and counted
    /// ([`TierStats::pins_lost`](cache_core::TierStats::pins_lost)).
    pub fn pin(mut self, prefix: &str) -> Self {
        if !self.rules.pinned.iter().any(|other| **other == *prefix) {
            self.rules.pinned.push(prefix.into());
        }
        self
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens and locks the directory, and makes it if there is none. For tests that put files of
    /// their own kind over those of a directory: see [`open_with`](Self::open_with).
    ///
    /// # Errors
    ///
    /// `Config`, if the directory cannot be used.
    pub fn open_directory(&self) -> Result<Arc<dyn Files>> {
        Ok(Arc::new(Directory::open(&self.path)?))
    }

    pub(crate) fn check(self) -> Result<Checked> {
        let Self { max_capacity, segment_bytes, queue_bytes, write_budget, rules, .. } = self;
        if max_capacity < SEGMENTS_MIN * SEGMENT_MIN {
            return Err(wrong(format!(
                "max_capacity is {max_capacity} bytes, and must be at least {}",
                SEGMENTS_MIN * SEGMENT_MIN
            )));
        }
        let segment_bytes =
            segment_bytes.unwrap_or((max_capacity / 16).clamp(SEGMENT_MIN, SEGMENT_BYTES));
        if !(SEGMENT_MIN..=SEGMENT_MAX).contains(&segment_bytes) {
            return Err(wrong(format!(
                "segment_bytes is {segment_bytes}, and must be from {SEGMENT_MIN} to {SEGMENT_MAX}"
            )));
        }
        if segment_bytes > max_capacity / SEGMENTS_MIN {
            return Err(wrong(format!(
                "segment_bytes is {segment_bytes}, and must be at most a quarter of max_capacity, \
                 which is {max_capacity}"
            )));
        }
        if queue_bytes == 0 {
            return Err(wrong("queue_bytes is zero: nothing could be written"));
        }
        if write_budget == Some(0) {
            return Err(wrong("write_budget is zero: nothing could be written; None is no limit"));
        }
        Ok(Checked { max_capacity, segment_bytes, queue_bytes, write_budget, rules })
    }
}

impl Rules {
    pub(crate) fn admission(&self, path: &str) -> DiskAdmission {
        let rule = self.by_prefix.iter().find(|(prefix, _)| path.starts_with(&**prefix));
        rule.map_or(self.default, |(_, admission)| *admission)
    }

    pub(crate) fn is_pinned(&self, path: &str) -> bool {
        self.pinned.iter().any(|prefix| path.starts_with(&**prefix))
    }

    /// Returns whether any entry is admitted by its use.
    pub(crate) fn look_at_use(&self) -> bool {
        let mut all = self.by_prefix.iter().map(|(_, admission)| admission);
        self.default == DiskAdmission::OnReuse || all.any(|rule| *rule == DiskAdmission::OnReuse)
    }
}

fn wrong(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("the disk tier's {what}"))
}

const CAPACITY_BYTES: u64 = 10 << 30;
const SEGMENT_BYTES: u64 = 64 << 20;
const SEGMENT_MIN: u64 = 64 << 10;
const SEGMENT_MAX: u64 = u32::MAX as u64;
/// One that is being written, one that is being recycled, and two that are read.
const SEGMENTS_MIN: u64 = 4;
const QUEUE_BYTES: u64 = 64 << 20;
const WRITE_BUDGET: u64 = 20_000_000;
