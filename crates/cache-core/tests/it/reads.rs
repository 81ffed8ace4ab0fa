//! What a read costs at the origin, and who shares it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cache_core::{Admission, Backend, Entry, ErrorKind, Freshness, Key, Status};
use cache_testkit::{BackendAction, BackendCall, HookBackend, MapBackend, OriginFault, TagFault};

use crate::rig::{FOREVER, KEY, Rig, STRONG, rules, secs, text};

#[tokio::test]
async fn a_miss_is_one_request_and_the_next_strong_read_a_conditional_one() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.check(STRONG, "one", Status::Revalidated).await;
    assert_eq!(rig.e_tags_sent(), [None, Some("\"1\"".into())]);
    rig.at_rest(2).await;
}

/// Its turn is for the backend's changes, and a renewal is none.
#[tokio::test]
async fn a_confirmation_changes_nothing_in_the_backend() {
    let n_changes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_changes);
    let rig = Rig::over(HookBackend::new(MapBackend::new(), move |call| {
        if let BackendCall::Insert(_) | BackendCall::Remove(_) | BackendCall::Clear = call {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        BackendAction::Proceed
    }));
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    assert_eq!(n_changes.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        rig.check(STRONG, "one", Status::Revalidated).await;
    }
    assert_eq!(n_changes.load(Ordering::Relaxed), 1);
    rig.at_rest(4).await;
}

/// An entry of a medium that outlives the process has no time to live of its own.
#[tokio::test]
async fn what_a_medium_brings_back_expires_once_it_was_confirmed() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.time_to_live(Some(secs(300))));
    let (e_tag, key) = (rig.origin.inner().write(KEY, "one"), Key::parse(KEY).unwrap());
    let identity = Some(rig.cache.namespace());
    let brought_back = Entry::builder(&key, "one".into()).e_tag(e_tag).namespace(identity).build();
    assert_eq!(rig.cache.backend().insert(brought_back).await.unwrap(), Admission::Stored);
    rig.check(FOREVER, "one", Status::Revalidated).await;
    rig.clock.advance(secs(299));
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.clock.advance(secs(1));
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.at_rest(3).await;
}

#[tokio::test]
async fn a_changed_object_comes_with_the_same_request() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    rig.check(STRONG, "two", Status::Refetched).await;
    assert_eq!(rig.origin.count(), 2);
    assert_eq!(rig.cache.stats().invalidations(), 1);
    rig.at_rest(2).await;
}

#[tokio::test]
async fn a_deleted_object_is_not_found_at_once_and_stays_so() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.inner().erase(KEY);
    assert_eq!(rig.get(STRONG).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(rig.get(FOREVER).await.unwrap_err().kind(), ErrorKind::NotFound);
    let stats = rig.cache.stats();
    assert_eq!((stats.not_found, stats.invalidations(), stats.entries), (2, 1, 0));
    rig.at_rest(3).await;
}

#[tokio::test]
async fn a_fresh_read_asks_nothing_until_max_age_has_passed() {
    let rig = Rig::new();
    let rule = Freshness::max_age(secs(10));
    rig.origin.inner().write(KEY, "one");
    rig.check(rule, "one", Status::Fetched).await;
    rig.clock.advance(secs(9));
    rig.check(rule, "one", Status::Fresh).await;
    assert_eq!(rig.origin.count(), 1);
    rig.clock.advance(secs(1));
    rig.check(rule, "one", Status::Revalidated).await;
    rig.clock.advance(secs(9));
    rig.check(rule, "one", Status::Fresh).await;
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(4).await;
}

#[tokio::test]
async fn age_counts_from_the_sending_of_the_question() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold().late());
    let slow = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    rig.clock.advance(secs(8));
    rig.origin.release_all();
    assert_eq!(slow.await.unwrap().unwrap().age(), secs(8));
    rig.clock.advance(secs(2));
    rig.check(Freshness::max_age(secs(10)), "one", Status::Revalidated).await;
    rig.at_rest(2).await;
}

#[tokio::test]
async fn stale_while_revalidate_serves_at_once_and_asks_once_behind() {
    let rig = Rig::new();
    let rule = Freshness::max_age(secs(10)).stale_while_revalidate(secs(10));
    rig.origin.inner().write(KEY, "one");
    rig.check(rule, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    rig.clock.advance(secs(15));
    rig.origin.fault(OriginFault::hold());
    for _ in 0..5 {
        rig.check(rule, "one", Status::Stale).await;
    }
    rig.origin.wait_until_held(1).await;
    rig.origin.release_all();
    rig.settle().await;
    rig.check(rule, "two", Status::Fresh).await;
    assert_eq!(rig.origin.count(), 2);
    rig.clock.advance(secs(20));
    rig.check(rule, "two", Status::Revalidated).await;
    rig.at_rest(8).await;
}

#[tokio::test]
async fn a_burst_of_strong_readers_costs_two_requests_at_most() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let mut readers: Vec<_> = (0..500).map(|_| rig.spawn_get(STRONG)).collect();
    rig.origin.wait_until_held(1).await;
    // These arrive after the question was sent.
    readers.extend((0..500).map(|_| rig.spawn_get(STRONG)));
    rig.settle().await;
    rig.origin.release_all();
    for reader in readers {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "one");
    }
    assert_eq!(rig.origin.count(), 2);
    assert_eq!(rig.cache.stats().coalesced, 998);
    rig.at_rest(1000).await;
}

/// I-2: the answer to a question that was asked before a strong reader arrived is not for it.
#[tokio::test]
async fn a_strong_reader_never_joins_a_question_that_was_sent() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold().late());
    let early = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    rig.origin.inner().write(KEY, "two");
    let late = rig.spawn_get(STRONG);
    rig.settle().await;
    rig.origin.release_all();
    assert_eq!(text(&early.await.unwrap().unwrap()), "one");
    assert_eq!(text(&late.await.unwrap().unwrap()), "two");
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(2).await;
}

#[tokio::test]
async fn a_bounded_reader_joins_a_question_that_is_young_enough() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold().late());
    let early = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    rig.origin.inner().write(KEY, "two");
    rig.clock.advance(secs(5));
    let young = rig.spawn_get(Freshness::max_age(secs(6)));
    let old = rig.spawn_get(Freshness::max_age(secs(5)));
    rig.settle().await;
    rig.origin.release_all();
    assert_eq!(text(&early.await.unwrap().unwrap()), "one");
    assert_eq!(text(&young.await.unwrap().unwrap()), "one");
    assert_eq!(text(&old.await.unwrap().unwrap()), "two");
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(3).await;
}

#[tokio::test]
async fn twenty_readers_of_a_missing_key_make_two_requests_at_most() {
    let rig = Rig::new();
    rig.origin.fault(OriginFault::hold());
    let readers: Vec<_> = (0..20).map(|_| rig.spawn_get(STRONG)).collect();
    rig.origin.wait_until_held(1).await;
    rig.origin.release_all();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert!(rig.origin.count() <= 2, "{:?}", rig.origin.requests());
    rig.at_rest(20).await;
}

#[tokio::test]
async fn a_slow_key_delays_no_other() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "slow");
    rig.origin.inner().write("other", "quick");
    rig.origin.fault(OriginFault::hold());
    let slow = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    let cache = rig.cache.clone();
    let quick = tokio::spawn(async move { cache.get("other", None).await });
    rig.origin.wait_until_held(2).await;
    assert!(!slow.is_finished() && !quick.is_finished());
    rig.origin.release_all();
    assert_eq!(text(&quick.await.unwrap().unwrap()), "quick");
    assert_eq!(text(&slow.await.unwrap().unwrap()), "slow");
    rig.at_rest(2).await;
}

#[tokio::test]
async fn rules_go_by_the_longest_prefix_and_a_call_may_override_them() {
    let mut by_prefix = rules(STRONG);
    by_prefix.set("a/", FOREVER);
    let rig = Rig::with(MapBackend::new(), |builder| builder.freshness_rules(by_prefix));
    rig.origin.inner().write(KEY, "one");
    for _ in 0..3 {
        rig.cache.get(KEY, None).await.unwrap();
    }
    assert_eq!(rig.origin.count(), 1);
    rig.clock.advance(secs(1_000_000));
    assert_eq!(
        rig.cache.get(KEY, None).await.unwrap().status,
        Status::Fresh,
        "immutable does not expire"
    );
    rig.check(STRONG, "one", Status::Revalidated).await;
    rig.at_rest(5).await;
}

#[tokio::test]
async fn an_expired_entry_is_as_if_nothing_were_held_and_a_validation_slides_it() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.time_to_live(Some(secs(300))));
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.clock.advance(secs(299));
    rig.check(STRONG, "one", Status::Revalidated).await;
    rig.clock.advance(secs(299));
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.clock.advance(secs(1));
    rig.check(FOREVER, "one", Status::Fetched).await;
    assert_eq!(rig.e_tags_sent().last(), Some(&None));
    assert_eq!(rig.cache.stats().expirations, 1);
    rig.at_rest(4).await;
}

#[tokio::test]
async fn a_missing_object_is_remembered_for_negative_ttl_but_never_under_a_strong_rule() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.negative_ttl(secs(10)));
    let rule = Freshness::max_age(secs(60));
    for _ in 0..3 {
        assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(rig.origin.count(), 1);
    rig.origin.inner().write(KEY, "one");
    assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::NotFound);
    rig.check(STRONG, "one", Status::Fetched).await;
    assert_eq!(rig.cache.stats().invalidations(), 0, "the memory of a missing object is no copy");
    rig.cache.delete(KEY).await.unwrap();
    assert_eq!(rig.get(rule).await.unwrap_err().kind(), ErrorKind::NotFound);
    rig.clock.advance(secs(10));
    rig.origin.inner().write(KEY, "two");
    rig.check(rule, "two", Status::Fetched).await;
    rig.at_rest(7).await;
}

#[tokio::test]
async fn a_put_ends_the_memory_of_a_missing_object() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.negative_ttl(secs(10)));
    assert_eq!(rig.get(FOREVER).await.unwrap_err().kind(), ErrorKind::NotFound);
    rig.cache.put(KEY, "one".into(), Default::default()).await.unwrap();
    rig.check(FOREVER, "one", Status::Fresh).await;
    assert_eq!(rig.cache.stats().invalidations(), 0);
    rig.at_rest(2).await;
}

#[tokio::test]
async fn what_has_no_validator_is_served_counted_and_not_kept() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    rig.origin.fault(OriginFault::tag(TagFault::Missing).once());
    rig.check(STRONG, "two", Status::Refetched).await;
    let stats = rig.cache.stats();
    assert_eq!((stats.rejected.no_validator, stats.entries, stats.invalidations()), (1, 0, 1));
    rig.at_rest(2).await;
}

/// I-4.
#[tokio::test]
async fn a_not_modified_that_answers_no_question_is_an_error() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::unchanged().once());
    assert_eq!(rig.get(STRONG).await.unwrap_err().kind(), ErrorKind::Other);
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.at_rest(2).await;
}

#[tokio::test]
async fn a_bad_key_is_an_error_that_costs_nothing_and_is_counted() {
    let rig = Rig::new();
    for key in ["", "/", "/a", "a/", "//a//b/", "a/../b", "a\nb"] {
        assert_eq!(
            rig.cache.get(key, None).await.unwrap_err().kind(),
            ErrorKind::InvalidKey,
            "{key:?}"
        );
        assert_eq!(
            rig.cache.get(key, Some(&FOREVER)).await.unwrap_err().kind(),
            ErrorKind::InvalidKey
        );
        assert_eq!(rig.cache.invalidate(key).await.unwrap_err().kind(), ErrorKind::InvalidKey);
    }
    assert_eq!(rig.cache.stats().errors, 14);
    rig.at_rest(14).await;
}

#[test]
fn outside_of_a_runtime_asking_is_an_error() {
    let rig = Rig::new();
    let error = futures_util::FutureExt::now_or_never(rig.get(STRONG)).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

#[test]
fn a_span_of_zero_is_a_config_error() {
    use cache_core::ReadThrough;
    let builder = || {
        ReadThrough::builder(
            std::sync::Arc::new(cache_testkit::FaultyOrigin::in_memory()),
            std::sync::Arc::new(MapBackend::new()),
        )
    };
    for bad in [builder().time_to_live(Some(secs(0))), builder().patience(Some(secs(0)))] {
        assert_eq!(bad.build().unwrap_err().kind(), ErrorKind::Config);
    }
    let contradicts = rules(STRONG.stale_while_revalidate(secs(1)));
    assert_eq!(
        builder().freshness_rules(contradicts).build().unwrap_err().kind(),
        ErrorKind::Config
    );
    assert!(builder().time_to_live(Some(std::time::Duration::MAX)).build().is_ok());
}

#[tokio::test]
async fn a_freshness_that_contradicts_itself_is_a_config_error_where_it_is_used() {
    let rig = Rig::new();
    let error = rig.get(STRONG.stale_while_revalidate(secs(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    rig.at_rest(1).await;
}

/// An entry is stamped by the cache that it was given to; two caches have two clocks.
#[tokio::test]
async fn an_entry_that_was_handed_out_before_is_not_shared() {
    use std::sync::{Arc, OnceLock};

    use cache_core::{Entry, Key, ReadThrough, Result, Validation, Validator};
    use cache_testkit::ManualClock;

    /// Against the contract, it hands out one entry again and again.
    #[derive(Default)]
    struct Hoarder(OnceLock<Entry>);

    #[async_trait::async_trait]
    impl Validator for Hoarder {
        async fn validate(&self, key: &Key, _held: Option<&Entry>) -> Result<Validation> {
            let entry =
                self.0.get_or_init(|| Entry::builder(key, "one".into()).e_tag("\"1\"").build());
            Ok(Validation::Modified(entry.clone()))
        }
    }

    let hoarder = Arc::new(Hoarder::default());
    let node = |clock: &Arc<ManualClock>| {
        let builder = ReadThrough::builder(Arc::clone(&hoarder), Arc::new(MapBackend::new()));
        builder.clock(clock.clone()).build().unwrap()
    };
    let (early, late) = (Arc::new(ManualClock::new()), Arc::new(ManualClock::new()));
    let (first, second) = (node(&early), node(&late));
    first.get(KEY, None).await.unwrap();
    late.advance(secs(100));
    second.get(KEY, None).await.unwrap();
    early.advance(secs(20));
    let read = first.get(KEY, Some(&Freshness::max_age(secs(10)))).await.unwrap();
    assert_eq!(read.status, Status::Refetched, "20 s old by its own cache's clock");
}

/// Also where longer ones branch from each other on the way to the key.
#[tokio::test]
async fn a_key_has_the_rule_of_its_longest_prefix() {
    let mut rules = cache_core::FreshnessRules::new(STRONG);
    rules.set("a/", FOREVER);
    for (number, prefix) in ["a/b/one", "a/b/other"].into_iter().enumerate() {
        rules.set(prefix, Freshness::max_age(secs(number as u64 + 1)));
    }
    assert_eq!(*rules.resolve(KEY), FOREVER);
    assert_eq!(*rules.resolve("a/b/o"), FOREVER);
    assert_eq!(*rules.resolve("a/b/other/x"), Freshness::max_age(secs(2)));
    assert_eq!(*rules.resolve("b"), STRONG);
}
