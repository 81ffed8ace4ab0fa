//! What the store says is heard, whichever request it answers: I-36.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::Freshness;
use cache_store::{Bypass, CachedStore, CachedStoreBuilder};
use cache_testkit::{Failure, Fault, FaultyStore, Operation};
use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, memory::InMemory, path::Path,
};
use tokio::task::JoinHandle;

use super::{HOUR, body, builder, read, read_all, with_object};
use crate::{path, write};

/// A request by which the store tells something of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    List,
    ListWithOffset,
    ListWithDelimiter,
    WarmPrefix,
    Bypassing,
    BypassHead,
    BypassRange,
    /// Past it, with the tag that is current as `If-None-Match`.
    NotModified,
    /// Past it, with the tag that was current as `If-Match`.
    OtherTag,
    EmptyRange,
    RangePastTheEnd,
    RangesPastTheEnd,
    CopySource,
    /// Blocks that are not cached, by a read, as a stream behind what is cached, and by
    /// `get_ranges`.
    Block,
    Stream,
    Ranges,
}

/// What the store answers to it, and has from then on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Newer,
    NotFound,
    Forbidden(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    /// The first block, and a fresh head.
    Cached,
    /// A read whose request has been answered, with what was there before.
    InFlight,
    /// The same, and another read begins before that one ends.
    InFlightWithAnother,
    Neither,
}

use Kind::*;

const KINDS: [Kind; 16] = [
    List,
    ListWithOffset,
    ListWithDelimiter,
    WarmPrefix,
    Bypassing,
    BypassHead,
    BypassRange,
    NotModified,
    OtherTag,
    EmptyRange,
    RangePastTheEnd,
    RangesPastTheEnd,
    CopySource,
    Block,
    Stream,
    Ranges,
];

const ANSWERS: [Answer; 4] = [
    Answer::Newer,
    Answer::NotFound,
    Answer::Forbidden(Failure::PermissionDenied),
    Answer::Forbidden(Failure::Unauthenticated),
];

const BEFORE: [Before; 4] =
    [Before::Cached, Before::InFlight, Before::InFlightWithAnother, Before::Neither];

impl Kind {
    /// Whether the store says so by such a request. Lists leave out what is gone, and a copy says
    /// nothing of a source that is there.
    fn can_tell(self, answer: Answer, before: Before) -> bool {
        let is_list = matches!(self, List | ListWithOffset | ListWithDelimiter | WarmPrefix);
        let is_about_blocks = matches!(self, Block | Stream | Ranges);
        // These look at the head first: they are told by its request, or wait for the one in
        // flight.
        let needs_head =
            matches!(self, WarmPrefix | EmptyRange | RangePastTheEnd | RangesPastTheEnd)
                || is_about_blocks;
        (!needs_head || before == Before::Cached)
            && match answer {
                // An empty range shows no version.
                Answer::Newer => !matches!(self, CopySource | EmptyRange),
                Answer::NotFound | Answer::Forbidden(_) => !is_list,
            }
    }

    async fn send(self, cached: &CachedStore, [old, new]: [Option<String>; 2]) {
        let bypass = || GetOptions::new().with_extensions(extensions());
        let get = |options: GetOptions| async move {
            if let Ok(answer) = cached.get_opts(&path(), options).await {
                let _ = answer.bytes().await;
            }
        };
        match self {
            List => drop(cached.list(None).try_collect::<Vec<_>>().await),
            ListWithOffset => {
                drop(
                    cached.list_with_offset(None, &Path::from("a/a")).try_collect::<Vec<_>>().await,
                );
            }
            ListWithDelimiter => drop(cached.list_with_delimiter(Some(&Path::from("a"))).await),
            WarmPrefix => drop(cached.warm_prefix(None, 1).collect::<Vec<_>>().await),
            Bypassing => get(bypass()).await,
            BypassHead => get(bypass().with_head(true)).await,
            BypassRange => get(bypass().with_range(Some(1..2))).await,
            NotModified => get(bypass().with_if_none_match(new)).await,
            OtherTag => get(bypass().with_if_match(old)).await,
            EmptyRange => drop(cached.get_ranges(&path(), &[3..3]).await),
            RangePastTheEnd => get(GetOptions::new().with_range(Some(17..19))).await,
            RangesPastTheEnd => drop(cached.get_ranges(&path(), &[0..1, 16..19]).await),
            CopySource => drop(cached.copy(&path(), &Path::from("copy")).await),
            Block => get(GetOptions::new().with_range(Some(6..12))).await,
            Stream => get(GetOptions::new()).await,
            Ranges => drop(cached.get_ranges(&path(), &[6..8, 12..13]).await),
        }
    }
}

fn extensions() -> object_store::Extensions {
    let mut extensions = object_store::Extensions::new();
    extensions.insert(Bypass);
    extensions
}

fn new() -> Bytes {
    Bytes::from(vec![b'n'; 20])
}

fn spawn_read(cached: &CachedStore) -> JoinHandle<object_store::Result<Bytes>> {
    let cached = cached.clone();
    tokio::spawn(async move { cached.get_range(&path(), 0..5).await })
}

async fn tag(store: &FaultyStore) -> Option<String> {
    store.inner().head(&path()).await.ok().and_then(|meta| meta.e_tag)
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Sets up the cache, lets the store tell something by a request of `kind`, and reads.
async fn check(kind: Kind, answer: Answer, rule: Freshness, before: Before) {
    let what = format!("{kind:?} {answer:?} {rule:?} {before:?}");
    let store = with_object(17).await;
    let cached = builder(&store).freshness(rule).build().unwrap();
    let old = tag(&store).await;
    let mut late = None;
    match before {
        Before::Cached => drop(read(&cached, 0..5).await),
        Before::InFlight | Before::InFlightWithAnother => {
            store.fault(Fault::hold().once().late());
            late = Some(spawn_read(&cached));
            store.wait_until_held(1).await;
        }
        Before::Neither => {}
    }
    match answer {
        Answer::Newer => write(&store, new()).await,
        Answer::NotFound => store.inner().delete(&path()).await.unwrap(),
        Answer::Forbidden(failure) => {
            store.fault(Fault::error(failure));
        }
    }
    kind.send(&cached, [old, tag(&store).await]).await;
    // What is forbidden is allowed again to those who ask.
    let after = (before == Before::InFlightWithAnother).then(|| spawn_read(&cached));
    settle().await;
    store.release_all();
    if let Some(late) = late {
        // It began before, and may bring what was there then.
        let _ = late.await.unwrap();
    }
    store.heal();
    store.reset();
    let reads = match after {
        Some(after) => vec![after.await.unwrap(), cached.get_range(&path(), 0..5).await],
        None => vec![cached.get_range(&path(), 0..5).await],
    };
    for read in reads {
        match answer {
            Answer::Newer => assert_eq!(read.unwrap(), new().slice(0..5), "{what}"),
            Answer::NotFound => {
                assert!(
                    matches!(read, Err(object_store::Error::NotFound { .. })),
                    "{what}: {read:?}"
                );
            }
            Answer::Forbidden(_) if before == Before::InFlightWithAnother => {}
            Answer::Forbidden(_) => {
                assert_eq!(read.unwrap(), body(5), "{what}");
                assert!(store.count() > 0, "{what}: served without a request");
            }
        }
    }
}

#[tokio::test]
async fn what_any_answer_shows_is_heard_by_the_reads_after_it() {
    let mut n_checked = 0;
    for kind in KINDS {
        for answer in ANSWERS {
            for rule in [Freshness::max_age(HOUR), Freshness::immutable(), Freshness::strong()] {
                for before in BEFORE {
                    if kind.can_tell(answer, before) {
                        let checked = check(kind, answer, rule, before);
                        tokio::time::timeout(Duration::from_secs(60), checked).await.unwrap();
                        n_checked += 1;
                    }
                }
            }
        }
    }
    assert_eq!(n_checked, 384);
}

/// The other side: nothing is revalidated that nobody has shown to be out of date.
#[tokio::test]
async fn what_shows_the_cached_version_costs_no_request_later() {
    for kind in KINDS {
        let store = with_object(17).await;
        let cached = builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap();
        read_all(&cached).await;
        let tag = tag(&store).await;
        kind.send(&cached, [tag.clone(), tag]).await;
        store.reset();
        assert_eq!(read_all(&cached).await, body(17));
        // Several ranges that are passed through come without a tag.
        let names_no_version = matches!(kind, RangesPastTheEnd);
        assert_eq!(store.count(), usize::from(names_no_version), "{kind:?}");
    }
}

/// As Azure's lists do, and those of stores that count more than seconds.
#[tokio::test]
async fn a_list_without_quotes_or_with_finer_dates_shows_the_same_version() {
    let server = cache_testkit::S3Server::start().unwrap();
    let client = std::sync::Arc::new(server.client());
    let bare = super::scripted_store::ScriptedStore::lists(client, |mut object| {
        object.e_tag = object.e_tag.map(|tag| tag.trim_matches('"').to_owned());
        object.last_modified += Duration::from_millis(123);
        object
    });
    let store = FaultyStore::new(std::sync::Arc::new(bare));
    let paths: Vec<_> = (0..100).map(|n| Path::from(format!("a/{n}"))).collect();
    for path in &paths {
        store.inner().put(path, "body".into()).await.unwrap();
    }
    let cached: CachedStoreBuilder = builder(&store);
    let cached = cached.freshness(Freshness::max_age(HOUR)).build().unwrap();
    for path in &paths {
        cached.get(path).await.unwrap().bytes().await.unwrap();
    }
    store.reset();
    for _ in 0..10 {
        assert_eq!(cached.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 100);
        for path in &paths {
            assert_eq!(cached.get(path).await.unwrap().bytes().await.unwrap(), "body");
        }
    }
    assert_eq!(store.count(), 10, "one a list");
    assert!(store.requests().iter().all(|request| request.operation == Operation::List));
}

/// By an answer that shows no version, but that a byte is not there.
#[tokio::test]
async fn an_object_that_is_shown_to_be_shorter_is_revalidated() {
    let past_the_end = [GetRange::Bounded(10..12), GetRange::Offset(10)];
    let several: [&[_]; 4] = [&[0..1, 16..19], &[0..1, 2..19], &[16..19], &[1..2, 5..30]];
    let n_kinds = past_the_end.len() + several.len();
    for kind in 0..n_kinds {
        let store = with_object(17).await;
        let cached = builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap();
        read_all(&cached).await;
        write(&store, "new").await;
        match past_the_end.get(kind) {
            Some(range) => {
                let bypass = GetOptions::new().with_extensions(extensions());
                cached.get_opts(&path(), bypass.with_range(Some(range.clone()))).await.unwrap_err();
            }
            None => drop(cached.get_ranges(&path(), several[kind - past_the_end.len()]).await),
        }
        assert_eq!(read_all(&cached).await, "new", "{kind}");
    }
}

#[tokio::test]
async fn a_list_without_tags_shows_another_size() {
    let date = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for is_dated in [true, false] {
        let bare = super::scripted_store::ScriptedStore::lists(
            Arc::new(InMemory::new()),
            move |mut object| {
                object.e_tag = None;
                object.last_modified = if is_dated { date.into() } else { Default::default() };
                object
            },
        );
        let store = FaultyStore::new(Arc::new(bare));
        write(&store, body(17)).await;
        store.fault(Fault::last_modified(Some(date)));
        let cached = builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap();
        // The first list of a prefix lets nothing be served that was cached before and that it does
        // not renew.
        cached.list(None).try_collect::<Vec<_>>().await.unwrap();
        read_all(&cached).await;
        cached.list(None).try_collect::<Vec<_>>().await.unwrap();
        store.reset();
        assert_eq!(read_all(&cached).await, body(17));
        assert_eq!(store.count(), 0, "the list has shown the same size");
        write(&store, "new").await;
        cached.list(None).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(read_all(&cached).await, "new", "{is_dated}");
    }
}

/// I-12: what was found not to exist covers no outage.
#[tokio::test]
async fn an_object_that_a_request_for_a_block_does_not_find_is_not_served_in_an_outage() {
    let store = with_object(33).await;
    let rule = Freshness::max_age(HOUR).stale_if_error(HOUR);
    let cached = builder(&store).freshness(rule).build().unwrap();
    read(&cached, 0..5).await;
    store.fault(Fault::error(Failure::NotFound).when(|request| request.if_match.is_some()));
    store.fault(Fault::error(Failure::Unavailable).when(|request| request.if_match.is_none()));
    cached.get_range(&path(), 20..25).await.unwrap_err();
    cached.get_range(&path(), 0..5).await.unwrap_err();
    cached.get_ranges(&path(), &[0..5]).await.unwrap_err();
}

/// An answer to several ranges has no tag, and bytes of the same length may be newer.
#[tokio::test]
async fn bytes_of_passed_through_ranges_are_not_newer_than_what_is_served_after_them() {
    let store = with_object(17).await;
    let cached = builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap();
    read_all(&cached).await;
    write(&store, vec![b'n'; 17]).await;
    let odd = cached.get_ranges(&path(), &[10..20, 12..14]).await.unwrap();
    assert_eq!(odd[1], "nn");
    assert_eq!(read_all(&cached).await, vec![b'n'; 17]);
}

/// Each mark costs one request without a body, at the next read; then the head is fresh again.
#[tokio::test]
async fn a_marked_object_is_revalidated_once_and_keeps_its_blocks() {
    let store = with_object(20).await;
    let cached = super::lasting(&store);
    assert_eq!(read_all(&cached).await, body(20));
    for mark in 0..3 {
        match mark {
            0 => cached.mark_stale(&path()).await.unwrap(),
            1 => cached.mark_stale_prefix("").unwrap(),
            _ => cached.mark_all_stale().unwrap(),
        }
        store.reset();
        assert_eq!(read_all(&cached).await, body(20));
        assert_eq!((store.count(), store.body_bytes()), (1, 0), "mark {mark}");
        assert_eq!(read_all(&cached).await, body(20));
        assert_eq!(store.count(), 1, "mark {mark}: the object is fresh again");
    }
    // Another prefix marks nothing.
    cached.mark_stale_prefix("no such/").unwrap();
    assert_eq!(read_all(&cached).await, body(20));
    assert_eq!(store.count(), 1);
    // The marked object may have changed.
    write(&store, "newer").await;
    assert_eq!(read_all(&cached).await, body(20), "the cached version is fresh");
    cached.mark_stale_prefix(&path().as_ref()[..1]).unwrap();
    assert_eq!(read_all(&cached).await, "newer");
}
