//! The benchmarks' library. The targets in `benches/` and the programs in `src/bin/` only call it.
//!
//! The time of one run on a shared machine says little. Three measures together make it repeatable:
//! all subjects of a [`Case`] run in one process, in small rounds one after the other, so that a
//! disturbance meets all of them; the figure is the *CPU time* of the threads that work, not the
//! wall time; and of many rounds the *fastest* counts, the one that was disturbed least. Ratios of
//! such minima repeat within a few percent.
#![forbid(unsafe_code)]

pub mod bus;
mod case;
mod clock;
#[cfg(unix)]
pub mod disk;
pub mod distances;
pub mod exporters;
#[cfg(test)]
mod foyer_contract;
pub mod groups;
pub mod loops;
pub mod memory;
pub mod races;
mod ratios;
mod read_through;
mod subjects;
mod workload;

pub use crate::{
    case::{Case, Ready, Run, Sample, Subject},
    clock::{CpuTime, Stopwatch},
    ratios::{Row, compare, publish},
};
