use std::{error::Error as _, io, sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Origin, PutCondition, Validation, Validator};
use cache_store::EtagValidator;
use cache_testkit::{
    BodyFault, Failure, Fault, FaultyOrigin, FaultyStore, Operation, OriginFault, OriginOperation,
    OriginRequest, Outcome, TagFault,
};
use object_store::{ObjectStoreExt, path::Path};
use tokio::time::Instant;

use crate::{builder, fetch, key, origin, stored};

/// The errors of a read, a put and a delete on `store`.
async fn errors(origin: &EtagValidator) -> [Result<(), Error>; 3] {
    [
        origin.validate(&key(), None).await.map(|_| ()),
        origin.put(&key(), "body".into(), PutCondition::Always).await.map(|_| ()),
        origin.delete(&key()).await,
    ]
}

#[tokio::test]
async fn each_error_of_the_store_has_its_kind_and_stays_the_source() {
    for (failure, kind) in [
        (Failure::Unavailable, ErrorKind::Unavailable),
        (Failure::AlreadyExists, ErrorKind::PreconditionFailed),
        (Failure::Precondition, ErrorKind::PreconditionFailed),
        (Failure::NotModified, ErrorKind::Other),
        (Failure::PermissionDenied, ErrorKind::PermissionDenied),
        (Failure::Unauthenticated, ErrorKind::Unauthenticated),
        (Failure::NotSupported, ErrorKind::Unsupported),
        (Failure::NotImplemented, ErrorKind::Unsupported),
        (Failure::InvalidPath, ErrorKind::InvalidKey),
        (Failure::Other, ErrorKind::Other),
    ] {
        let store = stored("body").await;
        store.fault(Fault::error(failure));
        for error in errors(&origin(&store)).await {
            let error = error.unwrap_err();
            assert_eq!((error.kind(), error.key()), (kind, Some("a/b")), "{failure:?}");
            assert_eq!(error.is_outage(), failure == Failure::Unavailable);
            let source =
                error.source().and_then(|source| source.downcast_ref::<object_store::Error>());
            assert_eq!(source.map(Failure::of), Some(failure));
            assert!(!error.to_string().contains("injected"), "{error} repeats its source");
        }
        assert_eq!(store.count(), 3);
    }
}

#[tokio::test]
async fn not_found_is_gone_to_a_read_and_an_error_to_a_write() {
    let store = stored("body").await;
    store.fault(Fault::error(Failure::NotFound));
    let origin = origin(&store);
    assert!(matches!(origin.validate(&key(), None).await.unwrap(), Validation::NotFound));
    let [_, put, delete] = errors(&origin).await;
    for error in [put, delete] {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_task_that_died_in_the_store_is_an_outage() {
    let store = stored("body").await;
    let task = tokio::spawn(std::future::pending::<()>());
    task.abort();
    let died = std::sync::Mutex::new(Some(task.await.unwrap_err()));
    store.fault(Fault::error_with(move |_| died.lock().unwrap().take().unwrap().into()).once());
    assert!(origin(&store).validate(&key(), None).await.unwrap_err().is_outage());
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_forbidden_and_no_outage() {
    for (store_name, kind, expected) in [
        ("LocalFileSystem", io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
        ("LocalFileSystem", io::ErrorKind::Interrupted, ErrorKind::Unavailable),
        // A firewall, say.
        ("S3", io::ErrorKind::PermissionDenied, ErrorKind::Unavailable),
    ] {
        let store = stored("body").await;
        store.fault(Fault::error_with(move |_| object_store::Error::Generic {
            store: store_name,
            source: Box::new(io::Error::from(kind)),
        }));
        for error in errors(&origin(&store)).await {
            assert_eq!(error.unwrap_err().kind(), expected, "{store_name} {kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_not_answered_in_time_is_dropped() {
    let store = stored("body").await;
    store.fault(Fault::hang());
    let limit = Duration::from_secs(7);
    let origin = builder(&store).origin_timeout(limit).build().unwrap();
    for (nth, ask) in [0, 1, 2].into_iter().zip(["read", "put", "delete"]) {
        let begin = now();
        let error = match ask {
            "read" => origin.validate(&key(), None).await.map(|_| ()),
            "put" => origin.put(&key(), "new".into(), PutCondition::Always).await.map(|_| ()),
            _ => origin.delete(&key()).await,
        };
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some("a/b")));
        assert!(error.is_outage() && error.to_string().contains("7s"), "{error}");
        assert_eq!(now() - begin, limit);
        assert_eq!(store.requests()[nth].outcome, Outcome::Dropped, "{ask}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_covers_the_body() {
    let store = stored("body").await;
    store.fault(Fault::body(BodyFault::Hangs(2)));
    let origin = origin(&store);
    let begin = now();
    assert_eq!(origin.validate(&key(), None).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(now() - begin, Duration::from_secs(30));
    assert_eq!(store.requests()[0].outcome, Outcome::Answered);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_never_comes_leaves_the_write_in_doubt() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::hang().late().on(Operation::Put));
    let origin = origin(&store);
    let error = origin.put(&key(), "new".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(matches!(origin.validate(&key(), None).await.unwrap(), Validation::Modified(_)));
}

#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Above the validator the same faults as below it: any object store is an origin that can be
/// spoiled.
#[tokio::test]
async fn an_origin_over_a_store_is_spoiled_above_its_validator_too() {
    let store = stored("body").await;
    let origin = FaultyOrigin::new(Arc::new(origin(&store)));
    origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    assert_eq!(origin.validate(&key(), None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.count(), 0, "it did not reach the store");

    let key = key();
    let put = |body: &'static str| origin.put(&key, body.into(), PutCondition::Always);
    origin.fault(OriginFault::error(ErrorKind::Timeout).late().on(OriginOperation::Put).once());
    assert_eq!(put("lost").await.unwrap_err().kind(), ErrorKind::Timeout);
    let held = fetch(origin.inner(), None).await;
    assert_eq!(held.body(), "lost");

    let behind = Arc::clone(store.inner());
    let delete = move |request: &OriginRequest| {
        let (store, path) = (Arc::clone(&behind), Path::from(request.key.as_str()));
        async move { store.delete(&path).await.unwrap() }
    };
    origin.fault(OriginFault::meanwhile(delete).once());
    assert!(matches!(origin.validate(&key, Some(&held)).await, Ok(Validation::NotFound)));

    put("body").await.unwrap();
    origin.fault(OriginFault::tag(TagFault::Replaced(held.e_tag().unwrap().into())));
    assert!(matches!(origin.validate(&key, Some(&held)).await, Ok(Validation::NotModified)));
}
