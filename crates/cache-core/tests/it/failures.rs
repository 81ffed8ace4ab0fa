//! An origin that fails, refuses, hangs or panics.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, ErrorKind, Key, Origin, PutCondition, ReadThrough, Result, Status, Validation,
    Validator, Version,
};
use cache_testkit::{MapBackend, OriginFault};

use crate::support::{FOREVER, KEY, Rig, STRONG, secs, settle, text};

#[tokio::test]
async fn an_outage_is_covered_inside_the_window_only() {
    let rig = Rig::new();
    let rule = STRONG.stale_if_error(secs(60));
    rig.origin.inner().write(KEY, "one");
    rig.check(rule, "one", Status::Fetched).await;
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout] {
        rig.origin.fault(OriginFault::error(kind).once());
        rig.check(rule, "one", Status::Stale).await;
        rig.origin.fault(OriginFault::error(kind).once());
        assert_eq!(
            rig.get(STRONG).await.unwrap_err().kind(),
            kind,
            "not unless the caller allows it"
        );
    }
    rig.cache.mark_stale(KEY).await.unwrap();
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    rig.check(rule, "one", Status::Stale).await;
    rig.clock.advance(secs(60));
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::Unavailable);
    rig.at_rest(7).await;
}

#[tokio::test]
async fn what_was_invalidated_covers_no_outage() {
    let rig = Rig::new();
    let rule = STRONG.stale_if_error(secs(60));
    rig.origin.inner().write(KEY, "one");
    rig.check(rule, "one", Status::Fetched).await;
    rig.cache.invalidate_prefix("a").unwrap();
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::Unavailable);
    rig.at_rest(2).await;
}

/// I-12: a refusal is an answer.
#[tokio::test]
async fn a_refusal_is_never_covered_and_drops_the_entry() {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated, ErrorKind::NotFound] {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        rig.check(STRONG, "one", Status::Fetched).await;
        rig.origin.fault(OriginFault::error(kind).once());
        assert_eq!(rig.get(STRONG.stale_if_error(secs(60))).await.unwrap_err().kind(), kind);
        assert_eq!(rig.cache.stats().entries, 0);
        rig.origin.fault(OriginFault::error(kind).once());
        assert_eq!(rig.get(FOREVER).await.unwrap_err().kind(), kind, "nothing is served after it");
        rig.at_rest(3).await;
    }
}

#[tokio::test]
async fn a_failed_precondition_is_never_covered_and_keeps_the_entry() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.fault(OriginFault::error(ErrorKind::PreconditionFailed).once());
    let error = rig.get(STRONG.stale_if_error(secs(60))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(3).await;
}

/// I-20: one error for the whole batch, no serial retries.
#[tokio::test]
async fn fifty_readers_share_one_failure() {
    let rig = Rig::new();
    rig.origin.fault(OriginFault::hold());
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    let readers: Vec<_> = (0..50).map(|_| rig.spawn_get(FOREVER)).collect();
    rig.origin.wait_until_held(1).await;
    settle().await;
    rig.origin.release_all();
    for reader in readers {
        let error = reader.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some(KEY)));
    }
    assert_eq!(rig.origin.count(), 1);
    rig.at_rest(50).await;
}

#[tokio::test]
async fn a_panic_in_a_validator_is_an_error_for_every_waiter_and_the_next_get_works() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    // The first reader asks, the others wait for a question of their own.
    rig.origin.fault(OriginFault::hold());
    rig.origin.fault(OriginFault::panic().times(2));
    let readers: Vec<_> = (0..20).map(|_| rig.spawn_get(STRONG)).collect();
    rig.origin.wait_until_held(1).await;
    settle().await;
    rig.origin.release_all();
    for reader in readers {
        let error = reader.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.to_string().contains("the origin panics"), "{error}");
    }
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(22).await;
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_is_asked_once_more_and_not_again() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.patience(Some(secs(1))));
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hang().once());
    let early: Vec<_> = (0..3).map(|_| rig.spawn_get(STRONG)).collect();
    settle().await;
    let late = rig.spawn_get(STRONG); // Waits for the second flight from the start.
    for reader in early {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "one");
    }
    assert_eq!(text(&late.await.unwrap().unwrap()), "one");
    assert_eq!(rig.origin.count(), 2);
    assert_eq!(rig.cache.stats().origin.cancelled, 1);
    rig.at_rest(4).await;

    rig.origin.fault(OriginFault::hang().once());
    rig.origin.fault(OriginFault::hang().once());
    let stuck = rig.spawn_get(STRONG);
    tokio::time::sleep(secs(100)).await;
    assert!(!stuck.is_finished());
    assert_eq!(rig.origin.count(), 4, "the second question is not replaced");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_waits_for_is_not_replaced() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.patience(Some(secs(1))));
    rig.origin.fault(OriginFault::hang().once());
    let reader = rig.spawn_get(STRONG);
    settle().await;
    reader.abort();
    tokio::time::sleep(secs(100)).await;
    assert_eq!(rig.e_tags_sent(), [None]);
}

/// An origin that mixes up keys.
struct Confused;

#[async_trait]
impl Validator for Confused {
    async fn validate(&self, key: &Key, _held: Option<&Entry>) -> Result<Validation> {
        Ok(Validation::Modified(self.entry_of_put(key, "x".into(), &Version::default())))
    }
}

#[async_trait]
impl Origin for Confused {
    async fn put(&self, _key: &Key, _body: Bytes, _condition: PutCondition) -> Result<Version> {
        Ok(Version::default())
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        Ok(())
    }

    fn entry_of_put(&self, _key: &Key, body: Bytes, _version: &Version) -> Entry {
        Entry::builder(&Key::parse("other").unwrap(), body).e_tag("\"1\"").build()
    }
}

#[tokio::test]
async fn an_origin_that_answers_about_another_key_is_not_believed() {
    let cache =
        ReadThrough::builder(Arc::new(Confused), Arc::new(MapBackend::new())).build().unwrap();
    assert_eq!(cache.get(KEY, None).await.unwrap_err().kind(), ErrorKind::Other);
    cache.put(KEY, "x".into(), PutCondition::Always).await.unwrap();
    assert_eq!(cache.stats().entries, 0);
}
