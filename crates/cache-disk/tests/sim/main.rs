//! The disk tier over a simulated disk: schedules from seeds, with a model of what may be shown.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for other code")]

mod between;
mod memories;
mod model;
mod play;
mod records;
mod schedules;
