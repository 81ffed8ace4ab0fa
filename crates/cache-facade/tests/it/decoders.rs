//! Decoders that call the cache.

use std::{error::Error as _, sync::Arc, time::Duration};

use cache_facade::{ErrorKind, Freshness, ObjectCache, object_store::memory::InMemory};
use futures_util::FutureExt as _;

/// It would wait for itself: the value is being made, on this very thread.
#[tokio::test]
async fn a_decoder_that_asks_for_its_own_value_gets_an_error_that_names_the_key() {
    let freshness = Freshness::max_age(Duration::from_secs(60));
    let cache =
        ObjectCache::builder(Arc::new(InMemory::new())).freshness(freshness).build().unwrap();
    for key in ["a", "b"] {
        cache.put(key, "12345").await.unwrap();
    }
    let length = |key| {
        let read = cache.get_decoded(key, |body| Ok::<_, cache_facade::Error>(body.len()));
        read.now_or_never().expect("it waits for nothing").map(|length| *length)
    };
    let error = cache.get_decoded("a", |_| length("a")).await.unwrap_err();
    let inner = error.source().unwrap().downcast_ref::<cache_facade::Error>().unwrap();
    assert_eq!((error.kind(), inner.kind()), (ErrorKind::Decode, ErrorKind::Decode));
    assert!(inner.source().is_none() && inner.to_string().contains("\"a\""), "{inner}");
    // By way of another object's.
    let by_way_of_b = |_: &bytes::Bytes| {
        let read = cache.get_decoded("b", |_| length("a"));
        read.now_or_never().expect("it waits for nothing").map(|length| *length)
    };
    assert_eq!(cache.get_decoded("a", by_way_of_b).await.unwrap_err().kind(), ErrorKind::Decode);
    // What waits for nothing may be asked for.
    assert_eq!(*cache.get_decoded("a", |_| length("b")).await.unwrap(), 5);
}
