//! What answers show that are no answers to the cache's own requests: I-36.

use std::sync::Arc;

use cache_core::{Observation, PutCondition, Result, Served, Status, Version};
use cache_testkit::{MapBackend, OriginFault, WaitingBackend};
use tokio::task::JoinHandle;

use crate::support::{FOREVER, KEY, Rig, poll_once, rules, secs, settle, text};

fn version(e_tag: &str) -> Observation {
    Observation::Version(Version::default().with_e_tag(Some(e_tag.into())))
}

/// Observations that no cached copy of `e_tag` can fit, and that name no version.
fn others() -> Vec<Observation> {
    vec![
        Observation::Absent,
        Observation::Forbidden,
        Observation::Condition(Arc::new(|_| false)),
        Observation::Version(Version::default()),
    ]
}

/// A backend whose calls take up to six polls each, never none of the first kind.
fn waiting(seed: u64) -> WaitingBackend {
    WaitingBackend::new(MapBackend::new(), 0, seed)
}

/// A cache with an object that is cached and fresh, and its tag.
async fn cached() -> (Rig, String) {
    let rig = Rig::new();
    let e_tag = rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    (rig, e_tag)
}

/// A read whose request has been answered with "one", which has not arrived.
async fn late_read(rig: &Rig) -> JoinHandle<Result<Served>> {
    rig.origin.fault(OriginFault::hold().once().late());
    let read = rig.spawn_get(FOREVER);
    rig.origin.wait_until_held(1).await;
    read
}

#[tokio::test]
async fn a_copy_of_the_version_shown_stays_fresh() {
    let (rig, e_tag) = cached().await;
    let opaque = e_tag.trim_matches('"').to_owned();
    for shown in [e_tag.clone(), opaque, format!("W/{e_tag}")] {
        rig.cache.observe(KEY, version(&shown)).await;
        rig.check(FOREVER, "one", Status::Fresh).await;
    }
    rig.cache.observe(KEY, Observation::Condition(Arc::new(|entry| entry.body() == "one"))).await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(5).await;
}

#[tokio::test]
async fn a_copy_of_another_version_is_revalidated_before_it_is_served() {
    let (rig, _) = cached().await;
    rig.cache.observe(KEY, version("\"other\"")).await;
    rig.check(FOREVER, "one", Status::Revalidated).await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    for observation in
        [Observation::Condition(Arc::new(|_| false)), Observation::Version(Version::default())]
    {
        rig.cache.observe(KEY, observation).await;
        rig.check(FOREVER, "one", Status::Revalidated).await;
    }
    rig.at_rest(5).await;
}

/// One that was deleted or forbidden covers no outage either.
#[tokio::test]
async fn a_copy_of_what_is_gone_or_forbidden_is_dropped() {
    for observation in [Observation::Absent, Observation::Forbidden] {
        let (rig, _) = cached().await;
        rig.cache.observe(KEY, observation).await;
        assert_eq!(rig.cache.stats().entries, 0);
        rig.check(FOREVER, "one", Status::Fetched).await;
        rig.at_rest(2).await;
    }
}

#[tokio::test]
async fn an_answer_older_than_what_was_shown_is_not_kept() {
    let mut shown = others();
    shown.push(version("\"other\""));
    for observation in shown {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        let late = late_read(&rig).await;
        rig.origin.inner().write(KEY, "two");
        rig.cache.observe(KEY, observation.clone()).await;
        let after = rig.spawn_get(FOREVER);
        settle().await;
        rig.origin.release_all();
        // It began before.
        assert_eq!(text(&late.await.unwrap().unwrap()), "one");
        assert_eq!(text(&after.await.unwrap().unwrap()), "two", "{observation:?}");
        rig.check(FOREVER, "two", Status::Fresh).await;
        rig.at_rest(3).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_what_was_shown_is_kept_and_not_joined() {
    let rig = Rig::new();
    let e_tag = rig.origin.inner().write(KEY, "one");
    let late = late_read(&rig).await;
    for _ in 0..2 {
        rig.cache.observe(KEY, version(e_tag.trim_matches('"'))).await;
    }
    let after = rig.spawn_get(FOREVER);
    settle().await;
    rig.origin.release_all();
    assert_eq!(text(&late.await.unwrap().unwrap()), "one");
    assert_eq!(text(&after.await.unwrap().unwrap()), "one");
    // The reader that could not join revalidates what the first one brought.
    assert_eq!(rig.e_tags_sent(), [None, Some(e_tag)]);
    rig.at_rest(2).await;
}

#[tokio::test]
async fn of_two_versions_shown_no_answer_is_as_new_as_both() {
    let rig = Rig::new();
    let e_tag = rig.origin.inner().write(KEY, "one");
    let late = late_read(&rig).await;
    rig.cache.observe(KEY, version("\"other\"")).await;
    rig.cache.observe(KEY, version(&e_tag)).await;
    rig.origin.release_all();
    late.await.unwrap().unwrap();
    assert_eq!(rig.cache.stats().entries, 0);
}

/// An older version may have the same weak tag.
#[tokio::test]
async fn a_weak_tag_lets_no_late_answer_be_kept() {
    let rig = Rig::new();
    let e_tag = rig.origin.inner().write(KEY, "one");
    let late = late_read(&rig).await;
    rig.cache.observe(KEY, version(&format!("W/{e_tag}"))).await;
    rig.origin.release_all();
    late.await.unwrap().unwrap();
    assert_eq!(rig.cache.stats().entries, 0);
}

#[tokio::test]
async fn a_late_not_modified_of_an_older_version_renews_nothing() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    let rule = cache_core::Freshness::max_age(secs(10));
    rig.check(rule, "one", Status::Fetched).await;
    rig.clock.advance(secs(20));
    rig.origin.fault(OriginFault::hold().once().late());
    let late = rig.spawn_get(rule);
    rig.origin.wait_until_held(1).await;
    rig.origin.inner().write(KEY, "two");
    rig.cache.observe(KEY, version("\"other\"")).await;
    rig.origin.release_all();
    assert_eq!(text(&late.await.unwrap().unwrap()), "one");
    rig.check(rule, "two", Status::Refetched).await;
}

/// Its request is sent after what was heard, so it brings nothing older.
#[tokio::test]
async fn a_read_that_has_sent_no_request_is_joined_and_kept() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1));
    rig.origin.inner().write(KEY, "one");
    rig.origin.inner().write("busy", "busy");
    rig.origin.fault(OriginFault::hold().once());
    let cache = rig.cache.clone();
    let busy = tokio::spawn(async move { cache.get("busy", None).await });
    rig.origin.wait_until_held(1).await;
    let waiting = rig.spawn_get(FOREVER);
    settle().await;
    rig.cache.observe(KEY, version("\"other\"")).await;
    let joined = rig.spawn_get(FOREVER);
    settle().await;
    rig.origin.release_all();
    busy.await.unwrap().unwrap();
    for read in [waiting, joined] {
        assert_eq!(text(&read.await.unwrap().unwrap()), "one");
    }
    rig.check(FOREVER, "one", Status::Fresh).await;
    assert_eq!(rig.origin.count(), 2);
}

/// At worst the mark reaches the newer entry of a backend that waits, which costs one request.
#[tokio::test]
async fn a_copy_that_was_requested_after_what_was_heard_stays() {
    let mut n_waited = 0;
    for seed in 0..20 {
        let rig = Rig::over(waiting(seed));
        rig.origin.inner().write(KEY, "one");
        rig.check(FOREVER, "one", Status::Fetched).await;
        let mut observing = Box::pin(rig.cache.observe(KEY, version("\"other\"")));
        if poll_once(observing.as_mut()).is_pending() {
            rig.clock.advance(secs(1));
            rig.cache.invalidate(KEY).await.unwrap();
            rig.check(FOREVER, "one", Status::Fetched).await;
            observing.await;
            let served = rig.get(FOREVER).await.unwrap();
            assert!(matches!(served.status, Status::Fresh | Status::Revalidated), "{served:?}");
            rig.check(FOREVER, "one", Status::Fresh).await;
            n_waited += 1;
        }
    }
    assert!(n_waited > 5);
}

#[tokio::test]
async fn a_put_keeps_nothing_if_something_was_heard_meanwhile() {
    for observation in others() {
        let rig = Rig::new();
        rig.origin.fault(OriginFault::hold().once().late());
        let cache = rig.cache.clone();
        let put =
            tokio::spawn(async move { cache.put(KEY, "one".into(), PutCondition::Always).await });
        rig.origin.wait_until_held(1).await;
        rig.origin.inner().write(KEY, "two");
        rig.cache.observe(KEY, observation).await;
        rig.origin.release_all();
        put.await.unwrap().unwrap();
        rig.check(FOREVER, "two", Status::Fetched).await;
    }
}

#[tokio::test]
async fn a_remembered_absence_gives_way_to_a_version() {
    let rig = Rig::with(MapBackend::new(), |builder| {
        builder.negative_ttl(secs(60)).freshness_rules(rules(FOREVER))
    });
    assert!(rig.get(FOREVER).await.is_err());
    rig.cache.observe(KEY, Observation::Absent).await;
    assert!(rig.get(FOREVER).await.is_err());
    assert_eq!(rig.origin.count(), 1, "the absence was shown again");
    rig.origin.inner().write(KEY, "one");
    rig.cache.observe(KEY, version("\"other\"")).await;
    rig.check(FOREVER, "one", Status::Fetched).await;
}

/// A list shows thousands of keys.
#[tokio::test]
async fn what_is_neither_cached_nor_in_flight_gets_no_state() {
    let rig = Rig::new();
    for n in 0..100 {
        let key = format!("key {n}");
        let mut observing = Box::pin(rig.cache.observe(&key, version("\"x\"")));
        assert!(poll_once(observing.as_mut()).is_ready());
    }
    assert_eq!((rig.cache.keys_in_flight(), rig.origin.count()), (0, 0));
    // What is no key has nothing.
    rig.cache.observe("", Observation::Forbidden).await;
}

#[tokio::test]
async fn a_dropped_observation_takes_effect() {
    for seed in 0..20 {
        let rig = Rig::over(waiting(seed));
        rig.origin.inner().write(KEY, "one");
        rig.check(FOREVER, "one", Status::Fetched).await;
        rig.origin.inner().write(KEY, "two");
        let mut observing = Box::pin(rig.cache.observe(KEY, version("\"other\"")));
        let _ = poll_once(observing.as_mut());
        drop(observing);
        assert_eq!(text(&rig.get(FOREVER).await.unwrap()), "two", "seed {seed}");
    }
}

/// It has passed its checks: the observation waits until it is there, and then looks at it.
#[tokio::test]
async fn what_is_being_kept_while_something_is_heard_is_looked_at() {
    for seed in 0..20 {
        for n_polls in 1.. {
            let rig = Rig::over(waiting(seed));
            rig.origin.inner().write(KEY, "one");
            let mut reading = Box::pin(rig.get(FOREVER));
            let is_done = (0..n_polls).any(|_| poll_once(reading.as_mut()).is_ready());
            rig.origin.inner().write(KEY, "two");
            rig.cache.observe(KEY, version("\"other\"")).await;
            let got = text(&rig.get(FOREVER).await.unwrap());
            assert_eq!(got, "two", "seed {seed}, after {n_polls} polls");
            if is_done {
                break;
            }
            let _ = reading.await;
        }
    }
}

#[tokio::test]
async fn without_a_runtime_an_observation_works_too() {
    let (rig, _) = cached().await;
    for observation in [version("\"other\""), Observation::Forbidden] {
        let cache = rig.cache.clone();
        let observe = move || {
            let mut observing = Box::pin(cache.observe(KEY, observation));
            assert!(poll_once(observing.as_mut()).is_ready());
        };
        std::thread::spawn(observe).join().unwrap();
        let got = rig.get(FOREVER).await.unwrap();
        assert_ne!(got.status, Status::Fresh);
    }
}
