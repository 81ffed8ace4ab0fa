//! Reads through a cache that holds a part of what is asked for: a look-up, and an insert after each miss.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bench_harness::{Run, Workload};
use cache_core::Key;

use super::tables::{Table, Work, body};

/// Reads through.
#[derive(Clone)]
pub struct Mix {
    capacity: u64,
    workload: Workload,
    keys: Arc<[Key]>,
}

impl Mix {
    /// `n_keys` keys, through a cache with room for `capacity` of them.
    pub fn new(n_keys: usize, capacity: u64) -> Self {
        let workload = Workload::zipf(n_keys, REQUESTS);
        let parse = |key| Key::parse(key).expect("keys are canonical");
        let keys = workload.keys().iter().map(|key| parse(key)).collect();
        Self { capacity, workload, keys }
    }
}

impl Work for Mix {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The figure is the share of hits, in percent.
    fn start<T: Table>(self, table: T) -> Run {
        let (asked, missed) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        let asked = Arc::new(asked);
        let counts = (Arc::clone(&asked), Arc::clone(&missed));
        let run = move |_, ops| {
            let start = asked.fetch_add(ops, Ordering::Relaxed);
            let mut n_missed = 0;
            for number in self.workload.requests(start, ops) {
                let key = &self.keys[number];
                if !table.get(key.as_str()) {
                    table.insert(key, body());
                    n_missed += 1;
                }
            }
            missed.fetch_add(n_missed, Ordering::Relaxed);
        };
        Run::new(run).with_figure(move || {
            let [asked, missed] = [&counts.0, &counts.1].map(|count| count.load(Ordering::Relaxed) as f64);
            100.0 * (1.0 - missed / asked.max(1.0))
        })
    }
}

/// So many are drawn, then they repeat.
const REQUESTS: usize = 1 << 21;
