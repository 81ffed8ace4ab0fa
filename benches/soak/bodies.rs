//! Keys, and bodies that show whose they are.

use bytes::Bytes;

/// Keys that are there at first.
pub(crate) const KEYS: usize = 10_000;

/// Half of the keys: these are asked for under a strong rule.
pub(crate) const STRONG: &str = "strong/";

pub(crate) fn key(number: usize) -> String {
    let folder = if number.is_multiple_of(2) { STRONG } else { "lax/" };
    format!("{folder}{:02}/{number:05}", number % 97)
}

/// All that may be asked for: one in a hundred was never written.
pub(crate) fn all_keys() -> impl Iterator<Item = String> {
    (0..KEYS + KEYS / 100).map(key)
}

/// One version of an object: a line that says which one, and a filling that is this version's alone. Between one and 32
/// KiB.
pub(crate) fn body(number: usize, version: u64) -> Bytes {
    let len = 1024 + (number * 2_654_435_761 + version as usize * 40_503) % (31 * 1024);
    let mut body = format!("{number} {version} {len}\n").into_bytes();
    body.resize(len, filling(version));
    Bytes::from(body)
}

/// What is wrong with `body` as one of the versions of an object.
pub(crate) fn wrong(number: usize, body: &[u8]) -> Option<String> {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let line = String::from_utf8_lossy(&body[..end]);
    let parts: Vec<u64> = line.split(' ').filter_map(|part| part.parse().ok()).collect();
    let is_right = match parts[..] {
        [whose, version, len] => {
            whose == number as u64
                && len == body.len() as u64
                && body.iter().skip(end + 1).all(|byte| *byte == filling(version))
        }
        _ => false,
    };
    (!is_right).then(|| format!("object {number} has {} bytes that begin with {line:?}", body.len()))
}

fn filling(version: u64) -> u8 {
    b'a' + (version % 26) as u8
}
