//! What the policies and backends promise, through the public API.

mod lru;
mod world;
