//! How do hits and misses come together? Reads through a cache with room for a tenth of the keys.

#[path = "../subjects/mod.rs"]
mod subjects;

use bench_harness::{Case, CpuTime};

use crate::subjects::{mix::Mix, runner, tables};

fn main() {
    let case = Case {
        name: "100k keys, room for 10k".to_owned(),
        reference: "quick_cache",
        threads: 1,
        ops: 100_000,
        rounds: 15,
        cpu: CpuTime::Thread,
        subjects: {
            let work = Mix::new(100_000, 10_000);
            let mut subjects = tables::all(&work);
            subjects.extend(tables::ours_under_each_policy(&work));
            subjects
        },
    };
    runner::run("mix", [case], |percent| format!("{percent:.1} % hits"));
}
