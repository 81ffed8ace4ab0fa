//! A backend of one's own: a plain map, without a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use cache_facade::{
    Backend, ObjectCache, Result,
    cache_core::{Admission, Entry, Moment, Usage},
    object_store::memory::InMemory,
};

#[derive(Default)]
struct Map(Mutex<HashMap<String, Entry>>);

impl Map {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().expect("no method panics while it holds the lock")
    }
}

#[async_trait]
impl Backend for Map {
    fn peek(&self, key: &str) -> Option<Entry> {
        self.held().get(key).cloned()
    }
    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None) // What there is, `peek` has shown.
    }
    async fn insert(&self, entry: Entry) -> Result<Admission> {
        self.held().insert(entry.key().to_owned(), entry);
        Ok(Admission::Stored)
    }
    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.held().remove(key).is_some())
    }
    async fn clear(&self) -> Result<()> {
        self.held().clear();
        Ok(())
    }
    async fn sweep(&self, now: Moment) -> Result<()> {
        self.held().retain(|_, entry| entry.expires_at().is_none_or(|at| now < at));
        Ok(())
    }
    fn usage(&self) -> Usage {
        let held = self.held();
        let (entries, bytes) = (held.len() as u64, held.values().map(Entry::weight).sum());
        Usage { entries, bytes, ..Usage::default() }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let cache = ObjectCache::builder(Arc::new(InMemory::new())).backend(Arc::new(Map::default())).build()?;
    cache.put("a", "in the map").await?;
    println!("{:?}, {} entry", cache.get("a").await?.bytes(), cache.stats().entries);
    assert_eq!((cache.stats().hits(), cache.stats().entries), (1, 1));
    Ok(())
}
