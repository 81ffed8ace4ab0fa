//! What a client hears when something fails.

use std::time::Duration;

use cache_facade::Freshness;
use cache_testkit::{BodyFault, Failure, Fault, Operation};
use tokio::io::AsyncReadExt;

use crate::world::{Answer, MINUTE, World, bytes};

/// An answer that says its status and nothing of what is behind.
#[track_caller]
fn check(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (status, text));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.is_whole());
}

#[tokio::test]
async fn an_answer_of_the_store_is_passed_on() {
    let world = World::strong().await;
    check(&world.get("/a").await, 404, "404 Not Found\n");
    world.store.fault(Fault::error(Failure::PermissionDenied));
    check(&world.get("/a").await, 403, "403 Forbidden\n");
    assert!(world.failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_of_the_store_is_a_bad_gateway() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    world.get("/a").await;
    for failure in
        [Failure::Unavailable, Failure::Unauthenticated, Failure::Other, Failure::NotImplemented]
    {
        world.store.fault(Fault::error(failure));
        for headers in [&[][..], &[("If-None-Match", "*")], &[("Range", "bytes=0-1")]] {
            check(&world.get_with("/a", headers).await, 502, "502 Bad Gateway\n");
        }
        world.store.heal();
    }
    assert_eq!(*world.failures.lock().unwrap(), vec!["a"; 12]);
    assert_eq!(world.get("/a").await.status, 200);
}

#[tokio::test]
async fn a_failure_on_our_side_says_so() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    world.store.fault(Fault::panic().once());
    check(&world.get("/a").await, 500, "500 Internal Server Error\n");
    world.cached.close().await.unwrap();
    check(&world.get("/a").await, 503, "503 Service Unavailable\n");
    assert_eq!(*world.failures.lock().unwrap(), ["a", "a"]);
}

#[tokio::test]
async fn a_silent_store_is_a_gateway_timeout() {
    let world = World::new(|builder| builder.origin_timeout(MINUTE), |gateway| gateway).await;
    world.put("a", bytes(25)).await;
    world.store.fault(Fault::hold());
    let mut connection = world.begin("GET", "/a", &[]).await;
    world.store.wait_until_held(1).await;
    tokio::time::pause();
    tokio::time::advance(MINUTE + Duration::from_secs(1)).await;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).await.unwrap();
    check(&Answer::parse(&bytes), 504, "504 Gateway Timeout\n");
}

#[tokio::test]
async fn a_body_that_fails_before_its_first_byte_is_a_bad_gateway() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    world.store.fault(Fault::body(BodyFault::Fails(0)));
    check(&world.get("/a").await, 502, "502 Bad Gateway\n");
}

/// Nothing came, or less than was announced: a client cannot take it for the object.
#[track_caller]
fn check_cut(came: &[u8], whole: &[u8]) {
    let Some(answer) = Answer::try_parse(came) else { return };
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some(&*whole.len().to_string()))
    );
    assert!(answer.body.len() < whole.len() && whole.starts_with(&answer.body));
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_success() {
    let world = World::new(|builder| builder.block_size(65_536), |gateway| gateway).await;
    let whole = bytes(1_000_000);
    world.put("a", whole.clone()).await;
    for fault in [BodyFault::Fails(500_000), BodyFault::Truncated(500_000), BodyFault::Fails(50)] {
        world.cached.clear().await.unwrap();
        world.store.fault(Fault::body(fault));
        check_cut(&world.raw("/a").await, &whole);
        world.store.heal();
    }
    assert_eq!(*world.failures.lock().unwrap(), ["a", "a", "a"]);
    assert_eq!(world.get("/a").await.body, whole);
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_failure() {
    let world = World::new(|builder| builder.block_size(65_536), |gateway| gateway).await;
    let whole = bytes(5_000_000);
    world.put("a", whole.clone()).await;
    for _ in 0..3 {
        let mut connection = world.begin("GET", "/a", &[]).await;
        connection.read_exact(&mut [0; 1000]).await.unwrap();
    }
    assert_eq!(world.get("/a").await.body, whole);
    assert!(world.failures.lock().unwrap().is_empty());
}

/// What the cache does not look into: only the length can tell.
#[tokio::test]
async fn a_short_body_that_is_not_held_is_no_success() {
    let world = World::new(|builder| builder.max_object_size(10), |gateway| gateway).await;
    let whole = bytes(1_000_000);
    world.put("a", whole.clone()).await;
    world.store.fault(Fault::body(BodyFault::Truncated(500_000)));
    check_cut(&world.raw("/a").await, &whole);
    assert_eq!(*world.failures.lock().unwrap(), ["a"]);
}

#[tokio::test]
async fn a_failing_store_is_not_asked_for_more() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    world.store.fault(Fault::error(Failure::Unavailable));
    assert_eq!(world.get_with("/a", &[("If-None-Match", "*")]).await.status, 502);
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
    assert_eq!(world.get_with("/a", &[("Range", "bytes=5-")]).await.status, 502);
    assert_eq!(world.asked(), (vec![Operation::Get], 0));
}

#[tokio::test]
async fn an_old_copy_outlives_an_outage_if_that_is_allowed() {
    let rule = Freshness::strong().stale_if_error(MINUTE);
    let world = World::new(|builder| builder.freshness(rule), |gateway| gateway).await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    world.clock.advance(MINUTE / 2);
    world.store.fault(Fault::error(Failure::Unavailable));
    let answer = world.get("/a").await;
    assert_eq!((answer.status, &answer.body, answer.header("age")), (200, &bytes(25), Some("30")));
    assert_eq!(answer.header("cache-status"), Some("object-cache; hit; detail=stale"));
    assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
    // The version that is known may still be sent to who has another one.
    assert_eq!(world.get_with("/a", &[("If-None-Match", "\"x\"")]).await.body, bytes(25));
    world.clock.advance(MINUTE);
    assert_eq!(world.get("/a").await.status, 502);
}
