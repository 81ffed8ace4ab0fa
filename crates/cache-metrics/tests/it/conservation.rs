//! Under load every get is in exactly one figure, and every request to the store too (rule 6).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_facade::{
    Freshness, Memory, ObjectCache, ReadOptions,
    object_store::{ObjectStoreExt as _, path::Path},
};
use cache_metrics::Registry;
use cache_testkit::{Failure, Fault, FaultyStore};

use crate::readings::{Meter, Readings, by_all, by_text, parse, recorder};

const READERS: u64 = 4;
const GETS: u64 = 500;

fn total(readings: &Readings, name: &str) -> f64 {
    let of_it = |series: &&String| series.starts_with(&format!("object_cache_{name}{{"));
    readings.iter().filter(|(series, _)| of_it(series)).map(|(_, value)| value).sum()
}

/// Reads of all kinds, counted by those who make them.
async fn read(cache: ObjectCache, reader: u64, begun: &AtomicU64, ended: &AtomicU64) {
    for i in 0..GETS {
        let key = format!("{}", (i * 7 + reader) % 12);
        let freshness = match i % 3 {
            0 => Freshness::strong().stale_if_error(Duration::from_secs(60)),
            1 => Freshness::max_age(Duration::from_secs(60)),
            _ => Freshness::strong(),
        };
        begun.fetch_add(1, SeqCst);
        let _ = cache.get_with(&key, ReadOptions::new().freshness(freshness)).await;
        ended.fetch_add(1, SeqCst);
        if i % 50 == 0 {
            let _ = cache.put(&key, "from here").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_get_and_every_request_is_in_one_figure() {
    let store = FaultyStore::in_memory();
    // The last two keys have no object.
    for key in 0..10 {
        store.inner().put(&Path::from(key.to_string()), "body".into()).await.unwrap();
    }
    let cache = ObjectCache::builder(Arc::new(store.clone()))
        .backend(Memory::new().max_entries(6))
        .build()
        .unwrap();
    let registry = Registry::new();
    registry.add(&cache);
    let (meter, recording, recorder) =
        (Meter::observing(&registry), registry.recorder_handle(), recorder());
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (cache, begun, ended) = (cache.clone(), Arc::clone(&begun), Arc::clone(&ended));
            tokio::spawn(async move { read(cache, reader, &begun, &ended).await })
        })
        .collect();

    let mut last = [0.0; 3];
    while ended.load(SeqCst) < READERS * GETS {
        store.fault(Fault::error(Failure::Unavailable).once());
        let floor = ended.load(SeqCst) as f64;
        recording.record_to(&recorder);
        let readings = [by_text(&registry), parse(&recorder.handle().render()), meter.read()];
        for (readings, last) in readings.iter().zip(&mut last) {
            // What the recorder shows is from the begin of this round.
            let gets = total(readings, "requests_total");
            let ceiling = begun.load(SeqCst) as f64;
            assert!(floor <= gets && gets <= ceiling, "{floor} <= {gets} <= {ceiling}");
            assert!(*last <= gets, "a total has fallen");
            *last = gets;
        }
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }

    let readings = by_all(&registry);
    assert_eq!(total(&readings, "requests_total"), (READERS * GETS) as f64);
    assert_eq!(total(&readings, "origin_requests_total"), store.count() as f64);
    assert_eq!(total(&readings, "origin_duration_seconds_count"), store.count() as f64);
    assert_eq!(total(&readings, "inflight"), 0.0);
}
