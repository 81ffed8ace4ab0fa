//! `CachedStore` over servers, with the clients of object_store: what lists and metadata are there.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    CachedStore, Freshness, Memory,
    object_store::{
        Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions, path::Path,
    },
};
use cache_testkit::Operation;
use futures_util::TryStreamExt;

use crate::support::{Kind, World};

fn cached(support: &World, freshness: Freshness) -> CachedStore {
    CachedStore::builder(Arc::new(support.store.clone()), Memory::new())
        .freshness(freshness)
        .build()
        .unwrap()
}

/// Each kind of server that is there.
fn worlds() -> impl Iterator<Item = World> {
    [Kind::Loopback, Kind::S3, Kind::Azure].into_iter().filter_map(World::open)
}

/// Azure's lists give tags without quotes.
#[tokio::test]
async fn a_list_of_what_has_not_changed_costs_no_read() {
    for support in worlds() {
        let paths: Vec<_> = (0..100).map(|n| Path::from(support.key(&format!("{n}")))).collect();
        for path in &paths {
            support.write(path.as_ref(), "body").await;
        }
        let cached = cached(&support, Freshness::max_age(Duration::from_secs(3600)));
        for path in &paths {
            cached.get(path).await.unwrap().bytes().await.unwrap();
        }
        let corner = Path::from(support.key("").trim_end_matches('/'));
        support.requests();
        for _ in 0..10 {
            let listed: Vec<_> = cached.list(Some(&corner)).try_collect().await.unwrap();
            assert_eq!(listed.len(), 100);
            for path in &paths {
                assert_eq!(cached.get(path).await.unwrap().bytes().await.unwrap(), "body");
            }
        }
        support.cost(&[Operation::List; 10], 0);
        // And what has changed is seen.
        support.write(paths[7].as_ref(), "news").await;
        let _: Vec<_> = cached.list(Some(&corner)).try_collect().await.unwrap();
        assert_eq!(cached.get(&paths[7]).await.unwrap().bytes().await.unwrap(), "news");
    }
}

/// S3's tag is the bytes' alone.
#[tokio::test]
async fn changed_metadata_are_seen_by_a_strong_read() {
    for support in worlds().filter(|support| support.kind != Kind::Loopback) {
        let path = Path::from(support.key("a"));
        let write = async |content_type: &'static str| {
            let attributes = Attributes::from_iter([
                (Attribute::ContentType, content_type),
                (Attribute::CacheControl, "no-cache"),
                (Attribute::Metadata("of".into()), content_type),
            ]);
            let options = PutOptions { attributes, ..PutOptions::default() };
            support.store.inner().put_opts(&path, "body".into(), options).await.unwrap().e_tag
        };
        let first = write("text/plain").await;
        let cached = cached(&support, Freshness::strong());
        cached.get(&path).await.unwrap().bytes().await.unwrap();
        let second = write("text/html").await;
        support.requests();
        let answer = cached.get(&path).await.unwrap();
        let seen = |name| answer.attributes.get(&name).map(|value| value.as_ref().to_owned());
        assert_eq!(seen(Attribute::ContentType).as_deref(), Some("text/html"));
        assert_eq!(seen(Attribute::Metadata("of".into())).as_deref(), Some("text/html"));
        assert_eq!(answer.bytes().await.unwrap(), "body");
        if first == second {
            support.cost(&[Operation::Head], 0);
        } else {
            assert_ne!(support.kind, Kind::S3);
        }
    }
}
