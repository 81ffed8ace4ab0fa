//! The files of a tier, as the engine sees them: a directory of segments.
//!
//! [`DiskTier`](crate::DiskTier) has one on a real disk. Others can take its place, such as one
//! that loses writes, for tests.

pub(crate) mod directory;

use std::{
    fmt,
    io::{self, IoSlice},
    sync::Arc,
};

pub(crate) use self::directory::Directory;

/// A directory of segment files that one tier has to itself. All calls but
/// [`read_cached_at`](SegmentFile::read_cached_at) may block.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// Returns the key of the hashes that segments of this directory contain.
    fn hash_key(&self) -> [u8; 16];

    /// Returns the names of all segments. Other files are left out.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    fn list(&self) -> io::Result<Vec<SegmentName>>;

    /// Makes a new segment file.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is such a file; another error of the file system otherwise.
    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a segment file for reading, and for writing a footer behind its end.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn open(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>>;

    /// Removes a segment file. Those that have it open can still read it.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn remove(&self, name: SegmentName) -> io::Result<()>;

    /// Gives the directory free for another tier.
    fn unlock(&self);

    /// Runs blocking work elsewhere than on the caller's thread. Work that is dropped counts as a
    /// failed read. Default: on the blocking pool of the tokio runtime that this is called on;
    /// without one, at once.
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

/// A segment file.
pub trait SegmentFile: fmt::Debug + Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn size(&self) -> io::Result<u64>;

    /// Reads `len` bytes from `offset` on; fewer only where the file ends.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// The same without waiting for the disk, if the bytes are in the page cache. Default: `None`.
    fn read_cached_at(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let _ = (offset, len);
        None
    }

    /// Cuts the file off behind `len` bytes.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Writes all `parts`, one behind the other, from `offset` on.
    ///
    /// # Errors
    ///
    /// An error of the file system. Some of the bytes may have been written.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;
}

/// The name of a segment file: the number of the start of the tier that made it, and a number
/// within that start. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The number of the start, one above the highest in the directory.
    pub start: u32,
    /// The number of the segment within the start, from zero.
    pub number: u32,
}

impl SegmentName {
    /// The highest number of a start.
    pub const START_MAX: u32 = (1 << 22) - 1;

    /// Returns the name that a file name tells; `None` of a file that is no segment.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (start, number) = file_name.strip_suffix(".seg")?.split_once('-')?;
        let parsed = |text: &str| u32::from_str_radix(text, 16).ok();
        let name = Self { start: parsed(start)?, number: parsed(number)? };
        (name.start <= Self::START_MAX && name.to_string() == file_name).then_some(name)
    }

    pub(crate) fn bits(self) -> u64 {
        u64::from(self.start) << 32 | u64::from(self.number)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}.seg", self.start, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_a_name() {
        let name = SegmentName { start: 1, number: 0xab };
        assert_eq!(name.to_string(), "00000001-000000ab.seg");
        assert_eq!(SegmentName::parse("00000001-000000ab.seg"), Some(name));
        for foreign in [
            "00000001-000000AB.seg",
            "1-ab.seg",
            "00000001-000000ab",
            "00000001000000ab.seg",
            "+0000001-000000ab.seg",
            "00000001-000000ab.seg.tmp",
            "ffffffff-00000000.seg",
            "",
        ] {
            assert_eq!(SegmentName::parse(foreign), None, "{foreign}");
        }
    }
}
