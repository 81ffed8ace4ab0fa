//! Behaviour of the policies and backends, through the public API.

mod adaptive;
mod contract;
mod evictions;
mod large;
mod limits;
mod lru;
mod misbehaviour;
mod models;
#[cfg(feature = "moka")]
mod moka;
mod sharded;
mod support;
mod threads;
mod ttl;
