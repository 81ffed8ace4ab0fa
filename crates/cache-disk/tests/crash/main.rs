//! The disk tier on real files: kills, damage, full and strange directories.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for other code")]

mod child;
mod damage;
mod directories;
mod entries;
mod kills;
mod support;
