//! Bodies in which every byte identifies the object and its version.

use bytes::Bytes;
use cache_testkit::Random;

/// The key of the object with this number.
pub(crate) fn key(number: usize) -> String {
    format!("objects/{number:05}.bin")
}

/// Whether there is such an object: one in a hundred was never written.
pub(crate) fn exists(number: usize) -> bool {
    number % 100 != 99
}

/// The object with popularity `rank` of `n_keys`, from zero. Popularity is independent of size.
pub(crate) fn number_of_rank(rank: usize, n_keys: usize) -> usize {
    rank * STRIDE % n_keys
}

/// The body of one version: 1 to 64 KiB, each doubling with equal probability. The first word of
/// eight bytes names the object and the version; every other word is unique to its version and
/// position.
pub(crate) fn body(number: usize, version: u64) -> Bytes {
    let words = words(number, version);
    let mut body = Vec::with_capacity(words.n * WORD);
    body.extend_from_slice(&words.name.to_le_bytes());
    (1..words.n as u64)
        .for_each(|i| body.extend_from_slice(&words.base.wrapping_add(i).to_le_bytes()));
    Bytes::from(body)
}

/// The version of `body`, if all of it is one version of this object. `None`: torn, or another
/// object.
pub(crate) fn version(number: usize, body: &[u8]) -> Option<u64> {
    let (name, rest) = body.split_at_checked(WORD)?;
    let version = word(name)? & u64::from(u32::MAX);
    let words = words(number, version);
    let is_right = |(i, chunk): (u64, &[u8])| word(chunk) == Some(words.base.wrapping_add(i));
    let all = word(name)? == words.name
        && body.len() == words.n * WORD
        && (1..).zip(rest.chunks_exact(WORD)).all(is_right);
    all.then_some(version)
}

struct Words {
    name: u64,
    base: u64,
    n: usize,
}

fn words(number: usize, version: u64) -> Words {
    let name = (number as u64) << 32 | version & u64::from(u32::MAX);
    let random = Random::new(name);
    let base = random.draw();
    // 128 to 8191 words.
    let doublings = usize::try_from(random.draw() % 6).unwrap_or_default();
    let n = (128 << doublings) + random.index(128 << doublings);
    Words { name, base, n }
}

fn word(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

const WORD: usize = 8;

/// A prime, so that each rank has its own object unless the number of keys is a multiple of it.
const STRIDE: usize = 7919;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_body_says_which_version_it_is() {
        for (number, wanted) in [(0, 1), (7, 1), (7, 2), (1999, 123_456)] {
            let body = body(number, wanted);
            assert!((1024..65_536).contains(&body.len()), "{}", body.len());
            assert_eq!(version(number, &body), Some(wanted));
            assert_eq!(version(number + 1, &body), None);
        }
    }

    #[test]
    fn a_torn_body_is_none() {
        let (one, two) = (body(7, 1), body(7, 2));
        assert_eq!(version(7, &one[..one.len() - WORD]), None);
        assert_eq!(version(7, &one[..one.len() - 1]), None);
        assert_eq!(version(7, &[]), None);
        let at = one.len().min(two.len()) / 2;
        assert_eq!(version(7, &[&one[..at], &two[at..]].concat()), None);
        let mut flipped = one.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(version(7, &flipped), None);
    }

    #[test]
    fn sizes_are_spread_over_six_doublings() {
        let sizes: Vec<_> = (0..2000).map(|number| body(number, 1).len().ilog2()).collect();
        for doubling in 10..16 {
            let n = sizes.iter().filter(|size| **size == doubling).count();
            assert!((260..410).contains(&n), "{n} of 2^{doubling}");
        }
    }

    #[test]
    fn each_rank_has_its_object() {
        let numbers: BTreeSet<_> = (0..2000).map(|rank| number_of_rank(rank, 2000)).collect();
        assert_eq!(numbers.len(), 2000);
    }
}
