//! Eviction policies and memory backends.
#![forbid(unsafe_code)]

mod heap;
mod lru;
mod ttl;

pub use crate::{lru::Lru, ttl::Ttl};
