//! New keys into a full cache: each makes another leave.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bench_harness::{Run, key};
use cache_core::Key;

use super::tables::{Table, Work, body};

/// Inserts keys that are not held.
#[derive(Clone)]
pub struct Inserts {
    capacity: u64,
    keys: Arc<[Key]>,
}

impl Inserts {
    /// Into a cache with room for `capacity` entries.
    pub fn new(capacity: u64) -> Self {
        // They come again long after all memory of them is lost.
        let parse = |number| Key::parse(&key(number)).expect("keys are canonical");
        Self { capacity, keys: (0..capacity * CAPACITIES).map(parse).collect() }
    }
}

impl Work for Inserts {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn start<T: Table>(self, table: T) -> Run {
        let keys = self.keys;
        let next = AtomicU64::new(0);
        let run = move |_, ops| {
            let start = next.fetch_add(ops, Ordering::Relaxed) % keys.len() as u64;
            let from = usize::try_from(start).unwrap_or_default();
            let n = usize::try_from(ops).unwrap_or(usize::MAX);
            for key in keys.iter().cycle().skip(from).take(n) {
                table.insert(key, body());
            }
        };
        // Full from the start.
        run(0, self.capacity * 2);
        Run::new(run)
    }
}

/// How many times as many keys as room.
const CAPACITIES: u64 = 16;
