//! What is said of an object, and its bytes.

use cache_facade::object_store::{Attribute, Attributes, ObjectStore, PutOptions, path::Path};
use cache_testkit::{BodyFault, Fault, Operation, TagFault};
use tokio::io::AsyncReadExt;

use crate::world::{NOTHING, World, bytes};

#[tokio::test]
async fn an_object_comes_with_what_the_store_says_of_it() {
    let world = World::strong().await;
    let attributes = [
        (Attribute::ContentType, "text/x-poem"),
        (Attribute::ContentEncoding, "gzip"),
        (Attribute::ContentLanguage, "en, de"),
        (Attribute::ContentDisposition, "attachment; filename=\"a\""),
        (Attribute::CacheControl, "public, max-age=5"),
    ];
    world.put_with("poem.html", "words", attributes).await;
    let answer = world.get("/poem.html").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"words"[..]));
    for (name, value) in [
        ("content-type", "text/x-poem"),
        ("content-encoding", "gzip"),
        ("content-language", "en, de"),
        ("content-disposition", "attachment; filename=\"a\""),
        ("cache-control", "public, max-age=5"),
        ("content-length", "5"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("etag", &world.tag("poem.html").await),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(httpdate::parse_http_date(answer.header("last-modified").unwrap()).is_ok());
}

#[tokio::test]
async fn what_the_store_does_not_say_is_guessed_or_left_out() {
    let world = World::strong().await;
    world.put("a.css", "p {}").await;
    let answer = world.get("/a.css").await;
    assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    for name in ["content-encoding", "content-language", "content-disposition", "age"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn what_http_cannot_say_is_left_out() {
    let world = World::strong().await;
    let attributes = [
        (Attribute::ContentType, "a\r\nSet-Cookie: b"),
        (Attribute::CacheControl, ""),
        (Attribute::ContentLanguage, "\0"),
    ];
    world.put_with("a.txt", "words", attributes).await;
    let answer = world.get("/a.txt").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!((answer.header("content-language"), answer.header("set-cookie")), (None, None));
}

#[tokio::test]
async fn metadata_of_users_is_said_as_s3_says_it() {
    let world = World::strong().await;
    let metadata = |name: &'static str| Attribute::Metadata(name.into());
    let attributes = [
        (metadata("owner"), "somebody"),
        (metadata("Kind"), " a poem\t"),
        (metadata("empty"), ""),
        (metadata("place"), "Z\u{fc}rich"),
        (metadata("lines"), "a\r\nSet-Cookie: b"),
        (metadata("zero"), "a\0b"),
        (metadata("a name"), "x"),
        (metadata("a:\r\nSet-Cookie"), "x"),
    ];
    world.put_with("a", "words", attributes).await;
    for answer in [world.get("/a").await, world.head_with("/a", &[]).await] {
        let known = answer.names().into_iter().filter(|name| name.starts_with("x-amz-meta-"));
        let known: Vec<_> = known.map(|name| (&name[11..], answer.header(name).unwrap())).collect();
        assert_eq!(
            known,
            [("empty", ""), ("kind", "a poem"), ("owner", "somebody"), ("place", "Z\u{fc}rich")]
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn metadata_is_no_more_than_clients_take() {
    let world = World::strong().await;
    let names = (0..200).map(|n| (Attribute::Metadata(format!("n{n:03}").into()), "short"));
    let long: &'static str = "x".repeat(3000).leak();
    let fields = async |key: &str, attributes: Vec<(Attribute, &'static str)>| {
        let attributes = Attributes::from_iter(attributes);
        let options = PutOptions { attributes, ..PutOptions::default() };
        world.store.inner().put_opts(&Path::from(key), "words".into(), options).await.unwrap();
        let answer = world.get(&format!("/{key}")).await;
        assert_eq!(answer.body, "words");
        answer.names().iter().filter(|name| name.starts_with("x-amz-meta-")).count()
    };
    assert_eq!(fields("many", names.collect()).await, 50);
    let large = ["a", "b", "c"].map(|name| (Attribute::Metadata(name.into()), long));
    assert_eq!(fields("large", large.into()).await, 1);
}

#[tokio::test]
async fn a_tag_is_passed_on_byte_for_byte() {
    let world = World::strong().await;
    world.put("a", "words").await;
    for tag in ["\"a-b,c\"", "W/\"weak\"", "\"\"", "\"ü\""] {
        world.store.fault(Fault::tag(TagFault::Replaced(tag.to_owned())));
        assert_eq!(world.get("/a").await.header("etag"), Some(tag));
        world.store.heal();
    }
    // These are none to HTTP (RFC 9110 section 8.8.3).
    for tag in ["bare", "\"two\" \"tags\"", "\"a b\"", "\"a", "w/\"a\"", "\"a\nb\""] {
        world.store.fault(Fault::tag(TagFault::Replaced(tag.to_owned())));
        let answer = world.get("/a").await;
        assert_eq!((answer.status, answer.header("etag")), (200, None), "{tag}");
        world.store.heal();
    }
}

#[tokio::test]
async fn a_store_without_dates_shows_none() {
    let world = World::strong().await;
    world.put("a", "words").await;
    world.store.fault(Fault::last_modified(None));
    assert_eq!(world.get("/a").await.header("last-modified"), None);
}

#[tokio::test]
async fn head_says_what_get_says_without_a_body() {
    let world = World::lasting().await;
    world.put("a.txt", bytes(25)).await;
    let head = world.head_with("/a.txt", &[("Range", "bytes=0-1")]).await;
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
    let get = world.get("/a.txt").await;
    assert_eq!((head.status, &head.body[..], &get.body), (200, &b""[..], &bytes(25)));
    for name in head.names() {
        // The cache knew more the second time.
        if name != "cache-status" {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
    assert_eq!(get.names().iter().filter(|name| **name != "age").count(), head.names().len());
}

#[tokio::test]
async fn bytes_come_once_and_are_vouched_for() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    assert_eq!(world.get("/a").await.body, bytes(25));
    assert_eq!(world.asked(), (vec![Operation::Get], 25));
    assert_eq!(world.get("/a").await.body, bytes(25));
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
}

#[tokio::test]
async fn what_is_fresh_costs_nothing() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    world.get("/a").await;
    world.asked();
    for _ in 0..3 {
        assert_eq!(world.get("/a").await.body, bytes(25));
    }
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let world = World::strong().await;
    world.put("empty", "").await;
    let answer = world.get("/empty").await;
    assert_eq!(
        (answer.status, answer.header("content-length"), answer.body.len()),
        (200, Some("0"), 0)
    );
}

#[tokio::test]
async fn a_body_is_passed_on_as_it_comes() {
    let world = World::strong().await;
    world.put("a", bytes(100)).await;
    // The other half never comes.
    world.store.fault(Fault::body(BodyFault::Hangs(50)));
    let mut connection = world.begin("GET", "/a", &[]).await;
    let mut came = Vec::new();
    while !came.ends_with(&bytes(50)) {
        assert_ne!(connection.read_buf(&mut came).await.unwrap(), 0);
    }
}
