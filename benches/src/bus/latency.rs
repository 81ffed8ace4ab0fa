//! From the acknowledgement of a put on one node to the first read of it on another.

use std::{sync::Arc, time::Duration};

use cache_core::{ChangeBus, Freshness, Result};
use cache_facade::{ObjectCache, object_store::memory::InMemory};

use super::Size;
use crate::clock::Stopwatch;

pub(super) async fn measure(name: &str, bus: &Arc<dyn ChangeBus>, size: Size) -> Result<()> {
    let store = Arc::new(InMemory::new());
    let node = || {
        ObjectCache::builder(Arc::clone(&store) as _)
            .freshness(Freshness::until_notified(Duration::from_secs(3600)))
            .namespace(super::namespace())
            .bus(Arc::clone(bus))
            .build()
    };
    let (a, b) = (node()?, node()?);
    for cache in [&a, &b] {
        while !cache.bus_stats().is_some_and(|stats| stats.is_listening) {
            tokio::task::yield_now().await;
        }
    }
    let mut times = Vec::with_capacity(size.writes);
    for n in 0..size.writes {
        // The messages before are applied: a late one would mark what is read now. Then it is cached
        // on both, and fresh.
        while applied(&b) < n as u64 {
            tokio::task::yield_now().await;
        }
        b.get("config.json").await.ok();
        let body = format!("{n}");
        a.put("config.json", body.clone()).await?;
        let watch = Stopwatch::start();
        while b.get("config.json").await?.bytes() != body.as_bytes() {
            tokio::task::yield_now().await;
        }
        times.push(watch.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!(
        "put acknowledged to read on another node, {name}: p50 {:?}, p99 {:?} of {} writes",
        at(50),
        at(99),
        times.len()
    );
    Ok(())
}

/// The changes that the cache has heard of and applied.
fn applied(cache: &ObjectCache) -> u64 {
    cache.bus_stats().map_or(0, |stats| stats.marked + stats.unmarked)
}
