//! The questions, one file each.
#![allow(unreachable_pub, reason = "as in the subjects beside them")]

mod burst;
mod decoded;
mod fresh;
mod hits;
mod inserts;
mod judge;
mod misses;
mod mix;
mod ranges;
mod scaling;
mod validated;

use bench_harness::Case;

/// Cases, each made when it is its turn: some hold much memory.
pub type Cases = Box<dyn Iterator<Item = Case>>;

/// A question, in some cases.
pub struct Group {
    /// What it is called.
    pub name: &'static str,
    /// Makes the cases.
    pub cases: fn() -> Cases,
    /// What a subject's figure means.
    pub note: fn(f64) -> String,
}

/// All of them.
pub const ALL: [Group; 11] = [
    hits::GROUP,
    inserts::GROUP,
    mix::GROUP,
    fresh::GROUP,
    validated::GROUP,
    misses::GROUP,
    ranges::GROUP,
    burst::GROUP,
    decoded::GROUP,
    scaling::GROUP,
    judge::GROUP,
];
