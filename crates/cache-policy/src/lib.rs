//! Eviction policies and memory backends.
#![forbid(unsafe_code)]

mod heap;
mod lru;

pub use crate::lru::Lru;
