//! What does freshness cost? Reads through the whole cache that are answered without asking the store, over the bare
//! look-ups of those who do not know whether what they hold is fresh.

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::{hits::Hits, objects::Objects, stores::Store, tables};

pub const GROUP: Group = Group { name: "fresh", cases, note: |_| String::new() };

fn cases() -> Cases {
    let cases =
        [("1k keys", 1_000, 1), ("100k keys", 100_000, 1), ("1k keys", 1_000, 2), ("100k keys", 100_000, 2)];
    let cases = cases.into_iter().map(|(size, n_keys, threads)| {
        let work = Hits::new(n_keys);
        let mut subjects = vec![Objects::new(n_keys, Store::in_memory()).fresh()];
        subjects.extend(tables::peers(&work));
        Case {
            name: format!("{size}, {threads} thread{}", if threads == 1 { "" } else { "s" }),
            reference: "quick_cache",
            threads,
            ops: 80_000,
            rounds: 40,
            cpu: CpuTime::Thread,
            subjects,
        }
    });
    Box::new(cases.into_iter())
}
