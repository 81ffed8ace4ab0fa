//! Tests of the cache through its public API.
//!
//! `scenarios` runs over every kind of store, `contract` over servers, `settings` and `time` over memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod scenarios;
mod secrets;
mod settings;
mod strangers;
mod time;
mod world;
