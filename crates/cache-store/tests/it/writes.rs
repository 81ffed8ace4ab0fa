use std::sync::Arc;

use cache_core::{ErrorKind, Origin, PutCondition, Version};
use cache_testkit::{Failure, Fault, FaultyStore, Operation};
use object_store::{ObjectStoreExt, PutMode, UpdateVersion};

use crate::{fetch, key, local_disk, origin, path, stored};

#[tokio::test]
async fn a_put_is_one_request_and_its_answer_gives_the_version() {
    let store = FaultyStore::in_memory();
    let origin = origin(&store);
    let version = origin.put(&key(), "body".into(), PutCondition::Always).await.unwrap();
    let requests = store.requests();
    assert_eq!((requests.len(), requests[0].operation), (1, Operation::Put));
    assert_eq!((&requests[0].put_mode, requests[0].bytes_sent), (&Some(PutMode::Overwrite), 4));
    let meta = store.inner().head(&path()).await.unwrap();
    assert_eq!((version.e_tag.clone(), version.size, version.last_modified), (meta.e_tag, 4, None));
    assert_eq!(fetch(&origin, None).await.version(), version);
}

#[tokio::test]
async fn a_put_if_absent_loses_where_there_is_an_object() {
    let store = FaultyStore::in_memory();
    let origin = origin(&store);
    origin.put(&key(), "one".into(), PutCondition::Absent).await.unwrap();
    let error = origin.put(&key(), "two".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::PreconditionFailed, Some("a/b")));
    assert_eq!(store.requests()[1].put_mode, Some(PutMode::Create));
    assert_eq!(fetch(&origin, None).await.body(), "one");
}

#[tokio::test]
async fn a_put_at_a_version_loses_when_it_is_not_current() {
    let store = FaultyStore::in_memory();
    let origin = origin(&store);
    let one = origin.put(&key(), "one".into(), PutCondition::Always).await.unwrap();
    let two = origin.put(&key(), "two".into(), one.clone().into()).await.unwrap();
    let error = origin.put(&key(), "lost".into(), one.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(fetch(&origin, None).await.version(), two);
}

#[tokio::test]
async fn a_put_at_a_version_sends_tag_and_version_id() {
    let store = stored("").await;
    for (e_tag, version) in [(Some("\"t\""), Some("7")), (None, Some("7")), (Some("W/\"t\""), None)]
    {
        store.reset();
        let (e_tag, version) = (e_tag.map(String::from), version.map(String::from));
        let matches = Version::default().with_e_tag(e_tag.clone()).with_version(version.clone());
        origin(&store).put(&key(), "body".into(), matches.into()).await.unwrap_err();
        assert_eq!(
            store.requests()[0].put_mode,
            Some(PutMode::Update(UpdateVersion { e_tag, version }))
        );
    }
}

#[tokio::test]
async fn a_put_at_a_version_without_a_name_is_refused_before_any_request() {
    let store = stored("").await;
    let error =
        origin(&store).put(&key(), "body".into(), Version::default().into()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unsupported, Some("a/b")));
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn a_store_without_conditional_updates_says_so_by_name() {
    let (_folder, store) = local_disk();
    let origin = origin(&store);
    let version = origin.put(&key(), "one".into(), PutCondition::Absent).await.unwrap();
    let error = origin.put(&key(), "two".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    let error = origin.put(&key(), "two".into(), version.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let message = error.to_string();
    assert!(
        message.contains("LocalFileSystem(file:///") && message.contains("at a given version"),
        "{message}"
    );
    assert_eq!(fetch(&origin, None).await.body(), "one");
}

#[tokio::test]
async fn a_delete_is_one_request() {
    let store = stored("body").await;
    origin(&store).delete(&key()).await.unwrap();
    assert_eq!((store.count(), store.requests()[0].operation), (1, Operation::Delete));
    assert!(store.inner().head(&path()).await.is_err());
}

#[tokio::test]
async fn deleting_what_is_missing_is_the_stores_affair() {
    origin(&FaultyStore::in_memory()).delete(&key()).await.unwrap();
    let (_folder, disk) = local_disk();
    assert_eq!(origin(&disk).delete(&key()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_lost_reply_to_a_write_is_an_outage() {
    let store = stored("old").await;
    let origin: Arc<dyn Origin> = Arc::new(origin(&store));
    store.fault(Fault::error(Failure::Unavailable).late());
    let error = origin.put(&key(), "new".into(), PutCondition::Always).await.unwrap_err();
    assert!(error.is_outage());
    assert_eq!(store.inner().get(&path()).await.unwrap().bytes().await.unwrap(), "new");
    assert!(origin.delete(&key()).await.unwrap_err().is_outage());
    assert!(store.inner().head(&path()).await.is_err());
}
