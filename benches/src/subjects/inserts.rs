//! New keys into a full cache: each insert evicts an entry.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cache_core::Key;

use super::tables::{Table, Work, body};
use crate::{
    Run,
    workload::{key, parsed},
};

/// Inserts keys that are not cached.
#[derive(Clone)]
pub(crate) struct Inserts {
    capacity: u64,
    keys: Arc<[Key]>,
}

impl Inserts {
    /// Into a cache with room for `capacity` entries.
    pub(crate) fn new(capacity: u64) -> Self {
        // A key comes again long after every policy has forgotten it.
        let keys = (0..capacity * CAPACITIES).map(|number| parsed(&key(number))).collect();
        Self { capacity, keys }
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
            keys.iter().cycle().skip(from).take(n).for_each(|key| table.insert(key, body()));
        };
        // Fills the cache.
        run(0, self.capacity * 2);
        Run::new(run)
    }
}

/// The number of keys, in capacities.
const CAPACITIES: u64 = 16;
