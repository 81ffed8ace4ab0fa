//! The protocol, through the public API. Requests are counted at the origin.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod absences;
mod counting;
mod decoders;
mod drives;
mod dropped;
mod failures;
mod fences;
mod figures;
mod floors;
mod identity;
mod idle_runtimes;
mod observations;
mod open_writes;
mod places;
mod races;
mod reads;
mod rig;
mod runtimes;
mod soft_floors;
mod sweep;
#[cfg(feature = "tracing")]
mod traces;
