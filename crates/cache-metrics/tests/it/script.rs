//! A script of reads and writes, and exactly the figures that it must give, in all three exporters.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    Eviction, Freshness, Memory, ObjectCache, ReadOptions,
    cache_core::PutCondition,
    object_store::{ObjectStoreExt as _, path::Path},
};
use cache_metrics::Registry;
use cache_testkit::{Failure, Fault, FaultyStore, ManualClock, Operation, Request};

use crate::readings::{Readings, by_all};

/// What the script has to do with.
struct Rig {
    store: FaultyStore,
    clock: Arc<ManualClock>,
    cache: ObjectCache,
    registry: Registry,
}

impl Rig {
    fn new() -> Self {
        let (store, clock) = (FaultyStore::in_memory(), Arc::<ManualClock>::default());
        let cache = ObjectCache::builder(Arc::new(store.clone()))
            .name("script")
            .clock(Arc::clone(&clock) as _)
            .freshness(Freshness::max_age(secs(10)).stale_if_error(secs(60)))
            .time_to_live(secs(100))
            .backend(Memory::new().max_capacity(4096).max_entries(2).eviction(Eviction::Lru))
            .build()
            .unwrap();
        let registry = Registry::new();
        registry.add(&cache);
        Self { store, clock, cache, registry }
    }

    /// Another node writes.
    async fn write(&self, key: &str, body: &'static str) {
        self.store.inner().put(&Path::from(key), body.into()).await.unwrap();
    }

    fn fail_once(&self, failure: Failure) {
        self.store.fault(Fault::error(failure).once());
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn all_exporters_have_exactly_the_figures_of_a_script() {
    let rig = Rig::new();
    let Rig { store, clock, cache, registry } = &rig;
    let is_there_from_the_begin =
        |series: &String| series.contains("_capacity_bytes{") || series.contains("_build_info{");
    assert!(by_all(registry).keys().all(is_there_from_the_begin));

    // Two readers, one request of 30 ms.
    rig.write("a", "12345").await;
    store.fault(Fault::hold().on(Operation::Get).once());
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get("a").await })
        })
        .collect();
    store.wait_until_held(1).await;
    while cache.stats().coalesced < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(by_all(registry)["object_cache_inflight{cache_name=\"script\"}"], 1.0);
    clock.advance(Duration::from_millis(30));
    store.release_all();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }

    // Three times fresh, 2 s after the request was sent; the first is measured.
    clock.advance(Duration::from_millis(1970));
    for _ in 0..3 {
        cache.get("a").await.unwrap();
    }
    // Confirmed; then changed; then the store is down.
    clock.advance(secs(10));
    cache.get("a").await.unwrap();
    rig.write("a", "1234567").await;
    clock.advance(secs(11));
    cache.get("a").await.unwrap();
    clock.advance(secs(12));
    rig.fail_once(Failure::Unavailable);
    cache.get("a").await.unwrap();

    // Nothing there; forbidden; a fault that is an outage, with nothing to cover it.
    cache.get("missing").await.unwrap_err();
    rig.fail_once(Failure::PermissionDenied);
    cache.get("b").await.unwrap_err();
    rig.fail_once(Failure::Unavailable);
    cache.get("b").await.unwrap_err();

    // Writes: done, refused, failed, given up.
    cache.put("c", "123").await.unwrap();
    cache.put_if("c", "4", PutCondition::Absent).await.unwrap_err();
    rig.fail_once(Failure::Unavailable);
    cache.put("c", "4").await.unwrap_err();
    store.fault(Fault::hold().on(Operation::Put).once());
    let put = tokio::spawn({
        let cache = cache.clone();
        async move { cache.put("c", "4").await }
    });
    store.wait_until_held(1).await;
    put.abort();
    while cache.stats().origin.puts.cancelled < 1 {
        tokio::task::yield_now().await;
    }
    store.heal();
    cache.put("c", "56").await.unwrap();
    cache.delete("c").await.unwrap();

    // By call; by a deletion elsewhere; larger than all that may be held; one too many; too old.
    cache.invalidate("a").await.unwrap();
    cache.get("a").await.unwrap();
    store.inner().delete(&Path::from("a")).await.unwrap();
    let strong = || ReadOptions::new().freshness(Freshness::strong());
    cache.get_with("a", strong()).await.unwrap_err();
    let large: &'static str = Box::leak("x".repeat(5000).into_boxed_str());
    rig.write("large", large).await;
    cache.get("large").await.unwrap();
    for key in ["d", "e", "f"] {
        rig.write(key, "1").await;
        cache.get(key).await.unwrap();
    }
    clock.advance(secs(101));
    cache.get("f").await.unwrap();

    let stats = cache.stats();
    let build = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let expected: Readings = [
        ("build_info", &*build, 1.0),
        ("errors_total", "kind=\"permission_denied\"", 1.0),
        ("errors_total", "kind=\"unavailable\"", 1.0),
        ("origin_errors_total", "kind=\"permission_denied\"", 1.0),
        ("origin_errors_total", "kind=\"precondition_failed\"", 1.0),
        ("origin_errors_total", "kind=\"unavailable\"", 3.0),
        // All gets but the fresh ones; of two the time passed.
        ("wait_duration_seconds_count", "", 15.0),
        ("wait_duration_seconds_sum", "", 0.06),
        ("wait_duration_seconds_bucket", "le=\"0.0005\"", 13.0),
        ("wait_duration_seconds_bucket", "le=\"0.05\"", 15.0),
        ("requests_total", "result=\"fetched\"", 2.0 + 1.0 + 1.0 + 3.0 + 1.0),
        ("requests_total", "result=\"fresh\"", 3.0),
        ("requests_total", "result=\"revalidated\"", 1.0),
        ("requests_total", "result=\"refetched\"", 1.0),
        ("requests_total", "result=\"stale\"", 1.0),
        ("requests_total", "result=\"not_found\"", 2.0),
        ("requests_total", "result=\"error\"", 2.0),
        ("coalesced_total", "", 1.0),
        ("io_bytes_total", "source=\"cache\"", 3.0 * 5.0 + 5.0 + 7.0),
        ("io_bytes_total", "source=\"origin\"", 5.0 + 7.0 + 7.0 + 5000.0 + 3.0 + 1.0),
        // Two readers shared the first five bytes.
        ("served_bytes_total", "", 27.0 + 5.0 + 5.0 + 7.0 + 7.0 + 5000.0 + 3.0 + 1.0),
        ("origin_requests_total", "op=\"read\",outcome=\"not_modified\"", 1.0),
        ("origin_requests_total", "op=\"read\",outcome=\"modified\"", 2.0 + 1.0 + 1.0 + 3.0 + 1.0),
        ("origin_requests_total", "op=\"read\",outcome=\"not_found\"", 2.0),
        ("origin_requests_total", "op=\"read\",outcome=\"refused\"", 1.0),
        ("origin_requests_total", "op=\"read\",outcome=\"failed\"", 2.0),
        ("origin_requests_total", "op=\"put\",outcome=\"succeeded\"", 2.0),
        ("origin_requests_total", "op=\"put\",outcome=\"refused\"", 1.0),
        ("origin_requests_total", "op=\"put\",outcome=\"failed\"", 1.0),
        ("origin_requests_total", "op=\"put\",outcome=\"cancelled\"", 1.0),
        ("origin_requests_total", "op=\"delete\",outcome=\"succeeded\"", 1.0),
        ("origin_duration_seconds_count", "op=\"read\"", 14.0),
        ("origin_duration_seconds_sum", "op=\"read\"", 0.03),
        ("origin_duration_seconds_bucket", "le=\"0.0005\",op=\"read\"", 13.0),
        ("origin_duration_seconds_bucket", "le=\"0.025\",op=\"read\"", 13.0),
        ("origin_duration_seconds_bucket", "le=\"0.05\",op=\"read\"", 14.0),
        ("origin_duration_seconds_bucket", "le=\"inf\",op=\"read\"", 14.0),
        ("origin_duration_seconds_count", "op=\"put\"", 4.0),
        ("origin_duration_seconds_count", "op=\"delete\"", 1.0),
        // Fresh after 2 s, confirmed at once, stale after 12 s.
        ("age_seconds_count", "", 3.0),
        ("age_seconds_sum", "", 2.0 + 12.0),
        ("age_seconds_bucket", "le=\"1\"", 1.0),
        ("age_seconds_bucket", "le=\"2\"", 2.0),
        ("age_seconds_bucket", "le=\"10\"", 2.0),
        ("age_seconds_bucket", "le=\"30\"", 3.0),
        ("entries", "", 1.0),
        ("size_bytes", "", stats.bytes as f64),
        ("capacity_bytes", "", 4096.0),
        ("evictions_total", "reason=\"capacity\"", 1.0),
        // `f` as it was read, and `e`: the sweep is late, by this clock, and done at once.
        ("evictions_total", "reason=\"expired\"", 2.0),
        ("rejections_total", "reason=\"too_large\"", 1.0),
        ("invalidations_total", "source=\"modified\"", 1.0),
        ("invalidations_total", "source=\"write\"", 2.0),
        ("invalidations_total", "source=\"api\"", 1.0),
        ("invalidations_total", "source=\"not_found\"", 1.0),
    ]
    .into_iter()
    .map(|(name, labels, value)| (series(name, labels), value))
    .collect();
    let readings = by_all(registry);
    for (series, value) in &expected {
        let read = readings.get(series).copied().unwrap_or_default();
        assert!((read - value).abs() < 1e-9, "{series} is {read}, not {value}");
    }
    let is_expected =
        |series: &String| expected.contains_key(series) || series.contains("_bucket{");
    let ours = readings.keys().filter(|series| series.starts_with("object_cache_"));
    assert_eq!(
        ours.filter(|series| !is_expected(series)).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );

    // The store says the same.
    let requests = store.requests();
    let n = |operation: Operation| {
        requests.iter().filter(|request| request.operation == operation).count()
    };
    let sum = |op: &str| -> f64 {
        let of_op =
            format!("object_cache_origin_requests_total{{cache_name=\"script\",op=\"{op}\"");
        readings
            .iter()
            .filter(|(series, _)| series.starts_with(&of_op))
            .map(|(_, value)| value)
            .sum()
    };
    assert_eq!(sum("read"), n(Operation::Get) as f64);
    assert_eq!(sum("put"), n(Operation::Put) as f64);
    assert_eq!(sum("delete"), n(Operation::Delete) as f64);
    let delivered: u64 = requests.iter().map(|request: &Request| request.bytes_delivered).sum();
    assert_eq!(readings[&series("io_bytes_total", "source=\"origin\"")], delivered as f64);
}

/// One of ours, of the cache of the script. `labels` are sorted but for the cache's name.
fn series(name: &str, labels: &str) -> String {
    let mut labels: Vec<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
    labels.push("cache_name=\"script\"");
    labels.sort_unstable();
    format!("object_cache_{name}{{{}}}", labels.join(","))
}
