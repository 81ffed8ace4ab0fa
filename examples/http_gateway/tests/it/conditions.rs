//! Copies that the client has.

use std::time::{Duration, SystemTime};

use cache_testkit::{Fault, Operation, TagFault};

use crate::world::{MINUTE, NOTHING, World, bytes};

#[tokio::test]
async fn while_fresh_a_304_costs_nothing() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    world.asked();
    let answer = world.get_with("/a", &[("If-None-Match", &tag)]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(world.asked(), NOTHING);
    world.clock.advance(MINUTE);
    assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
    assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn a_strong_304_is_one_question_without_a_body() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let tag = world.tag("a").await;
    // Whether or not something is known of the object.
    for _ in 0..3 {
        assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
        assert_eq!(world.asked(), (vec![Operation::Head], 0));
    }
}

#[tokio::test]
async fn a_304_says_what_has_to_be_known_again() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let full = world.get("/a").await;
    let answer = world.get_with("/a", &[("If-None-Match", full.header("etag").unwrap())]).await;
    assert_eq!(
        answer.names(),
        ["cache-control", "cache-status", "connection", "date", "etag", "last-modified"]
    );
    for name in ["etag", "cache-control", "last-modified"] {
        assert_eq!(answer.header(name), full.header(name), "{name}");
    }
    // The length of a body that a GET would have had, or none (RFC 9110 section 8.6).
    let head = world.head_with("/a", &[("If-None-Match", full.header("etag").unwrap())]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (304, Some("25"), 0));
}

#[tokio::test]
async fn a_changed_object_comes_with_its_new_tag() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let old = world.get("/a").await.header("etag").unwrap().to_owned();
    world.put("a", bytes(35)).await;
    world.asked();
    let answer = world.get_with("/a", &[("If-None-Match", &old)]).await;
    assert_eq!((answer.status, &answer.body), (200, &bytes(35)));
    assert_eq!(answer.header("etag"), Some(&*world.tag("a").await));
    assert_ne!(answer.header("etag"), Some(&*old));
    assert_eq!(world.asked(), (vec![Operation::Head, Operation::Get], 35));
    // Its bytes are at hand from now on, for other clients with old copies too.
    assert_eq!(world.get_with("/a", &[("If-None-Match", &old)]).await.body, bytes(35));
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
}

#[tokio::test]
async fn a_deleted_object_is_gone() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    world.delete("a").await;
    assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 404);
    assert_eq!(world.get("/a").await.status, 404);
}

#[tokio::test]
async fn a_list_and_a_star_match() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    for field in [format!("\"x\", W/{tag}, \"y\""), "*".to_owned()] {
        assert_eq!(world.get_with("/a", &[("If-None-Match", &field)]).await.status, 304, "{field}");
        assert_eq!(
            world.head_with("/a", &[("If-None-Match", &field)]).await.status,
            304,
            "{field}"
        );
    }
    assert_eq!(world.get_with("/a", &[("If-None-Match", "\"x\", \"y\"")]).await.status, 200);
    // Of what is not there, nobody has a copy.
    assert_eq!(world.get_with("/b", &[("If-None-Match", "*")]).await.status, 404);
}

#[tokio::test]
async fn a_weak_tag_is_good_for_a_304() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    world.store.fault(Fault::tag(TagFault::Weak));
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/"));
    assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
    assert_eq!(world.get_with("/a", &[("If-None-Match", &tag[2..])]).await.status, 304);
    // And is no condition for the bytes.
    let answer = world.get_with("/a", &[("If-None-Match", "\"x\"")]).await;
    assert_eq!((answer.status, &answer.body), (200, &bytes(25)));
}

#[tokio::test]
async fn a_date_counts_where_there_is_no_tag() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    // A fraction of a second is nothing that HTTP could say.
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_600_500);
    world.store.fault(Fault::last_modified(Some(date)));
    let same = world.get("/a").await.header("last-modified").unwrap().to_owned();
    assert_eq!(same, "Wed, 01 Jan 2025 00:00:00 GMT");
    let earlier = "Tue, 31 Dec 2024 23:59:59 GMT";
    assert_eq!(world.get_with("/a", &[("If-Modified-Since", &same)]).await.status, 304);
    assert_eq!(world.get_with("/a", &[("If-Modified-Since", earlier)]).await.status, 200);
    assert_eq!(world.get_with("/a", &[("If-Modified-Since", "soon")]).await.status, 200);
    let both = [("If-Modified-Since", &*same), ("If-None-Match", "\"x\"")];
    assert_eq!(world.get_with("/a", &both).await.status, 200);
    assert_eq!(world.get_with("/a", &[("If-Unmodified-Since", &same)]).await.status, 200);
    assert_eq!(world.get_with("/a", &[("If-Unmodified-Since", earlier)]).await.status, 412);
}

#[tokio::test]
async fn who_wants_another_version_gets_none() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    assert_eq!(world.get_with("/a", &[("If-Match", &tag)]).await.status, 200);
    assert_eq!(world.get_with("/a", &[("If-Match", "\"x\"")]).await.status, 412);
    assert_eq!(world.get_with("/a", &[("If-Match", "*")]).await.status, 200);
}

/// The object is replaced between the question which version is current and the one for its bytes.
#[tokio::test]
async fn what_was_decided_holds_for_what_is_sent() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.tag("a").await;
    world.store.fault(Fault::hold().on(Operation::Get).once());
    let condition = [("If-Match", &*tag)];
    let client = world.get_with("/a", &condition);
    let other = async {
        world.store.wait_until_held(1).await;
        world.put("a", bytes(35)).await;
        world.store.release_all();
    };
    let (answer, ()) = tokio::join!(client, other);
    assert_eq!(answer.status, 412);
}
