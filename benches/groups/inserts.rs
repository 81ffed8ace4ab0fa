//! What does a miss cost the cache? New keys into a full one, under each policy.

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::{inserts::Inserts, tables};

pub const GROUP: Group = Group { name: "inserts", cases, note: |_| String::new() };

fn cases() -> Cases {
    let cases = [("1k entries", 1_000), ("100k entries", 100_000)].map(|(size, capacity)| {
        let work = Inserts::new(capacity);
        let mut subjects = tables::all(&work);
        subjects.extend(tables::ours_under_each_policy(&work));
        Case {
            name: size.to_owned(),
            reference: "quick_cache",
            threads: 1,
            ops: 20_000,
            rounds: 30,
            cpu: CpuTime::Thread,
            subjects,
        }
    });
    Box::new(cases.into_iter())
}
