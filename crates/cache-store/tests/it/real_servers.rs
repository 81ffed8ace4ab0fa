//! Lists of real servers: `cargo xtask servers run -- cargo test -p cache-store --all-features`.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    sync::Arc,
};

use cache_core::{ReadThrough, Status};
use cache_store::{CachedStore, EtagValidator, Support, probe_capabilities};
use cache_testkit::{FaultyStore, ManualClock, MapBackend};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

/// Where a server is and which bucket to use of it, if both variables say so.
fn server(endpoint: &str, bucket: &str) -> Option<(String, String)> {
    let found = env::var(endpoint).ok().zip(env::var(bucket).ok());
    let is_needed = env::var_os("OBJECT_CACHE_TEST_SERVERS_NEEDED").is_some();
    assert!(found.is_some() || !is_needed, "{endpoint} or {bucket} is not set, but needed here");
    if found.is_none() {
        // Past the test harness, which hides what tests print.
        let message = format!("left out: lists of a server: set {endpoint} and {bucket}\n");
        let _ = std::io::stderr().write_all(message.as_bytes());
    }
    found
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn over_s3() {
    let Some((endpoint, bucket)) =
        server("OBJECT_CACHE_TEST_S3_ENDPOINT", "OBJECT_CACHE_TEST_S3_BUCKET")
    else {
        return;
    };
    let builder = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id("test")
        .with_secret_access_key("test");
    check(Arc::new(builder.build().unwrap())).await;
}

#[cfg(feature = "azure")]
#[tokio::test]
async fn over_azure() {
    // The account of every azurite server; its key is published.
    const ACCOUNT: &str = "devstoreaccount1";
    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/\
                       KBHBeksoGMGw==";
    let Some((endpoint, container)) =
        server("OBJECT_CACHE_TEST_AZURE_ENDPOINT", "OBJECT_CACHE_TEST_AZURE_CONTAINER")
    else {
        return;
    };
    let builder = object_store::azure::MicrosoftAzureBuilder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_account(ACCOUNT)
        .with_access_key(KEY)
        .with_container_name(container);
    check(Arc::new(builder.build().unwrap())).await;
}

/// Lists renew, and several pages are one list.
async fn check(bucket: Arc<dyn ObjectStore>) {
    let corner = format!("{:016x}", RandomState::new().hash_one(()));
    let seen = probe_capabilities(&bucket, &Path::from(&*corner)).await.unwrap();
    assert_eq!(seen.list_validation, Support::Honored, "{seen}");

    let store = FaultyStore::new(bucket);
    let prefix = format!("{corner}/models/");
    let path = |n: usize| Path::from(format!("{prefix}{n:05}"));
    let put = stream::iter((0..OBJECTS).map(|n| {
        let store = store.clone();
        async move { store.put(&path(n), format!("body {n}").into()).await.unwrap() }
    }));
    put.buffer_unordered(16).count().await;

    let clock = Arc::new(ManualClock::new());
    let origin = EtagValidator::builder(Arc::new(store.clone())).build().unwrap();
    let cache = ReadThrough::builder(Arc::new(origin), Arc::new(MapBackend::new()));
    let cache = cache.clock(clock.clone()).build().unwrap();
    let read = || async {
        clock.advance(std::time::Duration::from_secs(1));
        store.reset();
        let read: Vec<_> = cache.get_prefix(&prefix, 16).try_collect().await.unwrap();
        let renewed = read.iter().filter(|it| it.status == Status::RevalidatedByList).count();
        (read.len(), renewed, store.gets())
    };
    assert_eq!(read().await, (OBJECTS, 0, OBJECTS));
    assert_eq!(read().await, (OBJECTS, OBJECTS, 0));
    for n in [3, 1003] {
        store.put(&path(n), "news".into()).await.unwrap();
    }
    store.delete(&path(5)).await.unwrap();
    assert_eq!(read().await, (OBJECTS - 1, OBJECTS - 3, 2));

    let cached = CachedStore::builder(Arc::new(store.clone()), Arc::new(MapBackend::new()));
    let cached = cached.build().unwrap();
    let folder = Path::from(format!("{corner}/models"));
    for gets in [OBJECTS - 1, 0] {
        store.reset();
        let mut warmed = cached.warm_prefix(Some(&folder), 16);
        while let Some(object) = warmed.next().await {
            object.result.unwrap();
        }
        assert_eq!(store.gets(), gets);
    }
}

/// More than a page of S3 has.
const OBJECTS: usize = 1100;
