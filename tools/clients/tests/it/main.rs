//! The store with latency.

use std::sync::Arc;

use clients::Remote;
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
