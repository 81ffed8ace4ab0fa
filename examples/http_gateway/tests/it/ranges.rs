//! Parts of objects.

use cache_testkit::{Fault, Operation, TagFault};

use crate::world::{Answer, MINUTE, NOTHING, World, bytes};

#[track_caller]
fn check(answer: &Answer, content_range: &str, body: &[u8]) {
    assert_eq!((answer.status, answer.header("content-range")), (206, Some(content_range)));
    assert_eq!(&answer.body[..], body);
    assert!(answer.is_whole());
}

#[tokio::test]
async fn a_single_range_is_a_206() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let range = async |range: &str| world.get_with("/a", &[("Range", range)]).await;
    check(&range("bytes=3-12").await, "bytes 3-12/25", &bytes(25)[3..13]);
    check(&range("bytes=20-").await, "bytes 20-24/25", &bytes(25)[20..]);
    check(&range("bytes=-4").await, "bytes 21-24/25", &bytes(25)[21..]);
    check(&range("bytes=24-99").await, "bytes 24-24/25", &bytes(25)[24..]);
    check(&range("bytes=-99").await, "bytes 0-24/25", &bytes(25));
    check(&range("bytes=0-").await, "bytes 0-24/25", &bytes(25));
    let whole = world.get("/a").await;
    for name in ["etag", "content-type", "cache-control", "accept-ranges", "last-modified"] {
        assert_eq!(range("bytes=0-1").await.header(name), whole.header(name), "{name}");
    }
}

#[tokio::test]
async fn a_range_is_one_request_and_then_none() {
    let world = World::lasting().await;
    world.put("a", bytes(1000)).await;
    check(
        &world.get_with("/a", &[("Range", "bytes=512-515")]).await,
        "bytes 512-515/1000",
        &bytes(1000)[512..516],
    );
    // Whole blocks are fetched.
    assert_eq!(world.asked(), (vec![Operation::Get], 10));
    check(
        &world.get_with("/a", &[("Range", "bytes=510-519")]).await,
        "bytes 510-519/1000",
        &bytes(1000)[510..520],
    );
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn a_range_without_a_byte_is_a_416() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    world.put("empty", "").await;
    for (path, range, content_range) in [
        ("/a", "bytes=25-", "bytes */25"),
        ("/a", "bytes=99-100", "bytes */25"),
        ("/a", "bytes=-0", "bytes */25"),
        ("/a", "bytes=99999999999999999999-", "bytes */25"),
        ("/empty", "bytes=0-", "bytes */0"),
    ] {
        // Whether or not there is something to decide, and before anything is held of it.
        for condition in [("If-None-Match", "\"x\""), ("Accept", "*/*")] {
            world.cached.clear().await.unwrap();
            let answer = world.get_with(path, &[("Range", range), condition]).await;
            assert_eq!(
                (answer.status, answer.header("content-range")),
                (416, Some(content_range)),
                "{range}"
            );
        }
    }
    assert!(world.failures.lock().unwrap().is_empty());
}

/// The size that a 416 names is that of the head; a cached head saves the request for it.
#[tokio::test]
async fn a_416_is_a_refused_request_and_one_for_the_size() {
    for world in [World::strong().await, World::lasting().await] {
        world.put("a", bytes(25)).await;
        let range = [("Range", "bytes=99-100")];
        assert_eq!(world.get_with("/a", &range).await.status, 416);
        assert_eq!(world.asked(), (vec![Operation::Get, Operation::Head], 0));
        let answer = world.get_with("/a", &range).await;
        assert_eq!((answer.status, answer.header("age")), (416, None));
        assert_eq!(world.asked(), (vec![Operation::Get], 0));
        // With a condition the head comes first, and no bytes are requested.
        let conditional = [("Range", "bytes=99-100"), ("If-None-Match", "\"x\"")];
        assert_eq!(world.get_with("/a", &conditional).await.status, 416);
        assert!(!world.asked().0.contains(&Operation::Get));
    }
    // The store may take a range that was widened to whole blocks: then its answer has the size.
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    assert_eq!(world.get_with("/a", &[("Range", "bytes=25-")]).await.status, 416);
    assert_eq!(world.asked().0, [Operation::Get]);
}

#[tokio::test]
async fn a_range_past_the_end_of_an_object_that_has_shrunk_is_a_416() {
    for (cached, range) in
        [("bytes=0-4", "bytes=30-35"), ("bytes=30-39", "bytes=30-35"), ("bytes=0-", "bytes=40-")]
    {
        for world in [World::strong().await, World::lasting().await] {
            world.put("a", bytes(50)).await;
            assert_eq!(world.get_with("/a", &[("Range", cached)]).await.status, 206);
            world.put("a", bytes(25)).await;
            world.clock.advance(MINUTE);
            world.asked();
            let answer = world.get_with("/a", &[("Range", range)]).await;
            assert_eq!(
                (answer.status, answer.header("content-range")),
                (416, Some("bytes */25")),
                "{cached} {range}"
            );
            let heads = world.asked().0.into_iter().filter(|request| *request == Operation::Head);
            assert_eq!(heads.count(), 1, "{cached} {range}");
        }
    }
}

#[tokio::test]
async fn any_other_range_is_the_whole() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    for range in ["bytes=0-1,5-6", "lines=0-1", "bytes=5-2", "bytes", "bytes=a-"] {
        let answer = world.get_with("/a", &[("Range", range)]).await;
        assert_eq!(
            (answer.status, answer.header("content-range"), &answer.body),
            (200, None, &bytes(25)),
            "{range}"
        );
    }
}

#[tokio::test]
async fn a_range_goes_on_with_the_same_version_alone() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    let date = world.get("/a").await.header("last-modified").unwrap().to_owned();
    world.asked();
    let go_on = async |if_range: &str| {
        world.get_with("/a", &[("Range", "bytes=20-"), ("If-Range", if_range)]).await
    };
    check(&go_on(&tag).await, "bytes 20-24/25", &bytes(25)[20..]);
    for other in ["\"x\"", &format!("W/{tag}"), &date, "", "*"] {
        let answer = go_on(other).await;
        assert_eq!((answer.status, &answer.body), (200, &bytes(25)), "{other}");
    }
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn a_range_never_goes_on_with_a_weak_tag() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    world.store.fault(Fault::tag(TagFault::Weak));
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    let answer = world.get_with("/a", &[("Range", "bytes=20-"), ("If-Range", &tag)]).await;
    assert_eq!((answer.status, &answer.body), (200, &bytes(25)));
    // A range alone asks for no version.
    check(
        &world.get_with("/a", &[("Range", "bytes=20-")]).await,
        "bytes 20-24/25",
        &bytes(25)[20..],
    );
}

/// The object is replaced between the question which version is current and the one for its bytes.
#[tokio::test]
async fn a_part_of_another_version_is_never_sent() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.tag("a").await;
    world.store.fault(Fault::hold().on(Operation::Get).once());
    let condition = [("Range", "bytes=20-"), ("If-Range", &*tag)];
    let client = world.get_with("/a", &condition);
    let other = async {
        world.store.wait_until_held(1).await;
        world.put("a", bytes(35)).await;
        world.store.release_all();
    };
    let (answer, ()) = tokio::join!(client, other);
    assert_eq!((answer.status, &answer.body), (200, &bytes(35)));
    assert_eq!(answer.header("etag"), Some(&*world.tag("a").await));
}

#[tokio::test]
async fn a_copy_that_is_current_needs_no_range() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    let tag = world.get("/a").await.header("etag").unwrap().to_owned();
    let answer = world.get_with("/a", &[("Range", "bytes=99-"), ("If-None-Match", &tag)]).await;
    assert_eq!(answer.status, 304);
}
