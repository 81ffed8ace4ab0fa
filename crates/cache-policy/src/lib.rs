//! In-memory backends and eviction policies.
//!
//! | backend | implementation | use it |
//! | --- | --- | --- |
//! | [`MemoryBackend<P>`] | a sharded table, ranked by a policy `P` | by default |
//! | `MokaBackend` (feature `moka`) | a moka cache: TinyLFU | for scans |
//!
//! | policy | evicts | use it for | bytes an entry |
//! | --- | --- | --- | --- |
//! | [`Adaptive`] | by recency or density of uses, whichever did better lately | the default | 28 |
//! | [`Lru`] | the least recently used entry; exact | popularity that drifts | 16 |
//! | [`Sieve`] | the next entry not used since a hand passed it | web objects, many threads | 9 |
//! | [`S3Fifo`] | entries not used twice soon after their insert | one-hit keys, scans | 22 to 25 |
//! | [`WTinyLfu`] | the less frequently used of victim and new entry | skew, scans | 26 to 34 |
//! | [`Gdsf`] | the entry with the fewest uses for its size | sizes that differ | 24 |
//! | [`Ttl<P>`] | expired entries, otherwise as `P` | entries with a time to live | 8 more |
//!
//! With each of them a hit is a few relaxed loads and stores and never waits. All other operations
//! are O(1) amortised, or O(log n) for `Lru` and `Gdsf`, whose orders are exact. Nothing is
//! allocated per entry. Each policy's file begins with its paper, the differences from it, and the
//! cost.
//!
//! To write a policy, implement [`EvictionPolicy`](cache_core::EvictionPolicy). To choose one at
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
//! This crate depends on no object store and reads no clock.
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
