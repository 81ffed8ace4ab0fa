//! Which object is meant.

use cache_testkit::{Failure, Fault, Operation};

use crate::world::{NOTHING, World, send};

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
    assert_eq!(world.get("/none/").await.status, 404);
}

#[tokio::test]
async fn a_folder_without_its_slash_is_redirected() {
    let world = World::lasting().await;
    world.put("docs/index.html", "docs").await;
    world.put("a b/\u{e9}/index.html", "deep").await;
    world.put("both", "an object").await;
    world.put("both/index.html", "a folder").await;
    for (path, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=b&c", "/docs/?a=b&c"),
        ("http://elsewhere/docs", "/docs/"),
        ("/a%20b/%c3%a9", "/a%20b/%C3%A9/"),
    ] {
        for answer in [world.get(path).await, world.head_with(path, &[]).await] {
            assert_eq!((answer.status, answer.header("location")), (301, Some(location)), "{path}");
            // An object may come to be there.
            assert_eq!(answer.header("cache-control"), Some("no-cache"));
        }
    }
    assert_eq!(world.get("/both").await.body, "an object");
    for path in ["/none", "/docs/none", "/docs/index.html/", "/none/"] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (404, None), "{path}");
    }
}

#[tokio::test]
async fn a_failing_store_is_not_taken_for_one_without_the_folder() {
    let world = World::strong().await;
    world.put("docs/index.html", "docs").await;
    world.store.fault(Fault::error(Failure::Unavailable).on(Operation::Head));
    assert_eq!(world.get("/docs").await.status, 502);
    assert_eq!(*world.failures.lock().unwrap(), ["docs"]);
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
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("GET, HEAD")),
                "{method} {path}"
            );
        }
    }
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn a_request_names_its_host() {
    let world = World::strong().await;
    world.put("a", "words").await;
    let ask = async |head: &str| {
        send(world.address(), format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .status
    };
    for host in ["a", "a:80", "127.0.0.1:8080", "[::1]:80"] {
        assert_eq!(ask(&format!("GET /a HTTP/1.1\r\nHost: {host}")).await, 200, "{host}");
    }
    for head in [
        "GET /a HTTP/1.1",
        "GET http://a/a HTTP/1.1",
        "PUT /a HTTP/1.1",
        "GET /a HTTP/1.1\r\nHost:",
        "GET /a HTTP/1.1\r\nHost: a b",
        "GET /a HTTP/1.1\r\nHost: a/b",
        "GET /a HTTP/1.1\r\nHost: user@a",
        "GET /a HTTP/1.1\r\nHost: a:port",
        "GET /a HTTP/1.1\r\nHost: a\r\nHost: a",
        "GET /a HTTP/1.0\r\nHost: a b",
        "GET /a HTTP/1.0\r\nHost: a\r\nHost: b",
    ] {
        world.store.reset();
        assert_eq!((ask(head).await, world.store.count()), (400, 0), "{head}");
    }
    assert_eq!(ask("GET /a HTTP/1.0").await, 200);
}
