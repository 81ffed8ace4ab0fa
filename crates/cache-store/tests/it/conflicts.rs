//! A 409 of a store, which is not a 412: through object_store's S3 client.

use std::{error::Error as _, sync::Arc};

use cache_core::{ErrorKind, Key, Origin as _, PutCondition, Validator as _, Version};
use cache_store::{CachedStore, EtagValidator};
use cache_testkit::{MapBackend, Operation, S3Fault, S3Server};
use object_store::{ObjectStore as _, PutMode, PutOptions, path::Path};

use crate::key;

/// S3 answers 409 while another conditional write is under way, which may come to nothing.
#[tokio::test]
async fn a_conflict_of_writers_does_not_say_that_the_object_exists() {
    let server = S3Server::start().unwrap();
    let origin = EtagValidator::builder(Arc::new(server.client())).build().unwrap();
    let at = Version::default().with_e_tag(Some("\"x\"".into()));
    for condition in [PutCondition::Absent, PutCondition::Matches(at), PutCondition::Always] {
        server.fault(S3Fault::status(409).on(Operation::Put).once());
        let error = origin.put(&key(), "body".into(), condition.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{condition:?}: {error:?}");
        assert!(error.is_outage() && error.to_string().contains("409"), "{error}");
        let source = error.source().unwrap().downcast_ref::<object_store::Error>();
        assert!(matches!(source, Some(object_store::Error::AlreadyExists { .. })), "{source:?}");
    }
    assert_eq!(server.body(key().as_str()), None);

    // What is there is there.
    server.put(key().as_str(), "other");
    let error = origin.put(&key(), "body".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert!(error.to_string().contains("already"), "{error}");
}

/// A read has no outcome that could be open.
#[tokio::test]
async fn a_conflict_is_no_outage_to_a_read() {
    let server = S3Server::start().unwrap();
    server.put(key().as_str(), "body");
    let origin = EtagValidator::builder(Arc::new(server.client())).build().unwrap();
    server.fault(S3Fault::status(409));
    assert_eq!(origin.validate(&key(), None).await.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(origin.delete(&key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// The path of an object is quoted in its errors, and may say anything.
#[tokio::test]
async fn a_path_that_looks_like_a_conflict_is_none() {
    let server = S3Server::start().unwrap();
    let path = "Server returned non-2xx status code: 409 Conflict: x";
    server.put(path, "other");
    let key = Key::parse(path).unwrap();
    let origin = EtagValidator::builder(Arc::new(server.client())).build().unwrap();
    let error = origin.put(&key, "body".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}");
}

#[tokio::test]
async fn the_drop_in_hands_a_conflict_on_as_it_is() {
    let server = S3Server::start().unwrap();
    let bare = server.client();
    let path = Path::from("a");
    server.fault(S3Fault::status(409).on(Operation::Put));
    let create = || PutOptions::from(PutMode::Create);
    let of_bare = bare.put_opts(&path, "x".into(), create()).await.unwrap_err();
    let backend = Arc::new(MapBackend::new());
    let cached = CachedStore::builder(Arc::new(server.client()), backend).build().unwrap();
    let ours = cached.put_opts(&path, "x".into(), create()).await.unwrap_err();
    assert!(matches!((of_bare, ours), (
        object_store::Error::AlreadyExists { path: bare, .. },
        object_store::Error::AlreadyExists { path: ours, .. },
    ) if bare == ours));
}
