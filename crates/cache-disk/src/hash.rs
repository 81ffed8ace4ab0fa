//! The hashes that entries are found by.

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The key of the hashes.
pub(crate) type HashKey = [u8; 16];

/// A keyed hash of a cache's namespace and an entry's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hash(pub(crate) [u64; 2]);

impl Hash {
    pub(crate) fn new(hash_key: &HashKey, namespace: u64, key: &str) -> Self {
        use std::hash::Hasher as _;

        let mut hasher = SipHasher13::new_with_key(hash_key);
        hasher.write_u64(namespace);
        hasher.write(key.as_bytes());
        let hash = hasher.finish128();
        Self([hash.h1, hash.h2])
    }
}
