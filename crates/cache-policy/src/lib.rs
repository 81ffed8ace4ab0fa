//! Where entries live in memory, and who leaves when there is no more room.
//!
//! | backend | it is | when |
//! | --- | --- | --- |
//! | [`MemoryBackend<P>`] | a sharded table, ranked by a policy `P` | by default |
//! | `MokaBackend` (feature `moka`) | a moka cache: TinyLFU | scans pass through that must not sweep out what is asked for often |
//!
//! | policy | who leaves | when |
//! | --- | --- | --- |
//! | [`Lru`] | the least recently used; exact | what was asked for lately will be asked for again |
//! | [`Ttl<P>`] | what has expired, else whom `P` names | entries have a time to live |
//!
//! A policy of your own implements [`EvictionPolicy`](cache_core::EvictionPolicy). To choose one at run time, build
//! the backend in each branch and keep it as `Arc<dyn Backend>`.
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

mod builder;
mod heap;
mod index;
mod lru;
mod memory;
#[cfg(feature = "moka")]
mod moka;
mod shard;
mod ttl;

#[cfg(feature = "moka")]
pub use crate::moka::{MokaBackend, MokaBackendBuilder};
pub use crate::{builder::MemoryBackendBuilder, lru::Lru, memory::MemoryBackend, ttl::Ttl};
