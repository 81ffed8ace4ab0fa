//! What does `get_decoded` save? A JSON document of 4 KiB, decoded once for its version, over one that is parsed for each
//! reader.

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::documents;

pub const GROUP: Group = Group { name: "decoded", cases, note: |_| String::new() };

fn cases() -> Cases {
    let case = Case {
        name: "JSON of 4 KiB".to_owned(),
        reference: "ours:parse",
        threads: 1,
        ops: 2_000,
        rounds: 20,
        cpu: CpuTime::Thread,
        subjects: documents::subjects(),
    };
    Box::new([case].into_iter())
}
