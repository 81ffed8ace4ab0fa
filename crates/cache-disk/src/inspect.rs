//! A look into a tier's directory from outside: which segments and records it has, and whether
//! they are whole.
//!
//! Nothing is written and nothing is locked, so that it works beside a cache that has the directory
//! open. Such a cache writes meanwhile: a record at the end of its last segment may be seen half
//! written, and a segment may be recycled before it is looked at (`NotFound`).

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use cache_core::Namespace;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    files::{SegmentName, directory},
    format::{
        Fault, HEADER_LEN, RECORD_LEN, RecordHeader, SegmentHeader, TRAILER_LEN, begins_a_record,
        begins_a_trailer, check_head, decode_footer, decode_trailer, hash_key_sum, names_of,
    },
};

/// A tier's directory, to look at.
///
/// ```
/// use cache_disk::{
///     DiskTier,
///     inspect::{Inspector, Verify},
/// };
///
/// # fn main() -> std::io::Result<()> {
/// # let directory = tempfile::tempdir()?;
/// let inspector = Inspector::open(directory.path())?;
/// for name in inspector.segments()? {
///     let summary = inspector.segment(name, Verify::Bodies, |record| {
///         println!("{:?} {} bytes, {:?}", record.key, record.body_bytes, record.fault);
///     })?;
///     println!("{name}: {:?}, {} records", summary.state, summary.records);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Inspector {
    path: PathBuf,
    hash_key_sum: Option<u64>,
}

/// Which checksums are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// Those of headers, heads and footers. Bodies are not read.
    Heads,
    /// All.
    Bodies,
}

/// The kind of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// It is full, or its cache was closed: it has a footer.
    Sealed,
    /// It is being written, or its process ended without closing the cache.
    Unsealed,
    /// It is no segment, or one that was made with the key of another directory.
    Foreign,
    /// It was written by a newer release, in another format.
    Newer,
    /// Its header or its footer is not as it was written.
    Damaged,
}

/// The contents of a segment, in figures.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// Its name.
    pub name: SegmentName,
    /// Its kind.
    pub state: SegmentState,
    /// Bytes of the file.
    pub bytes: u64,
    /// The namespace of the cache that wrote it.
    pub namespace: Option<Namespace>,
    /// Records that were found, damaged ones apart.
    pub records: u64,
    /// Those of them that the footer has: the others were replaced or removed before it was
    /// written. All, if there is no footer.
    pub indexed: u64,
    /// Bytes of the bodies of all records.
    pub body_bytes: u64,
    /// Damaged records.
    pub damaged: u64,
    /// Bytes behind the last record that are no whole record, as a process that was killed, or is
    /// writing, leaves them.
    pub unfinished_bytes: u64,
    /// The fault of the header or the footer.
    pub fault: Option<&'static str>,
}

impl SegmentSummary {
    /// Returns whether a checksum does not match.
    pub fn is_damaged(&self) -> bool {
        self.state == SegmentState::Damaged || self.damaged > 0
    }
}

/// A record of a segment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Record {
    /// Where it begins in its segment.
    pub offset: u64,
    /// Of two records of a key the one with the higher sequence is newer.
    pub sequence: u64,
    /// The namespace of its entry.
    pub namespace: Option<Namespace>,
    /// `None` if it cannot be read.
    pub key: Option<String>,
    /// The ETag of its entry.
    pub e_tag: Option<String>,
    /// The length of its body.
    pub body_bytes: u64,
    /// Whether the segment's footer has it; `true` if there is no footer.
    pub is_indexed: bool,
    /// Its fault. That of a body is found only if bodies are verified.
    pub fault: Option<&'static str>,
}

impl Inspector {
    /// Looks at the directory at `path`.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a directory of a newer release, or an error of the file system.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        std::fs::read_dir(&path)?;
        let hash_key_sum = directory::key_of(&path)?.as_ref().map(hash_key_sum);
        Ok(Self { path, hash_key_sum })
    }

    /// Returns whether the directory has a readable key. Without one, a cache that opens it makes
    /// another, and does not use the segments that are there.
    pub fn has_key(&self) -> bool {
        self.hash_key_sum.is_some()
    }

    /// Returns the names of all segments, in the order of their age.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    pub fn segments(&self) -> io::Result<Vec<SegmentName>> {
        let mut names = directory::list(&self.path)?;
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a segment, and calls `each` with every record, in the order of their offsets.
    ///
    /// # Errors
    ///
    /// An error of the file system: `NotFound` if the segment was recycled meanwhile.
    pub fn segment(
        &self,
        name: SegmentName,
        verify: Verify,
        each: impl FnMut(Record),
    ) -> io::Result<SegmentSummary> {
        let (file, size) = directory::open_to_read(&self.path.join(name.to_string()))?;
        let input = Input { file, size };
        let walk = Walk { input, name, verify, footer: None };
        walk.run(self.hash_key_sum, each)
    }
}

/// The walk through one segment.
struct Walk<F> {
    input: Input<F>,
    name: SegmentName,
    verify: Verify,
    footer: Option<Footer>,
}

struct Footer {
    begin: u64,
    /// Of the records that it has, ascending.
    offsets: Vec<u64>,
}

/// Why there is no record at an offset.
enum Unread {
    /// It is damaged.
    Fault(&'static str),
    /// It is not written to its end.
    Unfinished,
}

impl<F: Read + Seek> Walk<F> {
    fn run(
        mut self,
        hash_key_sum: Option<u64>,
        mut each: impl FnMut(Record),
    ) -> io::Result<SegmentSummary> {
        let mut summary = SegmentSummary {
            name: self.name,
            state: SegmentState::Unsealed,
            bytes: self.input.size,
            namespace: None,
            records: 0,
            indexed: 0,
            body_bytes: 0,
            damaged: 0,
            unfinished_bytes: 0,
            fault: None,
        };
        let begin = self.input.read(0, HEADER_LEN as u64)?;
        let header = match SegmentHeader::decode(&begin, self.name) {
            Ok(header) => header,
            Err(fault) => {
                let is_unfinished = begin.len() < HEADER_LEN || begin.iter().all(|byte| *byte == 0);
                summary.state = if SegmentHeader::is_newer(&begin) {
                    SegmentState::Newer
                } else if is_unfinished || SegmentHeader::is_begun(&begin) {
                    SegmentState::Damaged
                } else {
                    SegmentState::Foreign
                };
                summary.fault = Some(text_of(fault));
                return Ok(summary);
            }
        };
        summary.namespace = Namespace::from_bits(header.namespace);
        match self.read_footer()? {
            Ok(None) => {}
            Ok(footer) => {
                self.footer = footer;
                summary.state = SegmentState::Sealed;
            }
            Err(fault) => {
                summary.state = SegmentState::Damaged;
                summary.fault = Some(fault);
            }
        }
        if hash_key_sum.is_some_and(|sum| sum != header.hash_key_sum) {
            summary.state = SegmentState::Foreign;
            summary.fault = Some("it was made with the key of another directory");
        }
        self.read_records(&mut summary, &mut each)?;
        Ok(summary)
    }

    fn read_records(
        &mut self,
        summary: &mut SegmentSummary,
        each: &mut impl FnMut(Record),
    ) -> io::Result<()> {
        let end = self.footer.as_ref().map_or(self.input.size, |footer| footer.begin);
        let mut at = HEADER_LEN as u64;
        while at < end {
            let (record, next) = match self.read_record(at, end)? {
                Ok((record, next)) => (record, Some(next)),
                // The footer's own bytes are not told apart from a record if it is damaged.
                Err(Unread::Fault(_)) if summary.state == SegmentState::Damaged => break,
                Err(Unread::Unfinished) if self.footer.is_none() => {
                    summary.unfinished_bytes = end - at;
                    break;
                }
                Err(unread) => {
                    let fault = match unread {
                        Unread::Fault(fault) => fault,
                        Unread::Unfinished => "the record is cut off",
                    };
                    let is_indexed = self.is_indexed(at);
                    (Record::unreadable(at, is_indexed, fault), self.next_indexed(at))
                }
            };
            if record.fault.is_some() {
                summary.damaged += 1;
            } else {
                summary.records += 1;
                summary.indexed += u64::from(record.is_indexed);
                summary.body_bytes += record.body_bytes;
            }
            each(record);
            let Some(next) = next else { break };
            at = next;
        }
        Ok(())
    }

    /// Reads the record at `at`. Returns where the next one begins, too.
    fn read_record(&mut self, at: u64, end: u64) -> io::Result<Result<(Record, u64), Unread>> {
        let begin = self.input.read(at, READ_AHEAD.min(end - at))?;
        let fault = |text| {
            // A file that grew and was not filled, as after a power loss.
            let is_unfinished = begin.len() < RECORD_LEN || begin.iter().all(|byte| *byte == 0);
            if is_unfinished { Unread::Unfinished } else { Unread::Fault(text) }
        };
        let Ok(offset) = u32::try_from(at) else {
            return Ok(Err(Unread::Fault("the segment is too long")));
        };
        let header = match RecordHeader::decode(&begin, self.name, offset) {
            Ok(header) => header,
            Err(_) if begin.len() >= RECORD_LEN && !begins_a_record(&begin) => {
                return Ok(Err(fault("it does not begin as a record")));
            }
            Err(error) => return Ok(Err(fault(text_of(error)))),
        };
        let next = at + header.len();
        if next > end {
            return Ok(Err(Unread::Unfinished));
        }
        let (head_at, head_len) = (at + RECORD_LEN as u64, u64::from(header.head_len));
        let body_at = head_at + head_len;
        let read_ahead = begin.get(RECORD_LEN..).unwrap_or_default();
        let head = match read_ahead.get(..header.head_len as usize) {
            Some(head) => head.to_vec(),
            None => self.input.read(head_at, head_len)?,
        };
        let names = check_head(&header, &head).and_then(|()| names_of(&head));
        let mut record = Record {
            offset: at,
            sequence: header.sequence,
            namespace: Namespace::from_bits(header.namespace),
            key: None,
            e_tag: None,
            body_bytes: header.body_len.into(),
            is_indexed: self.is_indexed(at),
            fault: None,
        };
        match names {
            Ok((key, e_tag)) => (record.key, record.e_tag) = (Some(key.to_owned()), e_tag),
            Err(fault) => record.fault = Some(text_of(fault)),
        }
        if record.fault.is_none()
            && self.verify == Verify::Bodies
            && self.input.checksum(body_at, header.body_len.into())? != header.body_sum
        {
            record.fault = Some("the checksum of the body does not match");
        }
        Ok(Ok((record, next)))
    }

    /// Reads the footer; `None` if there is none.
    fn read_footer(&mut self) -> io::Result<Result<Option<Footer>, &'static str>> {
        let Some(trailer_at) = self.input.size.checked_sub(TRAILER_LEN as u64) else {
            return Ok(Ok(None));
        };
        let trailer = self.input.read(trailer_at, TRAILER_LEN as u64)?;
        let Some((begin, sum)) = decode_trailer(&trailer, self.name) else {
            let is_damaged = begins_a_trailer(&trailer);
            let fault = "the checksum of the footer's trailer does not match";
            return Ok(if is_damaged { Err(fault) } else { Ok(None) });
        };
        let begin = u64::from(begin);
        let fault = "the checksum of the footer does not match";
        let Some(len) = trailer_at.checked_sub(begin) else { return Ok(Err(fault)) };
        let bytes = self.input.read(begin, len)?;
        let Some(items) = decode_footer(&bytes, sum) else { return Ok(Err(fault)) };
        let mut offsets: Vec<u64> = items.iter().map(|item| item.offset.into()).collect();
        offsets.sort_unstable();
        Ok(Ok(Some(Footer { begin, offsets })))
    }

    fn is_indexed(&self, at: u64) -> bool {
        self.footer.as_ref().is_none_or(|footer| footer.offsets.binary_search(&at).is_ok())
    }

    /// Returns the offset of the next record behind `at` that the footer has.
    fn next_indexed(&self, at: u64) -> Option<u64> {
        let offsets = &self.footer.as_ref()?.offsets;
        offsets.get(offsets.partition_point(|offset| *offset <= at)).copied()
    }
}

impl Record {
    fn unreadable(offset: u64, is_indexed: bool, fault: &'static str) -> Self {
        Self {
            offset,
            sequence: 0,
            namespace: None,
            key: None,
            e_tag: None,
            body_bytes: 0,
            is_indexed,
            fault: Some(fault),
        }
    }
}

/// A file and its length when it was opened: it may grow.
struct Input<F> {
    file: F,
    size: u64,
}

impl<F: Read + Seek> Input<F> {
    /// Reads `len` bytes from `at` on; fewer where the file ends.
    fn read(&mut self, at: u64, len: u64) -> io::Result<Vec<u8>> {
        // Lengths come from the file: none is believed that is longer than the file.
        let len = len.min(self.size.saturating_sub(at));
        let mut bytes = Vec::new();
        let wanted = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.try_reserve_exact(wanted).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.by_ref().take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns the checksum of `len` bytes from `at` on.
    fn checksum(&mut self, at: u64, len: u64) -> io::Result<u64> {
        let (mut sum, end) = (Xxh3::new(), at + len);
        let mut at = at;
        while at < end {
            let bytes = self.read(at, CHUNK.min(end - at))?;
            if bytes.is_empty() {
                break;
            }
            sum.update(&bytes);
            at += bytes.len() as u64;
        }
        Ok(sum.digest())
    }
}

fn text_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Corrupt(text) => text,
        Fault::Foreign => "it is of another key",
    }
}

/// A header and most heads, in one read.
const READ_AHEAD: u64 = 1024;
const CHUNK: u64 = 256 << 10;
