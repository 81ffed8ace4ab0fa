//! Messages as bytes.
//!
//! ```text
//! 0   4  magic "OCcb"
//! 4   1  version: 1
//! 5   8  namespace
//! 13  8  node
//! 21  8  seq
//! 29  1  kind: 1 key, 2 key with an ETag, 3 prefix, 4 all, 5 heartbeat
//! 30     1, 3: the key or prefix; 2: the length of the key in 2 bytes, the key, the ETag;
//!        5: beat and last seq, 8 bytes each
//! ```
//!
//! Numbers are little endian. Magic and version stay where they are in every version. A later
//! release may add kinds to this one: a change of a kind that is not known is one of any object, so
//! that old and new releases hear each other.

use super::{Announcement, Change};
use crate::{Error, ErrorKind, Key, Namespace, Result};

impl Announcement {
    /// Returns the message as bytes that [`from_bytes`](Self::from_bytes) reads, in this release
    /// and later ones.
    ///
    /// ```
    /// use cache_core::{Announcement, Change, Key, Namespace};
    ///
    /// let message = Announcement {
    ///     namespace: Namespace::named("s3://bucket"),
    ///     node: 7,
    ///     seq: 1,
    ///     change: Change::Key { key: Key::parse("config.json")?, e_tag: Some("\"1\"".into()) },
    /// };
    /// assert_eq!(Announcement::from_bytes(&message.to_bytes())?, message);
    /// # Ok::<(), cache_core::Error>(())
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + 64);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        for number in [self.namespace.bits(), self.node, self.seq] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        match &self.change {
            Change::Key { key, e_tag: None } => {
                bytes.push(KEY);
                bytes.extend_from_slice(key.as_str().as_bytes());
            }
            Change::Key { key, e_tag: Some(e_tag) } => {
                bytes.push(KEY_WITH_TAG);
                // A key has at most 4,096 bytes.
                let len = u16::try_from(key.as_str().len()).unwrap_or(u16::MAX);
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(key.as_str().as_bytes());
                bytes.extend_from_slice(e_tag.as_bytes());
            }
            Change::Prefix(prefix) => {
                bytes.push(PREFIX);
                bytes.extend_from_slice(prefix.as_bytes());
            }
            Change::All => bytes.push(ALL),
            Change::Heartbeat { beat, last_seq } => {
                bytes.push(HEARTBEAT);
                bytes.extend_from_slice(&beat.to_le_bytes());
                bytes.extend_from_slice(&last_seq.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// `Unsupported` if it has the format of a later release, `Decode` if it is no message: it was
    /// cut, has bytes behind its end, or a key that is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let Some((&[version], rest)) =
            bytes.strip_prefix(&MAGIC).and_then(<[u8]>::split_first_chunk)
        else {
            return Err(unreadable());
        };
        if version > VERSION {
            let message = "the message has a newer format; update this program";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut rest = rest;
        let namespace = Namespace::from_bits(number(&mut rest)?).ok_or_else(unreadable)?;
        let (node, seq) = (number(&mut rest)?, number(&mut rest)?);
        let (&kind, rest) = rest.split_first().ok_or_else(unreadable)?;
        let change = match kind {
            KEY => Change::Key { key: key(rest)?, e_tag: None },
            KEY_WITH_TAG => {
                let (len, rest) = rest.split_first_chunk().ok_or_else(unreadable)?;
                let len = usize::from(u16::from_le_bytes(*len));
                let (name, e_tag) = rest.split_at_checked(len).ok_or_else(unreadable)?;
                if e_tag.len() > TAG_LEN_MAX {
                    return Err(unreadable());
                }
                Change::Key { key: key(name)?, e_tag: Some(text(e_tag)?.into()) }
            }
            PREFIX if rest.len() <= Key::LEN_MAX => Change::Prefix(text(rest)?.into()),
            ALL if rest.is_empty() => Change::All,
            HEARTBEAT => {
                let mut rest = rest;
                let (beat, last_seq) = (number(&mut rest)?, number(&mut rest)?);
                if !rest.is_empty() {
                    return Err(unreadable());
                }
                Change::Heartbeat { beat, last_seq }
            }
            KEY..=HEARTBEAT | 0 => return Err(unreadable()),
            _ => Change::All,
        };
        Ok(Self { namespace, node, seq, change })
    }
}

fn number(bytes: &mut &[u8]) -> Result<u64> {
    let (number, rest) = bytes.split_first_chunk().ok_or_else(unreadable)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*number))
}

fn key(bytes: &[u8]) -> Result<Key> {
    if bytes.len() > Key::LEN_MAX {
        return Err(unreadable());
    }
    Key::parse(text(bytes)?).map_err(|error| unreadable().with_source(error))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| unreadable().with_source(error))
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Decode, "the bytes are no message of a cache")
}

const MAGIC: [u8; 4] = *b"OCcb";
const VERSION: u8 = 1;
const HEAD: usize = 30;
/// Longer ETags are not sent by any store.
const TAG_LEN_MAX: usize = 16 * 1024;

const KEY: u8 = 1;
const KEY_WITH_TAG: u8 = 2;
const PREFIX: u8 = 3;
const ALL: u8 = 4;
const HEARTBEAT: u8 = 5;

#[cfg(test)]
mod tests {
    use super::{super::BusEvent, *};
    use crate::GapReason;

    fn message(change: Change) -> Announcement {
        let namespace = Namespace::named("s3://bucket");
        Announcement { namespace, node: u64::MAX, seq: 7, change }
    }

    fn messages() -> Vec<Announcement> {
        let key = Key::parse("a/ä").expect("a key");
        let long = Key::parse(&"x".repeat(Key::LEN_MAX)).expect("a key");
        let changes = [
            Change::Key { key: key.clone(), e_tag: None },
            Change::Key { key, e_tag: Some("W/\"x\"".into()) },
            Change::Key { key: long.clone(), e_tag: Some("".into()) },
            Change::Key { key: long, e_tag: None },
            Change::Prefix("".into()),
            Change::Prefix("a/".into()),
            Change::All,
            Change::Heartbeat { beat: 3, last_seq: u64::MAX },
        ];
        changes.into_iter().map(message).collect()
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in messages() {
            let bytes = message.to_bytes();
            assert_eq!(Announcement::from_bytes(&bytes).expect("a message"), message);
            assert_eq!(BusEvent::from_bytes(&bytes), BusEvent::Message(message));
        }
    }

    #[test]
    fn a_cut_or_changed_message_is_no_panic() {
        for message in messages().into_iter().filter(|message| message.to_bytes().len() < 100) {
            let bytes = message.to_bytes();
            for len in 0..HEAD {
                assert_eq!(BusEvent::from_bytes(&bytes[..len]), BusEvent::Unreadable, "{len}");
            }
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut other = bytes.clone();
                    other[at] ^= 1 << bit;
                    let _ = Announcement::from_bytes(&other);
                }
            }
        }
        let mut longer = message(Change::All).to_bytes();
        longer.push(0);
        assert_eq!(BusEvent::from_bytes(&longer), BusEvent::Unreadable);
        let mut key = message(Change::All).to_bytes();
        key[29] = KEY;
        key.extend(vec![b'x'; 1 << 20]);
        assert_eq!(BusEvent::from_bytes(&key), BusEvent::Unreadable);
    }

    #[test]
    fn a_newer_format_is_a_gap() {
        let mut bytes = message(Change::All).to_bytes();
        bytes[4] = VERSION + 1;
        assert_eq!(BusEvent::from_bytes(&bytes), BusEvent::Gap(GapReason::NewerFormat));
    }

    #[test]
    fn a_change_of_a_later_kind_is_one_of_any_object() {
        let mut bytes = message(Change::Prefix("a/".into())).to_bytes();
        bytes[29] = HEARTBEAT + 1;
        let BusEvent::Message(read) = BusEvent::from_bytes(&bytes) else { panic!("a message") };
        assert_eq!((read.seq, read.change), (7, Change::All));
        bytes[29] = 0;
        assert_eq!(BusEvent::from_bytes(&bytes), BusEvent::Unreadable);
    }

    #[test]
    fn the_format_is_the_same_in_every_release() {
        let key = Key::parse("a").expect("a key");
        let message = message(Change::Key { key, e_tag: Some("\"1\"".into()) });
        let bytes = message.to_bytes();
        assert_eq!(bytes[..5], *b"OCcb\x01");
        assert_eq!(bytes[29..], *b"\x02\x01\x00a\"1\"");
    }
}
