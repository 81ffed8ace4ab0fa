//! `/metrics`.

use crate::world::{NOTHING, World};

#[tokio::test]
async fn the_figures_have_a_path_of_their_own() {
    let world = World::strong().await;
    world.put("metrics", "an object").await;
    for path in ["/metrics", "/%6Detrics", "/metrics?name=x"] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4")));
        assert_ne!(answer.body, "an object");
    }
    assert_eq!(world.asked(), NOTHING);
    let moved = World::new(|builder| builder, |gateway| gateway.metrics_path("/-/figures")).await;
    moved.put("metrics", "an object").await;
    assert_eq!(moved.get("/metrics").await.body, "an object");
    assert_eq!(moved.get("/-/figures").await.header("content-type"), Some("text/plain; version=0.0.4"));
}
