//! The gateway, over TCP on the loopback interface. What it costs is counted at the store.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod buckets;
mod cache_control;
mod cache_status;
mod clients;
mod conditions;
mod failures;
mod metrics;
mod options;
mod paths;
mod program;
mod ranges;
mod reads;
mod server;
mod waits;
mod world;
