//! What is shown of a cache, its parts and its errors: no body, no credentials. SECURITY.md says
//! so.

use std::{error::Error as _, fmt::Debug, sync::Arc, time::Duration};

use cache_facade::{
    ErrorKind, Freshness, ObjectCache, PutCondition, ReadOptions,
    cache_store::EtagValidator,
    object_store::{ObjectStore, memory::InMemory},
};
use cache_testkit::{BodyFault, S3Fault, S3Server};

const BODY: &str = "hush: the body";
/// In the settings of the store.
const CREDENTIAL: &str = "hush-the-credential";

/// As bytes are shown, the first ones of either.
const SECRET: &str = "hush";

#[track_caller]
fn check(what: &dyn Debug) {
    let shown = format!("{what:?}\n{what:#?}");
    assert!(!shown.contains(SECRET), "{shown}");
    // Bytes that are shown as numbers.
    assert!(!shown.contains("104, 117, 115, 104"), "{shown}");
}

#[track_caller]
fn check_error(error: &cache_facade::Error) {
    check(error);
    assert!(!error.to_string().contains(SECRET), "{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        check(&error);
        assert!(!error.to_string().contains(SECRET), "{error}");
        cause = error.source();
    }
}

fn s3(server: &S3Server) -> Arc<dyn ObjectStore> {
    let builder =
        server.client_builder().with_access_key_id(CREDENTIAL).with_secret_access_key(CREDENTIAL);
    Arc::new(builder.with_token(CREDENTIAL).build().unwrap())
}

#[tokio::test]
async fn nothing_shows_a_body_or_a_credential() {
    let server = S3Server::start().unwrap();
    // Both show in their own `Debug` what must not be shown here.
    let (over_s3, in_memory) = (s3(&server), Arc::new(InMemory::new()));
    assert!(format!("{over_s3:?}").contains(SECRET));
    for store in [over_s3, Arc::clone(&in_memory) as _] {
        check(&EtagValidator::builder(Arc::clone(&store)));
        check(&EtagValidator::builder(Arc::clone(&store)).build().unwrap());
        let builder =
            ObjectCache::builder(store).freshness(Freshness::max_age(Duration::from_secs(60)));
        check(&builder);
        let cache = builder.build().unwrap();
        let written = cache.put("a", BODY).await.unwrap();
        let object = cache.get("a").await.unwrap();
        assert_eq!(object.bytes(), BODY);
        check(&(
            &cache,
            cache.stats(),
            cache.read_through(),
            cache.watch("a", Duration::from_secs(1)),
        ));
        check(&(&object, &written, ReadOptions::default(), PutCondition::from(object.version())));
        check(&cache.read_through().backend().peek("a").unwrap());
        assert_eq!(*cache.get_decoded("a", |_| Ok::<_, &str>(1)).await.unwrap(), 1);
        let error = cache.get_decoded("a", |_| Err::<String, _>("no such text")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        check_error(&error);
        check_error(&cache.put_if("a", BODY, PutCondition::Absent).await.unwrap_err());
        check_error(&cache.get("missing").await.unwrap_err());
    }
    assert!(format!("{in_memory:?}").contains(SECRET));
}

#[tokio::test]
async fn an_error_shows_nothing_of_a_body_that_broke_off() {
    let server = S3Server::start().unwrap();
    let cache = ObjectCache::builder(s3(&server)).build().unwrap();
    server.put("a", BODY);
    for fault in [
        S3Fault::body(BodyFault::Fails(8)),
        S3Fault::body(BodyFault::Truncated(8)),
        S3Fault::body(BodyFault::Overlong(1)),
        S3Fault::hang_up(),
        S3Fault::status(503),
        S3Fault::status(403),
        S3Fault::status(304),
    ] {
        let shown = format!("{fault:?}");
        server.fault(fault.once());
        let error = cache.get("a").await.expect_err(&shown);
        assert_eq!(error.key(), Some("a"));
        check_error(&error);
    }
    server.fault(S3Fault::hang_up().late().once());
    check_error(&cache.put("a", BODY).await.unwrap_err());
}

/// The limit of it: what a store says when it refuses is in the source of the error, with the
/// address of the object.
#[tokio::test]
async fn the_source_of_an_error_shows_what_the_store_said() {
    let server = S3Server::start().unwrap();
    let cache = ObjectCache::builder(s3(&server)).build().unwrap();
    server.fault(S3Fault::status(403));
    let error = cache.get("a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the origin refuses these credentials for the object (key \"a\")"
    );
    let source = error.source().unwrap().to_string();
    assert!(
        source.contains("InjectedFault") && source.contains(&server.address().to_string()),
        "{source}"
    );
    assert!(format!("{error:?}").contains("InjectedFault"));
}
