//! What the command line makes of the cached store.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    CachedStore, ValidatorStrength, object_store::ObjectStoreExt, object_store::path::Path,
};
use cache_testkit::{Fault, FaultyStore, ManualClock, Operation};
use http_gateway::{Bucket, Gateway, Options};

use crate::world::{Server, bytes, get};

struct Built {
    store: FaultyStore,
    clock: Arc<ManualClock>,
    server: Server,
    cached: CachedStore,
}

async fn build(line: &str) -> Built {
    let options = Options::parse(line.split_whitespace().map(str::to_owned)).unwrap().unwrap();
    let store = FaultyStore::in_memory();
    for key in ["a", "b", "static/a"] {
        store.inner().put(&Path::from(key), bytes(25).into()).await.unwrap();
    }
    let clock = Arc::new(ManualClock::new());
    let bucket = Bucket { store: Arc::new(store.clone()), strength: ValidatorStrength::Strong };
    let cached = options.store(bucket).clock(clock.clone()).build().unwrap();
    let gateway = Gateway::new(cached.clone()).rules(options.rules.clone());
    let server = Server::start(gateway.router()).await;
    Built { store, clock, server, cached }
}

impl Built {
    /// How many requests it takes.
    async fn read(&self, path: &str) -> usize {
        let before = self.store.count();
        assert_eq!(get(self.server.address, path).await.body, bytes(25));
        self.store.count() - before
    }
}

#[tokio::test]
async fn freshness_goes_by_prefix() {
    let built = build("--max-age 60 --freshness /static/=max-age=3600,stale-if-error=7200").await;
    assert_eq!((built.read("/a").await, built.read("/static/a").await), (1, 1));
    assert_eq!((built.read("/a").await, built.read("/static/a").await), (0, 0));
    built.clock.advance(Duration::from_secs(61));
    assert_eq!((built.read("/a").await, built.read("/static/a").await), (1, 0));
    // What is known of an object lasts as long as it may be served.
    built.clock.advance(Duration::from_secs(3000));
    assert_eq!(built.read("/static/a").await, 0);
    built.clock.advance(Duration::from_secs(5000));
    built.store.fault(Fault::error(cache_testkit::Failure::Unavailable));
    assert_eq!(get(built.server.address, "/static/a").await.body, bytes(25));
    assert_eq!(get(built.server.address, "/a").await.status, 502);
}

#[tokio::test]
async fn large_objects_are_not_cached() {
    let built = build("--max-age 60 --max-object-size 24").await;
    assert_eq!((built.read("/a").await, built.read("/a").await), (1, 1));
    assert_eq!(built.cached.stats().heads.entries, 0);
    let built = build("--max-age 60 --max-object-size 25").await;
    assert_eq!((built.read("/a").await, built.read("/a").await), (1, 0));
}

#[tokio::test]
async fn a_small_cache_is_one_all_the_same() {
    let built = build("--max-age 60 --capacity 1000").await;
    assert_eq!(built.read("/a").await, 1);
}

#[tokio::test]
async fn requests_to_the_bucket_have_a_limit() {
    let built = build("--max-in-flight 1 --queue-timeout 0").await;
    built.store.fault(Fault::hold().on(Operation::Get).once());
    let first = get(built.server.address, "/a");
    let second = async {
        built.store.wait_until_held(1).await;
        let answer = get(built.server.address, "/b").await;
        built.store.release_all();
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (200, 504));
    assert_eq!(second.header("cache-status"), Some("object-cache; fwd=miss; detail=timeout"));
    assert_eq!(built.read("/b").await, 1);
}

#[tokio::test]
async fn a_missing_object_is_remembered_for_negative_ttl() {
    let built = build("--max-age 60 --negative-ttl 10").await;
    let address = built.server.address;
    let missing = async || {
        let before = built.store.count();
        let answer = get(address, "/none/").await;
        assert_eq!(answer.status, 404);
        // A remembered answer was not forwarded, and an error does not tell which one it is.
        assert_eq!(answer.header("cache-status"), Some("object-cache"));
        built.store.count() - before
    };
    assert_eq!((missing().await, missing().await), (1, 0));
    built.clock.advance(Duration::from_secs(11));
    assert_eq!(missing().await, 1);
    // So is that there is no folder of that name.
    let before = built.store.count();
    for _ in 0..2 {
        assert_eq!(get(address, "/docs").await.status, 404);
    }
    assert_eq!(built.store.count() - before, 2);
}

#[tokio::test]
async fn blocks_beyond_max_in_flight_bytes_are_not_cached() {
    for (bytes, requests) in [(1024, 2), (2048, 1)] {
        let built = build(&format!("--max-age 60 --max-in-flight-bytes {bytes}")).await;
        built.store.inner().put(&Path::from("large"), vec![7; 2000].into()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(get(built.server.address, "/large").await.body, vec![7; 2000]);
        }
        assert_eq!(built.store.count(), requests, "{bytes}");
    }
}
