//! Does the cost of a hit grow with the number of entries as it does for others?

#[path = "../subjects/mod.rs"]
mod subjects;

use bench_harness::{Case, CpuTime};

use crate::subjects::{hits::Hits, runner, tables};

fn main() {
    let sizes = [("10^3", 1_000), ("10^4", 10_000), ("10^5", 100_000), ("10^6", 1_000_000)];
    let cases = sizes.into_iter().map(|(size, n_keys)| {
        let work = Hits::new(n_keys);
        let mut subjects = tables::all(&work);
        subjects.push(work.floor());
        Case {
            name: format!("{size} entries"),
            reference: "quick_cache",
            threads: 1,
            ops: 200_000,
            rounds: 10,
            cpu: CpuTime::Thread,
            subjects,
        }
    });
    runner::run("scaling", cases, |_| String::new());
}
