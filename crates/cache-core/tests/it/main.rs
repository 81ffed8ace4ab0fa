//! The protocol, through the public API. Requests are counted at the origin.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod counting;
mod decoders;
mod drivers;
mod dropped;
mod failures;
mod fences;
mod figures;
mod floors;
mod heartbeats;
mod idle_runtimes;
mod limiter;
mod lists;
mod many;
mod namespaces;
mod negative;
mod observations;
mod open_writes;
mod races;
mod reads;
mod refreshes;
mod reported_lists;
mod runtimes;
mod soft_floors;
mod support;
mod sweep;
mod tiers;
#[cfg(feature = "tracing")]
mod traces;
