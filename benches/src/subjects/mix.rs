//! Reads through a cache that has room for a part of the keys: a look-up, and an insert after a
//! miss.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cache_core::Key;

use super::tables::{Table, Work, body};
use crate::{
    Run,
    workload::{Workload, parsed},
};

/// Reads through.
#[derive(Clone)]
pub(crate) struct Mix {
    capacity: u64,
    workload: Workload,
    keys: Arc<[Key]>,
}

impl Mix {
    /// `n_keys` keys, through a cache with room for `capacity` of them.
    pub(crate) fn new(n_keys: usize, capacity: u64) -> Self {
        let workload = Workload::zipf(n_keys, REQUESTS);
        let keys = workload.keys().iter().map(|key| parsed(key)).collect();
        Self { capacity, workload, keys }
    }
}

impl Work for Mix {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The figure is the hit ratio, in percent.
    fn start<T: Table>(self, table: T) -> Run {
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let [requests, misses] = [0, 1].map(|n| {
            let counts = Arc::clone(&counts);
            move |more| counts[n].fetch_add(more, Ordering::Relaxed)
        });
        let run = move |_, ops| {
            let start = requests(ops);
            let mut n_misses = 0;
            for number in self.workload.requests(start, ops) {
                let key = &self.keys[number];
                if !table.get(key.as_str()) {
                    table.insert(key, body());
                    n_misses += 1;
                }
            }
            misses(n_misses);
        };
        Run::new(run).with_figure(move || {
            let [requests, misses] =
                counts.each_ref().map(|count| count.load(Ordering::Relaxed) as f64);
            100.0 * (1.0 - misses / requests.max(1.0))
        })
    }
}

/// The length of the sequence of requests, which then repeats.
const REQUESTS: usize = 1 << 21;
