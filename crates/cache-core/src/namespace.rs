//! Whose copies they are.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// The store, and the rights it is asked with, that an entry was read from.
///
/// A cache serves no entry of another identity than its own, wherever it finds it: two caches that
/// were put on one [`Backend`](crate::Backend) by accident, or a medium that was filled from
/// another bucket, cost requests, and show nobody what the store would not have shown him. By
/// default each cache has one that nothing else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Namespace(NonZeroU64);

impl Namespace {
    /// One that nothing else has: no other of this process, nor one of another.
    pub fn unique() -> Self {
        // Two of one process differ by the number; two processes have other keys.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::from_hash(RandomState::new().hash_one(number))
    }

    /// The identity called `name`: the same in every process and every release. For backends whose
    /// medium outlives the process. The name has to say both the store and the rights:
    /// `"s3://bucket as reader"`.
    ///
    /// The name is hashed to 64 bits (FNV-1a, then mixed), so it is not the place for a secret, nor
    /// for a name that somebody you do not trust can choose.
    pub fn named(name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        // The finalizer of splitmix64: names that differ little differ in all bits.
        let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::from_hash(hash ^ hash >> 31)
    }

    /// The identity that is written as this number on a medium.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// A number to write on a medium, beside the entry; never zero.
    pub fn bits(self) -> u64 {
        self.0.get()
    }

    fn from_hash(hash: u64) -> Self {
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_is_one_identity_in_every_release() {
        // Written down once: a medium of an older release has to be read.
        assert_eq!(Namespace::named("s3://bucket as reader").bits(), 13_780_586_940_992_577_768);
        assert_ne!(
            Namespace::named("s3://bucket as reader"),
            Namespace::named("s3://bucket as writer")
        );
        assert_ne!(Namespace::named(""), Namespace::named("\0"));
    }

    #[test]
    fn no_two_are_alike_that_have_no_name() {
        let all: HashSet<_> = (0..10_000).map(|_| Namespace::unique()).collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn what_is_written_on_a_medium_is_read_back() {
        let identity = Namespace::unique();
        assert_eq!(Namespace::from_bits(identity.bits()), Some(identity));
        assert_eq!(Namespace::from_bits(0), None);
    }
}
