//! What is a hit worth? Look-ups of keys that are all held, on one thread and on several.

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::{hits::Hits, tables};

pub const GROUP: Group = Group { name: "hits", cases, note: |_| String::new() };

fn cases() -> Cases {
    let sizes = [("1k keys", 1_000, 40_000, 60), ("100k keys", 100_000, 160_000, 30)];
    let cases = sizes.into_iter().flat_map(|(size, n_keys, ops, rounds)| {
        let work = Hits::new(n_keys);
        [1, 2, 8].map(|threads| {
            let mut subjects = tables::all(&work);
            subjects.extend([tables::locked_map(&work), work.floor()]);
            let threads_named =
                if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
            Case {
                name: format!("{size}, {threads_named}"),
                reference: "quick_cache",
                threads,
                ops,
                rounds,
                cpu: CpuTime::Thread,
                subjects,
            }
        })
    });
    Box::new(cases.into_iter())
}
