//! `/metrics`.

use cache_facade::{CachedStoreBuilder, cache_metrics::Registry, object_store::memory::InMemory};
use http_gateway::Gateway;

use crate::world::{NOTHING, World, bytes};

const KIND: Option<&str> = Some("text/plain; version=0.0.4; charset=utf-8");

#[tokio::test]
async fn the_figures_are_those_of_the_cache() {
    let world = World::lasting().await;
    world.put("a", bytes(25)).await;
    for path in ["/a", "/a", "/a", "/none"] {
        world.get(path).await;
    }
    let answer = world.get("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, KIND));
    let text = std::str::from_utf8(&answer.body).unwrap();
    for line in [
        "object_cache_requests_total{cache_name=\"default\",result=\"fetched\"} 1",
        "object_cache_requests_total{cache_name=\"default\",result=\"fresh\"} 2",
        "object_cache_requests_total{cache_name=\"default\",result=\"not_found\"} 1",
        "object_cache_io_bytes_total{cache_name=\"default\",source=\"cache\"} 50",
        "object_cache_io_bytes_total{cache_name=\"default\",source=\"origin\"} 25",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn the_figures_have_a_path_of_their_own() {
    let world = World::strong().await;
    world.put("metrics", "an object").await;
    for path in ["/metrics", "/%6Detrics", "/metrics?name=x"] {
        assert_eq!(world.get(path).await.header("content-type"), KIND, "{path}");
    }
    assert_eq!(world.asked(), NOTHING);
    let moved = World::new(|builder| builder, |gateway| gateway.metrics_path("/-/figures")).await;
    moved.put("metrics", "an object").await;
    assert_eq!(moved.get("/metrics").await.body, "an object");
    assert_eq!(moved.get("/-/figures").await.header("content-type"), KIND);
}

#[tokio::test]
async fn other_caches_may_be_shown_too() {
    let other = CachedStoreBuilder::new(std::sync::Arc::new(InMemory::new())).name("other").build().unwrap();
    let registry = Registry::new();
    registry.add(&other);
    let world = World::new(|builder| builder, |gateway: Gateway| gateway.registry(registry)).await;
    let text = world.get("/metrics").await.body;
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains("cache_name=\"other\"") && !text.contains("cache_name=\"default\""), "{text}");
}
