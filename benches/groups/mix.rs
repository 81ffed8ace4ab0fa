//! How do hits and misses come together? Reads through a cache with room for a tenth of the keys.

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::{mix::Mix, tables};

pub const GROUP: Group = Group { name: "mix", cases, note: |percent| format!("{percent:.1} % hits") };

fn cases() -> Cases {
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
    Box::new([case].into_iter())
}
