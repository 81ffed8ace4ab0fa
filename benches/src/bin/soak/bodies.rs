//! Keys, and bodies that identify their key and version.

use bytes::Bytes;

/// The number of objects at the start.
pub(crate) const KEYS: usize = 10_000;

/// The prefix of half of the keys, which are read under a strong rule.
pub(crate) const STRONG: &str = "strong/";

pub(crate) fn key(number: usize) -> String {
    let folder = if number.is_multiple_of(2) { STRONG } else { "lax/" };
    format!("{folder}{:02}/{number:05}", number % 97)
}

/// All keys that may be read: for one in a hundred no object was ever written.
pub(crate) fn all_keys() -> impl Iterator<Item = String> {
    (0..KEYS + KEYS / 100).map(key)
}

/// One version of an object: a line that names it, and filler bytes of this version. Between 1 and
/// 32 KiB.
pub(crate) fn body(number: usize, version: u64) -> Bytes {
    let version_number = usize::try_from(version).unwrap_or_default();
    let len = 1024 + (number * 2_654_435_761 + version_number * 40_503) % (31 * 1024);
    let mut body = format!("{number} {version} {len}\n").into_bytes();
    body.resize(len, filler(version));
    Bytes::from(body)
}

/// Returns what is wrong with `body` as a version of the object, if anything is.
pub(crate) fn wrong(number: usize, body: &[u8]) -> Option<String> {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let line = String::from_utf8_lossy(&body[..end]);
    let parts: Vec<u64> = line.split(' ').filter_map(|part| part.parse().ok()).collect();
    let is_right = match parts[..] {
        [owner, version, len] => {
            owner == number as u64
                && len == body.len() as u64
                && body.iter().skip(end + 1).all(|byte| *byte == filler(version))
        }
        _ => false,
    };
    let len = body.len();
    (!is_right).then(|| format!("object {number} has {len} bytes that begin with {line:?}"))
}

fn filler(version: u64) -> u8 {
    b'a' + (version % 26) as u8
}
