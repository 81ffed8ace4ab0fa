//! What strangers can do who choose keys or objects. SECURITY.md says what follows.

use std::{sync::Arc, time::Duration};

use cache_facade::{ErrorKind, Freshness, ObjectCache};
use cache_testkit::{FaultyStore, ManualClock, S3Fault, S3Server};

#[tokio::test]
async fn keys_of_missing_objects_take_what_they_weigh_and_no_more_than_the_capacity() {
    let minute = Duration::from_secs(60);
    let store = FaultyStore::in_memory();
    let cache = ObjectCache::builder(Arc::new(store.clone()))
        .freshness(Freshness::max_age(minute))
        .negative_ttl(minute)
        .max_capacity(64 * 1024)
        .clock(Arc::<ManualClock>::default())
        .build()
        .unwrap();
    for number in 0..2000 {
        let error = cache.get(&format!("missing/{number:04}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let stats = cache.stats();
    assert!(stats.bytes <= 64 * 1024, "{stats:?}");
    assert!(stats.entries > 200 && stats.bytes / stats.entries < 200, "{stats:?}");
    // Off by default: then nothing is kept of them.
    let cache = ObjectCache::builder(Arc::new(store)).freshness(Freshness::max_age(minute)).build().unwrap();
    cache.get("missing").await.unwrap_err();
    assert_eq!((cache.stats().entries, cache.read_through().keys_in_flight()), (0, 0));
}

#[tokio::test]
async fn a_key_that_is_too_long_asks_nothing() {
    let server = S3Server::start().unwrap();
    let cache = ObjectCache::builder(Arc::new(server.client())).build().unwrap();
    let error = cache.get(&"k".repeat(1_000_000)).await.unwrap_err();
    assert_eq!((error.kind(), server.count()), (ErrorKind::InvalidKey, 0));
    assert!(error.key().unwrap().len() <= 4096);
}

#[tokio::test]
async fn an_announced_length_takes_no_memory_that_it_does_not_fill() {
    let server = S3Server::start().unwrap();
    server.put("a", "body");
    let cache = ObjectCache::builder(Arc::new(server.client())).build().unwrap();
    server.fault(S3Fault::content_length(1 << 62).once());
    assert_eq!(cache.get("a").await.unwrap_err().kind(), ErrorKind::TooLarge);
    server.fault(S3Fault::content_length(3).once());
    assert_eq!(cache.get("a").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(cache.stats().entries, 0);

    let cache = ObjectCache::builder(Arc::new(server.client())).max_object_size(3).build().unwrap();
    assert_eq!(cache.get("a").await.unwrap_err().kind(), ErrorKind::TooLarge);
}
