//! The canonical name of an object.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::{Error, ErrorKind, Result};

/// The canonical path of an object: what `object_store`'s path parser would take *unchanged*.
///
/// One object has one key. A spelling that a store would quietly rewrite (`/a`, `a/`) or refuse
/// (`a//b`, `..`) is an [`ErrorKind::InvalidKey`] error that says what to write instead, so that
/// two spellings can never become two entries. A clone is one atomic add.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key in bytes. S3, GCS and Azure stop at 1,024; this leaves room for other
    /// stores.
    pub const LEN_MAX: usize = 4096;

    /// Checks `key` and takes it as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if `key` is empty, longer than [`Key::LEN_MAX`] bytes, begins or
    /// ends with `/`, has an empty, `.` or `..` segment, or a control character.
    pub fn parse(key: &str) -> Result<Self> {
        match fault(key) {
            None => Ok(Self(key.into())),
            Some(fault) => Err(Error::new(ErrorKind::InvalidKey, fault).with_raw_key(key)),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Error {
    /// Returns the same error, about `key`. An error that names a key already keeps it.
    #[must_use]
    pub fn with_key(self, key: &Key) -> Self {
        self.with_raw_key(key.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Key {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::parse(key)
    }
}

fn fault(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("the key is empty; name an object");
    }
    if key.len() > Key::LEN_MAX {
        return Some("the key is longer than 4096 bytes");
    }
    if is_plain(key.as_bytes()) {
        return None;
    }
    if key.chars().any(char::is_control) {
        return Some("the key has a control character; percent-encode it");
    }
    if key.starts_with('/') {
        return Some("the key begins with '/'; keys are relative to the bucket, leave it out");
    }
    if key.ends_with('/') {
        return Some("the key ends with '/'; name an object, not a folder");
    }
    key.split('/').find_map(|segment| match segment {
        "" => Some("the key has an empty segment ('//'); write one '/'"),
        "." | ".." => Some("the key has a '.' or '..' segment; write the path it means"),
        _ => None,
    })
}

/// Whether nothing in the key, which is not empty, needs a closer look: it is printable ASCII, and
/// no segment is empty or begins with a dot. Without a branch for each byte, and in blocks that a
/// processor can take at once: the last one overlaps the one before.
fn is_plain(key: &[u8]) -> bool {
    let is_edge_plain =
        !matches!(key[0], b'/' | b'.') && key[key.len() - 1] != b'/' && is_printable(key[0]);
    if key.len() <= BLOCK {
        return is_edge_plain && key.windows(2).all(|pair| is_plain_pair(pair[0], pair[1]));
    }
    let (last, starts) = (key.len() - 1 - BLOCK, (0..key.len() - 1 - BLOCK).step_by(BLOCK));
    is_edge_plain && starts.chain([last]).all(|at| is_plain_block(&key[at..=at + BLOCK]))
}

/// Of the bytes behind the first.
fn is_plain_block(bytes: &[u8]) -> bool {
    let pairs = bytes[..BLOCK].iter().zip(&bytes[1..=BLOCK]);
    pairs.fold(true, |all, (&one, &next)| all & is_plain_pair(one, next))
}

/// Whether the second byte may be in a key, behind the first.
fn is_plain_pair(one: u8, next: u8) -> bool {
    is_printable(next) & !((one == b'/') & ((next == b'/') | (next == b'.')))
}

fn is_printable(byte: u8) -> bool {
    byte.wrapping_sub(b' ') <= b'~' - b' '
}

const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, ok: bool) {
        let parsed = Key::parse(key);
        assert_eq!(parsed.is_ok(), ok, "{key:?}: {parsed:?}");
        if let Err(error) = parsed {
            assert_eq!(error.kind(), ErrorKind::InvalidKey);
        }
    }

    #[test]
    fn a_canonical_key_is_kept_byte_for_byte() {
        for key in
            ["a", "a/b", "a b/c%20d", "ü/ñ", "...", ".hidden", "a/..b", &"k".repeat(Key::LEN_MAX)]
        {
            check(key, true);
            assert_eq!(Key::parse(key).unwrap().as_str(), key);
        }
    }

    /// The short way says of every key what the long one does.
    #[test]
    fn what_is_plain_has_no_fault() {
        let letters = ["a", "/", ".", "..", "\u{7f}", "\u{85}", "\n", "~", " ", "\u{fc}"];
        for n in 0..letters.len().pow(5) {
            let odd: String =
                (0..5).map(|at| letters[n / letters.len().pow(at) % letters.len()]).collect();
            // Alone, and across the end of each block.
            let key = match n % 4 {
                0 => odd,
                blocks => {
                    format!("{}{odd}{}", "k".repeat(blocks * BLOCK - n % 7), "k".repeat(n % 3 * 9))
                }
            };
            let is_canonical = !key.starts_with('/')
                && !key.ends_with('/')
                && !key.chars().any(char::is_control)
                && !key.split('/').any(|segment| matches!(segment, "" | "." | ".."));
            assert_eq!(Key::parse(&key).is_ok(), is_canonical, "{key:?}");
        }
    }

    #[test]
    fn a_key_with_two_spellings_is_an_error() {
        for key in [
            "", "/", "/a", "a/", "//a//b/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\0",
            "\u{85}",
        ] {
            check(key, false);
        }
        check(&"k".repeat(Key::LEN_MAX + 1), false);
    }
}
