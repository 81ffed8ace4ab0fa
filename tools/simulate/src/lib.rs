//! What is measured and shown: traces and their replay, Belady's optimum, and the tables and charts made of it.
//!
//! | to know | read |
//! | --- | --- |
//! | which trace formats are read | [`trace`] |
//! | what exactly is driven, with which capacities | [`ours`], [`setting`] |
//! | what the optimum is | [`optimum`] |
//! | what the summary figures mean | [`summary`] |
//!
//! The caches we measure ourselves against are not here but in `benches/benches/simulate.rs`, so that this package
//! is tested without building them.
#![forbid(unsafe_code)]

pub mod chart;
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
mod progress;

/// What went wrong, in words for the person at the terminal.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
