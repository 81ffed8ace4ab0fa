//! What the policies and backends promise, through the public API.

mod adaptive;
mod contract;
mod large;
mod limits;
mod lru;
mod misbehaviour;
mod models;
#[cfg(feature = "moka")]
mod moka;
mod sharded;
mod threads;
mod ttl;
mod world;
