//! `/metrics` and `/healthz`.

use cache_facade::{CachedStore, Memory, cache_metrics::Registry, object_store::memory::InMemory};
use http_gateway::{Gateway, Health};

use crate::world::{NOTHING, Server, World, ask, bytes, get, send};

const KIND: Option<&str> = Some("text/plain; version=0.0.4; charset=utf-8");

async fn admin(world: &World, health: &Health) -> Server {
    Server::start(Gateway::new(world.cached.clone()).admin(health)).await
}

#[tokio::test]
async fn the_figures_are_those_of_the_cache() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    for path in ["/a", "/a", "/a", "/none"] {
        world.get(path).await;
    }
    let answer = get(admin(&world, &Health::new()).await.address, "/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, KIND));
    let text = std::str::from_utf8(&answer.body).unwrap();
    for line in [
        "object_cache_requests_total{cache_name=\"default\",result=\"fetched\"} 1",
        "object_cache_requests_total{cache_name=\"default\",result=\"fresh\"} 2",
        "object_cache_io_bytes_total{cache_name=\"default\",source=\"cache\"} 50",
        "object_cache_io_bytes_total{cache_name=\"default\",source=\"origin\"} 25",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn the_public_address_has_objects_alone() {
    let world = World::strong().await;
    for path in ["metrics", "healthz"] {
        world.put(path, "an object").await;
        assert_eq!(world.get(&format!("/{path}")).await.body, "an object");
    }
}

#[tokio::test]
async fn the_other_address_has_no_objects() {
    let world = World::strong().await;
    world.put("a", bytes(25)).await;
    let admin = admin(&world, &Health::new()).await;
    assert_eq!(get(admin.address, "/a").await.status, 404);
    assert_eq!(get(admin.address, "/").await.status, 404);
    let answer = ask(admin.address, "POST", "/metrics", &[("Content-Length", "0")]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(
        send(admin.address, b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").await.status,
        400
    );
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn who_is_about_to_stop_says_so() {
    let world = World::strong().await;
    let health = Health::new();
    let admin = admin(&world, &health).await;
    let ask = async || {
        let answer = get(admin.address, "/healthz").await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        (answer.status, answer.body)
    };
    assert_eq!(ask().await, (200, "ok\n".into()));
    health.drain();
    assert_eq!(ask().await, (503, "draining\n".into()));
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn the_figures_may_have_a_public_path() {
    let world = World::new(|builder| builder, |gateway| gateway.metrics_path("/metrics")).await;
    world.put("metrics", "an object").await;
    for path in ["/metrics", "/%6Detrics", "/metrics?name=x"] {
        assert_eq!(world.get(path).await.header("content-type"), KIND, "{path}");
    }
    assert_eq!(world.asked(), NOTHING);
}

#[tokio::test]
async fn other_caches_may_be_shown_too() {
    let other = CachedStore::builder(std::sync::Arc::new(InMemory::new()), Memory::new())
        .name("other")
        .build()
        .unwrap();
    let registry = Registry::new();
    registry.add(&other);
    let cached = World::strong().await.cached;
    let admin = Gateway::new(cached).registry(registry).admin(&Health::new());
    let text = get(Server::start(admin).await.address, "/metrics").await.body;
    let text = std::str::from_utf8(&text).unwrap();
    assert!(
        text.contains("cache_name=\"other\"") && !text.contains("cache_name=\"default\""),
        "{text}"
    );
}
