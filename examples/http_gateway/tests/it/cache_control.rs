//! What an object's `Cache-Control` asks of a shared cache (RFC 9111 section 5.2.2).

use std::time::Duration;

use cache_facade::{CachedStoreBuilder, Freshness, object_store::Attribute};
use cache_testkit::{Failure, Fault, Operation};
use http_gateway::{Gateway, Rule, Rules, may_be_cached};

use crate::world::{MINUTE, NOTHING, World, bytes};

const SECOND: Duration = Duration::from_secs(1);

/// A gateway with this rule that obeys.
async fn obedient(rule: Rule) -> World {
    World::new(
        |builder| set(builder, rule).cache_if(may_be_cached),
        |gateway| gateway.rules(all(rule)),
    )
    .await
}

fn set(builder: CachedStoreBuilder, rule: Rule) -> CachedStoreBuilder {
    builder.freshness(
        Freshness::max_age(rule.max_age)
            .stale_while_revalidate(rule.stale_while_revalidate)
            .stale_if_error(rule.stale_if_error),
    )
}

fn all(rule: Rule) -> Rules {
    Rules { default: rule, ..Rules::default() }
}

fn lasting() -> Rule {
    Rule { max_age: MINUTE, ..Rule::default() }
}

async fn put(world: &World, cache_control: &'static str) {
    world.put_with("a", bytes(25), [(Attribute::CacheControl, cache_control)]).await;
}

#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    for directive in ["no-store", "private", "public, No-Store", "private=\"x\", max-age=60"] {
        let world = obedient(lasting()).await;
        put(&world, directive).await;
        for _ in 0..3 {
            let answer = world.get("/a").await;
            assert_eq!((answer.status, &answer.body), (200, &bytes(25)), "{directive}");
            // It is for the client to obey too.
            assert_eq!(answer.header("cache-control"), Some(directive));
            assert_eq!(answer.header("cache-status"), Some("object-cache; fwd=uri-miss"));
            assert_eq!(answer.header("age"), None);
            assert_eq!(world.asked(), (vec![Operation::Get], 25), "{directive}");
        }
        assert_eq!(world.cached.stats().heads.entries, 0, "{directive}");
        let tag = world.tag("a").await;
        assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
        assert_eq!(world.get_with("/a", &[("If-None-Match", "\"x\"")]).await.body, bytes(25));
        assert_eq!(
            world.get_with("/a", &[("Range", "bytes=3-5")]).await.body,
            bytes(25).slice(3..6)
        );
        assert_eq!(world.cached.stats().heads.entries, 0, "{directive}");
        // Nor is it served in an outage.
        world.store.fault(Fault::error(Failure::Unavailable));
        assert_eq!(world.get("/a").await.status, 502, "{directive}");
    }
}

#[tokio::test]
async fn what_must_be_revalidated_always_is() {
    let world = obedient(Rule { stale_if_error: MINUTE, ..lasting() }).await;
    put(&world, "no-cache").await;
    world.get("/a").await;
    world.asked();
    let tag = world.tag("a").await;
    for _ in 0..2 {
        let answer = world.get("/a").await;
        assert_eq!(answer.header("cache-status"), Some("object-cache; fwd=stale; fwd-status=304"));
        assert_eq!(world.asked(), (vec![Operation::Head], 0));
        assert_eq!(world.head_with("/a", &[]).await.status, 200);
        assert_eq!(world.get_with("/a", &[("If-None-Match", &tag)]).await.status, 304);
        assert_eq!(world.asked(), (vec![Operation::Head; 2], 0));
    }
    world.store.fault(Fault::error(Failure::Unavailable));
    assert_eq!(world.get("/a").await.status, 502);
}

#[tokio::test]
async fn an_objects_own_age_is_obeyed() {
    for (directives, seconds) in
        [("max-age=20", 20), ("max-age=50, s-maxage=20", 20), ("s-maxage=20", 20)]
    {
        let world = obedient(lasting()).await;
        put(&world, directives).await;
        let first = world.get("/a").await;
        assert_eq!(
            first.header("cache-status"),
            Some("object-cache; fwd=uri-miss; ttl=20"),
            "{directives}"
        );
        world.asked();
        world.clock.advance(SECOND * (seconds - 1));
        assert_eq!(world.get("/a").await.header("cache-status"), Some("object-cache; hit; ttl=1"));
        assert_eq!(world.asked(), NOTHING, "{directives}");
        world.clock.advance(SECOND);
        world.get("/a").await;
        assert_eq!(world.asked(), (vec![Operation::Head], 0), "{directives}");
    }
}

/// `--max-age` is what the operator validates.
#[tokio::test]
async fn an_objects_own_age_makes_nothing_last_longer() {
    let world = obedient(Rule::default()).await;
    put(&world, "public, max-age=3600").await;
    world.get("/a").await;
    world.asked();
    world.get("/a").await;
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
}

#[tokio::test]
async fn an_age_that_cannot_be_read_is_none() {
    let world = obedient(lasting()).await;
    put(&world, "max-age=soon").await;
    world.get("/a").await;
    world.asked();
    world.get("/a").await;
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
}

#[tokio::test]
async fn what_must_not_be_served_stale_is_not() {
    for (directives, in_outage) in [
        ("public", 200),
        ("max-age=10", 200),
        ("must-revalidate", 502),
        ("proxy-revalidate", 502),
        ("s-maxage=10", 502),
        ("no-cache", 502),
    ] {
        let world = obedient(Rule { stale_if_error: MINUTE, ..lasting() }).await;
        put(&world, directives).await;
        world.get("/a").await;
        world.clock.advance(MINUTE + SECOND);
        world.store.fault(Fault::error(Failure::Unavailable));
        for _ in 0..2 {
            assert_eq!(world.get("/a").await.status, in_outage, "{directives}");
            assert_eq!(world.head_with("/a", &[]).await.status, in_outage, "{directives}");
        }
    }
}

/// The rule's own age has not passed, but the object's has.
#[tokio::test]
async fn an_outage_is_covered_past_an_objects_own_age() {
    let world = obedient(Rule { stale_if_error: MINUTE, ..lasting() }).await;
    put(&world, "max-age=10").await;
    world.get("/a").await;
    world.clock.advance(SECOND * 20);
    world.store.fault(Fault::error(Failure::Unavailable));
    let answer = world.get("/a").await;
    assert_eq!((answer.status, answer.header("age")), (200, Some("20")));
    assert_eq!(answer.header("cache-status"), Some("object-cache; hit; ttl=-10; detail=stale"));
}

#[tokio::test]
async fn a_stale_answer_while_it_is_revalidated_can_be_forbidden() {
    let rule = Rule { stale_while_revalidate: MINUTE, ..lasting() };
    for (directives, word) in [
        ("public", "object-cache; hit; ttl=-1; detail=stale"),
        ("must-revalidate", "object-cache; fwd=stale; fwd-status=304; ttl=60"),
    ] {
        let world = obedient(rule).await;
        put(&world, directives).await;
        world.get("/a").await;
        world.clock.advance(MINUTE + SECOND);
        assert_eq!(world.get("/a").await.header("cache-status"), Some(word), "{directives}");
    }
}

#[tokio::test]
async fn it_can_be_ignored() {
    let set_gateway = |gateway: Gateway| gateway.rules(all(lasting())).obey_cache_control(false);
    for directive in ["no-store", "private", "no-cache", "max-age=0"] {
        let world = World::new(|builder| set(builder, lasting()), set_gateway).await;
        put(&world, directive).await;
        world.get("/a").await;
        world.asked();
        let answer = world.get("/a").await;
        assert_eq!(answer.header("cache-status"), Some("object-cache; hit; ttl=60"), "{directive}");
        assert_eq!(world.asked(), NOTHING, "{directive}");
    }
}

/// A cached store that was built without `cache_if` keeps it; it is not served unasked all the
/// same.
#[tokio::test]
async fn what_is_stored_against_its_will_is_revalidated() {
    let world =
        World::new(|builder| set(builder, lasting()), |gateway| gateway.rules(all(lasting())))
            .await;
    put(&world, "no-store").await;
    world.get("/a").await;
    world.asked();
    world.get("/a").await;
    assert_eq!(world.asked(), (vec![Operation::Head], 0));
}

#[tokio::test]
async fn a_rule_by_prefix_has_a_ttl_of_its_own() {
    let mut rules = all(lasting());
    rules.by_prefix.push(("a".to_owned(), Rule { max_age: SECOND * 5, ..Rule::default() }));
    let freshness = Freshness::max_age(SECOND * 5);
    let world = World::new(
        |builder| set(builder, lasting()).freshness_for("a", freshness),
        |gateway| gateway.rules(rules),
    )
    .await;
    world.put("a", bytes(25)).await;
    world.put("b", bytes(25)).await;
    assert_eq!(
        world.get("/a").await.header("cache-status"),
        Some("object-cache; fwd=uri-miss; ttl=5")
    );
    assert_eq!(
        world.get("/b").await.header("cache-status"),
        Some("object-cache; fwd=uri-miss; ttl=60")
    );
}
