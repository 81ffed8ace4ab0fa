//! What the benchmarks measure with: the same keys in the same order for every subject, the CPU time of their
//! threads, and tables of ratios that a busy machine does not spoil.
//!
//! The time of one run on a shared machine says little. Three things together do: all subjects of a [`Case`] run in
//! one process, in small rounds one after the other, so that a disturbance meets all of them; what is counted is the
//! *CPU time* of the threads that work, not the time on the wall; and of many rounds the *fastest* counts, which is
//! the one that was disturbed least. Ratios of such minima repeat within a few percent.
#![forbid(unsafe_code)]

mod clock;
mod measure;
mod ratios;
mod workload;

pub use crate::{
    clock::{CpuTime, Stopwatch, an_hour_ago},
    measure::{Case, Ready, Run, Sample, Subject},
    ratios::{Row, compare, publish},
    workload::{Random, Workload, Zipf, key},
};
