//! The format of segment files.
//!
//! All numbers are little-endian. A segment is a header of [`HEADER_LEN`] bytes, records one behind
//! the other, and, once it is full, a footer: an index of the records, and a trailer of
//! [`TRAILER_LEN`] bytes that says where it begins. Without a footer, as after a crash, the records
//! are found by walking from header to header.
//!
//! | bytes | header of a segment |
//! | --- | --- |
//! | 8 | `OCDISK`, zero, the version of the format |
//! | 8 | the segment's name |
//! | 8 | the namespace of the cache |
//! | 8 | checksum of the directory's hash key |
//! | 24 | zero |
//! | 8 | checksum of all before |
//!
//! | bytes | header of a record |
//! | --- | --- |
//! | 4 | `OCR`, the version of the format |
//! | 4 | checksum of the rest of this header, the segment's name and the record's offset |
//! | 8 | sequence: of two records of a key the higher one is newer |
//! | 8 | namespace of the entry, zero if it has none |
//! | 8 | checksum of the body |
//! | 4 | checksum of the head |
//! | 4 each | length of the head, length of the body |
//! | 4 | zero |
//!
//! Behind it are the head (key, version, storability and attributes) and the body. The checksums
//! are xxh3: they detect damage, not forgery.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cache_core::{Attributes, Entry, EntryBuilder, Key, Namespace, Seal, Storability, Version};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    files::SegmentName,
    hash::{Hash, HashKey},
};

/// The fault of bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They differ from the bytes that were written there.
    Corrupt(&'static str),
    /// They are of another key.
    Foreign,
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) namespace: u64,
    pub(crate) hash_key_sum: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(self, name: SegmentName) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&name.bits().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.namespace.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.hash_key_sum.to_le_bytes());
        let sum = xxh3_64(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Returns whether `bytes` begin as a segment of this format.
    pub(crate) fn is_begun(bytes: &[u8]) -> bool {
        bytes.starts_with(SEGMENT_MAGIC)
    }

    /// Returns whether `bytes` begin as a segment of a later version of this format.
    pub(crate) fn is_newer(bytes: &[u8]) -> bool {
        let (magic, [version]) = SEGMENT_MAGIC.split_at(7) else { return false };
        bytes.starts_with(magic) && bytes.get(7).is_some_and(|other| other > version)
    }

    pub(crate) fn decode(bytes: &[u8], name: SegmentName) -> Result<Self, Fault> {
        let bytes: &[u8; HEADER_LEN] =
            bytes.try_into().map_err(|_| Fault::Corrupt("the segment's header is cut off"))?;
        if bytes[..8] != *SEGMENT_MAGIC {
            return Err(Fault::Corrupt("it does not begin as a segment of this format"));
        }
        if number(bytes, 56) != xxh3_64(&bytes[..56]) {
            return Err(Fault::Corrupt("the checksum of the segment's header does not match"));
        }
        if number(bytes, 8) != name.bits() {
            return Err(Fault::Corrupt("the segment was written under another name"));
        }
        Ok(Self { namespace: number(bytes, 16), hash_key_sum: number(bytes, 24) })
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) sequence: u64,
    pub(crate) namespace: u64,
    pub(crate) body_sum: u64,
    head_sum: u32,
    pub(crate) head_len: u32,
    pub(crate) body_len: u32,
}

impl RecordHeader {
    pub(crate) fn encode(self, name: SegmentName, offset: u32) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[..4].copy_from_slice(RECORD_MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.namespace.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.body_sum.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.head_sum.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.head_len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.body_len.to_le_bytes());
        let sum = header_sum(&bytes, name, offset);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], name: SegmentName, offset: u32) -> Result<Self, Fault> {
        let bytes: &[u8; RECORD_LEN] =
            bytes.first_chunk().ok_or(Fault::Corrupt("the record's header is cut off"))?;
        if bytes[..4] != *RECORD_MAGIC {
            return Err(Fault::Corrupt("it does not begin as a record"));
        }
        // With the segment's name and the offset: a record that was moved, or that another segment
        // has at the same offset, is not the one that was written here.
        // mutant: disk_header_checksum
        if half(bytes, 4) != header_sum(bytes, name, offset) {
            return Err(Fault::Corrupt("the checksum of the record's header does not match"));
        }
        Ok(Self {
            sequence: number(bytes, 8),
            namespace: number(bytes, 16),
            body_sum: number(bytes, 24),
            head_sum: half(bytes, 32),
            head_len: half(bytes, 36),
            body_len: half(bytes, 40),
        })
    }

    /// Returns the length of the whole record.
    pub(crate) fn len(&self) -> u64 {
        RECORD_LEN as u64 + u64::from(self.head_len) + u64::from(self.body_len)
    }
}

/// The header and head of a record, with the body apart so that it need not be copied.
pub(crate) struct Encoded {
    pub(crate) header: RecordHeader,
    pub(crate) head: Vec<u8>,
}

/// Encodes `entry`. `None` if its body is too long for a record.
pub(crate) fn encode(entry: &Entry, sequence: u64) -> Option<Encoded> {
    let head = encode_head(entry)?;
    let header = RecordHeader {
        sequence,
        namespace: entry.namespace().map_or(0, Namespace::bits),
        body_sum: xxh3_64(entry.body()),
        head_sum: low(xxh3_64(&head)),
        head_len: u32::try_from(head.len()).ok()?,
        body_len: u32::try_from(entry.body().len()).ok()?,
    };
    Some(Encoded { header, head })
}

/// Returns the length of the record of `entry`, or somewhat more.
pub(crate) fn record_len(entry: &Entry) -> u64 {
    let attributes = entry.attributes().iter();
    let head = HEAD_LEN
        + entry.key().len()
        + entry.e_tag().map_or(0, str::len)
        + entry.version_id().map_or(0, str::len)
        + attributes.map(|(name, value)| name.len() + value.len() + 8).sum::<usize>();
    (RECORD_LEN + head + entry.body().len()) as u64
}

fn encode_head(entry: &Entry) -> Option<Vec<u8>> {
    let mut attributes = Vec::new();
    for (name, value) in entry.attributes().iter() {
        for text in [name, value] {
            attributes.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
            attributes.extend_from_slice(text.as_bytes());
        }
    }
    let [e_tag, version_id] =
        [entry.e_tag(), entry.version_id()].map(|text| text.unwrap_or_default().as_bytes());
    let flags = [
        (entry.e_tag().is_some(), HAS_E_TAG),
        (entry.version_id().is_some(), HAS_VERSION_ID),
        (entry.last_modified().is_some(), HAS_DATE),
    ];
    let flags = flags.iter().fold(0, |flags, (is, flag)| if *is { flags | flag } else { flags });
    let key = entry.key().as_bytes();
    let len = HEAD_LEN + key.len() + e_tag.len() + version_id.len() + attributes.len();
    let mut head = Vec::with_capacity(len);
    head.push(flags);
    head.push(match entry.storability() {
        Storability::FreshOnly => 1,
        Storability::NoStore => 2,
        _ => 0,
    });
    head.extend_from_slice(&entry.last_modified().map_or(0, unix_nanos).to_le_bytes());
    for part in [key, e_tag, version_id, &attributes] {
        head.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
    }
    for part in [key, e_tag, version_id, &attributes] {
        head.extend_from_slice(part);
    }
    Some(head)
}

/// A record that was read and whose checksums match.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) header: RecordHeader,
    bytes: Bytes,
}

impl Record {
    /// Checks the record in `bytes`, which was written into the segment `name` at `offset`.
    pub(crate) fn check(bytes: Vec<u8>, name: SegmentName, offset: u32) -> Result<Self, Fault> {
        let header = RecordHeader::decode(&bytes, name, offset)?;
        if header.len() != bytes.len() as u64 {
            return Err(Fault::Corrupt("the record is cut off"));
        }
        let (head, body) = bytes[RECORD_LEN..].split_at(header.head_len as usize);
        check_head(&header, head)?;
        // Damage shows in the checksum alone, since any bytes are a body.
        // mutant: disk_body_checksum
        if xxh3_64(body) != header.body_sum {
            return Err(Fault::Corrupt("the checksum of the body does not match"));
        }
        Ok(Self { header, bytes: bytes.into() })
    }

    pub(crate) fn key(&self) -> Result<&str, Fault> {
        key_of(self.head())
    }

    /// Builds the entry, with the stamp that `seal` has.
    pub(crate) fn entry(&self, seal: Seal) -> Result<Entry, Fault> {
        let body = self.bytes.slice(RECORD_LEN + self.header.head_len as usize..);
        // A body of a few bytes does not keep the record's buffer alive.
        let beside = self.bytes.len() - body.len();
        let body =
            if beside > body.len() / BESIDE_SHARE { Bytes::copy_from_slice(&body) } else { body };
        let head = Head::decode(self.head())?;
        let key = Key::parse(head.key).map_err(|_| UNREADABLE)?;
        let namespace = Namespace::from_bits(self.header.namespace);
        let builder = Entry::builder(&key, body)
            .version(head.version)
            .attributes(head.attributes)
            .storability(head.storability)
            .namespace(namespace)
            .sealed(seal)
            .keep_buffer();
        Ok(head.e_tag.into_iter().fold(builder, EntryBuilder::e_tag).build())
    }

    fn head(&self) -> &[u8] {
        &self.bytes[RECORD_LEN..][..self.header.head_len as usize]
    }
}

/// Checks the head of a record.
pub(crate) fn check_head(header: &RecordHeader, head: &[u8]) -> Result<(), Fault> {
    if low(xxh3_64(head)) == header.head_sum {
        Ok(())
    } else {
        Err(Fault::Corrupt("the checksum of the record's head does not match"))
    }
}

/// Returns the key in the head of a record.
pub(crate) fn key_of(head: &[u8]) -> Result<&str, Fault> {
    let len = head.get(10..14).and_then(|len| len.try_into().ok()).map(u32::from_le_bytes);
    let key = len.and_then(|len| head.get(HEAD_LEN..)?.get(..len as usize));
    key.and_then(|key| std::str::from_utf8(key).ok()).ok_or(UNREADABLE)
}

/// Returns the key and the ETag in the head of a record.
pub(crate) fn names_of(head: &[u8]) -> Result<(&str, Option<String>), Fault> {
    let head = Head::decode(head)?;
    Ok((head.key, head.e_tag.map(str::to_owned)))
}

struct Head<'a> {
    key: &'a str,
    e_tag: Option<&'a str>,
    /// Without the ETag.
    version: Version,
    attributes: Attributes,
    storability: Storability,
}

impl<'a> Head<'a> {
    fn decode(head: &'a [u8]) -> Result<Self, Fault> {
        Self::read(head).ok_or(UNREADABLE)
    }

    fn read(head: &'a [u8]) -> Option<Self> {
        let mut rest = head;
        let [flags, storability] = *rest.split_off(..2)?.first_chunk()?;
        let date = i64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?);
        let mut lens = [0; 4];
        for len in &mut lens {
            *len = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?) as usize;
        }
        let mut parts = [&[][..]; 4];
        for (part, len) in parts.iter_mut().zip(lens) {
            *part = rest.split_off(..len)?;
        }
        let [key, e_tag, version_id, attributes] = parts;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let named =
            |flag, bytes| if flags & flag != 0 { text(bytes).map(Some) } else { Some(None) };
        let date = if flags & HAS_DATE != 0 { Some(moment(date)?) } else { None };
        let version = Version::default()
            .with_version(named(HAS_VERSION_ID, version_id)?.map(Into::into))
            .with_last_modified(date);
        Some(Self {
            key: text(key)?,
            e_tag: named(HAS_E_TAG, e_tag)?,
            version,
            attributes: read_attributes(attributes)?,
            storability: match storability {
                0 => Storability::Revalidatable,
                1 => Storability::FreshOnly,
                2 => Storability::NoStore,
                _ => return None,
            },
        })
    }
}

fn read_attributes(mut rest: &[u8]) -> Option<Attributes> {
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?) as usize;
        texts.push(std::str::from_utf8(rest.split_off(..len)?).ok()?);
    }
    let (pairs, []) = texts.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|&[name, value]| (name, value)).collect())
}

/// A record, as a footer tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FooterItem {
    pub(crate) hash: Hash,
    pub(crate) sequence: u64,
    pub(crate) offset: u32,
    /// The highest bit says that it is pinned.
    len: u32,
}

impl FooterItem {
    pub(crate) fn new(hash: Hash, sequence: u64, offset: u32, len: u32) -> Self {
        Self { hash, sequence, offset, len: len & !PINNED_BIT }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len & !PINNED_BIT
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.len & PINNED_BIT != 0
    }

    pub(crate) fn pin(&mut self) {
        self.len |= PINNED_BIT;
    }
}

/// Encodes the footer, which begins at `offset`, with its trailer.
pub(crate) fn encode_footer(items: &[FooterItem], name: SegmentName, offset: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.len() * ITEM_LEN + TRAILER_LEN);
    for item in items {
        bytes.extend_from_slice(&item.hash.0[0].to_le_bytes());
        bytes.extend_from_slice(&item.hash.0[1].to_le_bytes());
        bytes.extend_from_slice(&item.sequence.to_le_bytes());
        bytes.extend_from_slice(&item.offset.to_le_bytes());
        bytes.extend_from_slice(&item.len.to_le_bytes());
    }
    let sum = xxh3_64(&bytes);
    let mut trailer = [0; TRAILER_LEN];
    trailer[..8].copy_from_slice(FOOTER_MAGIC);
    trailer[8..16].copy_from_slice(&name.bits().to_le_bytes());
    trailer[16..24].copy_from_slice(&sum.to_le_bytes());
    trailer[24..28].copy_from_slice(&offset.to_le_bytes());
    let sum = xxh3_64(&trailer[..32]);
    trailer[32..].copy_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&trailer);
    bytes
}

/// Returns where the footer begins and its checksum, as the trailer at the end of a file says.
pub(crate) fn decode_trailer(bytes: &[u8], name: SegmentName) -> Option<(u32, u64)> {
    let bytes: &[u8; TRAILER_LEN] = bytes.try_into().ok()?;
    let is_ours = bytes[..8] == *FOOTER_MAGIC
        && number(bytes, 8) == name.bits()
        && number(bytes, 32) == xxh3_64(&bytes[..32]);
    is_ours.then(|| (half(bytes, 24), number(bytes, 16)))
}

/// Returns the items of a footer; `None` if its checksum does not match.
pub(crate) fn decode_footer(bytes: &[u8], sum: u64) -> Option<Vec<FooterItem>> {
    let (items, []) = bytes.as_chunks::<ITEM_LEN>() else { return None };
    (xxh3_64(bytes) == sum).then(|| {
        let item = |item: &[u8; ITEM_LEN]| FooterItem {
            hash: Hash([number(item, 0), number(item, 8)]),
            sequence: number(item, 16),
            offset: half(item, 24),
            len: half(item, 28),
        };
        items.iter().map(item).collect()
    })
}

/// Returns a checksum of the directory's hash key.
pub(crate) fn hash_key_sum(key: &HashKey) -> u64 {
    xxh3_64(key)
}

/// Returns whether `bytes` begin as a record.
pub(crate) fn begins_a_record(bytes: &[u8]) -> bool {
    bytes.starts_with(RECORD_MAGIC)
}

/// Returns whether `bytes`, the end of a file, begin as a trailer.
pub(crate) fn begins_a_trailer(bytes: &[u8]) -> bool {
    bytes.starts_with(FOOTER_MAGIC)
}

fn header_sum(header: &[u8; RECORD_LEN], name: SegmentName, offset: u32) -> u32 {
    // In one piece: a hasher that is fed takes longer to make than the hash.
    let mut bytes = [0; RECORD_LEN - 8 + 8 + 4];
    bytes[..RECORD_LEN - 8].copy_from_slice(&header[8..]);
    bytes[RECORD_LEN - 8..RECORD_LEN].copy_from_slice(&name.bits().to_le_bytes());
    bytes[RECORD_LEN..].copy_from_slice(&offset.to_le_bytes());
    low(xxh3_64(&bytes))
}

fn unix_nanos(at: SystemTime) -> i64 {
    let clamp = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => clamp(since),
        Err(before) => -clamp(before.duration()),
    }
}

fn moment(nanos: i64) -> Option<SystemTime> {
    let span = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}

/// The number of 8 bytes at `at`; zero behind the end.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u64::from_le_bytes(*n))
}

/// The number of 4 bytes at `at`; zero behind the end.
fn half(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u32::from_le_bytes(*n))
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(sum: u64) -> u32 {
    sum as u32
}

pub(crate) const HEADER_LEN: usize = 64;
pub(crate) const RECORD_LEN: usize = 48;
pub(crate) const ITEM_LEN: usize = 32;
pub(crate) const TRAILER_LEN: usize = 40;
/// Of a head, before its texts.
pub(crate) const HEAD_LEN: usize = 2 + 8 + 4 * 4;

const PINNED_BIT: u32 = 1 << 31;
/// The last byte is the format's version.
const SEGMENT_MAGIC: &[u8; 8] = b"OCDISK\0\x01";
const RECORD_MAGIC: &[u8; 4] = b"OCR\x01";
const FOOTER_MAGIC: &[u8; 8] = b"OCFOOT\0\x01";
const HAS_E_TAG: u8 = 1;
const HAS_VERSION_ID: u8 = 2;
const HAS_DATE: u8 = 4;
/// An entry keeps up to an eighth of its length alive beside its body.
const BESIDE_SHARE: usize = 8;
const UNREADABLE: Fault = Fault::Corrupt("the record's head cannot be read");
