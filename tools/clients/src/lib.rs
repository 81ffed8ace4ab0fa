//! Shared by the clients: a store with latency that counts requests, the wrappings of that store
//! that are compared, the table of results, and data that is the same in every run.
//!
//! A client is a program `src/NAME.rs` behind the feature NAME: `cargo xtask clients NAME` runs it.
#![forbid(unsafe_code)]

mod clock;
mod columns;
mod disk;
mod remote;
mod report;
mod wrappings;

pub use crate::{
    columns::{CITIES, Columns},
    disk::disk_cache,
    remote::Remote,
    report::{Report, Result},
    wrappings::{WRAPPINGS, Wrapping},
};
