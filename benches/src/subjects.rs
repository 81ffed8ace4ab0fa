//! The caches and the work they do. Each is written once, for criterion, for the ratios and for
//! valgrind.

pub(crate) mod bursts;
pub(crate) mod documents;
pub(crate) mod hits;
pub(crate) mod inserts;
pub(crate) mod misses;
pub(crate) mod mix;
pub(crate) mod objects;
pub(crate) mod ranges;
pub(crate) mod s3;
pub(crate) mod stores;
pub(crate) mod tables;
