//! Eviction policies, one file each.

mod gdsf;
mod lru;
mod s3fifo;
mod sieve;
mod ttl;
mod wtinylfu;

pub use self::{gdsf::Gdsf, lru::Lru, s3fifo::S3Fifo, sieve::Sieve, ttl::Ttl, wtinylfu::WTinyLfu};
