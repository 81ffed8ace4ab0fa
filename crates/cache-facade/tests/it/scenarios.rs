//! What the cache promises, over every kind of store. Requests are counted at the store.
//!
//! Each scenario has a corner of the bucket to itself, so one bucket serves all, also run after
//! run. Bodies that follow each other under one key differ in size: see `World::node_with`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use cache_facade::{
    Bytes, CachedObject, Error, ErrorKind, Freshness, ObjectCache, PutCondition,
    PutOptions as Options, ReadOptions, Result, Status, Version,
};
use cache_testkit::{
    BodyFault, Failure, Fault,
    Operation::{Delete, Get, Head, Put},
    TagFault,
};
use futures_util::future::join_all;
use object_store::{Attribute, ObjectStore as _, PutOptions, path::Path};

use crate::support::{Kind, World, at_rest, failed, got, polled, run, spawn_get, until};

macro_rules! over {
    ($store:ident, $kind:expr, $flavor:literal, $($scenario:ident)*) => {
        mod $store {
            use super::*;
            $(
                #[tokio::test(flavor = $flavor)]
                async fn $scenario() {
                    run($kind, super::$scenario).await;
                }
            )*
        }
    };
}

/// Makes each scenario a test over each kind of store.
macro_rules! over_all_stores {
    ($($scenario:ident)*) => {
        over!(memory, Kind::Memory, "current_thread", $($scenario)*);
        over!(memory_and_threads, Kind::Memory, "multi_thread", $($scenario)*);
        #[cfg(feature = "moka")]
        over!(moka, Kind::Moka, "multi_thread", $($scenario)*);
        over!(disk, Kind::Disk, "multi_thread", $($scenario)*);
        over!(loopback, Kind::Loopback, "multi_thread", $($scenario)*);
        over!(s3, Kind::S3, "current_thread", $($scenario)*);
        over!(azure, Kind::Azure, "current_thread", $($scenario)*);
    };
}

over_all_stores! {
    attributes_are_put_with_the_body_and_served_with_it
    a_miss_is_one_request
    a_put_is_one_request_and_what_it_wrote_a_hit
    an_unchanged_object_is_one_request_without_a_body
    a_change_of_metadata_alone_is_seen_where_it_is_validated
    a_changed_object_is_one_request_and_an_invalidation
    a_fresh_object_is_no_request
    two_nodes_share_one_bucket
    the_time_to_live_slides_with_each_confirmation
    what_is_immutable_does_not_expire
    max_entries_hold_under_puts
    freshness_goes_by_prefix_and_by_call
    invalidate_forgets_one
    invalidate_prefix_forgets_what_is_under_it
    clear_forgets_all
    expire_keeps_the_bytes_and_asks
    a_deleted_object_is_not_found_at_once
    nothing_is_served_after_a_refusal
    conditional_puts_say_who_was_first
    what_a_store_cannot_do_is_unsupported
    a_slow_key_never_delays_another
    readers_of_a_missing_key_share_two_requests
    a_thousand_strong_readers_share_two_requests
    a_reader_that_goes_away_hurts_no_other
    a_reader_after_a_change_never_gets_what_was_before
    a_strong_reader_takes_no_answer_to_an_older_question
    a_caller_may_go_away_at_every_await
    a_key_has_one_spelling
    a_body_larger_than_the_cache_is_served_and_counted
    an_object_without_tag_and_date_is_served_and_counted
    an_object_without_a_tag_goes_by_its_date
    a_weak_tag_confirms_only_where_it_may
    a_short_body_is_an_error
    an_object_over_the_limit_is_too_large
    a_store_that_fails_or_panics_costs_no_copy
    stale_if_error_covers_outages_alone
    stale_while_revalidate_asks_behind
    a_missing_object_may_be_remembered
    many_readers_decode_a_version_once
    a_decoder_may_fail_and_panic
    a_watch_yields_each_version_once
    a_watch_yields_an_error_once
    a_watch_sees_other_bytes_under_the_same_tag
    a_watch_that_cannot_go_on_ends
    a_closed_cache_says_so
    caches_of_other_names_are_others
}

// What a read and a write cost.

async fn attributes_are_put_with_the_body_and_served_with_it(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    let attributes = [("content-type", "text/css"), ("metadata.owner", "web")];
    let options = Options::new().condition(PutCondition::Absent).attributes(attributes);
    let put = node.put_with(&key, "a {}", options).await;
    if w.kind == Kind::Disk {
        let error = failed(put, ErrorKind::Unsupported).to_string();
        assert!(error.contains("attributes"), "{error}");
        failed(node.get(&key).await, ErrorKind::NotFound);
        return;
    }
    put.unwrap();
    let stored =
        w.store.inner().get_opts(&Path::from(key.as_str()), Default::default()).await.unwrap();
    assert_eq!(stored.attributes.get(&Attribute::ContentType).unwrap().as_ref(), "text/css");
    // From the cache, from another node that reads it, and from that one's cache.
    let other = w.node();
    for (node, status) in
        [(&node, Status::Revalidated), (&other, Status::Fetched), (&other, Status::Revalidated)]
    {
        let object = node.get(&key).await;
        got(&object, "a {}", status);
        let object = object.unwrap();
        for (name, value) in attributes {
            assert_eq!(object.attributes().get(name), Some(value), "{status:?}");
        }
    }
    let unknown = Options::from(cache_facade::Attributes::from([("x-unknown", "1")]));
    failed(node.put_with(&key, "b {}", unknown).await, ErrorKind::Unsupported);
    assert_eq!(node.get(&key).await.unwrap().bytes(), "a {}");
}

async fn a_miss_is_one_request(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "body").await;
    let read = node.get(&key).await;
    got(&read, "body", Status::Fetched);
    w.cost(&[Get], 4);
    let object = read.unwrap();
    assert_eq!((object.key(), object.age()), (key.as_str(), Duration::ZERO));
    assert!(object.e_tag().is_some() && object.last_modified().is_some());
    assert_eq!(object.version().e_tag.as_deref(), object.e_tag());
    w.balance(&[&node]);
}

async fn a_put_is_one_request_and_what_it_wrote_a_hit(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    let version = node.put(&key, "body").await.unwrap();
    w.cost(&[Put], 0);
    let read = node.get(&key).await;
    got(&read, "body", Status::Revalidated);
    w.cost(&[Get], 0);
    assert_eq!(read.unwrap().version(), version);
    assert_eq!((node.stats().hits(), node.stats().misses()), (1, 0));
}

async fn an_unchanged_object_is_one_request_without_a_body(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "body").await;
    node.get(&key).await.unwrap();
    w.requests();
    for _ in 0..3 {
        got(&node.get(&key).await, "body", Status::Revalidated);
        w.cost(&[Get], 0);
    }
    let stats = node.stats();
    assert_eq!((stats.hits(), stats.misses(), stats.invalidations(), stats.entries), (3, 1, 0, 1));
    assert_eq!((stats.bytes_from_cache, stats.bytes_from_origin), (12, 4));
}

/// S3's tag is made of the bytes, so that a conditional GET confirms the old metadata. Other stores
/// give each write a tag of its own.
async fn a_change_of_metadata_alone_is_seen_where_it_is_validated(w: &World) {
    if w.kind == Kind::Disk {
        // It has no metadata.
        return;
    }
    let key = w.key("a");
    let put = async |content_type: &'static str| {
        let attributes = [(Attribute::ContentType, content_type)].into_iter().collect();
        let options = PutOptions { attributes, ..PutOptions::default() };
        let answer = w.store.inner().put_opts(&Path::from(&*key), "body".into(), options).await;
        answer.unwrap().e_tag
    };
    let content_type = |read: Result<CachedObject>| {
        read.unwrap().attributes().get("content-type").map(str::to_owned).unwrap_or_default()
    };
    let (plain, node) = (w.node(), w.node_with(|builder| builder.validate_metadata(true)));
    let first = put("text/plain").await;
    for node in [&plain, &node] {
        assert_eq!(content_type(node.get(&key).await), "text/plain");
    }
    w.cost(&[Get, Get], 8);
    got(&node.get(&key).await, "body", Status::Revalidated);
    w.cost(&[Head], 0);

    let is_same_tag = put("text/html").await == first;
    assert_eq!(is_same_tag, w.kind == Kind::S3);
    let of_plain = content_type(plain.get(&key).await);
    assert_eq!(of_plain, if is_same_tag { "text/plain" } else { "text/html" });
    w.cost(&[Get], if is_same_tag { 0 } else { 4 });
    let bytes = node.stats().bytes_from_origin;
    assert_eq!(content_type(node.get(&key).await), "text/html");
    match is_same_tag {
        true => w.cost(&[Head], 0),
        false => w.cost(&[Head, Get], 4),
    }
    assert_eq!(node.stats().bytes_from_origin - bytes, if is_same_tag { 0 } else { 4 });
    got(&node.get(&key).await, "body", Status::Revalidated);
    w.cost(&[Head], 0);

    w.write(&key, "other").await;
    got(&node.get(&key).await, "other", Status::Refetched);
    w.cost(&[Head, Get], 5);
    w.erase(&key).await;
    failed(node.get(&key).await, ErrorKind::NotFound);
    w.cost(&[Head], 0);
}

async fn a_changed_object_is_one_request_and_an_invalidation(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "old").await;
    node.get(&key).await.unwrap();
    w.write(&key, "newer").await;
    w.requests();
    got(&node.get(&key).await, "newer", Status::Refetched);
    w.cost(&[Get], 5);
    got(&node.get(&key).await, "newer", Status::Revalidated);
    assert_eq!((node.stats().invalidations(), node.stats().entries), (1, 1));
}

async fn a_fresh_object_is_no_request(w: &World) {
    let (node, key) = (w.node_fresh(max_age(10)), w.key("a"));
    node.put(&key, "body").await.unwrap();
    w.requests();
    w.advance(9);
    let read = node.get(&key).await;
    got(&read, "body", Status::Fresh);
    assert_eq!(read.unwrap().age(), secs(9));
    w.cost(&[], 0);
    w.advance(1);
    got(&node.get(&key).await, "body", Status::Revalidated);
    w.cost(&[Get], 0);
    got(&node.get(&key).await, "body", Status::Fresh);
    w.cost(&[], 0);
}

async fn two_nodes_share_one_bucket(w: &World) {
    let (one, two, key) = (w.node(), w.node(), w.key("data.json"));
    one.put(&key, "1").await.unwrap();
    got(&two.get(&key).await, "1", Status::Fetched);
    w.cost(&[Put, Get], 1);
    one.put(&key, "22").await.unwrap();
    got(&two.get(&key).await, "22", Status::Refetched);
    w.cost(&[Put, Get], 2);
    got(&two.get(&key).await, "22", Status::Revalidated);
    got(&one.get(&key).await, "22", Status::Revalidated);
    w.cost(&[Get, Get], 0);
    two.delete(&key).await.unwrap();
    failed(one.get(&key).await, ErrorKind::NotFound);
    w.cost(&[Delete, Get], 0);
    // One: its own second put, and what two deleted. Two: what one changed, and its own delete.
    assert_eq!((one.stats().invalidations(), two.stats().invalidations()), (2, 2));
    assert_eq!((one.stats().entries, two.stats().entries), (0, 0));
    w.balance(&[&one, &two]);
}

// What is held, and for how long.

async fn the_time_to_live_slides_with_each_confirmation(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    node.put(&key, "body").await.unwrap();
    for _ in 0..3 {
        w.advance(299);
        got(&node.get(&key).await, "body", Status::Revalidated);
    }
    w.advance(300);
    got(&node.get(&key).await, "body", Status::Fetched);
    assert_eq!((node.stats().expirations, node.stats().invalidations()), (1, 0));
}

async fn what_is_immutable_does_not_expire(w: &World) {
    let (node, key) = (w.node_fresh(Freshness::immutable()), w.key("a"));
    node.put(&key, "body").await.unwrap();
    w.requests();
    w.advance(1 << 30);
    got(&node.get(&key).await, "body", Status::Fresh);
    w.cost(&[], 0);
}

async fn max_entries_hold_under_puts(w: &World) {
    let node = w.node_with(|builder| builder.backend(w.memory().max_entries(3)));
    let keys: Vec<_> = (0..8).map(|n| w.key(&n.to_string())).collect();
    for key in &keys {
        node.put(key, key.clone()).await.unwrap();
        assert!(node.stats().entries <= 3);
    }
    for key in &keys {
        assert_eq!(node.get(key).await.unwrap().bytes(), key);
        assert!(node.stats().entries <= 3);
    }
    let stats = node.stats();
    assert!(stats.entries > 0 && stats.evictions + stats.rejections() >= 5, "{stats:?}");
    w.balance(&[&node]);
}

async fn freshness_goes_by_prefix_and_by_call(w: &World) {
    let (fixed, moving) = (w.key("static/a"), w.key("moving/a"));
    let node = w.node_with(|builder| {
        builder.freshness(max_age(10)).freshness_for(&w.key("static/"), Freshness::immutable())
    });
    for key in [&fixed, &moving] {
        node.put(key, "body").await.unwrap();
    }
    w.requests();
    w.advance(10);
    got(&node.get(&fixed).await, "body", Status::Fresh);
    w.cost(&[], 0);
    got(&node.get(&moving).await, "body", Status::Revalidated);
    w.cost(&[Get], 0);
    for key in [&fixed, &moving] {
        let strong = ReadOptions::new().freshness(Freshness::strong());
        got(&node.get_with(key, strong).await, "body", Status::Revalidated);
        w.cost(&[Get], 0);
    }
    let confused =
        ReadOptions::new().freshness(Freshness::strong().stale_while_revalidate(secs(1)));
    failed(node.get_with(&fixed, confused).await, ErrorKind::Config);
    w.cost(&[], 0);
}

async fn invalidate_forgets_one(w: &World) {
    let node = w.node_fresh(Freshness::immutable());
    let [one, two] = held(w, &node, ["a", "b"]).await;
    node.invalidate(&one).await.unwrap();
    assert_eq!((node.stats().entries, node.stats().invalidations()), (1, 1));
    node.invalidate(&one).await.unwrap();
    assert_eq!(node.stats().invalidations(), 1, "nothing was held");
    got(&node.get(&one).await, "body", Status::Fetched);
    w.cost(&[Get], 4);
    got(&node.get(&two).await, "body", Status::Fresh);
    w.cost(&[], 0);
}

async fn invalidate_prefix_forgets_what_is_under_it(w: &World) {
    let node = w.node_fresh(Freshness::immutable());
    let [one, two, other] = held(w, &node, ["x/a", "x/b", "y"]).await;
    node.invalidate_prefix(&w.key("x/")).unwrap();
    got(&node.get(&other).await, "body", Status::Fresh);
    w.cost(&[], 0);
    for key in [&one, &two] {
        got(&node.get(key).await, "body", Status::Fetched);
        w.cost(&[Get], 4);
        got(&node.get(key).await, "body", Status::Fresh);
    }
    node.invalidate_prefix("").unwrap();
    got(&node.get(&other).await, "body", Status::Fetched);
}

async fn clear_forgets_all(w: &World) {
    let node = w.node_fresh(Freshness::immutable());
    let keys = held(w, &node, ["a", "b"]).await;
    node.clear().await.unwrap();
    assert_eq!((node.stats().entries, node.stats().bytes, node.stats().invalidations()), (0, 0, 2));
    for key in &keys {
        got(&node.get(key).await, "body", Status::Fetched);
        w.cost(&[Get], 4);
    }
}

async fn expire_keeps_the_bytes_and_asks(w: &World) {
    let node = w.node_fresh(Freshness::immutable());
    let [key] = held(w, &node, ["a"]).await;
    node.mark_stale(&key).await.unwrap();
    got(&node.get(&key).await, "body", Status::Revalidated);
    w.cost(&[Get], 0);
    got(&node.get(&key).await, "body", Status::Fresh);
    assert_eq!(node.stats().invalidations(), 0);
}

// What the store answers is the answer.

async fn a_deleted_object_is_not_found_at_once(w: &World) {
    let lenient = max_age(10).stale_if_error(secs(60));
    let node = w.node_fresh(lenient);
    let [one, two] = held(w, &node, ["a", "b"]).await;
    node.delete(&one).await.unwrap();
    w.erase(&two).await;
    w.advance(10);
    for key in [&one, &two] {
        let error = failed(node.get(key).await, ErrorKind::NotFound);
        assert_eq!(error.key(), Some(key.as_str()));
    }
    assert_eq!((node.stats().entries, node.stats().not_found), (0, 2));
}

async fn nothing_is_served_after_a_refusal(w: &World) {
    let node = w.node_fresh(max_age(10).stale_if_error(secs(60)));
    for (refusal, kind) in [
        (Failure::PermissionDenied, ErrorKind::PermissionDenied),
        (Failure::Unauthenticated, ErrorKind::Unauthenticated),
    ] {
        let [key] = held(w, &node, ["a"]).await;
        w.advance(10);
        w.store.fault(Fault::error(refusal).on(Get).once());
        failed(node.get(&key).await, kind);
        assert_eq!(node.stats().entries, 0);
        w.store.fault(Fault::error(Failure::Unavailable).on(Get).once());
        failed(node.get(&key).await, ErrorKind::Unavailable);
        got(&node.get(&key).await, "body", Status::Fetched);
    }
    w.balance(&[&node]);
}

async fn conditional_puts_say_who_was_first(w: &World) {
    let (one, two, key) = (w.node(), w.node(), w.key("a"));
    let first = one.put_if(&key, "1", PutCondition::Absent).await.unwrap();
    failed(two.put_if(&key, "lost", PutCondition::Absent).await, ErrorKind::PreconditionFailed);
    got(&two.get(&key).await, "1", Status::Fetched);
    if w.kind == Kind::Disk {
        return;
    }
    let read = two.get(&key).await.unwrap().version();
    assert_eq!(read, first);
    let second = two.put_if(&key, "22", PutCondition::Matches(read)).await.unwrap();
    let late = one.put_if(&key, "too late", first.into()).await;
    failed(late, ErrorKind::PreconditionFailed);
    got(&one.get(&key).await, "22", Status::Fetched);
    assert_eq!(one.get(&key).await.unwrap().version(), second);
    w.balance(&[&one, &two]);
}

async fn what_a_store_cannot_do_is_unsupported(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.store.fault(Fault::error(Failure::NotImplemented).on(Put).once());
    failed(node.put(&key, "1").await, ErrorKind::Unsupported);
    // A version that no store ever gave.
    failed(node.put_if(&key, "1", Version::default().into()).await, ErrorKind::Unsupported);
    if w.kind == Kind::Disk {
        let version = node.put(&key, "1").await.unwrap();
        failed(node.put_if(&key, "22", version.into()).await, ErrorKind::Unsupported);
        got(&node.get(&key).await, "1", Status::Fetched);
    }
}

// Many at once.

async fn a_slow_key_never_delays_another(w: &World) {
    let node = w.node();
    let [slow, other] = held(w, &node, ["slow", "other"]).await;
    let path = slow.clone();
    w.store.fault(Fault::hold().when(move |request| request.location.as_ref() == path));
    let waiting = spawn_get(&node, &slow);
    w.store.wait_until_held(1).await;
    got(&node.get(&other).await, "body", Status::Revalidated);
    node.put(&other, "other body").await.unwrap();
    node.invalidate(&other).await.unwrap();
    got(&node.get(&other).await, "other body", Status::Fetched);
    assert!(!waiting.is_finished());
    w.store.release_all();
    got(&waiting.await.unwrap(), "body", Status::Revalidated);
}

async fn readers_of_a_missing_key_share_two_requests(w: &World) {
    let (node, key) = (w.node(), w.key("missing"));
    for read in w.burst(&node, &key, 20).await {
        failed(read, ErrorKind::NotFound);
    }
    assert!(w.requests().len() <= 2);
    assert_eq!(node.stats().not_found, 20);
    w.balance(&[&node]);
}

async fn a_thousand_strong_readers_share_two_requests(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "body").await;
    for _ in 0..2 {
        for read in w.burst(&node, &key, 1000).await {
            assert_eq!(read.unwrap().bytes(), "body");
        }
        assert!(w.requests().len() <= 2);
    }
    assert_eq!(node.stats().gets(), 2000);
    assert!(w.store.body_bytes() <= 4, "the second request of the first burst brought no body");
    w.balance(&[&node]);
}

async fn a_reader_that_goes_away_hurts_no_other(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "body").await;
    w.store.fault(Fault::hold().on(Get));
    let first = spawn_get(&node, &key);
    w.store.wait_until_held(1).await;
    let others: Vec<_> = (0..20).map(|_| spawn_get(&node, &key)).collect();
    until(|| node.stats().coalesced == 19).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    others[0].abort();
    w.store.release_all();
    for other in others.into_iter().skip(1) {
        assert_eq!(other.await.unwrap().unwrap().bytes(), "body");
    }
    w.cost(&[Get, Get], 4);
    assert_eq!(node.stats().gets(), 19);
}

/// What changes an object, or what is held of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Put,
    Delete,
    Invalidate,
    InvalidatePrefix,
    Expire,
    Clear,
}

async fn a_reader_after_a_change_never_gets_what_was_before(w: &World) {
    use Change::{Clear, Expire, Invalidate, InvalidatePrefix};
    let rules = [Freshness::strong(), max_age(60), Freshness::immutable()];
    for (n, rule) in rules.into_iter().enumerate() {
        for change in [Change::Put, Change::Delete, Invalidate, InvalidatePrefix, Expire, Clear] {
            let (node, key) = (w.node_fresh(rule), w.key(&format!("{n}/{change:?}")));
            w.write(&key, "old").await;
            // "old" is on its way when the change comes.
            w.store.fault(Fault::hold().on(Get).late().once());
            let early = spawn_get(&node, &key);
            w.store.wait_until_held(1).await;
            let after = match change {
                Change::Put => node.put(&key, "newer").await.map(|_| Some("newer")).unwrap(),
                Change::Delete => node.delete(&key).await.map(|()| None).unwrap(),
                _ => {
                    w.write(&key, "newer").await;
                    Some("newer")
                }
            };
            match change {
                Invalidate => node.invalidate(&key).await.unwrap(),
                InvalidatePrefix => node.invalidate_prefix(&w.key("")).unwrap(),
                Expire => node.mark_stale(&key).await.unwrap(),
                Clear => node.clear().await.unwrap(),
                Change::Put | Change::Delete => {}
            }
            let late = spawn_get(&node, &key);
            w.store.release_all();
            let early = body(early.await.unwrap());
            assert!(
                early.as_deref() == Some("old") || early.as_deref() == after,
                "{change:?}: {early:?}"
            );
            assert_eq!(body(late.await.unwrap()).as_deref(), after, "{change:?} under {rule:?}");
            assert_eq!(body(node.get(&key).await).as_deref(), after, "{change:?} under {rule:?}");
        }
    }
}

async fn a_strong_reader_takes_no_answer_to_an_older_question(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    for (before, after) in [("1", "22"), ("333", "4444")] {
        w.write(&key, before).await;
        w.store.fault(Fault::hold().on(Get).late().once());
        let early = spawn_get(&node, &key);
        w.store.wait_until_held(1).await;
        // Another node writes, so there is no fence here.
        w.write(&key, after).await;
        let late = spawn_get(&node, &key);
        tokio::task::yield_now().await;
        w.store.release_all();
        assert_eq!(early.await.unwrap().unwrap().bytes(), before);
        assert_eq!(late.await.unwrap().unwrap().bytes(), after);
    }
}

async fn a_caller_may_go_away_at_every_await(w: &World) {
    let old = &[Some("old")][..];
    for rule in [Freshness::strong(), Freshness::immutable()] {
        let n = &w.node_fresh(rule);
        dropped(w, n, "get", false, old, async |key| n.get(key).await.map(drop)).await;
        let strong = ReadOptions::new().freshness(Freshness::strong());
        dropped(w, n, "strong", false, old, async |key| n.get_with(key, strong).await.map(drop))
            .await;
        dropped(w, n, "len", false, old, async |key| n.get_decoded(key, len).await.map(drop)).await;
        let put = &[Some("old"), Some("newer")];
        dropped(w, n, "put", true, put, async |key| n.put(key, "newer").await.map(drop)).await;
        dropped(w, n, "del", true, &[Some("old"), None], async |key| n.delete(key).await).await;
        dropped(w, n, "inv", true, old, async |key| n.invalidate(key).await).await;
        dropped(w, n, "pre", true, old, async |key| n.invalidate_prefix(key)).await;
        dropped(w, n, "exp", true, old, async |key| n.mark_stale(key).await).await;
        dropped(w, n, "clr", true, old, async |_| n.clear().await).await;
    }
}

/// Drops `call` after each number of polls until it comes to its end. The copy held before must
/// still be served, or, if the call `voids` it, the store asked; the object must be one of `after`,
/// and the key as good as any.
async fn dropped(
    w: &World,
    node: &ObjectCache,
    name: &str,
    voids: bool,
    after: &[Option<&str>],
    call: impl AsyncFn(&str) -> Result<()>,
) {
    for polls in 0.. {
        let key = w.key(&format!("{name}{polls}"));
        w.write(&key, "old").await;
        node.get(&key).await.unwrap();
        let ended = polled(polls, call(&key)).await;
        let read = node.get(&key).await;
        match &read {
            Ok(read) if voids && polls > 0 && read.bytes() == "old" => {
                assert_ne!(read.status(), Status::Fresh, "{name} after {polls} polls");
            }
            _ if voids && polls > 0 => {}
            read => {
                assert!(read.as_ref().is_ok_and(|read| read.status().is_hit()), "{name}: {read:?}");
            }
        }
        let read = body(read);
        assert!(after.contains(&read.as_deref()), "{name} after {polls} polls: {read:?}");
        at_rest(node).await;
        node.put(&key, "the last word").await.unwrap();
        assert_eq!(node.get(&key).await.unwrap().bytes(), "the last word");
        if let Some(result) = ended {
            return result.unwrap();
        }
    }
}

// Bad input.

async fn a_key_has_one_spelling(w: &World) {
    let node = w.node();
    let long = "k".repeat(5000);
    for key in ["", "/", "/a", "a/", "//a//b/", "a//b", ".", "..", "a/../b", "a\nb", "a\0b", &long]
    {
        failed(node.get(key).await, ErrorKind::InvalidKey);
        failed(node.get_decoded(key, len).await, ErrorKind::InvalidKey);
        failed(node.put(key, "body").await, ErrorKind::InvalidKey);
        failed(node.delete(key).await, ErrorKind::InvalidKey);
        failed(node.invalidate(key).await, ErrorKind::InvalidKey);
        failed(node.mark_stale(key).await, ErrorKind::InvalidKey);
    }
    w.cost(&[], 0);
    for key in ["ü/ñ", "a b%20c", "..."] {
        let key = w.key(key);
        node.put(&key, key.clone()).await.unwrap();
        assert_eq!(w.node().get(&key).await.unwrap().bytes(), &key);
        got(&node.get(&key).await, &key, Status::Revalidated);
    }
}

async fn a_body_larger_than_the_cache_is_served_and_counted(w: &World) {
    let node = w
        .node_with(|builder| builder.backend(w.memory().max_capacity(1000)).freshness(max_age(10)));
    let (small, large) = (w.key("small"), w.key("large"));
    let body = "x".repeat(1001);
    node.put(&small, "body").await.unwrap();
    node.put(&large, body.clone()).await.unwrap();
    for _ in 0..2 {
        got(&node.get(&large).await, &body, Status::Fetched);
    }
    assert_eq!(node.stats().rejections(), 3);
    got(&node.get(&small).await, "body", Status::Fresh);
    assert!(node.stats().bytes <= 1000);
    // What was held of it goes with the smaller version.
    node.put(&large, "fits").await.unwrap();
    w.write(&large, &body).await;
    got(&node.get(&large).await, "fits", Status::Fresh);
    w.advance(10);
    got(&node.get(&large).await, &body, Status::Refetched);
    got(&node.get(&large).await, &body, Status::Fetched);
}

async fn an_object_without_tag_and_date_is_served_and_counted(w: &World) {
    let (node, key) = (w.node_fresh(max_age(10)), w.key("a"));
    w.store.fault(Fault::tag(TagFault::Missing));
    w.store.fault(Fault::last_modified(None));
    node.put(&key, "body").await.unwrap();
    for _ in 0..2 {
        got(&node.get(&key).await, "body", Status::Fetched);
    }
    assert_eq!((node.stats().rejected.no_validator, node.stats().entries), (3, 0));
    w.cost(&[Put, Get, Get], 8);
}

async fn an_object_without_a_tag_goes_by_its_date(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.store.fault(Fault::tag(TagFault::Missing));
    w.store.fault(Fault::last_modified(Some(SystemTime::UNIX_EPOCH + secs(1_000_000_000))));
    w.write(&key, "body").await;
    got(&node.get(&key).await, "body", Status::Fetched);
    got(&node.get(&key).await, "body", Status::Revalidated);
    let requests = w.requests();
    assert!(requests[1].if_none_match.is_none() && requests[1].if_modified_since.is_some());
}

async fn a_weak_tag_confirms_only_where_it_may(w: &World) {
    for (accept, status) in [(false, Status::Refetched), (true, Status::Revalidated)] {
        let (node, key) =
            (w.node_with(|builder| builder.accept_weak_validators(accept)), w.key("a"));
        w.store.fault(Fault::tag(TagFault::Weak));
        w.write(&key, "body").await;
        node.get(&key).await.unwrap();
        got(&node.get(&key).await, "body", status);
    }
}

async fn a_short_body_is_an_error(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "body").await;
    w.store.fault(Fault::body(BodyFault::Truncated(3)).once());
    node.get(&key).await.unwrap_err();
    assert_eq!(node.stats().entries, 0);
    got(&node.get(&key).await, "body", Status::Fetched);
}

async fn an_object_over_the_limit_is_too_large(w: &World) {
    let (node, key) = (w.node_with(|builder| builder.max_object_size(4)), w.key("a"));
    w.write(&key, "body").await;
    got(&node.get(&key).await, "body", Status::Fetched);
    w.write(&key, "large").await;
    failed(node.get(&key).await, ErrorKind::TooLarge);
    assert_eq!(node.stats().entries, 0);
}

// What fails.

async fn a_store_that_fails_or_panics_costs_no_copy(w: &World) {
    let node = w.node();
    let [key] = held(w, &node, ["a"]).await;
    for (fault, kind) in [
        (Fault::error(Failure::Unavailable), ErrorKind::Unavailable),
        (Fault::panic(), ErrorKind::Panicked),
    ] {
        w.store.fault(fault.on(Get).once());
        let error = failed(node.get(&key).await, kind);
        assert_eq!(error.key(), Some(key.as_str()));
        got(&node.get(&key).await, "body", Status::Revalidated);
    }
    // It is open what such a write did: nothing is held.
    for fault in [
        Fault::error(Failure::Unavailable),
        Fault::error(Failure::Unavailable).late(),
        Fault::panic(),
    ] {
        let before = body(node.get(&key).await);
        w.store.fault(fault.on(Put).once());
        node.put(&key, "newer").await.unwrap_err();
        assert_eq!(node.stats().entries, 0);
        let read = node.get(&key).await;
        assert_eq!(read.as_ref().unwrap().status(), Status::Fetched);
        let read = body(read);
        assert!(read == before || read.as_deref() == Some("newer"));
    }
    assert_eq!(node.stats().errors, 2);
    w.balance(&[&node]);
}

async fn stale_if_error_covers_outages_alone(w: &World) {
    let node = w.node_fresh(max_age(10).stale_if_error(secs(60)));
    let [key] = held(w, &node, ["a"]).await;
    let outage = || w.store.fault(Fault::error(Failure::Unavailable).on(Get).once());
    w.advance(69);
    outage();
    let read = node.get(&key).await;
    got(&read, "body", Status::Stale);
    assert_eq!(read.unwrap().age(), secs(69));
    w.advance(1);
    outage();
    failed(node.get(&key).await, ErrorKind::Unavailable);
    got(&node.get(&key).await, "body", Status::Revalidated);
    // Not of use to a caller who does not allow it.
    outage();
    let strong = ReadOptions::new().freshness(Freshness::strong());
    failed(node.get_with(&key, strong).await, ErrorKind::Unavailable);
    // Nor for what is no outage.
    w.advance(10);
    w.store.fault(Fault::panic().on(Get).once());
    failed(node.get(&key).await, ErrorKind::Panicked);
    // Nor for what was invalidated.
    node.invalidate(&key).await.unwrap();
    outage();
    failed(node.get(&key).await, ErrorKind::Unavailable);
    assert_eq!((node.stats().stale, node.stats().errors), (1, 4));
}

async fn stale_while_revalidate_asks_behind(w: &World) {
    let node = w.node_fresh(max_age(10).stale_while_revalidate(secs(60)));
    let [key] = held(w, &node, ["a"]).await;
    w.write(&key, "newer").await;
    w.advance(10);
    got(&node.get(&key).await, "body", Status::Stale);
    until(|| node.stats().origin.modified == 1).await;
    at_rest(&node).await;
    w.cost(&[Get], 5);
    got(&node.get(&key).await, "newer", Status::Fresh);
    w.cost(&[], 0);
    w.advance(70);
    got(&node.get(&key).await, "newer", Status::Revalidated);
}

async fn a_missing_object_may_be_remembered(w: &World) {
    let key = w.key("a");
    let node = w.node_with(|builder| builder.freshness(max_age(60)).negative_ttl(secs(10)));
    for _ in 0..2 {
        failed(node.get(&key).await, ErrorKind::NotFound);
    }
    w.cost(&[Get], 0);
    w.write(&key, "body").await;
    failed(node.get(&key).await, ErrorKind::NotFound);
    let strong = ReadOptions::new().freshness(Freshness::strong());
    got(&node.get_with(&key, strong).await, "body", Status::Fetched);
    w.erase(&key).await;
    failed(node.get_with(&key, strong).await, ErrorKind::NotFound);
    w.write(&key, "body").await;
    w.advance(10);
    got(&node.get(&key).await, "body", Status::Fetched);
}

// Typed reads.

async fn many_readers_decode_a_version_once(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    let runs = AtomicUsize::new(0);
    let counted = |bytes: &Bytes| {
        runs.fetch_add(1, Ordering::SeqCst);
        len(bytes)
    };
    for (n, text) in ["body", "newer"].into_iter().enumerate() {
        w.write(&key, text).await;
        let reads = join_all((0..20).map(|_| node.get_decoded(&key, counted))).await;
        let first = reads[0].as_ref().unwrap();
        assert_eq!(**first, text.len());
        assert!(reads.iter().all(|read| Arc::ptr_eq(first, read.as_ref().unwrap())));
        assert_eq!(runs.load(Ordering::SeqCst), n + 1);
    }
    // Another type is another value.
    let words: Arc<String> =
        node.get_decoded(&key, |bytes| String::from_utf8(bytes.to_vec())).await.unwrap();
    assert_eq!(*words, "newer");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

async fn a_decoder_may_fail_and_panic(w: &World) {
    let node = w.node();
    let [key] = held(w, &node, ["a"]).await;
    let refused =
        node.get_decoded(&key, |bytes| str::from_utf8(bytes).unwrap_or("").parse::<u32>()).await;
    let error = failed(refused, ErrorKind::Decode);
    assert_eq!(error.key(), Some(key.as_str()));
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("invalid digit"), "{source}");

    let panicked = node.get_decoded(&key, |_| -> Result<u32, Error> { panic!("no {}", 7) }).await;
    let error = failed(panicked, ErrorKind::Panicked);
    assert!(error.to_string().contains("no 7"), "{error}");

    let third = node.get_decoded(&key, |_| Ok::<u32, Error>(3)).await;
    assert_eq!(*third.unwrap(), 3);
    got(&node.get(&key).await, "body", Status::Revalidated);
    failed(node.get_decoded(&w.key("missing"), len).await, ErrorKind::NotFound);
}

async fn a_watch_yields_each_version_once(w: &World) {
    let (node, key) = (w.node_fresh(Freshness::immutable()), w.key("a"));
    w.write(&key, "1").await;
    let mut versions = node.watch(&key, EVERY);
    for text in ["1", "22", "333"] {
        w.write(&key, text).await;
        assert_eq!(body(versions.next().await.unwrap()).as_deref(), Some(text));
        // It goes on asking while nothing changes.
        let asked = w.store.gets();
        let next = async { versions.next().await.map(drop) };
        let idle = async { until(|| w.store.gets() >= asked + 3).await };
        tokio::select! {
            biased;
            () = idle => {}
            _ = next => panic!("nothing has changed"),
        }
    }
    w.erase(&key).await;
    failed(versions.next().await.unwrap(), ErrorKind::NotFound);
    w.write(&key, "4444").await;
    assert_eq!(body(versions.next().await.unwrap()).as_deref(), Some("4444"));
}

async fn a_watch_yields_an_error_once(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.write(&key, "body").await;
    let mut versions = node.watch(&key, EVERY);
    got(&versions.next().await.unwrap(), "body", Status::Fetched);
    w.store.fault(Fault::error(Failure::Unavailable).times(3));
    w.store.fault(Fault::error(Failure::PermissionDenied).times(2));
    w.requests();
    failed(versions.next().await.unwrap(), ErrorKind::Unavailable);
    failed(versions.next().await.unwrap(), ErrorKind::PermissionDenied);
    assert_eq!(body(versions.next().await.unwrap()).as_deref(), Some("body"));
    assert_eq!(w.requests().len(), 6);
}

async fn a_watch_sees_other_bytes_under_the_same_tag(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    w.store.fault(Fault::tag(TagFault::Replaced("W/\"always\"".to_owned())));
    let mut versions = node.watch(&key, EVERY);
    for text in ["1", "22"] {
        w.write(&key, text).await;
        assert_eq!(body(versions.next().await.unwrap()).as_deref(), Some(text));
    }
}

async fn a_watch_that_cannot_go_on_ends(w: &World) {
    let (node, key) = (w.node(), w.key("a"));
    for (key, every, kind) in
        [("//a//b/", EVERY, ErrorKind::InvalidKey), (&*key, Duration::ZERO, ErrorKind::Config)]
    {
        let mut versions = node.watch(key, every);
        failed(versions.next().await.unwrap(), kind);
        assert!(versions.next().await.is_none());
        assert!(versions.next().await.is_none());
    }
    w.cost(&[], 0);
    w.write(&key, "body").await;
    let mut versions = node.watch(&key, EVERY);
    versions.next().await.unwrap().unwrap();
    node.close().await.unwrap();
    failed(versions.next().await.unwrap(), ErrorKind::Closed);
    assert!(versions.next().await.is_none());
    assert!(versions.next().await.is_none(), "asked again, it has still ended");
}

// The cache as a whole.

async fn a_closed_cache_says_so(w: &World) {
    let node = w.node_fresh(Freshness::immutable());
    let [key, flying] = held(w, &node, ["a", "b"]).await;
    node.invalidate(&flying).await.unwrap();
    w.store.fault(Fault::hold().on(Get).once());
    let in_flight = spawn_get(&node, &flying);
    w.store.wait_until_held(1).await;
    let closing = tokio::spawn({
        let node = node.clone();
        async move { node.close().await }
    });
    while node.get(&key).await.is_ok() {
        tokio::task::yield_now().await;
    }
    w.store.release_all();
    got(&in_flight.await.unwrap(), "body", Status::Fetched);
    closing.await.unwrap().unwrap();

    failed(node.get(&key).await, ErrorKind::Closed);
    failed(node.get_decoded(&key, len).await, ErrorKind::Closed);
    failed(node.put(&key, "body").await, ErrorKind::Closed);
    failed(node.delete(&key).await, ErrorKind::Closed);
    failed(node.invalidate(&key).await, ErrorKind::Closed);
    failed(node.invalidate_prefix(""), ErrorKind::Closed);
    failed(node.mark_stale(&key).await, ErrorKind::Closed);
    failed(node.clone().clear().await, ErrorKind::Closed);
    assert_eq!((node.stats().entries, node.stats().bytes), (0, 0));
    node.close().await.unwrap();
}

async fn caches_of_other_names_are_others(w: &World) {
    let (one, two) = (w.node_with(|builder| builder.name("pages")), w.node());
    let key = w.key("a");
    one.put(&key, "body").await.unwrap();
    one.get(&key).await.unwrap();
    assert_eq!((one.name(), two.name()), ("pages", "default"));
    assert_eq!((one.stats().gets(), two.stats().gets()), (1, 0));
    assert_eq!((one.stats().entries, two.stats().entries), (1, 0));
    one.close().await.unwrap();
    two.get(&key).await.unwrap();
}

// Helpers.

/// Keys of these names with the body "body", all held by `node`. Their requests count as seen.
async fn held<const N: usize>(w: &World, node: &ObjectCache, names: [&str; N]) -> [String; N] {
    let keys = names.map(|name| w.key(name));
    for key in &keys {
        node.put(key, "body").await.unwrap();
    }
    w.requests();
    keys
}

/// The body as text; `None` if there is no object.
#[track_caller]
fn body(read: Result<cache_facade::CachedObject>) -> Option<String> {
    match read {
        Ok(object) => Some(String::from_utf8(object.bytes().to_vec()).unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            None
        }
    }
}

/// A decoder.
fn len(bytes: &Bytes) -> Result<usize, Error> {
    Ok(bytes.len())
}

fn max_age(seconds: u64) -> Freshness {
    Freshness::max_age(secs(seconds))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How often watches look, as often as timers allow.
const EVERY: Duration = Duration::from_millis(1);
