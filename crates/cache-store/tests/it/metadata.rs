//! `validate_metadata`: what a conditional GET does not show.

use std::sync::Arc;

use cache_core::{
    Entry, ErrorKind, Origin as _, PutCondition, Storability, Validation, Validator as _,
};
use cache_store::{EtagValidator, ValidatorStrength};
use cache_testkit::{Failure, Fault, FaultyStore, Operation, S3Fault, S3Server, TagFault};
use object_store::{Attribute, ObjectStore as _, ObjectStoreExt as _, PutOptions};

use crate::{
    SECONDS, builder,
    clock::{SetClock, date},
    fetch, is_unchanged, key, path, stored, write,
};

fn origin(store: &FaultyStore) -> EtagValidator {
    builder(store).validate_metadata(true).build().unwrap()
}

/// The tag is made of the bytes alone, as S3's: here, of none of them.
fn keep_tag(store: &FaultyStore) {
    store.fault(Fault::tag(TagFault::Replaced("\"of-the-bytes\"".into())));
}

async fn write_typed(store: &FaultyStore, body: &'static str, content_type: &'static str) {
    let attributes = [(Attribute::ContentType, content_type)].into_iter().collect();
    let options = PutOptions { attributes, ..PutOptions::default() };
    store.inner().put_opts(&path(), body.into(), options).await.unwrap();
}

fn content_type(entry: &Entry) -> Option<&str> {
    entry.attributes().get("content-type")
}

fn operations(store: &FaultyStore) -> Vec<Operation> {
    let operations = store.requests().iter().map(|request| request.operation).collect();
    store.reset();
    operations
}

#[tokio::test]
async fn a_change_of_metadata_alone_is_seen_without_a_body() {
    let store = FaultyStore::in_memory();
    keep_tag(&store);
    write_typed(&store, "body", "text/plain").await;
    let origin = origin(&store);
    let old = fetch(&origin, None).await;
    assert_eq!(operations(&store), [Operation::Get]);
    assert!(is_unchanged(&origin, &old).await);
    assert_eq!((store.body_bytes(), operations(&store)), (0, vec![Operation::Head]));

    write_typed(&store, "body", "text/html").await;
    let new = fetch(&origin, Some(&old)).await;
    assert_eq!((store.body_bytes(), operations(&store)), (0, vec![Operation::Head]));
    let meta = store.head(&path()).await.unwrap();
    assert_eq!((content_type(&old), content_type(&new)), (Some("text/plain"), Some("text/html")));
    assert_eq!(
        (new.body(), new.e_tag(), new.storability()),
        (old.body(), old.e_tag(), Storability::Revalidatable)
    );
    assert_eq!(new.last_modified(), Some(meta.last_modified.into()));
    assert_eq!(new.body().as_ptr(), old.body().as_ptr(), "the bytes were copied");
    assert!(is_unchanged(&origin, &new).await);
}

#[tokio::test]
async fn a_conditional_get_does_not_see_it() {
    let store = FaultyStore::in_memory();
    keep_tag(&store);
    write_typed(&store, "body", "text/plain").await;
    let origin = crate::origin(&store);
    let old = fetch(&origin, None).await;
    write_typed(&store, "body", "text/html").await;
    assert!(is_unchanged(&origin, &old).await);
    assert_eq!(operations(&store), [Operation::Get; 2]);
}

/// Dates and version ids are metadata too.
#[tokio::test]
async fn another_date_is_another_entry() {
    let store = stored("body").await;
    keep_tag(&store);
    let origin = origin(&store);
    let old = fetch(&origin, None).await;
    store.fault(Fault::last_modified(Some(date(2e9))));
    let new = fetch(&origin, Some(&old)).await;
    assert_eq!((new.last_modified(), new.body()), (Some(date(2e9)), old.body()));
    assert_eq!(operations(&store), [Operation::Get, Operation::Head]);
}

#[tokio::test]
async fn other_bytes_are_fetched_without_a_condition() {
    let store = stored("old").await;
    let origin = origin(&store);
    let old = fetch(&origin, None).await;
    write(&store, "news").await;
    store.reset();
    let new = fetch(&origin, Some(&old)).await;
    assert_eq!(new.body(), "news");
    let requests = store.requests();
    assert_eq!((requests[1].if_none_match.as_ref(), requests[1].if_match.as_ref()), (None, None));
    assert_eq!(operations(&store), [Operation::Head, Operation::Get]);

    // One tag for two lengths names neither.
    keep_tag(&store);
    let old = fetch(&origin, None).await;
    write(&store, "newer").await;
    assert_eq!(fetch(&origin, Some(&old)).await.body(), "newer");
}

/// The answer to the GET is whole in itself: what the HEAD showed is not mixed in.
#[tokio::test]
async fn an_object_that_changes_between_head_and_get_is_of_one_version() {
    let store = FaultyStore::in_memory();
    write_typed(&store, "one", "text/1").await;
    let origin = Arc::new(origin(&store));
    let old = fetch(&origin, None).await;
    write_typed(&store, "two", "text/2").await;
    store.fault(Fault::hold().on(Operation::Get));
    let read = tokio::spawn({
        let (origin, old) = (origin.clone(), old.clone());
        async move { fetch(&origin, Some(&old)).await }
    });
    store.wait_until_held(1).await;
    // Back to the bytes of the copy, say, and on.
    write_typed(&store, "three", "text/3").await;
    store.release_all();
    let new = read.await.unwrap();
    let meta = store.head(&path()).await.unwrap();
    assert_eq!((new.body().as_ref(), content_type(&new)), (&b"three"[..], Some("text/3")));
    assert_eq!(new.e_tag(), meta.e_tag.as_deref());

    // Or it is deleted.
    write_typed(&store, "four", "text/4").await;
    store.fault(Fault::hold().on(Operation::Get));
    let read = tokio::spawn(async move { origin.validate(&key(), Some(&new)).await });
    store.wait_until_held(1).await;
    store.inner().delete(&path()).await.unwrap();
    store.release_all();
    assert!(matches!(read.await.unwrap(), Ok(Validation::NotFound)));
}

#[tokio::test]
async fn what_was_put_is_unchanged_until_there_is_metadata() {
    let store = FaultyStore::in_memory();
    keep_tag(&store);
    let origin = origin(&store);
    let version = origin.put(&key(), "body".into(), PutCondition::Always).await.unwrap();
    let put = origin.entry_of_put(&key(), "body".into(), &version);
    assert!(is_unchanged(&origin, &put).await);
    write_typed(&store, "body", "text/html").await;
    store.reset();
    let entry = fetch(&origin, Some(&put)).await;
    assert_eq!((store.body_bytes(), operations(&store)), (0, vec![Operation::Head]));
    assert!(entry.last_modified().is_some() && content_type(&entry).is_some());
}

/// Nothing is compared where nothing can be confirmed: a HEAD would be a request in vain.
#[tokio::test]
async fn a_first_read_and_one_of_what_cannot_be_confirmed_are_one_get() {
    let store = stored("body").await;
    store.fault(Fault::tag(TagFault::Weak));
    let origin = origin(&store);
    let entry = fetch(&origin, None).await;
    assert_eq!(entry.storability(), Storability::FreshOnly);
    fetch(&origin, Some(&entry)).await;
    assert_eq!(operations(&store), [Operation::Get; 2]);
}

#[tokio::test]
async fn a_weak_tag_is_the_same_only_where_weak_tags_are_accepted() {
    let store = stored("body").await;
    let strict = origin(&store);
    let strong = fetch(&strict, None).await;
    store.fault(Fault::tag(TagFault::Weak));
    store.reset();
    fetch(&strict, Some(&strong)).await;
    assert_eq!(operations(&store), [Operation::Head, Operation::Get]);

    let lenient =
        builder(&store).validate_metadata(true).accept_weak_validators(true).build().unwrap();
    let weak = fetch(&lenient, None).await;
    store.reset();
    assert!(is_unchanged(&lenient, &weak).await && !is_unchanged(&strict, &strong).await);
}

/// Its bytes may be others: two writes in one tick of the clock share a tag.
#[tokio::test]
async fn a_tag_made_of_a_timestamp_names_no_bytes_across_two_dates() {
    let store = stored("old").await;
    keep_tag(&store);
    let clock = SetClock::at(3e9);
    let origin = builder(&store)
        .validator_strength(SECONDS)
        .clock(clock)
        .validate_metadata(true)
        .build()
        .unwrap();
    store.fault(Fault::last_modified(Some(date(1e9))).times(2));
    let old = fetch(&origin, None).await;
    assert_eq!(old.storability(), Storability::Revalidatable);
    assert!(is_unchanged(&origin, &old).await);
    write(&store, "new").await;
    store.fault(Fault::last_modified(Some(date(1e9 + 0.5))));
    assert_eq!(fetch(&origin, Some(&old)).await.body(), "new");
}

#[tokio::test]
async fn an_object_without_a_tag_is_compared_by_its_date() {
    let store = stored("body").await;
    store.fault(Fault::tag(TagFault::Missing));
    store.fault(Fault::last_modified(Some(date(1e9))).times(2));
    let origin = origin(&store);
    let old = fetch(&origin, None).await;
    assert!(is_unchanged(&origin, &old).await);
    assert_eq!(operations(&store), [Operation::Get, Operation::Head]);
    store.fault(Fault::last_modified(Some(date(1e9 + 1.0))));
    fetch(&origin, Some(&old)).await;
    assert_eq!(operations(&store), [Operation::Head, Operation::Get]);
}

#[tokio::test]
async fn a_head_that_fails_is_the_answer() {
    let store = stored("body").await;
    let origin = origin(&store);
    let entry = fetch(&origin, None).await;
    for (failure, kind) in [
        (Failure::Unavailable, ErrorKind::Unavailable),
        (Failure::PermissionDenied, ErrorKind::PermissionDenied),
        (Failure::Unauthenticated, ErrorKind::Unauthenticated),
        (Failure::NotModified, ErrorKind::Other),
    ] {
        store.reset();
        store.fault(Fault::error(failure).on(Operation::Head).once());
        assert_eq!(origin.validate(&key(), Some(&entry)).await.unwrap_err().kind(), kind);
        assert_eq!(operations(&store), [Operation::Head]);
    }
    store.fault(Fault::error(Failure::NotFound).on(Operation::Head).once());
    assert!(matches!(origin.validate(&key(), Some(&entry)).await, Ok(Validation::NotFound)));
}

/// Nobody but the cache asked for a HEAD.
#[tokio::test]
async fn a_store_that_takes_no_head_is_asked_for_the_object() {
    let store = stored("body").await;
    let origin = origin(&store);
    let entry = fetch(&origin, None).await;
    for failure in [Failure::NotSupported, Failure::NotImplemented] {
        store.reset();
        store.fault(Fault::error(failure).on(Operation::Head).once());
        let again = fetch(&origin, Some(&entry)).await;
        assert_eq!((again.body(), again.e_tag()), (entry.body(), entry.e_tag()));
        assert_eq!(operations(&store), [Operation::Head, Operation::Get]);
    }
}

/// Over the wire, where a server gives tags without quotes to one kind of request.
#[tokio::test]
async fn a_tag_without_quotes_is_the_same_tag() {
    let server = S3Server::start().unwrap();
    let tag = server.put(key().as_str(), "body");
    let store = Arc::new(server.client());
    let origin = EtagValidator::builder(store)
        .validator_strength(ValidatorStrength::Strong)
        .validate_metadata(true)
        .build()
        .unwrap();
    let entry = fetch(&origin, None).await;
    server
        .fault(S3Fault::tag(TagFault::Replaced(tag.trim_matches('"').into())).on(Operation::Head));
    server.reset();
    assert!(is_unchanged(&origin, &entry).await);
    let operations: Vec<_> = server.requests().iter().map(|request| request.operation).collect();
    assert_eq!(operations, [Operation::Head]);

    // Another date: a new entry, whose tag is the one that conditions of GETs and PUTs need.
    let mut version = entry.version();
    version.last_modified = Some(date(1e9));
    let later = Entry::builder(&key(), entry.body().clone()).version(version).build();
    let new = fetch(&origin, Some(&later)).await;
    assert_eq!((new.e_tag(), new.last_modified()), (Some(&*tag), entry.last_modified()));
}
