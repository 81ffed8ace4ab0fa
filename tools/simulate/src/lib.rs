//! The simulator: replays traces through eviction policies and Belady's optimum, and draws tables,
//! charts and the report; and replays them on fleets of nodes under freshness rules.
//!
//! | topic | module |
//! | --- | --- |
//! | trace formats | [`trace`] |
//! | how a policy is driven, and with which capacities | [`ours`], [`setting`] |
//! | the optimum | [`optimum`] |
//! | the meaning of the figures | [`summary`] |
//! | many nodes over one store | [`fleet`] |
//!
//! Other caches are compared in the package `benches`, so that this package is tested without
//! building them.
#![forbid(unsafe_code)]

pub mod chart;
pub mod fleet;
pub mod optimum;
pub mod ours;
pub mod read;
pub mod replay;
pub mod report;
pub mod row;
pub mod setting;
pub mod summary;
pub mod table;
pub mod trace;

#[cfg(test)]
mod golden;
mod html;
mod options;
mod output;
mod parallel;
mod textbook;

/// An error is a message for the terminal.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
