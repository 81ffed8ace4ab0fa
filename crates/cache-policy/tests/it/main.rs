//! What the policies and backends promise, through the public API.

mod lru;
mod ttl;
mod world;
