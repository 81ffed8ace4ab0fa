//! A fresh hit under `until_notified` beside one under `max_age`.

use std::{hint::black_box, sync::Arc, time::Duration};

use cache_core::{Freshness, ReadThrough, Result};
use cache_policy::{Lru, MemoryBackend};
use cache_testkit::{LocalBus, MemoryOrigin};
use tokio::runtime::Runtime;

use super::Size;
use crate::clock::CpuTime;

pub(super) fn measure(runtime: &Runtime, size: Size) -> Result<()> {
    let origin = Arc::new(MemoryOrigin::new());
    let keys: Vec<_> = (0..1000).map(|n| format!("a/prefix/and/a/name-{n:04}.json")).collect();
    for key in &keys {
        origin.write(key, "some bytes of a body");
    }
    let backend = Arc::new(MemoryBackend::builder(Lru::new()).max_capacity(1 << 26).build()?);
    let cache = {
        let _inside = runtime.enter();
        ReadThrough::builder(origin, backend)
            .bus(Arc::new(LocalBus::new()))
            .namespace(super::namespace())
            .build()?
    };
    let hour = Duration::from_secs(3600);
    let rules = [Freshness::max_age(hour), Freshness::until_notified(hour)];
    runtime.block_on(async {
        while !cache.bus_stats().is_some_and(|stats| stats.is_listening) {
            tokio::task::yield_now().await;
        }
        for key in &keys {
            cache.get(key, Some(&Freshness::strong())).await?;
        }
        Ok::<_, cache_core::Error>(())
    })?;
    let mut best = [f64::MAX; 2];
    for round in 0..2 * size.rounds {
        // In turn, and the better of each: the machine is noisy.
        let rule = round % 2;
        let begun = CpuTime::Thread.now();
        for n in 0..size.hits {
            let key = &keys[(n % 1000) as usize];
            let hit = cache.get_if_fresh(black_box(key), Some(&rules[rule]));
            assert!(black_box(hit).is_some(), "a hit");
        }
        let took = CpuTime::Thread.now().saturating_sub(begun);
        best[rule] = best[rule].min(took.as_secs_f64() * 1e9 / size.hits as f64);
    }
    let [max_age, notified] = best;
    println!(
        "fresh hit: max_age {max_age:.1} ns, until_notified {notified:.1} ns ({:+.1} ns)",
        notified - max_age
    );
    Ok(())
}
