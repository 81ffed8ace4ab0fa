//! Who is measured, doing what. Each is written once, for criterion, for the ratios and for valgrind.
#![allow(dead_code, unreachable_pub, reason = "each target compiles all of them and uses some")]

pub mod bursts;
pub mod documents;
pub mod exporters;
pub mod fills;
pub mod hits;
pub mod inserts;
pub mod misses;
pub mod mix;
pub mod objects;
pub mod ranges;
pub mod s3;
pub mod stores;
pub mod tables;
