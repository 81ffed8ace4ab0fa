//! What is read before it is asked for, for those who read in order.

use std::sync::Arc;

use cache_core::Freshness;
use cache_store::CachedStore;
use cache_testkit::{FaultyStore, MapBackend, WaitingBackend};
use object_store::ObjectStoreExt;

use super::{HOUR, body, builder, part, read, with_object};
use crate::{path, write};

/// Blocks of 5 bytes, `bytes` of readahead.
fn ahead(store: &FaultyStore, bytes: u64) -> CachedStore {
    builder(store).freshness(Freshness::max_age(HOUR)).readahead(bytes).build().unwrap()
}

/// Lets tasks run that need nothing but their turn.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Reads the whole object in steps of ten bytes.
async fn scan(cached: &CachedStore, len: usize) {
    for start in (0..len).step_by(10) {
        let end = (start + 10).min(len);
        assert_eq!(read(cached, start as u64..end as u64).await, part(start..end));
        settle().await;
    }
}

#[tokio::test]
async fn who_reads_in_order_makes_few_requests() {
    let store = with_object(1003).await;
    scan(&ahead(&store, 100), 1003).await;
    assert!(store.count() <= 22, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 1003, "each byte once");

    // By default none is read that was not asked for.
    let store = with_object(1003).await;
    scan(&builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap(), 1003).await;
    assert_eq!((store.count(), store.body_bytes()), (101, 1003));
}

#[tokio::test]
async fn what_is_read_ahead_is_kept_though_the_backend_takes_its_time() {
    let store = with_object(1003).await;
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rule = Freshness::max_age(HOUR);
    let cached = builder(&store).backend(backend).freshness(rule).readahead(100).build().unwrap();
    scan(&cached, 1003).await;
    assert!(store.count() <= 22, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 1003, "each byte once");
}

#[tokio::test]
async fn who_reads_at_random_gets_what_was_asked_for() {
    let store = with_object(1000).await;
    let cached = ahead(&store, 100);
    for start in [500, 0, 900, 505, 5, 300] {
        read(&cached, start..start + 5).await;
        settle().await;
    }
    assert_eq!((store.count(), store.body_bytes()), (6, 30));
}

#[tokio::test]
async fn so_much_is_read_ahead_and_never_past_the_end() {
    for (bytes, ahead_of_ten) in [(1, 5), (5, 5), (6, 10), (100, 7), (u64::MAX, 7)] {
        let len = if bytes < 100 { 1000 } else { 17 };
        let store = with_object(len).await;
        let cached = ahead(&store, bytes);
        read(&cached, 0..5).await;
        read(&cached, 5..10).await;
        settle().await;
        assert_eq!(store.body_bytes(), 10 + ahead_of_ten, "readahead of {bytes}");
    }
}

#[tokio::test]
async fn what_is_read_ahead_is_of_the_version_at_hand() {
    let store = with_object(100).await;
    let cached = ahead(&store, 50);
    read(&cached, 0..5).await;
    read(&cached, 5..10).await;
    write(&store, vec![b'n'; 100]).await;
    settle().await;
    let rest = cached.get_range(&path(), 10..100).await.unwrap();
    assert!(rest == body(100).slice(10..) || rest == vec![b'n'; 90], "{rest:?}");
}
