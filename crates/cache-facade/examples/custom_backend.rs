//! A backend of one's own: a map with room for so many entries, first in, first out. It is checked
//! against the contract, and a cache works over it.

use std::{
    collections::{HashMap, VecDeque},
    error::Error,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use cache_facade::{
    Backend, ObjectCache, Result,
    cache_core::{Admission, Entry, Moment, Usage},
    object_store::memory::InMemory,
};
use cache_testkit::conformance::backend;

struct Fifo {
    entries_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    /// The keys, the oldest first.
    order: VecDeque<String>,
    evicted: u64,
    expired: u64,
}

impl Fifo {
    fn new(entries_max: usize) -> Self {
        Self { entries_max, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no method panics while it holds the lock")
    }
}

impl State {
    fn put(&mut self, entry: Entry, entries_max: usize) -> Admission {
        let key = entry.key().to_owned();
        self.take(&key);
        if self.entries.len() == entries_max
            && let Some(oldest) = self.order.front().cloned()
        {
            self.take(&oldest);
            self.evicted += 1;
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, entry);
        Admission::Stored
    }

    fn take(&mut self, key: &str) -> bool {
        self.order.retain(|held| held != key); // Looks at every key: a real one would not.
        self.entries.remove(key).is_some()
    }
}

#[async_trait]
impl Backend for Fifo {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.peek(key) // A use changes nothing here.
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.state().entries.get(key).cloned()
    }

    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None) // What there is, `get_now` has shown.
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        Ok(self.state().put(entry, self.entries_max))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        Ok(self.state().put(entry, self.entries_max))
    }

    fn contains(&self, key: &str) -> Option<bool> {
        Some(self.state().entries.contains_key(key))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.state().take(key))
    }

    async fn clear(&self) -> Result<()> {
        let mut state = self.state();
        state.entries.clear();
        state.order.clear();
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut state = self.state();
        // The deadline is asked of the entry: a renewal moves it, and nobody tells the backend.
        let has_expired = |entry: &&Entry| entry.expires_at().is_some_and(|at| at <= now);
        let expired: Vec<_> = state
            .entries
            .values()
            .filter(has_expired)
            .map(|entry| entry.key().to_owned())
            .collect();
        for key in expired {
            state.take(&key);
            state.expired += 1;
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let state = self.state();
        Usage::new(state.entries.len() as u64, state.entries.values().map(Entry::weight).sum())
            .with_evicted(state.evicted)
            .with_expired(state.expired)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let can = backend::Capabilities::new().sweeps().max_entries(100);
    let suite =
        backend::Suite::new(can, |_| async { Arc::new(Fifo::new(100)) as Arc<dyn Backend> });
    let report = backend::check(&suite).await?;
    println!("{report}");
    assert!(report.kept().any(|rule| rule == "the_limits_hold_after_each_call"));

    let cache =
        ObjectCache::builder(Arc::new(InMemory::new())).backend(Arc::new(Fifo::new(2))).build()?;
    for key in ["a", "b", "c"] {
        cache.put(key, "in the map").await?;
    }
    println!("{:?}", cache.stats());
    assert_eq!((cache.stats().entries, cache.stats().evictions), (2, 1));
    assert_eq!(cache.get("c").await?.bytes(), "in the map");
    assert_eq!(cache.stats().hits(), 1);
    Ok(())
}
