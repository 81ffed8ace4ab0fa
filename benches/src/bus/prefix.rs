//! A read of 1,000 unchanged objects for one list.

use std::{sync::Arc, time::Duration};

use cache_core::{Freshness, ReadThrough, Result};
use cache_policy::{Lru, MemoryBackend};
use cache_testkit::MemoryOrigin;
use futures_util::TryStreamExt as _;
use tokio::runtime::Runtime;

use super::Size;
use crate::clock::CpuTime;

pub(super) fn measure(runtime: &Runtime, size: Size) -> Result<()> {
    let origin = Arc::new(MemoryOrigin::new());
    for n in 0..1000 {
        origin.write(&format!("config/{n:04}.json"), "some bytes of a body");
    }
    let backend = Arc::new(MemoryBackend::builder(Lru::new()).max_capacity(1 << 26).build()?);
    let cache = ReadThrough::builder(origin, backend)
        .freshness(Freshness::max_age(Duration::from_secs(60)))
        .build()?;
    let mut best = f64::MAX;
    for _ in 0..10 * size.rounds {
        let begun = CpuTime::Thread.now();
        let read = cache.get_prefix("config/", 10).map_ok(|_| 1_u32);
        let n: u32 = runtime.block_on(read.try_fold(0, |n, one| async move { Ok(n + one) }))?;
        let took = CpuTime::Thread.now().saturating_sub(begun);
        assert_eq!(n, 1000);
        best = best.min(took.as_secs_f64() * 1e6);
    }
    let origin = cache.stats().origin;
    println!(
        "get_prefix: {best:.0} ns of CPU an unchanged object; {} lists, {} GETs in {} calls",
        origin.lists.requests(),
        origin.reads(),
        10 * size.rounds
    );
    Ok(())
}
