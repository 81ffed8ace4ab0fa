//! Entries as bytes, for backends whose entries outlive the process.
//!
//! All numbers are little-endian. The checksum covers all that follows it:
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | `OCE` and the version of the format, 1 |
//! | 8 | checksum |
//! | 1 | flags: has an ETag, a version id, a date; is negative |
//! | 1 | [`Storability`] |
//! | 8 | identity, zero if it has none |
//! | 8 | date in nanoseconds since the Unix epoch, zero if it has none |
//! | 8 each | length of the key, ETag, version id, attributes and body |
//! | | these, in this order; an attribute is two lengths, its name and its value |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{ABSENT, Entry, HAS_DATE, HAS_E_TAG, HAS_VERSION_ID, Storability, builder::unix_nanos};
use crate::{Attributes, Error, ErrorKind, Key, Namespace, Result, Version};

impl Entry {
    /// Returns the entry as bytes that [`from_bytes`](Self::from_bytes) reads: key, body, version,
    /// attributes, [`Namespace`] and [`Storability`], with the version of the format and a
    /// checksum. What a later release reads of an earlier one's bytes, its changelog says; an entry
    /// that it cannot read is an error there, and so a miss.
    ///
    /// The moment of the last validation is left out, since the clock of another process has
    /// another zero.
    pub fn to_bytes(&self) -> Bytes {
        let mut attributes = Vec::new();
        for (name, value) in self.attributes().iter() {
            put_len(&mut attributes, name.len());
            put_len(&mut attributes, value.len());
            attributes.extend_from_slice(name.as_bytes());
            attributes.extend_from_slice(value.as_bytes());
        }
        let [e_tag, version_id] =
            [self.e_tag(), self.version_id()].map(|text| text.unwrap_or_default().as_bytes());
        let parts = [self.key_bytes(), e_tag, version_id, &attributes, self.body()];
        let len = HEADER_LEN + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; CHECKSUM_LEN]);
        bytes.push(self.head().flags);
        bytes.push(match self.storability() {
            Storability::Revalidatable => 0,
            Storability::FreshOnly => 1,
            Storability::NoStore => 2,
        });
        bytes.extend_from_slice(&self.namespace().map_or(0, Namespace::bits).to_le_bytes());
        bytes.extend_from_slice(&self.last_modified().map_or(0, unix_nanos).to_le_bytes());
        parts.iter().for_each(|part| put_len(&mut bytes, part.len()));
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let sum = checksum(&bytes[CHECKED_FROM..]);
        bytes[MAGIC.len()..CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
        bytes.into()
    }

    /// Reads an entry that [`to_bytes`](Self::to_bytes) wrote. It has no stamp
    /// ([`validated_at`](Self::validated_at) is `None`), so it is revalidated before it is served,
    /// under every [`Freshness`](crate::Freshness). The body is copied.
    ///
    /// Never panics, and allocates no more than a small multiple of the bytes that are there. The
    /// checksum detects damage, not forgery: who can write the bytes decides what is in them.
    ///
    /// # Errors
    ///
    /// `Backend` if the bytes are cut off or damaged, or were written in another format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes).map_err(|what| {
            Error::new(ErrorKind::Backend, format!("the stored entry cannot be read: {what}"))
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Entry, &'static str> {
    let mut rest = bytes;
    let magic = take(&mut rest, MAGIC.len() as u64)?;
    if magic[..MAGIC.len() - 1] != MAGIC[..MAGIC.len() - 1] {
        return Err("it does not begin as an entry does");
    }
    if magic != MAGIC {
        return Err("it has an unknown version of the format");
    }
    let sum = number(&mut rest)?;
    if sum != checksum(rest) {
        return Err("its checksum does not match");
    }
    let [flags, keep] = *take(&mut rest, 2)?.first_chunk().ok_or(CUT_OFF)?;
    let keep = match keep {
        0 => Storability::Revalidatable,
        1 => Storability::FreshOnly,
        2 => Storability::NoStore,
        _ => return Err("it has an unknown storability"),
    };
    if flags & !(HAS_E_TAG | HAS_VERSION_ID | HAS_DATE | ABSENT) != 0 {
        return Err("it has unknown flags");
    }
    let identity = Namespace::from_bits(number(&mut rest)?);
    let date = number(&mut rest)?.cast_signed();
    let mut lens = [0; 5];
    for len in &mut lens {
        *len = number(&mut rest)?;
    }
    let mut parts = [&[][..]; 5];
    for (part, len) in parts.iter_mut().zip(lens) {
        *part = take(&mut rest, len)?;
    }
    if !rest.is_empty() {
        return Err("there are bytes after its end");
    }
    let [key, e_tag, version_id, attributes, body] = parts;
    let key = Key::parse(text(key)?).map_err(|_| "its key is not canonical")?;
    let named = |flag, value| (flags & flag != 0).then(|| text(value).map(Into::into)).transpose();
    let version = Version {
        e_tag: named(HAS_E_TAG, e_tag)?,
        version: named(HAS_VERSION_ID, version_id)?,
        last_modified: (flags & HAS_DATE != 0).then(|| moment(date)).transpose()?,
        size: 0,
    };
    // The buffer has nothing else in it.
    let entry = Entry::builder(&key, Bytes::copy_from_slice(body)).keep_buffer();
    let entry = entry.version(version).attributes(read_attributes(attributes)?).namespace(identity);
    let entry = if flags & ABSENT != 0 { entry.absent() } else { entry };
    Ok(entry.storability(keep).build())
}

fn read_attributes(mut rest: &[u8]) -> Result<Attributes, &'static str> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (name_len, value_len) = (number(&mut rest)?, number(&mut rest)?);
        let name = text(take(&mut rest, name_len)?)?;
        items.push((name, text(take(&mut rest, value_len)?)?));
    }
    Ok(items.into_iter().collect())
}

fn moment(nanos: i64) -> Result<SystemTime, &'static str> {
    let span = Duration::from_nanos(nanos.unsigned_abs());
    let at = if nanos < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    at.ok_or("its date is out of range")
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "a text in it is not UTF-8")
}

fn number(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let bytes = take(rest, 8)?.first_chunk().ok_or(CUT_OFF)?;
    Ok(u64::from_le_bytes(*bytes))
}

fn take<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], &'static str> {
    let len = usize::try_from(len).map_err(|_| CUT_OFF)?;
    let (taken, left) = rest.split_at_checked(len).ok_or(CUT_OFF)?;
    *rest = left;
    Ok(taken)
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend_from_slice(&(len as u64).to_le_bytes());
}

/// FNV-1a over words of 8 bytes, each mixed in by a bijection: damage within one word always shows.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let len = bytes.len() as u64;
    let words = words.iter().copied().chain([last]).map(u64::from_le_bytes).chain([len]);
    words.fold(FNV_OFFSET, |hash, word| (hash ^ word).wrapping_mul(FNV_PRIME).rotate_left(29))
}

const MAGIC: &[u8; 4] = b"OCE\x01";
const CHECKSUM_LEN: usize = 8;
const CHECKED_FROM: usize = MAGIC.len() + CHECKSUM_LEN;
const HEADER_LEN: usize = CHECKED_FROM + 2 + 2 * 8 + 5 * 8;
const CUT_OFF: &str = "it is cut off";
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Moment;

    fn sample() -> Entry {
        Entry::builder(&Key::parse("a/b").unwrap(), Bytes::from_static(b"body"))
            .version(Version {
                e_tag: Some("\"x\"".into()),
                version: Some("7".into()),
                last_modified: Some(UNIX_EPOCH - Duration::from_nanos(5)),
                size: 4,
            })
            .attributes([("content-type", "text/plain"), ("a", "")].into_iter().collect())
            .namespace(Some(Namespace::named("s3://bucket as reader")))
            .validated(Moment::from_nanos(5), None)
            .build()
    }

    #[track_caller]
    fn check(entry: &Entry) {
        let read = Entry::from_bytes(&entry.to_bytes()).unwrap();
        assert_eq!((read.key(), read.body()), (entry.key(), entry.body()));
        let (one, other) = (read.version(), entry.version());
        assert_eq!(one, other);
        assert_eq!((one.last_modified, one.size), (other.last_modified, other.size));
        assert_eq!(read.attributes(), entry.attributes());
        assert_eq!(
            (read.storability(), read.namespace()),
            (entry.storability(), entry.namespace())
        );
        assert_eq!(read.is_negative(), entry.is_negative());
        assert_eq!((read.validated_at(), read.must_revalidate()), (None, true));
        assert_eq!(read.to_bytes(), entry.to_bytes());
    }

    #[test]
    fn an_entry_is_read_back_without_its_stamp() {
        check(&sample());
        check(&Entry::builder(&Key::parse("a").unwrap(), Bytes::new()).build());
        check(&Entry::builder(&Key::parse("a").unwrap(), Bytes::new()).absent().build());
    }

    /// Written down once: a medium of an older release has to be read, or refused.
    #[test]
    fn the_format_stays_as_it_is() {
        let bytes = sample().to_bytes();
        assert_eq!((&bytes[..4], bytes.len()), (&b"OCE\x01"[..], 136));
        // Computed by another implementation.
        assert_eq!(checksum(&bytes), SUM_OF_SAMPLE);
    }

    const SUM_OF_SAMPLE: u64 = 2_886_312_529_711_754_272;

    #[test]
    fn no_damage_goes_unnoticed() {
        let bytes = sample().to_bytes();
        for len in 0..bytes.len() {
            Entry::from_bytes(&bytes[..len]).unwrap_err();
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                let error = Entry::from_bytes(&damaged).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Backend);
            }
        }
        Entry::from_bytes(&[&bytes[..], &[0]].concat()).unwrap_err();
    }

    /// As one who knows the format could write it.
    #[test]
    fn a_right_checksum_over_wrong_fields_is_an_error() {
        let bytes = sample().to_bytes();
        for at in CHECKED_FROM..HEADER_LEN {
            for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                let sum = checksum(&changed[CHECKED_FROM..]);
                changed[MAGIC.len()..CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
                if let Ok(entry) = Entry::from_bytes(&changed) {
                    check(&entry);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_entry_is_read_back(
            key in "[a-zü]{1,20}(/[a-z .]{0,5}[a-z]){0,3}",
            e_tag in proptest::option::of(".{0,20}"),
            version in proptest::option::of(".{0,20}"),
            nanos in proptest::option::of(any::<i64>()),
            names in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..5),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let last_modified = nanos.map(|nanos| moment(nanos).unwrap());
            let version = Version { e_tag, version, last_modified, size: 0 };
            let key = Key::parse(&key).unwrap();
            let builder = Entry::builder(&key, body.into()).version(version);
            check(&builder.attributes(names.into_iter().collect()).build());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::from_bytes(&bytes);
            let _ = Entry::from_bytes(&[&MAGIC[..], &checksum(&bytes).to_le_bytes(), &bytes].concat());
        }
    }
}
