//! What the clients run with: a store that is far away and counts, the wrappings of that store that are compared, rows
//! of results, and a table of data that is the same for every run.
//!
//! A client is a program `src/NAME.rs`, behind the feature NAME: `cargo xtask clients NAME` builds and runs it.
#![forbid(unsafe_code)]

mod clock;
mod columns;
mod remote;
mod report;
mod wrappings;

pub use crate::{
    columns::{CITIES, Columns},
    remote::Remote,
    report::{Report, Result},
    wrappings::{WRAPPINGS, Wrapping},
};
