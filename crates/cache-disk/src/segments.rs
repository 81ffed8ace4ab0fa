//! The segments that the tier has: which are listed, how many bytes they have, and their open
//! files.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    files::{Files, SegmentFile, SegmentName},
    sync::lock,
};

/// A segment.
pub(crate) struct Segment {
    /// A number within this process, never zero and never used again; ascends with age.
    pub(crate) id: u32,
    pub(crate) name: SegmentName,
    /// Bytes of the file.
    pub(crate) bytes: AtomicU64,
    /// It is of another namespace, or was made with another hash key: no record of it is shown.
    pub(crate) is_foreign: AtomicBool,
    file: Mutex<Option<Arc<dyn SegmentFile>>>,
    /// Opened since the last look for one to close.
    was_used: AtomicBool,
}

/// All segments, in the order of their age.
#[derive(Default)]
pub(crate) struct Segments {
    table: RwLock<Table>,
    n_open: AtomicU64,
}

#[derive(Default)]
struct Table {
    listed: BTreeMap<u32, Arc<Segment>>,
    last_id: u32,
}

impl Segments {
    /// Lists a segment. `None` if there were four billion.
    pub(crate) fn add(
        &self,
        name: SegmentName,
        file: Option<Arc<dyn SegmentFile>>,
        bytes: u64,
    ) -> Option<Arc<Segment>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.last_id = table.last_id.checked_add(1)?;
        if file.is_some() {
            self.n_open.fetch_add(1, Ordering::Relaxed);
        }
        let segment = Arc::new(Segment {
            id: table.last_id,
            name,
            bytes: bytes.into(),
            is_foreign: AtomicBool::new(false),
            file: Mutex::new(file),
            was_used: AtomicBool::new(true),
        });
        table.listed.insert(segment.id, Arc::clone(&segment));
        Some(segment)
    }

    pub(crate) fn get(&self, id: u32) -> Option<Arc<Segment>> {
        self.read().listed.get(&id).cloned()
    }

    pub(crate) fn is_listed(&self, id: u32) -> bool {
        self.read().listed.contains_key(&id)
    }

    /// Returns the oldest segment other than `current`.
    pub(crate) fn oldest_but(&self, current: Option<u32>) -> Option<Arc<Segment>> {
        let table = self.read();
        table.listed.values().find(|segment| Some(segment.id) != current).cloned()
    }

    /// Returns the newest segment that is older than the one with the number `before`.
    pub(crate) fn newest_before(&self, before: Option<u32>) -> Option<Arc<Segment>> {
        let table = self.read();
        let mut older = table.listed.range(..before.unwrap_or(u32::MAX));
        older.next_back().map(|(_, segment)| Arc::clone(segment))
    }

    /// Takes a segment off the list.
    pub(crate) fn unlist(&self, id: u32) -> Option<Arc<Segment>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let segment = table.listed.remove(&id)?;
        self.close(&segment);
        Some(segment)
    }

    /// Takes all segments off the list.
    pub(crate) fn unlist_all(&self) -> Vec<Arc<Segment>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = std::mem::take(&mut table.listed).into_values().collect();
        for segment in &all {
            self.close(segment);
        }
        all
    }

    /// Returns the bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.read().listed.values().map(|segment| segment.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Returns the segment's file, if it is open.
    pub(crate) fn open_file(&self, segment: &Segment) -> Option<Arc<dyn SegmentFile>> {
        segment.was_used.store(true, Ordering::Relaxed);
        lock(&segment.file).clone()
    }

    /// Returns the segment's file, and opens it if it is not.
    pub(crate) fn file(
        &self,
        segment: &Segment,
        files: &dyn Files,
    ) -> io::Result<Arc<dyn SegmentFile>> {
        if let Some(file) = self.open_file(segment) {
            return Ok(file);
        }
        if self.n_open.load(Ordering::Relaxed) >= OPEN_MAX {
            self.close_some(1);
        }
        let opened = match files.open(segment.name) {
            // No file descriptor is free: the tier gives back its own.
            Err(error) if is_out_of_files(&error) => {
                self.close_some(OPEN_MAX);
                files.open(segment.name)?
            }
            opened => opened?,
        };
        let mut file = lock(&segment.file);
        if file.is_none() {
            self.n_open.fetch_add(1, Ordering::Relaxed);
        }
        *file = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Closes up to `n` files, those first that were not used lately.
    pub(crate) fn close_some(&self, n: u64) {
        let segments: Vec<_> = self.read().listed.values().cloned().collect();
        let mut n_closed = 0;
        for only_unused in [true, false] {
            for segment in &segments {
                if n_closed >= n {
                    return;
                }
                if only_unused && segment.was_used.swap(false, Ordering::Relaxed) {
                    continue;
                }
                n_closed += u64::from(self.close(segment));
            }
        }
    }

    fn close(&self, segment: &Segment) -> bool {
        let was_open = lock(&segment.file).take().is_some();
        if was_open {
            self.n_open.fetch_sub(1, Ordering::Relaxed);
        }
        was_open
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process, or the machine, has no file descriptor left.
fn is_out_of_files(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(code, Some(Errno::MFILE | Errno::NFILE))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The most files that are open at once, but for some while several readers open theirs.
const OPEN_MAX: u64 = 256;
