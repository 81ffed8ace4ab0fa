use std::panic::AssertUnwindSafe;

use cache_core::{ErrorKind, Storability, Validation, Validator};
use cache_testkit::{Failure, Fault, Operation, TagFault};
use futures_util::FutureExt;
use object_store::ObjectStoreExt;

use crate::{
    SECONDS, builder,
    clock::{SetClock, date},
    fetch, is_unchanged, key, local_disk, origin, path, stored, write,
};

#[tokio::test]
async fn a_miss_is_one_get_with_body_and_version_from_one_answer() {
    let store = stored("body").await;
    let entry = fetch(&origin(&store), None).await;
    let meta = store.inner().head(&path()).await.unwrap();
    assert_eq!((entry.key(), entry.body().as_ref()), ("a/b", b"body".as_slice()));
    assert_eq!(
        (entry.e_tag(), entry.last_modified()),
        (meta.e_tag.as_deref(), Some(meta.last_modified.into()))
    );
    assert_eq!(entry.storability(), Storability::Revalidatable);
    assert_eq!(entry.validated_at(), None);

    let requests = store.requests();
    assert_eq!((requests.len(), requests[0].operation), (1, Operation::Get));
    assert_eq!((&requests[0].if_none_match, requests[0].if_modified_since), (&None, None));
    assert_eq!((&requests[0].range, &requests[0].version), (&None, &None));
}

#[tokio::test]
async fn what_is_unchanged_costs_one_request_without_a_body() {
    let store = stored("body").await;
    let origin = origin(&store);
    let entry = fetch(&origin, None).await;
    store.reset();
    assert!(is_unchanged(&origin, &entry).await);
    let requests = store.requests();
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    assert_eq!(
        (requests[0].if_none_match.as_deref(), requests[0].if_modified_since),
        (entry.e_tag(), None)
    );
}

#[tokio::test]
async fn what_changed_comes_with_the_same_request() {
    let store = stored("old").await;
    let origin = origin(&store);
    let old = fetch(&origin, None).await;
    write(&store, "new").await;
    store.reset();
    let new = fetch(&origin, Some(&old)).await;
    assert_eq!((new.body().as_ref(), store.count()), (b"new".as_slice(), 1));
    assert_ne!(new.e_tag(), old.e_tag());
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    let store = stored("body").await;
    let origin = origin(&store);
    let entry = fetch(&origin, None).await;
    store.inner().delete(&path()).await.unwrap();
    for held in [None, Some(&entry)] {
        assert!(matches!(origin.validate(&key(), held).await.unwrap(), Validation::NotFound));
    }
}

#[tokio::test]
async fn on_local_disk_an_object_below_an_object_is_gone() {
    let (_folder, store) = local_disk();
    store.inner().put(&"a".into(), "a file where the key has a folder".into()).await.unwrap();
    assert!(matches!(origin(&store).validate(&key(), None).await.unwrap(), Validation::NotFound));
}

#[tokio::test]
async fn local_disk_is_asked_as_any_store() {
    let (_folder, store) = local_disk();
    write(&store, "old").await;
    let clock = SetClock::at(1e10);
    let origin = builder(&store).validator_strength(SECONDS).clock(clock).build().unwrap();
    let old = fetch(&origin, None).await;
    assert!(is_unchanged(&origin, &old).await);
    write(&store, "newer").await;
    assert_eq!(fetch(&origin, Some(&old)).await.body(), "newer");
    assert_eq!((store.count(), store.body_bytes()), (3, 8));
}

#[tokio::test]
async fn the_tag_goes_back_byte_for_byte() {
    for (tag, accept_weak) in
        [("\"a,b\"", false), ("unquoted-0x8D", false), ("W/\"ü\"", true), ("\"\"", false)]
    {
        let store = stored("body").await;
        store.fault(Fault::tag(TagFault::Replaced(tag.into())));
        let origin = builder(&store).accept_weak_validators(accept_weak).build().unwrap();
        let entry = fetch(&origin, None).await;
        assert_eq!(entry.e_tag(), Some(tag));
        assert!(is_unchanged(&origin, &entry).await, "{tag}");
        assert_eq!(store.requests()[1].if_none_match.as_deref(), Some(tag));
    }
}

#[tokio::test]
async fn a_tag_that_would_ask_about_other_versions_is_never_sent() {
    for tag in ["*", "\"0\", \"1\"", ""] {
        let store = stored("old").await;
        store.fault(Fault::tag(TagFault::Replaced(tag.into())));
        let origin = origin(&store);
        let old = fetch(&origin, None).await;
        assert_eq!((old.e_tag(), old.storability()), (Some(tag), Storability::FreshOnly));
        write(&store, "new").await;
        assert_eq!(fetch(&origin, Some(&old)).await.body(), "new");
        assert_eq!(store.requests()[1].if_none_match, None);
    }
}

#[tokio::test]
async fn without_a_tag_the_date_is_asked_about() {
    let store = stored("old").await;
    store.fault(Fault::tag(TagFault::Missing));
    store.fault(Fault::last_modified(Some(date(100.0))).times(2));
    let origin = builder(&store).clock(SetClock::at(103.0)).build().unwrap();
    let old = fetch(&origin, None).await;
    assert_eq!((old.e_tag(), old.storability()), (None, Storability::Revalidatable));
    assert!(is_unchanged(&origin, &old).await);
    let request = &store.requests()[1];
    assert_eq!((&request.if_none_match, request.if_modified_since), (&None, Some(date(100.0))));

    store.fault(Fault::last_modified(Some(date(102.0))));
    write(&store, "new").await;
    let new = fetch(&origin, Some(&old)).await;
    assert_eq!(
        (new.body().as_ref(), new.storability()),
        (b"new".as_slice(), Storability::FreshOnly)
    );
}

#[tokio::test]
async fn with_neither_tag_nor_date_nothing_is_kept_or_confirmed() {
    let store = stored("body").await;
    store.fault(Fault::tag(TagFault::Missing));
    store.fault(Fault::last_modified(None));
    let origin = origin(&store);
    let entry = fetch(&origin, None).await;
    assert_eq!((entry.storability(), entry.last_modified()), (Storability::NoStore, None));
    assert_eq!(fetch(&origin, Some(&entry)).await.body(), "body");
    let request = &store.requests()[1];
    assert_eq!((&request.if_none_match, request.if_modified_since), (&None, None));
}

#[tokio::test]
async fn a_304_to_a_question_without_a_tag_is_an_error() {
    let store = stored("body").await;
    store.fault(Fault::error(Failure::NotModified));
    let error = origin(&store).validate(&key(), None).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Other, Some("a/b")));
    assert!(error.to_string().contains("304"), "{error}");
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn attributes_come_with_the_body() {
    use object_store::{Attribute, Attributes, PutOptions};
    let store = stored("").await;
    let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
    let options = PutOptions { attributes, ..PutOptions::default() };
    store.inner().put_opts(&path(), "body".into(), options).await.unwrap();
    assert_eq!(
        fetch(&origin(&store), None).await.attributes().get("content-type"),
        Some("text/plain")
    );
}

#[tokio::test]
async fn a_panic_of_the_store_passes_through_and_leaves_the_validator_usable() {
    let store = stored("body").await;
    let origin = origin(&store);
    store.fault(Fault::panic().once());
    AssertUnwindSafe(origin.validate(&key(), None)).catch_unwind().await.unwrap_err();
    assert_eq!(fetch(&origin, None).await.body(), "body");
}

#[tokio::test]
async fn a_question_is_asked_anew_when_its_future_is_polled() {
    let store = stored("body").await;
    let origin = origin(&store);
    drop(origin.validate(&key(), None));
    assert_eq!(store.count(), 0);
}
