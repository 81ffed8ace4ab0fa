//! Look-ups of keys that are held.

use bench_harness::{Run, Subject, Workload};
use cache_core::Key;

use super::tables::{Floor, Lookup, Table, Work, body};

/// Asks for keys that are all held.
#[derive(Clone)]
pub struct Hits {
    workload: Workload,
}

impl Hits {
    /// On `n_keys` keys.
    pub fn new(n_keys: usize) -> Self {
        Self { workload: Workload::zipf(n_keys, REQUESTS) }
    }

    /// On `n_keys` keys, to count instructions: no key is popular for long.
    pub fn to_count(n_keys: usize) -> Self {
        Self { workload: Workload::zipf_dealt_anew(n_keys, REQUESTS / 4, SPELL) }
    }

    /// The requests.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// On a map that is nothing but a map.
    pub fn floor(&self) -> Subject {
        let workload = self.workload.clone();
        Subject::new("bare", move || run(Floor::new(workload.keys()), workload.clone()))
    }
}

impl Work for Hits {
    /// Twice the room: no policy and no uneven shard makes an entry leave.
    fn capacity(&self) -> u64 {
        self.workload.keys().len() as u64 * 2
    }

    fn start<T: Table>(self, table: T) -> Run {
        for key in self.workload.keys() {
            table.insert(&Key::parse(key).expect("keys are canonical"), body());
        }
        table.settle();
        run(table, self.workload)
    }
}

fn run(table: impl Lookup, workload: Workload) -> Run {
    let n_held = workload.keys().iter().filter(|key| table.get(key)).count();
    assert_eq!(n_held, workload.keys().len(), "a key is not held");
    Run::new(move |thread, ops| {
        let n_hits = workload.of_thread(thread, ops).filter(|key| table.get(key)).count();
        assert_eq!(n_hits as u64, ops, "a hit was none");
    })
}

/// So many are drawn, then they repeat.
const REQUESTS: usize = 1 << 18;

const SPELL: usize = 250;
