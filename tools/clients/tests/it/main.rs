//! The store with latency.

use std::sync::Arc;

use clients::{Remote, disk_cache};
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "the time is virtual")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn each_request_is_late_and_counted() {
    let remote = Remote::new(Arc::new(InMemory::new()));
    let (a, b) = (Path::from("a"), Path::from("b"));
    let start = now();
    remote.put(&a, vec![0; 4 << 20].into()).await.unwrap();
    remote.get(&a).await.unwrap().bytes().await.unwrap();
    remote.list(None).try_collect::<Vec<_>>().await.unwrap();
    remote.list_with_offset(None, &b).try_collect::<Vec<_>>().await.unwrap();
    remote.list_with_delimiter(None).await.unwrap();
    remote.copy(&a, &b).await.unwrap();
    remote.rename(&b, &a).await.unwrap();
    remote.delete(&a).await.unwrap();
    let mut upload = remote.put_multipart(&a).await.unwrap();
    upload.put_part("1".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(remote.requests(), 11);
    assert_eq!(start.elapsed().as_millis() / Remote::LATENCY.as_millis(), 11);
    assert_eq!(remote.bytes(), 4 << 20);
}

/// As in a second process over the same directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_cache_over_a_disk_costs_one_request_for_each_object() {
    let remote = Remote::new(Arc::new(InMemory::new()));
    let paths: Vec<_> = (0..8).map(|n| Path::from(format!("tables/{n}"))).collect();
    for path in &paths {
        remote.put(path, vec![7; 3 << 20].into()).await.unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    for (requests, bytes) in [(8, 8 * (3 << 20)), (8, 0)] {
        let cached = disk_cache(Arc::new(remote.clone()), directory.path()).await.unwrap();
        remote.reset();
        for path in &paths {
            for range in [0..10, (1 << 20)..(3 << 20), 5..(3 << 20)] {
                let len = range.end - range.start;
                assert_eq!(cached.get_range(path, range).await.unwrap().len() as u64, len);
            }
        }
        let (stats, served) = (cached.stats(), remote.bytes());
        assert_eq!((stats.bytes_from_origin, served), (bytes, bytes));
        assert_eq!(stats.heads.origin.requests(), requests);
        cached.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_are_coalesced() {
    let remote = Remote::new(Arc::new(InMemory::new()));
    remote.put(&"a".into(), vec![0; 4 << 20].into()).await.unwrap();
    remote.reset();
    let start = now();
    let near = remote.get_ranges(&"a".into(), &[0..10, 1000..1010]).await.unwrap();
    assert_eq!((near.len(), remote.requests(), remote.bytes()), (2, 1, 1010));
    remote.get_ranges(&"a".into(), &[0..10, (3 << 20)..(4 << 20)]).await.unwrap();
    assert_eq!((remote.requests(), remote.bytes()), (3, 1020 + (1 << 20)));
    // The two requests are concurrent.
    assert_eq!(start.elapsed().as_millis() / Remote::LATENCY.as_millis(), 2);
}
