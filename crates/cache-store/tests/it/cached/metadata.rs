//! Metadata that change while the bytes, and so the tag, stay.

use std::sync::Arc;

use cache_core::Freshness;
use cache_core::Status;
use cache_store::CachedStore;
use cache_testkit::{Fault, FaultyStore, TagFault};
use futures_util::TryStreamExt;
use object_store::{
    Attribute, Attributes, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, memory::InMemory,
};

use super::{HOUR, body, builder, cached, read, read_all, status};
use crate::path;

/// A store whose tags are the bytes' alone, as those of S3 are: all objects here have the same
/// bytes.
fn store() -> FaultyStore {
    let bare = super::scripted_store::ScriptedStore::lists(Arc::new(InMemory::new()), |object| {
        ObjectMeta { e_tag: Some("x".into()), ..object }
    });
    let store = FaultyStore::new(Arc::new(bare));
    store.fault(Fault::tag(TagFault::Replaced("\"x\"".into())));
    store
}

async fn write(store: &FaultyStore, content_type: &'static str) {
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, content_type),
        (Attribute::Metadata("of".into()), content_type),
    ]);
    let options = PutOptions { attributes, ..PutOptions::default() };
    store.inner().put_opts(&path(), body(17).into(), options).await.unwrap();
}

async fn content_type(cached: &CachedStore) -> String {
    let answer = cached.get(&path()).await.unwrap();
    let content_type = answer.attributes.get(&Attribute::ContentType).unwrap().to_string();
    assert_eq!(answer.bytes().await.unwrap(), body(17));
    content_type
}

#[tokio::test]
async fn changed_metadata_are_seen_though_the_tag_is_the_same() {
    let store = store();
    write(&store, "text/plain").await;
    let cached = cached(&store);
    assert_eq!(content_type(&cached).await, "text/plain");
    write(&store, "text/html").await;
    store.reset();
    assert_eq!(content_type(&cached).await, "text/html");
    assert_eq!((store.count(), store.body_bytes()), (1, 0), "the blocks are of the same bytes");
    // And by the date alone.
    let before = cached.head(&path()).await.unwrap().last_modified;
    write(&store, "text/html").await;
    store.reset();
    let after = cached.get(&path()).await.unwrap();
    assert!(after.meta.last_modified > before);
    assert_eq!(status(&after).status(), Status::Refetched);
    assert_eq!(cached.head(&path()).await.unwrap(), after.meta);
    assert_eq!((store.count(), store.body_bytes()), (2, 0));
}

#[tokio::test]
async fn metadata_that_did_not_change_are_a_revalidation() {
    let store = store();
    write(&store, "text/plain").await;
    let cached = cached(&store);
    read_all(&cached).await;
    for _ in 0..3 {
        assert_eq!(status(&cached.get(&path()).await.unwrap()).status(), Status::Revalidated);
    }
    let heads = cached.stats().heads;
    assert_eq!((heads.revalidated, heads.fetched, heads.refetched), (3, 1, 0));
}

/// What a list shows of the date is heard too.
#[tokio::test]
async fn a_list_shows_that_metadata_have_changed() {
    let store = store();
    write(&store, "text/plain").await;
    let rule = Freshness::max_age(HOUR);
    let cached = builder(&store).freshness(rule).build().unwrap();
    assert_eq!(content_type(&cached).await, "text/plain");
    write(&store, "text/html").await;
    assert_eq!(content_type(&cached).await, "text/plain");
    let listed: Vec<_> = cached.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    store.reset();
    assert_eq!(content_type(&cached).await, "text/html");
    assert_eq!(read(&cached, 3..8).await, super::part(3..8));
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
}
