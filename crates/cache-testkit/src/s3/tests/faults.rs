//! What the server breaks, each shown once through object_store's S3 client.

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use futures_util::{FutureExt as _, TryStreamExt as _, future::join};
use object_store::{
    Error, GetOptions, GetResult, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, Result,
    RetryConfig, aws::AmazonS3, path::Path,
};
use tokio::task::spawn_blocking;

use crate::{BodyFault, Failure, Operation, S3Fault, S3Server, TagFault};

/// A server with one object, and a client that does not try again.
fn with_object() -> (Arc<S3Server>, AmazonS3) {
    let server = S3Server::start().unwrap();
    server.put("a", BODY);
    let store = server.client();
    (Arc::new(server), store)
}

fn a() -> Path {
    Path::from("a")
}

async fn status_of(store: &AmazonS3, status: u16, server: &S3Server) -> Failure {
    server.fault(S3Fault::status(status).once());
    Failure::of(&store.get(&a()).await.unwrap_err())
}

#[tokio::test]
async fn a_status_is_what_object_store_makes_of_it() {
    let (server, store) = with_object();
    for (status, failure) in [
        (500, Failure::Unavailable),
        (503, Failure::Unavailable),
        (429, Failure::Unavailable),
        (404, Failure::NotFound),
        (409, Failure::AlreadyExists),
        (412, Failure::Precondition),
        (403, Failure::PermissionDenied),
        (401, Failure::Unauthenticated),
        // To a request that had no condition.
        (304, Failure::NotModified),
    ] {
        assert_eq!(status_of(&store, status, &server).await, failure, "{status}");
    }
    store.get(&a()).await.unwrap();
}

/// object_store's own retries wait; a paused clock waits for nobody.
#[tokio::test(start_paused = true)]
async fn a_client_that_tries_again_sees_the_script_to_its_end() {
    let (server, _) = with_object();
    let retry = RetryConfig { max_retries: 3, ..RetryConfig::default() };
    let store = server.client_builder().with_retry(retry).build().unwrap();
    server.fault(S3Fault::header("retry-after", "1").times(2));
    server.fault(S3Fault::status(429).once());
    server.fault(S3Fault::status(503).once());
    assert_eq!(store.get(&a()).await.unwrap().bytes().await.unwrap(), BODY);
    let statuses: Vec<_> = server.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(429), Some(503), Some(200)]);
}

#[tokio::test]
async fn a_connection_closed_early_changes_nothing_and_one_closed_late_loses_the_acknowledgement() {
    let (server, store) = with_object();
    let first = server.e_tag("a");
    server.fault(S3Fault::hang_up().once());
    assert_eq!(
        Failure::of(&store.put(&a(), "new".into()).await.unwrap_err()),
        Failure::Unavailable
    );
    assert_eq!(server.e_tag("a"), first);

    server.fault(S3Fault::hang_up().late().once());
    assert_eq!(
        Failure::of(&store.put(&a(), "new".into()).await.unwrap_err()),
        Failure::Unavailable
    );
    assert_eq!(server.body("a").unwrap(), "new");
    assert!(server.requests().iter().all(|request| request.status.is_none()));
}

/// The success of a create is lost; the client's second try finds its own object there.
#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_makes_a_create_that_was_retried_a_liar() {
    let (server, _) = with_object();
    let retry = RetryConfig { max_retries: 1, ..RetryConfig::default() };
    let store = server.client_builder().with_retry(retry).build().unwrap();
    server.fault(S3Fault::status(500).late().once());
    let create = PutOptions::from(PutMode::Create);
    let answer = store.put_opts(&Path::from("b"), "mine".into(), create).await;
    assert!(matches!(answer, Err(Error::AlreadyExists { .. })), "{answer:?}");
    assert_eq!(server.body("b").unwrap(), "mine");
}

async fn body_with(
    server: &S3Server,
    store: &AmazonS3,
    fault: S3Fault,
) -> (u64, Result<bytes::Bytes>) {
    server.fault(fault.once());
    let answer = store.get(&a()).await.unwrap();
    (answer.meta.size, answer.bytes().await)
}

#[tokio::test]
async fn a_body_can_lie_about_its_length() {
    let (server, store) = with_object();
    let with = async |fault| {
        let (size, body) = body_with(&server, &store, fault).await;
        (size, body.unwrap())
    };
    let len = BODY.len() as u64;
    assert_eq!(with(S3Fault::body(BodyFault::Truncated(3))).await, (len, BODY[..3].into()));
    assert_eq!(with(S3Fault::body(BodyFault::Truncated(0))).await, (len, "".into()));
    assert_eq!(
        with(S3Fault::body(BodyFault::Overlong(2))).await,
        (len, format!("{BODY}xx").into())
    );
    assert_eq!(with(S3Fault::content_length(100)).await, (100, BODY.into()));
    assert_eq!(with(S3Fault::content_length(1)).await, (1, BODY.into()));
    // The connection is fit for the next request.
    assert_eq!(
        (store.get(&a()).await.unwrap().bytes().await.unwrap(), server.connections()),
        (BODY.into(), 1)
    );
    server.fault(S3Fault::content_length(7).on(Operation::Head).once());
    assert_eq!(store.head(&a()).await.unwrap().size, 7);
}

#[tokio::test]
async fn a_body_can_break_off() {
    let (server, store) = with_object();
    server.fault(S3Fault::body(BodyFault::Fails(4)).once());
    let mut chunks = store.get(&a()).await.unwrap().into_stream();
    let mut got = Vec::new();
    let end = loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert_eq!((got.as_slice(), end.is_err()), (&BODY.as_bytes()[..4], true));
}

/// object_store asks for the rest, by the tag.
#[tokio::test(start_paused = true)]
async fn a_client_that_tries_again_resumes_a_body() {
    let (server, _) = with_object();
    let retry = RetryConfig { max_retries: 1, ..RetryConfig::default() };
    let store = server.client_builder().with_retry(retry).build().unwrap();
    let (_, body) = body_with(&server, &store, S3Fault::body(BodyFault::Fails(4))).await;
    assert_eq!(body.unwrap(), BODY);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=4-11"));
}

#[tokio::test]
async fn a_dripping_body_is_whole() {
    let (server, store) = with_object();
    let (_, body) = body_with(&server, &store, S3Fault::body(BodyFault::Chunked(1))).await;
    assert_eq!(body.unwrap(), BODY);
}

#[tokio::test]
async fn a_body_that_hangs_ends_with_its_client() {
    let (server, store) = with_object();
    for fault in [BodyFault::Hangs(4), BodyFault::Stalls(4)] {
        server.fault(S3Fault::body(fault).once());
        let mut chunks = store.get(&a()).await.unwrap().into_stream();
        let mut got = 0;
        while got < 4 {
            got += chunks.try_next().await.unwrap().unwrap().len();
        }
        assert!(chunks.try_next().now_or_never().is_none());
    }
    drop(store);
    until(|| server.connections() == 0).await;
}

#[tokio::test]
async fn a_request_that_hangs_ends_with_its_client() {
    let (server, store) = with_object();
    server.fault(S3Fault::hang().once());
    let get = tokio::spawn(async move { store.get(&a()).await });
    server.wait_until(|requests| requests.len() == 1).await;
    assert!(!get.is_finished());
    get.abort();
    assert!(get.await.unwrap_err().is_cancelled());
    until(|| server.connections() == 0).await;
    assert_eq!(server.requests()[0].status, None);
}

#[tokio::test]
async fn a_held_request_is_answered_when_it_is_released() {
    let (server, store) = with_object();
    server.fault(S3Fault::hold());
    let path = a();
    let put = async {
        server.wait_until_held(1).await;
        server.put("a", "new");
        server.release_all();
    };
    let (answer, ()) = join(store.get(&path), put).await;
    assert_eq!(answer.unwrap().bytes().await.unwrap(), "new");

    server.fault(S3Fault::hold().late());
    let put = async {
        server.wait_until_held(1).await;
        server.put("a", "newest");
        server.release_all();
    };
    let (answer, ()) = join(store.get(&path), put).await;
    assert_eq!(answer.unwrap().bytes().await.unwrap(), "new", "the answer of its time");
}

async fn tag_with(server: &S3Server, store: &AmazonS3, fault: S3Fault) -> Option<String> {
    server.fault(fault.once());
    store.get(&a()).await.unwrap().meta.e_tag
}

#[tokio::test]
async fn tags_can_be_weak_wrong_missing_or_twice() {
    let (server, store) = with_object();
    let tag = server.e_tag("a").unwrap();
    let weak = format!("W/{tag}");
    assert_eq!(tag_with(&server, &store, S3Fault::tag(TagFault::Weak)).await, Some(weak.clone()));
    let other = TagFault::Replaced("\"x\"".into());
    assert_eq!(tag_with(&server, &store, S3Fault::tag(other)).await, Some("\"x\"".into()));
    assert_eq!(tag_with(&server, &store, S3Fault::tag(TagFault::Missing)).await, None);
    // object_store takes the first.
    assert_eq!(
        tag_with(&server, &store, S3Fault::header("etag", "\"x\"")).await,
        Some(tag.clone())
    );

    // A weak tag confirms by weak comparison, and allows no write.
    server.fault(S3Fault::tag(TagFault::Weak));
    let ask = GetOptions::new().with_if_none_match(Some(weak.clone()));
    assert!(matches!(store.get_opts(&a(), ask).await, Err(Error::NotModified { .. })));
    let update = PutOptions::from(PutMode::Update(object_store::UpdateVersion {
        e_tag: Some(weak),
        version: None,
    }));
    assert!(matches!(
        store.put_opts(&a(), "new".into(), update).await,
        Err(Error::Precondition { .. })
    ));
    server.heal();

    server.fault(S3Fault::tag(TagFault::Missing).on(Operation::Put));
    assert!(store.put(&a(), "new".into()).await.is_err(), "object_store wants one of a put");
    assert_eq!(server.body("a").unwrap(), "new");
}

#[tokio::test]
async fn conditions_can_be_ignored() {
    let (server, store) = with_object();
    server.fault(S3Fault::ignore_conditions());
    let ask = GetOptions::new().with_if_none_match(server.e_tag("a"));
    assert_eq!(store.get_opts(&a(), ask).await.unwrap().bytes().await.unwrap(), BODY);
    store.put_opts(&a(), "new".into(), PutOptions::from(PutMode::Create)).await.unwrap();
    assert_eq!(server.body("a").unwrap(), "new");
}

/// Its own thread goes on while the test does: it is kept busy between learning of the hold and
/// being held.
#[tokio::test]
async fn a_request_that_came_before_a_release_of_all_is_not_held_after_it() {
    let (server, store) = with_object();
    let (came, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    server.fault(S3Fault::hold().when({
        let (came, go) = (Arc::clone(&came), Arc::clone(&go));
        move |_| {
            came.wait();
            go.wait();
            true
        }
    }));
    let get = tokio::spawn(async move { store.get(&a()).await?.bytes().await });
    spawn_blocking(move || came.wait()).await.unwrap();
    server.release_all();
    go.wait();
    let answer =
        tokio::time::timeout(Duration::from_secs(60), get).await.expect("nobody would release it");
    assert_eq!(answer.unwrap().unwrap(), BODY);
}

#[tokio::test]
async fn a_put_held_midway_takes_effect_though_its_condition_does_not_hold_any_more() {
    let (server, store) = with_object();
    server.fault(S3Fault::hold().midway().on(Operation::Put));
    let path = Path::from("b");
    let create =
        |body: &'static str| store.put_opts(&path, body.into(), PutOptions::from(PutMode::Create));
    let release = async {
        server.wait_until_held(2).await;
        server.release_all();
    };
    let (puts, ()) = join(join(create("one"), create("two")), release).await;
    assert!(puts.0.is_ok() && puts.1.is_ok());
}

#[tokio::test]
async fn a_get_held_midway_has_the_tag_of_one_version_and_the_body_of_the_next() {
    let (server, store) = with_object();
    let old = server.e_tag("a");
    server.fault(S3Fault::hold().midway().once());
    let path = a();
    let write = async {
        server.wait_until_held(1).await;
        server.put("a", "new");
        server.release_all();
    };
    let (answer, ()) = join(store.get(&path), write).await;
    let GetResult { meta, .. } = answer.as_ref().unwrap();
    assert_eq!(meta.e_tag, old);
    assert_eq!(answer.unwrap().bytes().await.unwrap(), "new");
}

#[tokio::test]
async fn a_seed_says_whom_a_fault_hits_and_says_it_again() {
    let hits = async |seed| {
        let (server, store) = with_object();
        server.fault(S3Fault::status(503).on(Operation::Get).one_in(4, seed));
        let mut hits = Vec::new();
        for _ in 0..64 {
            hits.push(store.get(&a()).await.is_err());
        }
        hits
    };
    let first = hits(1).await;
    assert_eq!(first, hits(1).await);
    assert_ne!(first, hits(2).await);
    let n = first.iter().filter(|hit| **hit).count();
    assert!((6..30).contains(&n), "{n} of 64");
}

#[tokio::test]
async fn a_fault_can_be_for_what_a_predicate_says() {
    let (server, store) = with_object();
    server.fault(S3Fault::status(403).when(|request| request.key.starts_with("secret/")));
    assert!(matches!(
        store.get(&Path::from("secret/a")).await,
        Err(Error::PermissionDenied { .. })
    ));
    store.get(&a()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_answers_nothing() {
    let (server, store) = with_object();
    store.get(&a()).await.unwrap();
    drop(server);
    assert_eq!(Failure::of(&store.get(&a()).await.unwrap_err()), Failure::Unavailable);
}

/// Gives way until `holds`; who waits for ever hangs, and says so.
async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes");
}

const BODY: &str = "twelve bytes";
