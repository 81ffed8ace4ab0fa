//! A disk that tears, loses and refuses, for tests of a disk tier.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    io::{self, ErrorKind, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cache_disk::files::{Files, SegmentFile, SegmentName};

use crate::random::Random;

/// A disk in memory that keeps what was written apart from what is durable. All that happens to it
/// is drawn from a seed.
///
/// [`mount`](Self::mount) gives the files to a process; [`kill`](Self::kill) ends that process and
/// keeps all that it has written, and [`lose_power`](Self::lose_power) keeps parts. Blocking work
/// is queued until [`run_job`](Self::run_job), so that a test decides when a read is done.
///
/// ```
/// use cache_disk::files::SegmentName;
/// use cache_testkit::FaultyDisk;
///
/// let disk = FaultyDisk::new(1);
/// let name = SegmentName { start: 0, number: 0 };
/// let file = disk.mount().create(name).unwrap();
/// file.write_at(0, &[std::io::IoSlice::new(b"bytes")]).unwrap();
/// disk.kill();
/// // The handle is of a process that has ended.
/// assert!(file.read_at(0, 5).is_err());
/// assert_eq!(disk.mount().open(name).unwrap().read_at(0, 5).unwrap(), b"bytes");
/// ```
#[derive(Clone)]
pub struct FaultyDisk(Arc<Shared>);

/// The share of calls that fail, in 255ths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskFaults {
    /// Reads, of bytes and of lengths.
    pub reads: u8,
    /// Writes and truncations. A failed write may have written a part.
    pub writes: u8,
    /// Making, opening, listing and removing files.
    pub names: u8,
}

impl DiskFaults {
    /// The same rate for every call.
    pub const fn all(rate: u8) -> Self {
        Self { reads: rate, writes: rate, names: rate }
    }
}

struct Shared {
    random: Random,
    state: Mutex<State>,
}

struct State {
    /// The directory as a process sees it, and as it is after a power loss.
    names: BTreeMap<SegmentName, usize>,
    durable_names: BTreeMap<SegmentName, usize>,
    inodes: Vec<Inode>,
    /// The number of the process that has the disk. Handles of earlier ones do nothing.
    process: u64,
    is_locked: bool,
    writes_left: Option<u64>,
    faults: DiskFaults,
    cached_reads: u8,
    room: u64,
    hash_key: [u8; 16],
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    runs_jobs: bool,
    /// What is done before a call, and how many calls come before that one.
    before_call: Option<(u64, Box<dyn FnOnce() + Send>)>,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since it was last durable.
    changes: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            inodes: Vec::new(),
            process: 0,
            is_locked: false,
            writes_left: None,
            faults: DiskFaults::default(),
            cached_reads: 0,
            room: u64::MAX,
            hash_key: *b"a simulated disk",
            jobs: VecDeque::new(),
            runs_jobs: false,
            before_call: None,
        };
        Self(Arc::new(Shared { random: Random::stream(seed, 0xd15c), state: Mutex::new(state) }))
    }

    /// Returns the files for a new process.
    ///
    /// # Panics
    ///
    /// If a process has them that has neither unlocked them nor been killed.
    pub fn mount(&self) -> Arc<dyn Files> {
        let mut state = self.0.lock();
        assert!(!state.is_locked, "another process has the directory");
        state.is_locked = true;
        state.process += 1;
        Arc::new(Mounted { disk: Arc::clone(&self.0), process: state.process })
    }

    /// Ends the process that has the files, between two calls. All that it has written is there.
    pub fn kill(&self) {
        let mut state = self.0.lock();
        state.end_process();
        let jobs = std::mem::take(&mut state.jobs);
        // A job may call the disk when it is dropped.
        drop(state);
        drop(jobs);
    }

    /// Ends the process in the middle of its write number `n` from now on, from zero.
    pub fn kill_at_write(&self, n: u64) {
        self.0.lock().writes_left = Some(n);
    }

    /// Has `action` called within the call number `n` from now on, from zero, before anything is
    /// read or written: by it, other calls of the tier come in between. Replaces an earlier one.
    pub fn before_call(&self, n: u64, action: impl FnOnce() + Send + 'static) {
        let replaced = self.0.lock().before_call.replace((n, Box::new(action)));
        drop(replaced);
    }

    /// Drops the action that has not been called yet. Returns whether there was one.
    pub fn cancel_action(&self) -> bool {
        let cancelled = self.0.lock().before_call.take();
        cancelled.is_some()
    }

    /// Returns the number of the process that has the files: another one after each end.
    pub fn process(&self) -> u64 {
        self.0.lock().process
    }

    /// Returns whether a process has the files.
    pub fn is_mounted(&self) -> bool {
        self.0.lock().is_locked
    }

    /// Makes all that was written durable.
    pub fn sync(&self) {
        let state = &mut *self.0.lock();
        state.durable_names = state.names.clone();
        for inode in &mut state.inodes {
            inode.sync();
        }
    }

    /// Makes some of what was written durable, as an operating system does by and by.
    pub fn write_back(&self) {
        let (state, random) = (&mut *self.0.lock(), &self.0.random);
        if random.happens(128) {
            state.durable_names = state.names.clone();
        }
        for inode in state.inodes.iter_mut().filter(|_| random.happens(128)) {
            inode.sync();
        }
    }

    /// Ends the process, and keeps of what is not durable some sectors, file lengths and names: in
    /// any order, since nothing was synced.
    pub fn lose_power(&self) {
        self.kill();
        let (state, random) = (&mut *self.0.lock(), &self.0.random);
        let all: Vec<_> = state.names.keys().chain(state.durable_names.keys()).copied().collect();
        for name in all {
            let (now, durable) = (state.names.get(&name), state.durable_names.get(&name));
            let left = if random.happens(128) { now } else { durable }.copied();
            match left {
                Some(inode) => state.names.insert(name, inode),
                None => state.names.remove(&name),
            };
        }
        state.durable_names = state.names.clone();
        for inode in &mut state.inodes {
            inode.lose_power(random);
        }
    }

    /// Sets how often calls fail from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.0.lock().faults = faults;
    }

    /// Sets how often, of 256 times, what is read is in the page cache. Default: never.
    pub fn set_cached_reads(&self, rate: u8) {
        self.0.lock().cached_reads = rate;
    }

    /// Sets how many bytes the files may have before the disk is full. Default: no limit.
    pub fn set_room(&self, bytes: u64) {
        self.0.lock().room = bytes;
    }

    /// Sets the directory's hash key.
    pub fn set_hash_key(&self, key: [u8; 16]) {
        self.0.lock().hash_key = key;
    }

    /// Sets that blocking work is run where it comes up, instead of queued.
    pub fn set_runs_jobs(&self, runs: bool) {
        self.0.lock().runs_jobs = runs;
    }

    /// Runs one piece of queued work, drawn from all. Returns whether there was one.
    pub fn run_job(&self) -> bool {
        self.take_job().map(|job| job()).is_some()
    }

    /// Drops one piece of queued work, as a runtime does that is shut down. Returns whether there
    /// was one.
    pub fn drop_job(&self) -> bool {
        self.take_job().map(drop).is_some()
    }

    fn take_job(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut state = self.0.lock();
        let n_jobs = state.jobs.len();
        if n_jobs == 0 {
            return None;
        }
        state.jobs.swap_remove_back(self.0.random.index(n_jobs))
    }

    /// Returns the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.0.lock().bytes()
    }

    /// Returns the names of all segments.
    pub fn segments(&self) -> Vec<SegmentName> {
        self.0.lock().names.keys().copied().collect()
    }

    /// Returns the contents of a segment; empty without one.
    pub fn contents(&self, name: SegmentName) -> Vec<u8> {
        let state = self.0.lock();
        state.names.get(&name).map(|inode| state.inodes[*inode].bytes.clone()).unwrap_or_default()
    }

    /// Replaces the contents of a segment, which is made if there is none.
    pub fn set_contents(&self, name: SegmentName, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let inode = state.make(name);
        state.inodes[inode].replace(bytes);
    }

    /// Removes a segment. Handles that are open can still be read.
    pub fn remove(&self, name: SegmentName) {
        self.0.lock().names.remove(&name);
    }

    /// Damages a file: flips a bit, zeroes a sector, cuts it off, appends to it, swaps it with
    /// another one, or removes it. Returns what was done, for the failure's report.
    pub fn damage(&self) -> Option<String> {
        let (state, random) = (&mut *self.0.lock(), &self.0.random);
        let all: Vec<_> = state.names.iter().map(|(name, inode)| (*name, *inode)).collect();
        let (name, inode) = *all.get(random.index(all.len().max(1)))?;
        let mut bytes = state.inodes[inode].bytes.clone();
        if bytes.is_empty() {
            return None;
        }
        let at = random.index(bytes.len());
        let what = match random.below(6) {
            0 => {
                bytes[at] ^= 1 << random.below(8);
                format!("a bit of byte {at} flipped")
            }
            1 => {
                let begin = at / SECTOR * SECTOR;
                let end = (begin + SECTOR).min(bytes.len());
                bytes[begin..end].fill(0);
                format!("zeros from {begin} to {end}")
            }
            2 => {
                bytes.truncate(at);
                format!("cut off behind {at} bytes")
            }
            3 => {
                bytes.extend((0..=random.below(200)).map(|_| random.draw().to_le_bytes()[0]));
                "bytes appended".into()
            }
            4 => {
                let (other_name, other) = random.pick(&all);
                let other_bytes = std::mem::take(&mut state.inodes[other].bytes);
                state.inodes[other].replace(bytes.clone());
                if inode != other {
                    bytes = other_bytes;
                }
                format!("swapped with {other_name}")
            }
            _ => {
                state.names.remove(&name);
                state.durable_names.remove(&name);
                return Some(format!("{name}: removed"));
            }
        };
        state.inodes[inode].replace(bytes);
        Some(format!("{name}: {what}"))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Calls the action that is to be called before this call.
    fn act(&self) {
        let mut state = self.lock();
        let due = match &mut state.before_call {
            Some((0, _)) => state.before_call.take(),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        drop(state);
        if let Some((_, action)) = due {
            action();
        }
    }
}

impl State {
    fn end_process(&mut self) {
        self.process += 1;
        self.is_locked = false;
        self.writes_left = None;
    }

    fn bytes(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].bytes.len() as u64).sum()
    }

    fn make(&mut self, name: SegmentName) -> usize {
        let next = self.inodes.len();
        let inode = *self.names.entry(name).or_insert(next);
        if inode == next {
            self.inodes.push(Inode::default());
        }
        inode
    }
}

impl Inode {
    fn sync(&mut self) {
        if !self.changes.is_empty() {
            self.durable.clone_from(&self.bytes);
            self.changes.clear();
        }
    }

    fn replace(&mut self, bytes: Vec<u8>) {
        self.durable.clone_from(&bytes);
        self.bytes = bytes;
        self.changes.clear();
    }

    fn write(&mut self, at: usize, bytes: Vec<u8>) {
        put(&mut self.bytes, at, &bytes);
        self.changes.push(Change::Write(at, bytes));
    }

    fn lose_power(&mut self, random: &Random) {
        if self.changes.is_empty() {
            return;
        }
        let len = self.bytes.len();
        let mut left = std::mem::take(&mut self.durable);
        let kept = random.pick(&[0, 0, 128, 250, 255]);
        for change in self.changes.drain(..) {
            match change {
                Change::Write(at, bytes) => {
                    let mut from = 0;
                    while from < bytes.len() {
                        // Up to the end of the file's sector.
                        let to = ((at + from) / SECTOR + 1) * SECTOR - at;
                        let to = to.min(bytes.len());
                        if random.below(255) < kept {
                            put(&mut left, at + from, &bytes[from..to]);
                        }
                        from = to;
                    }
                }
                Change::Truncate(len) if random.happens(128) => left.resize(len, 0),
                Change::Truncate(_) => {}
            }
        }
        // The length is in the file's metadata, which may be durable where the bytes are not.
        if random.happens(128) {
            left.resize(len, 0);
        }
        self.replace(left);
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

/// The files, as one process has them.
struct Mounted {
    disk: Arc<Shared>,
    process: u64,
}

impl Mounted {
    /// The disk, unless the process was ended, or the call fails by chance.
    fn lock(&self, rate: impl Fn(DiskFaults) -> u8) -> io::Result<MutexGuard<'_, State>> {
        self.disk.act();
        let state = self.disk.lock();
        if state.process != self.process {
            return Err(io::Error::other("the process was killed"));
        }
        if self.disk.random.below(255) < u64::from(rate(state.faults)) {
            return Err(self.error());
        }
        Ok(state)
    }

    fn error(&self) -> io::Error {
        match self.disk.random.below(5) {
            0 => ErrorKind::StorageFull.into(),
            1 => ErrorKind::ReadOnlyFilesystem.into(),
            2 => ErrorKind::NotFound.into(),
            // `EMFILE` and `EIO`, for which there are no kinds.
            3 => io::Error::from_raw_os_error(24),
            _ => io::Error::from_raw_os_error(5),
        }
    }

    fn handle(&self, inode: usize) -> Arc<dyn SegmentFile> {
        let files = Self { disk: Arc::clone(&self.disk), process: self.process };
        Arc::new(Handle { files, inode })
    }
}

impl Files for Mounted {
    fn hash_key(&self) -> [u8; 16] {
        self.disk.lock().hash_key
    }

    fn list(&self) -> io::Result<Vec<SegmentName>> {
        let state = self.lock(|faults| faults.names)?;
        let mut names: Vec<_> = state.names.keys().copied().collect();
        // Directories have no order.
        let from = self.disk.random.index(names.len().max(1));
        names.rotate_left(from);
        Ok(names)
    }

    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.lock(|faults| faults.names)?;
        if state.names.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = state.make(name);
        Ok(self.handle(inode))
    }

    fn open(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        let state = self.lock(|faults| faults.names)?;
        let inode = *state.names.get(&name).ok_or(ErrorKind::NotFound)?;
        Ok(self.handle(inode))
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        let mut state = self.lock(|faults| faults.names)?;
        state.names.remove(&name).ok_or(ErrorKind::NotFound)?;
        Ok(())
    }

    fn unlock(&self) {
        let mut state = self.disk.lock();
        if state.process == self.process {
            state.end_process();
        }
    }

    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        let mut state = self.disk.lock();
        if state.runs_jobs {
            drop(state);
            work();
        } else {
            state.jobs.push_back(work);
        }
    }
}

struct Handle {
    files: Mounted,
    inode: usize,
}

impl SegmentFile for Handle {
    fn size(&self) -> io::Result<u64> {
        let state = self.files.lock(|faults| faults.reads)?;
        Ok(state.inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let state = self.files.lock(|faults| faults.reads)?;
        let bytes = &state.inodes[self.inode].bytes;
        let begin = index(offset).min(bytes.len());
        let end = begin.saturating_add(len).min(bytes.len());
        Ok(bytes[begin..end].to_vec())
    }

    fn read_cached_at(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let is_cached = self.files.disk.random.happens(self.files.disk.lock().cached_reads);
        let bytes = self.read_at(offset, len).ok().filter(|_| is_cached)?;
        (bytes.len() == len).then_some(bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.files.lock(|faults| faults.writes)?;
        let inode = &mut state.inodes[self.inode];
        inode.bytes.resize(index(len), 0);
        inode.changes.push(Change::Truncate(index(len)));
        Ok(())
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = parts.iter().map(|part| &**part).collect::<Vec<&[u8]>>().concat();
        let (len, at) = (bytes.len(), index(offset));
        let random = &self.files.disk.random;
        let part = |most: usize| random.index(most + 1);
        let mut state = match self.files.lock(|faults| faults.writes) {
            Ok(state) => state,
            Err(error) => {
                let mut state = self.files.disk.lock();
                if state.process == self.files.process {
                    bytes.truncate(part(len));
                    state.inodes[self.inode].write(at, bytes);
                }
                return Err(error);
            }
        };
        match &mut state.writes_left {
            Some(0) => {
                bytes.truncate(part(len));
                state.inodes[self.inode].write(at, bytes);
                state.end_process();
                return Err(io::Error::other("the process was killed"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let added = (at + len).saturating_sub(state.inodes[self.inode].bytes.len()) as u64;
        if state.bytes() + added > state.room {
            bytes.truncate(part(len));
            state.inodes[self.inode].write(at, bytes);
            return Err(ErrorKind::StorageFull.into());
        }
        state.inodes[self.inode].write(at, bytes);
        Ok(())
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("FaultyDisk")
            .field("segments", &state.names.keys())
            .field("bytes", &state.bytes())
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted").field("process", &self.process).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("inode", &self.inode).finish_non_exhaustive()
    }
}

const SECTOR: usize = 512;
