//! What the cache says that it did (RFC 9211).

use std::time::Duration;

use cache_facade::Freshness;
use cache_testkit::{Failure, Fault, Operation};

use crate::world::{Answer, MINUTE, World, bytes};

#[tokio::test]
async fn an_error_has_its_word_too() {
    let world = World::new(|builder| builder.origin_timeout(MINUTE), |gateway| gateway).await;
    world.put("a", bytes(25)).await;
    check(&world.get("/none").await, "object-cache; fwd=miss; fwd-status=404");
    check(
        &world.get_with("/a", &[("If-Match", "\"x\"")]).await,
        "object-cache; fwd=uri-miss; fwd-status=200",
    );
    check(
        &world.get_with("/a", &[("Range", "bytes=99-")]).await,
        "object-cache; fwd=miss; fwd-status=416",
    );
    check(&world.get("/a/../b").await, None);
    check(&world.ask("PUT", "/a", &[]).await, None);
    for (failure, word) in [
        (Failure::PermissionDenied, "object-cache; fwd=miss; fwd-status=403"),
        (Failure::Unavailable, "object-cache; fwd=miss; detail=unavailable"),
    ] {
        world.store.fault(Fault::error(failure));
        check(&world.get("/a").await, word);
        check(&world.head_with("/a", &[]).await, word);
        world.store.heal();
    }
    world.store.fault(Fault::panic().once());
    check(&world.get("/b").await, "object-cache; detail=panicked");
    world.cached.close().await.unwrap();
    check(&world.get("/a").await, "object-cache; detail=closed");
}

#[track_caller]
fn check<'a>(answer: &Answer, expected: impl Into<Option<&'a str>>) {
    assert_eq!(answer.header("cache-status"), expected.into());
}

#[tokio::test]
async fn every_way_to_an_answer_has_its_word() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    check(&world.get("/a").await, "object-cache; fwd=uri-miss; ttl=60");
    world.clock.advance(Duration::from_secs(20));
    let hit = world.get("/a").await;
    check(&hit, "object-cache; hit; ttl=40");
    assert_eq!(hit.header("age"), Some("20"));
    world.clock.advance(Duration::from_secs(40));
    let confirmed = world.get("/a").await;
    check(&confirmed, "object-cache; fwd=stale; fwd-status=304; ttl=60");
    assert_eq!(confirmed.header("age"), None);
    world.clock.advance(MINUTE);
    world.put("a", bytes(35)).await;
    check(&world.get("/a").await, "object-cache; fwd=stale; ttl=60");
    check(&world.head_with("/a", &[]).await, "object-cache; hit; ttl=60");
}

#[tokio::test]
async fn a_strong_gateway_has_no_ttl() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    check(&world.get("/a").await, "object-cache; fwd=uri-miss");
    check(&world.get("/a").await, "object-cache; fwd=stale; fwd-status=304");
}

#[tokio::test]
async fn a_version_whose_bytes_are_not_held_is_partial() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    check(
        &world.get_with("/a", &[("Range", "bytes=0-5")]).await,
        "object-cache; fwd=uri-miss; ttl=60",
    );
    check(&world.get_with("/a", &[("Range", "bytes=3-7")]).await, "object-cache; hit; ttl=60");
    check(
        &world.get_with("/a", &[("Range", "bytes=20-")]).await,
        "object-cache; fwd=partial; ttl=60",
    );
    check(&world.get_with("/a", &[("Range", "bytes=20-")]).await, "object-cache; hit; ttl=60");
}

#[tokio::test]
async fn a_304_of_ours_is_none_of_the_store() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let ask = async || world.get_with("/a", &[("If-None-Match", &world.tag("a").await)]).await;
    check(&ask().await, "object-cache; fwd=uri-miss; fwd-status=200");
    check(&ask().await, "object-cache; fwd=stale; fwd-status=304");
    world.put("a", bytes(35)).await;
    check(&ask().await, "object-cache; fwd=stale; fwd-status=200");
}

/// Two questions to the cache are one answer to the client.
#[tokio::test]
async fn the_first_question_tells_how_the_version_came_to_be_known() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let ask = async || world.get_with("/a", &[("If-None-Match", "\"x\"")]).await;
    check(&ask().await, "object-cache; fwd=uri-miss");
    check(&ask().await, "object-cache; fwd=stale; fwd-status=304");
    world.put("a", bytes(35)).await;
    check(&ask().await, "object-cache; fwd=stale");
}

#[tokio::test]
async fn what_cannot_be_held_is_missed_each_time() {
    let world = World::new(|builder| builder.max_object_size(10), |gateway| gateway).await;
    world.put("a", bytes(25)).await;
    for _ in 0..2 {
        check(&world.get("/a").await, "object-cache; fwd=uri-miss");
    }
}

#[tokio::test]
async fn what_is_asked_about_behind_is_a_stale_hit() {
    let rule = Freshness::max_age(MINUTE).stale_while_revalidate(MINUTE);
    let world =
        World::new(|builder| builder.freshness(rule), |gateway| gateway.max_age(MINUTE)).await;
    world.put("a", bytes(25)).await;
    world.get("/a").await;
    world.clock.advance(MINUTE + Duration::from_secs(5));
    world.store.fault(Fault::hold());
    check(&world.get("/a").await, "object-cache; hit; ttl=-5; detail=stale");
}

#[tokio::test]
async fn who_had_no_request_of_its_own_says_so() {
    let world = World::lasting().await;
    for n in 0..100 {
        let [one, other] = both(&world, &format!("{n}")).await;
        let mut said = [one.header("cache-status").unwrap(), other.header("cache-status").unwrap()];
        said.sort_unstable();
        assert_eq!(said[1], "object-cache; fwd=uri-miss; ttl=60");
        match said[0] {
            "object-cache; fwd=uri-miss; collapsed; ttl=60" => return,
            // All bytes had come before it asked for them.
            late => assert_eq!(late, "object-cache; fwd=uri-miss; ttl=60"),
        }
    }
    panic!("nobody says so");
}

/// Two clients that wait for one request.
async fn both(world: &World, key: &str) -> [Answer; 2] {
    world.put(key, bytes(25)).await;
    world.store.fault(Fault::hold().on(Operation::Get).once());
    let (path, waiting) = (format!("/{key}"), world.cached.stats().heads.coalesced);
    let clients = async { tokio::join!(world.get(&path), world.get(&path)) };
    let let_go = async {
        world.store.wait_until_held(1).await;
        while world.cached.stats().heads.coalesced == waiting {
            tokio::task::yield_now().await;
        }
        world.store.release_all();
    };
    let ((one, other), ()) = tokio::join!(clients, let_go);
    assert_eq!((&one.body, &other.body), (&bytes(25), &bytes(25)));
    assert_eq!(world.asked(), (vec![Operation::Get], 25));
    [one, other]
}
