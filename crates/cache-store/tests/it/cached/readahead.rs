//! What is read before it is asked for, for those who read in order.

use std::sync::{Arc, atomic::Ordering};

use cache_core::Freshness;
use cache_store::CachedStore;
use cache_testkit::{BodyFault, Failure, Fault, FaultyStore, MapBackend, TagFault, WaitingBackend};
use object_store::{ObjectStoreExt, path::Path};

use super::{
    HOUR, asked, body, bounded, builder, builder_over, part, read, slow::slow, with_object,
};
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

    // Under a strong rule, each read asks whether that is still the current version, and no more.
    let store = with_object(1003).await;
    scan(&builder(&store).readahead(100).build().unwrap(), 1003).await;
    let is_head =
        |request: &&cache_testkit::Request| request.operation == cache_testkit::Operation::Head;
    let heads = store.requests().iter().filter(is_head).count();
    assert!(heads <= 99, "{heads} HEAD requests");
    assert!(store.count() <= 99 + 22, "{} requests", store.count());
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
    let cached = builder_over(&store, backend).freshness(rule).readahead(100).build().unwrap();
    scan(&cached, 1003).await;
    assert!(store.count() <= 22, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 1003, "each byte once");
}

#[tokio::test]
async fn a_hole_of_less_than_a_block_is_read_over() {
    for (len, n_requests) in [(8, 12), (6, 12), (5, 12), (4, 51)] {
        let store = with_object(505).await;
        let cached = ahead(&store, 100);
        for start in (0..505).step_by(10) {
            read(&cached, start..(start + len).min(505)).await;
            settle().await;
        }
        assert!(store.count() <= n_requests, "{} requests for {len} of 10 bytes", store.count());
        assert!(store.body_bytes() <= 505);
        assert!(len > 4 || store.body_bytes() == 51 * 5, "none but those");
    }
}

#[tokio::test]
async fn several_may_read_one_object_each_in_order() {
    let store = with_object(1000).await;
    let cached = ahead(&store, 100);
    for step in (0..250).step_by(10) {
        for start in [0, 250, 500, 750] {
            read(&cached, start + step..start + step + 10).await;
            settle().await;
        }
    }
    assert!(store.count() <= 28, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 1000, "each byte once");

    // What is read again and again takes no place from those.
    let store = with_object(1000).await;
    let cached = ahead(&store, 100);
    for start in (500..1000).step_by(10) {
        read(&cached, start..start + 10).await;
        settle().await;
        for _ in 0..5 {
            read(&cached, 3..8).await;
        }
    }
    assert!(store.count() <= 13, "{} requests", store.count());

    // And two that read the same.
    let store = with_object(1000).await;
    let cached = ahead(&store, 100);
    for start in (0..1000).step_by(10) {
        for _ in 0..2 {
            assert_eq!(
                read(&cached, start as u64..start as u64 + 10).await,
                part(start..start + 10)
            );
            settle().await;
        }
    }
    assert!(store.count() <= 22, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 1000, "each byte once");
}

#[tokio::test]
async fn so_many_tasks_read_ahead_at_a_time() {
    let store = FaultyStore::in_memory();
    let cached = ahead(&store, 10);
    let paths: Vec<_> = (0..100).map(|n| Path::from(format!("{n}"))).collect();
    for path in &paths {
        store.inner().put(path, body(100).into()).await.unwrap();
    }
    store.fault(Fault::hold().when(|request| request.range == bounded(10..20)));
    let scan = async |from: usize, to: usize| {
        for path in &paths {
            for start in (from..to).step_by(5) {
                cached.get_range(path, start as u64..start as u64 + 5).await.unwrap();
            }
        }
        settle().await;
    };
    scan(0, 10).await;
    assert_eq!(store.body_bytes(), 100 * 10);
    assert_eq!(store.count(), 100 * 2 + 64);
    store.release_all();
    settle().await;
    assert_eq!(store.body_bytes(), 100 * 10 + 64 * 10);
}

#[tokio::test]
async fn who_reads_at_random_gets_what_was_asked_for() {
    let store = with_object(1000).await;
    let cached = ahead(&store, 100);
    for start in (0..50).map(|n| n * 370 % 1000) {
        read(&cached, start..start + 5).await;
        settle().await;
    }
    assert_eq!((store.count(), store.body_bytes()), (50, 250));
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
    settle().await;
    assert_eq!(
        asked(&store),
        [(bounded(0..5), false), (bounded(5..10), true), (bounded(10..60), true)]
    );

    // Replaced after that: what is held is of the version that may still be served.
    write(&store, vec![b'n'; 100]).await;
    assert_eq!(read(&cached, 10..60).await, part(10..60));
    assert_eq!(read(&cached, 60..65).await, vec![b'n'; 5]);
    assert_eq!(read(&cached, 0..100).await, vec![b'n'; 100]);

    // Replaced before: nothing of it is kept, and the next reader finds the new one.
    let store = with_object(100).await;
    let cached = ahead(&store, 50);
    store.fault(Fault::hold().when(|request| request.range == bounded(10..60)).once());
    read(&cached, 0..5).await;
    read(&cached, 5..10).await;
    store.wait_until_held(1).await;
    write(&store, vec![b'n'; 100]).await;
    store.release_all();
    settle().await;
    store.reset();
    assert_eq!(read(&cached, 10..20).await, vec![b'n'; 10]);
    assert_eq!((store.count(), cached.stats().restarts), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_held_is_not_read_ahead() {
    let store = with_object(100).await;
    store.fault(Fault::tag(TagFault::Missing));
    scan(&ahead(&store, 50), 100).await;
    assert_eq!((store.count(), store.body_bytes()), (10, 100));
}

#[tokio::test]
async fn where_nothing_is_kept_little_is_read_in_vain() {
    for rule in [Freshness::max_age(HOUR), Freshness::strong()] {
        let store = with_object(1003).await;
        let (slow, backend) = slow();
        let builder = builder_over(&store, backend).freshness(rule);
        let cached = builder.readahead(100).build().unwrap();
        cached.head(&path()).await.unwrap();
        // From now on nothing is kept.
        slow.fails.store(true, Ordering::Relaxed);
        store.reset();
        scan(&cached, 1003).await;
        assert!(store.body_bytes() <= 1003 + 1003 / 8 + 100, "{} bytes", store.body_bytes());
        assert!(store.count() <= 103, "{} requests", store.count());
    }
}

#[tokio::test]
async fn where_blocks_are_kept_again_they_are_read_ahead_again() {
    let store = with_object(3000).await;
    let (slow, backend) = slow();
    let builder = builder_over(&store, backend).freshness(Freshness::max_age(HOUR));
    let cached = builder.readahead(100).build().unwrap();
    cached.head(&path()).await.unwrap();
    slow.fails.store(true, Ordering::Relaxed);
    for start in (0..3000).step_by(10) {
        if start == 300 {
            slow.fails.store(false, Ordering::Relaxed);
            store.reset();
        }
        read(&cached, start..start + 10).await;
        settle().await;
    }
    // A request for each range up to 900 at most, and then one for five.
    assert!(store.count() <= 60 + 44, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 2700, "each byte once");
}

#[tokio::test]
async fn what_has_not_come_yet_is_not_gone() {
    let store = with_object(1000).await;
    let cached = ahead(&store, 100);
    for start in (0..1000).step_by(10) {
        read(&cached, start..start + 10).await;
        // So far, no task had its turn.
        if start == 90 {
            assert_eq!(store.count(), 10);
        }
        if start >= 90 {
            settle().await;
        }
    }
    assert!(store.count() <= 10 + 20, "{} requests", store.count());
    assert_eq!(store.body_bytes(), 1000, "each byte once");
}

#[tokio::test]
async fn a_readahead_that_fails_is_nobodys_error() {
    let store = with_object(100).await;
    let cached = ahead(&store, 50);
    store
        .fault(Fault::error(Failure::Unavailable).when(|request| request.range == bounded(15..60)));
    read(&cached, 0..5).await;
    read(&cached, 5..10).await;
    store.fault(Fault::body(BodyFault::Fails(7)).when(|request| request.range == bounded(10..60)));
    settle().await;
    for start in (10..100).step_by(5) {
        assert_eq!(read(&cached, start as u64..start as u64 + 5).await, part(start..start + 5));
        settle().await;
    }
}
