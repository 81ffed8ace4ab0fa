//! Where entries live in memory, and who leaves when there is no more room.
//!
//! | backend | it is | when |
//! | --- | --- | --- |
//! | [`MemoryBackend<P>`] | a sharded table, ranked by a policy `P` | by default |
//! | `MokaBackend` (feature `moka`) | a moka cache: TinyLFU | scans pass through that must not sweep out what is asked for often |
//!
//! | policy | who leaves | when | bytes an entry |
//! | --- | --- | --- | --- |
//! | [`Adaptive`] | the worst by recency, or by density of uses: by what did better of late | by default | 28 |
//! | [`Lru`] | the least recently used; exact | what was asked for lately will be asked for again | 16 |
//! | [`Sieve`] | the next that was not used since a hand passed it | web objects, many threads | 9 |
//! | [`S3Fifo`] | what was not used twice soon after it came | many keys asked for once, scans | 22 to 25 |
//! | [`WTinyLfu`] | the one asked for less often of late, newcomers weighed | skewed demand, scans | 26 to 34 |
//! | [`Gdsf`] | the one whose uses, for its size, are worth the least | sizes differ | 24 |
//! | [`Ttl<P>`] | what has expired, else whom `P` names | entries have a time to live | 8 more |
//!
//! Under each, a hit is a few relaxed loads and stores and never waits; everything else is O(1)
//! amortised, under `Lru` and `Gdsf`, whose orders are exact, O(log n); and nothing is allocated
//! per entry. Each file of a policy begins with its paper, how it differs from it, and what it
//! costs.
//!
//! A policy of your own implements [`EvictionPolicy`](cache_core::EvictionPolicy). To choose one at
//! run time, build the backend in each branch and keep it as `Arc<dyn Backend>`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cache_core::Backend;
//! use cache_policy::{Lru, MemoryBackend, Ttl};
//!
//! let is_expiring = true;
//! let backend: Arc<dyn Backend> = if is_expiring {
//!     Arc::new(MemoryBackend::builder(Ttl::new(Lru::new())).max_capacity(64 << 20).build()?)
//! } else {
//!     Arc::new(MemoryBackend::builder(Lru::new()).max_capacity(64 << 20).build()?)
//! };
//! assert_eq!(backend.usage().capacity_bytes, Some(64 << 20));
//! # Ok::<(), cache_core::Error>(())
//! ```
//!
//! This crate knows no object store and reads no clock.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adaptive;
mod builder;
mod eviction;
mod index;
mod memory;
#[cfg(feature = "moka")]
mod moka;
mod objective;
mod shard;
mod steps;
mod structures;

#[cfg(feature = "moka")]
pub use crate::moka::{MokaBackend, MokaBackendBuilder};
pub use crate::{
    adaptive::Adaptive,
    builder::MemoryBackendBuilder,
    eviction::{Gdsf, Lru, S3Fifo, Sieve, Ttl, WTinyLfu},
    memory::MemoryBackend,
    objective::Objective,
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
