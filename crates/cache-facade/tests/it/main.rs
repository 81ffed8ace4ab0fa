//! Tests of the cache through its public API.
//!
//! `scenarios` runs over every kind of store, `contract` and `suite` over servers, `settings`,
//! `cached_store` and `time` over memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cached_servers;
mod cached_store;
mod contract;
mod decoders;
#[cfg(feature = "object-store-013")]
mod object_store_013;
mod prefixes;
mod scenarios;
mod secrets;
mod settings;
mod strangers;
mod suite;
mod support;
mod time;
