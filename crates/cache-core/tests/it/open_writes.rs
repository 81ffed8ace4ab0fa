//! Writes that the caller makes by other means than the origin's `put` and `delete`.

use cache_core::{ErrorKind, PutCondition, Status};
use cache_testkit::{MapBackend, OriginFault, WaitingBackend};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, settle, text};

#[tokio::test]
async fn while_a_write_is_open_nothing_of_its_key_is_kept() {
    let rig = Rig::new();
    for key in [KEY, "other"] {
        rig.origin.inner().write(key, "one");
        rig.cache.get(key, None).await.unwrap();
    }
    let write = rig.cache.open_write(KEY).await.unwrap();
    assert_eq!(write.key().as_str(), KEY);
    assert_eq!((rig.cache.stats().entries, rig.cache.stats().invalidations()), (1, 1));
    for _ in 0..2 {
        rig.check(FOREVER, "one", Status::Fetched).await;
    }
    assert_eq!(rig.cache.get("other", Some(&FOREVER)).await.unwrap().status, Status::Fresh);
    rig.origin.inner().write(KEY, "two");
    rig.check(FOREVER, "two", Status::Fetched).await;
    drop(write);
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.check(FOREVER, "two", Status::Fresh).await;
    rig.at_rest(8).await;
}

/// I-7: it was answered before the write took effect.
#[tokio::test]
async fn what_was_asked_during_an_open_write_is_not_served_after_it() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    let write = rig.cache.open_write(KEY).await.unwrap();
    rig.origin.fault(OriginFault::hold().late());
    let during = rig.spawn_get(FOREVER);
    rig.origin.wait_until_held(1).await;
    rig.origin.inner().write(KEY, "two");
    drop(write);
    let late = rig.spawn_get(FOREVER);
    settle().await;
    rig.origin.release_all();
    assert_eq!(text(&during.await.unwrap().unwrap()), "one");
    assert_eq!(text(&late.await.unwrap().unwrap()), "two");
    rig.check(FOREVER, "two", Status::Fresh).await;
    rig.at_rest(3).await;
}

/// Neither an error nor the lack of an answer is covered by what was held before.
#[tokio::test]
async fn what_was_held_before_an_open_write_covers_no_outage() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    let write = rig.cache.open_write(KEY).await.unwrap();
    rig.origin.inner().write(KEY, "two");
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    let covered = STRONG.stale_if_error(std::time::Duration::MAX);
    assert_eq!(rig.get(covered).await.unwrap_err().kind(), ErrorKind::Unavailable);
    drop(write);
    rig.check(covered, "two", Status::Fetched).await;
    rig.at_rest(3).await;
}

#[tokio::test]
async fn a_write_is_open_until_the_last_of_its_key_has_ended() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    let first = rig.cache.open_write(KEY).await.unwrap();
    let second = rig.cache.open_write(KEY).await.unwrap();
    drop(first);
    for _ in 0..2 {
        rig.check(FOREVER, "one", Status::Fetched).await;
    }
    // A put is not alone beside it.
    rig.cache.put(KEY, "two".into(), PutCondition::Always).await.unwrap();
    assert_eq!(rig.cache.stats().entries, 0);
    drop(second);
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.check(FOREVER, "two", Status::Fresh).await;
    rig.at_rest(4).await;
}

#[tokio::test]
async fn an_open_write_ends_with_a_holder_that_goes_away_or_panics() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    for panics in [false, true] {
        let cache = rig.cache.clone();
        let holder = tokio::spawn(async move {
            let _write = cache.open_write(KEY).await.unwrap();
            assert!(!panics, "on purpose");
            std::future::pending::<()>().await;
        });
        settle().await;
        assert_eq!(rig.cache.keys_in_flight(), usize::from(!panics));
        holder.abort();
        assert_eq!(holder.await.unwrap_err().is_panic(), panics);
        assert_eq!(rig.cache.keys_in_flight(), 0);
        rig.check(FOREVER, "one", Status::Fetched).await;
        rig.check(FOREVER, "one", Status::Fresh).await;
    }
    rig.at_rest(4).await;
}

/// The copy is void from the begin on, but the write is not open before the copy is gone: what is
/// sent after that cannot be overtaken.
#[tokio::test]
async fn a_write_is_open_when_what_was_held_is_gone() {
    let backend = std::sync::Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(std::sync::Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    rig.get(STRONG).await.unwrap();
    backend.gate.close();
    let mut opening = Box::pin(rig.cache.open_write(KEY));
    assert!(poll_once(opening.as_mut()).is_pending());
    backend.gate.wait_held(1).await;
    settle().await;
    assert!(poll_once(opening.as_mut()).is_pending());
    backend.gate.open();
    let write = opening.await.unwrap();
    assert_eq!(rig.cache.stats().entries, 0);
    drop(write);
    rig.at_rest(1).await;
}

#[tokio::test]
async fn a_cache_that_is_closed_opens_no_write_and_waits_for_none() {
    let rig = Rig::new();
    let write = rig.cache.open_write(KEY).await.unwrap();
    rig.cache.close().await.unwrap();
    assert_eq!(rig.cache.open_write(KEY).await.unwrap_err().kind(), ErrorKind::Closed);
    drop(write);
    rig.at_rest(0).await;
}

#[test]
fn an_open_write_may_be_dropped_outside_of_a_runtime() {
    let rig = Rig::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let write = runtime.block_on(rig.cache.open_write(KEY)).unwrap();
    drop(runtime);
    drop(write);
    assert_eq!(rig.cache.keys_in_flight(), 0);
    let outside = poll_once(Box::pin(rig.cache.open_write(KEY)).as_mut());
    assert!(
        matches!(outside, std::task::Poll::Ready(Err(error)) if error.kind() == ErrorKind::Config),
        "it cannot be opened there"
    );
    assert_eq!(rig.cache.keys_in_flight(), 0);
}
