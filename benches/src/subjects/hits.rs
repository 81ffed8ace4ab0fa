//! Look-ups of keys that are cached.

use super::tables::{Floor, Lookup, Table, Work, body};
use crate::{
    Run, Subject,
    workload::{Workload, parsed},
};

/// Looks up keys that are all cached.
#[derive(Clone)]
pub(crate) struct Hits {
    workload: Workload,
}

impl Hits {
    /// On `n_keys` keys.
    pub(crate) fn new(n_keys: usize) -> Self {
        Self { workload: Workload::zipf(n_keys, REQUESTS) }
    }

    /// On `n_keys` keys, to count instructions: no key is popular for long.
    pub(crate) fn to_count(n_keys: usize) -> Self {
        Self { workload: Workload::zipf_dealt_anew(n_keys, REQUESTS / 4, SPELL) }
    }

    /// The requests.
    pub(crate) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The same on a plain map without a lock.
    pub(crate) fn floor(&self) -> Subject {
        let workload = self.workload.clone();
        Subject::new("bare", move || run(Floor::new(workload.keys()), workload.clone()))
    }
}

impl Work for Hits {
    /// Twice the room needed: neither the policy nor an uneven shard evicts an entry.
    fn capacity(&self) -> u64 {
        self.workload.keys().len() as u64 * 2
    }

    fn start<T: Table>(self, table: T) -> Run {
        self.workload.keys().iter().for_each(|key| table.insert(&parsed(key), body()));
        table.settle();
        run(table, self.workload)
    }
}

fn run(table: impl Lookup, workload: Workload) -> Run {
    let n_cached = workload.keys().iter().filter(|key| table.get(key)).count();
    assert_eq!(n_cached, workload.keys().len(), "every key is cached");
    Run::new(move |thread, ops| {
        let n_hits = workload.of_thread(thread, ops).filter(|key| table.get(key)).count();
        assert_eq!(n_hits as u64, ops, "every look-up is a hit");
    })
}

/// The length of the sequence of requests, which then repeats.
const REQUESTS: usize = 1 << 18;

const SPELL: usize = 250;
