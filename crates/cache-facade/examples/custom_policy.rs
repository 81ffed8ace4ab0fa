//! An eviction policy of one's own: first in, first out. It is checked against the contract, and a
//! cache goes by it.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use cache_facade::{
    EvictionPolicy, Memory, ObjectCache, Result, Status,
    cache_core::{Deadlines, EntryInfo, EvictionReason, Limits, Moment, RemovalCause, Slot},
    object_store::memory::InMemory,
};
use cache_testkit::conformance::policy;

#[derive(Default)]
struct Fifo {
    arrivals: u64,
    by_arrival: BTreeMap<u64, Slot>,
    /// By slot.
    arrived: Vec<u64>,
}

impl EvictionPolicy for Fifo {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::default()
    }
    fn on_insert(&mut self, slot: Slot, _cost: &EntryInfo) {
        self.arrivals += 1;
        self.by_arrival.insert(self.arrivals, slot);
        self.arrived.resize(self.arrived.len().max(slot.index() + 1), 0);
        self.arrived[slot.index()] = self.arrivals;
    }
    fn on_update(&mut self, _slot: Slot, _cost: &EntryInfo) {}
    fn on_hit(&self, _slot: Slot) {}
    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        self.by_arrival.remove(&self.arrived[slot.index()]);
    }
    fn victim(
        &mut self,
        _now: Moment,
        pressure: EvictionReason,
        _held: &dyn Deadlines,
    ) -> Option<Slot> {
        match pressure {
            EvictionReason::Capacity => self.by_arrival.values().next().copied(),
            _ => None, // The cache finds these itself.
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let report = policy::check(&policy::Suite::new(policy::Capabilities::new(), Fifo::default()))?;
    println!("{report}");
    // It was not declared to find what has expired.
    assert_eq!(report.left_out().count(), 1);

    let bucket = Arc::new(InMemory::new());
    let cache = ObjectCache::builder(bucket)
        .backend(Memory::new().max_entries(2).eviction(Fifo::default()))
        .build()?;
    cache.put("a", "first in").await?;
    cache.put("b", "second").await?;
    cache.get("a").await?; // A use, which counts for nothing here.
    cache.put("c", "third").await?;
    for (key, expected) in
        [("c", Status::Revalidated), ("b", Status::Revalidated), ("a", Status::Fetched)]
    {
        let status = cache.get(key).await?.status();
        println!("{key}: {status:?}");
        assert_eq!(status, expected);
    }
    Ok(())
}
