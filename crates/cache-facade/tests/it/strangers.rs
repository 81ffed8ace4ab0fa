//! What strangers can do who choose keys or objects. SECURITY.md says what follows.

use std::{sync::Arc, time::Duration};

use cache_core::Clock as _;
use cache_facade::{ErrorKind, Eviction, Freshness, Memory, ObjectCache};
use cache_testkit::{Fault, FaultyStore, ManualClock, S3Fault, S3Server};

/// I-15: strangers who ask for any number of keys push nothing out.
#[tokio::test]
async fn missing_objects_take_a_sixteenth_of_the_capacity_at_most() {
    const CAPACITY: u64 = 1 << 20;
    let minute = Duration::from_secs(60);
    let (store, clock) = (FaultyStore::in_memory(), Arc::<ManualClock>::default());
    let cache = ObjectCache::builder(Arc::new(store.clone()))
        .freshness(Freshness::max_age(Duration::from_secs(3600)))
        .negative_ttl(minute)
        .time_to_live(Duration::from_secs(3600))
        .backend(Memory::new().max_capacity(CAPACITY).eviction(Eviction::Lru))
        .clock(clock.clone())
        .build()
        .unwrap();
    // As much as fits beside that share.
    let hot: Vec<_> = (0..90).map(|number| format!("hot/{number}")).collect();
    for key in &hot {
        cache.put(key, vec![b'x'; 10 << 10]).await.unwrap();
    }
    let before = cache.stats();
    for number in 0..20_000_u64 {
        let error = cache.get(&format!("missing/{number:05}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        if number % 5000 == 4999 {
            clock.advance(minute * 2);
            cache.read_through().backend().sweep(clock.now()).await.unwrap();
        }
        if number == 4998 {
            let bytes = cache.stats().bytes - before.bytes;
            assert!(
                (CAPACITY / 64..=CAPACITY / 16).contains(&bytes),
                "{bytes} bytes of missing objects"
            );
        }
    }
    assert_eq!(cache.stats().evictions, 0);
    let asked = store.count();
    for key in &hot {
        cache.get(key).await.unwrap();
    }
    assert_eq!(store.count(), asked, "all that was hot is still there");
    // The first read after the clock has moved resumes the sweep.
    cache.get("missing/resumed").await.unwrap_err();
    // One that is remembered is not requested again.
    cache.get("missing").await.unwrap_err();
    cache.get("missing").await.unwrap_err();
    assert_eq!(store.count(), asked + 2);
    // Off by default: then nothing is kept of them.
    let cache = ObjectCache::builder(Arc::new(store))
        .freshness(Freshness::max_age(minute))
        .build()
        .unwrap();
    cache.get("missing").await.unwrap_err();
    assert_eq!((cache.stats().entries, cache.read_through().keys_in_flight()), (0, 0));
}

/// Nor where copies are counted.
#[tokio::test]
async fn missing_objects_take_a_sixteenth_of_the_entries_at_most() {
    let hour = Duration::from_secs(3600);
    let cache = ObjectCache::builder(Arc::new(FaultyStore::in_memory()))
        .freshness(Freshness::max_age(hour))
        .negative_ttl(hour)
        .backend(Memory::new().max_entries(320))
        .clock(Arc::<ManualClock>::default())
        .build()
        .unwrap();
    for number in 0..300 {
        cache.put(&format!("hot/{number}"), "body").await.unwrap();
    }
    for number in 0..1000 {
        cache.get(&format!("missing/{number}")).await.unwrap_err();
    }
    let held = cache.read_through().backend().usage().entries;
    assert_eq!((held, cache.stats().entries, cache.stats().evictions), (310, 300, 0));
}

/// I-27: what is in the air is bounded, in questions and in bytes.
#[tokio::test]
async fn what_is_in_the_air_is_bounded() {
    let store = FaultyStore::in_memory();
    let cache = ObjectCache::builder(Arc::new(store.clone())).max_in_flight(3).build().unwrap();
    store.fault(Fault::hold());
    let ask = |number: usize| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&format!("missing/{number}")).await })
    };
    let readers: Vec<_> = (0..100).map(ask).collect();
    store.wait_until_held(3).await;
    for reader in &readers[3..] {
        reader.abort();
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (store.count(), cache.read_through().keys_in_flight()),
        (3, 3),
        "who has gone leaves nothing"
    );
    store.release_all();
    for reader in readers.into_iter().take(3) {
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(cache.read_through().keys_in_flight(), 0);
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
