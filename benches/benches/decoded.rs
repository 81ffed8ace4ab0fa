//! What does `get_decoded` save? A JSON document of 4 KiB, decoded once for its version, over one that is parsed for each
//! reader.

#[path = "../subjects/mod.rs"]
mod subjects;

use bench_harness::{Case, CpuTime};

use crate::subjects::{documents, runner};

fn main() {
    let case = Case {
        name: "JSON of 4 KiB".to_owned(),
        reference: "ours:parse",
        threads: 1,
        ops: 2_000,
        rounds: 20,
        cpu: CpuTime::Thread,
        subjects: documents::subjects(),
    };
    runner::run("decoded", [case], |_| String::new());
}
