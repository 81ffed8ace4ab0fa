//! Does the cost of a hit grow with the number of entries as it does for others?

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::{hits::Hits, tables};

pub const GROUP: Group = Group { name: "scaling", cases, note: |_| String::new() };

fn cases() -> Cases {
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
    Box::new(cases.into_iter())
}
