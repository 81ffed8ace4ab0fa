//! The requests after an outage of the bus, of a cache with many entries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Entry, Freshness, Key, ReadThrough, Result, Validation, Validator};
use cache_policy::{Lru, MemoryBackend};
use cache_testkit::LocalBus;
use tokio::runtime::Runtime;

use super::Size;
use crate::clock::{CpuTime, Stopwatch};

/// Has every object, and counts requests.
#[derive(Default)]
struct Counting(AtomicU64);

#[async_trait]
impl Validator for Counting {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(match held {
            Some(_) => Validation::NotModified,
            None => {
                let body = Bytes::from_static(b"some bytes of a body");
                Validation::Modified(Entry::builder(key, body).e_tag("\"1\"").build())
            }
        })
    }
}

pub(super) fn measure(runtime: &Runtime, size: Size) -> Result<()> {
    let (n_entries, n_reads) = (size.entries, size.entries / 1000);
    let (origin, bus) = (Arc::new(Counting::default()), LocalBus::new());
    let backend = Arc::new(MemoryBackend::builder(Lru::new()).max_capacity(4 << 30).build()?);
    let rule = Freshness::until_notified(Duration::from_secs(3600));
    let cache = {
        let _inside = runtime.enter();
        ReadThrough::builder(Arc::clone(&origin), backend)
            .freshness(rule)
            .bus(Arc::new(bus.node(1)))
            .namespace(super::namespace())
            .build()?
    };
    let is_listening = || cache.bus_stats().is_some_and(|stats| stats.is_listening);
    let n_requests = || origin.0.swap(0, Ordering::Relaxed);
    let key = |n: usize| format!("a/prefix/and/a/name-{n:07}.json");
    runtime.block_on(async {
        while !is_listening() {
            tokio::task::yield_now().await;
        }
        for n in 0..n_entries {
            cache.get(&key(n), None).await?;
        }
        assert_eq!(n_requests(), n_entries as u64);
        let (watch, cpu) = (Stopwatch::start(), CpuTime::Process.now());
        bus.cut(1);
        while is_listening() {
            tokio::task::yield_now().await;
        }
        bus.heal();
        let cut = watch.elapsed();
        while !is_listening() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (took, cpu) = (watch.elapsed(), CpuTime::Process.now().saturating_sub(cpu));
        let by_itself = n_requests();
        for n in 0..n_reads {
            cache.get(&key(n * 1000), None).await?;
            cache.get(&key(n * 1000), None).await?;
        }
        println!(
            "reconnect, {n_entries} entries: not listening after {cut:?}, listening after {took:?} \
                with {cpu:?} of CPU and {by_itself} requests; {} requests for two reads of each of \
                {n_reads} keys",
            n_requests()
        );
        Ok(())
    })
}
