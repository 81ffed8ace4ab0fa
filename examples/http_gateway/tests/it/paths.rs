//! Which object is meant.

use crate::world::{NOTHING, World};

#[tokio::test]
async fn a_path_is_decoded_once() {
    let world = World::strong().await;
    world.put("a b/é%.txt", "words").await;
    assert_eq!(world.get("/a%20b/%C3%A9%25.txt").await.body, "words");
    assert_eq!(world.get("/a%20b%2F%c3%a9%25.txt?query=ignored").await.body, "words");
    assert_eq!(world.get("http://elsewhere/a%20b/%C3%A9%25.txt").await.body, "words");
    assert_eq!(world.get("/a%2520b/%C3%A9%25.txt").await.status, 404);
}

#[tokio::test]
async fn a_folder_is_its_index() {
    let world = World::strong().await;
    world.put("index.html", "root").await;
    world.put("docs/index.html", "docs").await;
    assert_eq!(world.get("/").await.body, "root");
    let docs = world.get("/docs/").await;
    assert_eq!(
        (&docs.body[..], docs.header("content-type")),
        (&b"docs"[..], Some("text/html; charset=utf-8"))
    );
    assert_eq!(world.get("/docs").await.status, 404);
    assert_eq!(world.get("/none/").await.status, 404);
}

#[tokio::test]
async fn what_is_no_key_never_reaches_the_store() {
    let world = World::strong().await;
    for path in [
        "/../etc/passwd",
        "/a/../b",
        "/%2e%2e/etc/passwd",
        "/a/%2E%2E",
        "/a/..",
        "/.",
        "/./a",
        "//a",
        "/a//b",
        "/a//",
        "/a%00b",
        "/a%0d%0ab",
        "/a%",
        "/a%zz",
        "/%ff",
        "/%2F%2F",
    ] {
        assert_eq!(world.get(path).await.status, 400, "{path}");
        assert_eq!(world.head_with(path, &[]).await.status, 400, "{path}");
    }
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn nothing_is_written() {
    let world = World::strong().await;
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "COPY"] {
        for path in ["/a", "/metrics", "/.."] {
            let answer = world.ask(method, path, &[("Content-Length", "0")]).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(world.asked(), NOTHING);
}
