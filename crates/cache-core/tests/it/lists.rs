//! Lists: I-36 and I-37, each rule of `read_through/list.rs`.

use std::sync::Arc;

use cache_core::{
    Backend, ErrorKind, Freshness, Key, ListScope, ListedObject, Moment, Namespace, Observation,
    ObservedList, PutCondition, Result, Served, Status, Tier, Validator, Version,
};
use cache_testkit::{
    FaultyOrigin, MapBackend, MemoryOrigin, OriginFault, OriginOperation, OriginOutcome, PageFault,
    SimulatedDisk, TagFault, TwoTierBackend,
};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use crate::support::{FOREVER, Rig, poll_once, rules, secs, settle, text};

const TEN: Freshness = Freshness::max_age(secs(10));
const PREFIX: &str = "a/";
const KEYS: [&str; 3] = ["a/1", "a/2", "a/3"];

type List = ObservedList<FaultyOrigin<MemoryOrigin>>;

/// A cache in which the objects `KEYS` are cached, each with its key as the body, and which has
/// listed them once: the first list of a prefix marks, and later ones are tested.
async fn cached() -> Rig {
    let rig = with_objects(Rig::new()).await;
    list(&rig).await.unwrap();
    rig.origin.reset();
    rig
}

async fn with_objects(rig: Rig) -> Rig {
    for key in KEYS {
        rig.origin.inner().write(key, key);
        rig.cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    // An entry of the moment of a list is as new as that list, and not renewed.
    rig.clock.advance(secs(1));
    rig
}

/// Lists all pages. Returns the keys.
async fn list(rig: &Rig) -> Result<Vec<String>> {
    let (mut pages, mut keys) = (rig.cache.list(PREFIX), Vec::new());
    while let Some(page) = pages.next().await {
        keys.extend(page?.objects.iter().map(|object| object.key.to_string()));
    }
    Ok(keys)
}

fn spawn_list(rig: &Rig) -> JoinHandle<Result<Vec<String>>> {
    let rig = rig.clone();
    tokio::spawn(async move { list(&rig).await })
}

/// A list that the origin has answered, and whose (first) page has not arrived.
async fn late_list(rig: &Rig) -> JoinHandle<Result<Vec<String>>> {
    rig.origin.fault(OriginFault::hold().late().on(OriginOperation::List).once());
    let list = spawn_list(rig);
    rig.origin.wait_until_held(1).await;
    list
}

async fn status(rig: &Rig, key: &str, freshness: Freshness) -> Status {
    rig.cache.get(key, Some(&freshness)).await.unwrap().status
}

async fn body(rig: &Rig, key: &str) -> String {
    text(&rig.cache.get(key, Some(&FOREVER)).await.unwrap())
}

/// Returns how many objects were requested.
fn gets(rig: &Rig) -> usize {
    count(rig, OriginOperation::Validate)
}

fn count(rig: &Rig, operation: OriginOperation) -> usize {
    rig.origin.requests().iter().filter(|request| request.operation == operation).count()
}

fn validated_at(rig: &Rig, key: &str) -> Option<u64> {
    let at = rig.cache.backend().peek(key).unwrap().validated_at();
    at.map(|at| at.saturating_since(Moment::from_nanos(0)).as_secs())
}

fn key(key: &str) -> Key {
    Key::parse(key).unwrap()
}

fn shown(of: &str, e_tag: &str) -> ListedObject {
    let version = Version::default().with_e_tag(Some(e_tag.into()));
    ListedObject::new(key(of), Observation::Version(version))
}

/// What a list shows of the cached version of `of`.
fn as_cached(rig: &Rig, of: &str) -> ListedObject {
    let entry = rig.cache.backend().peek(of).unwrap();
    shown(of, entry.e_tag().unwrap())
}

fn begin(rig: &Rig, is_ordered: bool) -> List {
    rig.cache.observe_list(ListScope::new(PREFIX).ordered(is_ordered))
}

#[tokio::test]
async fn a_list_renews_the_entries_that_it_shows() {
    let rig = cached().await;
    rig.clock.advance(secs(20));
    assert_eq!(list(&rig).await.unwrap(), KEYS);
    for key in KEYS {
        let served = rig.cache.get(key, Some(&TEN)).await.unwrap();
        assert_eq!((served.status, served.age()), (Status::Fresh, secs(0)));
    }
    assert_eq!(rig.origin.count(), 1);
    let stats = rig.cache.stats();
    assert_eq!(
        (stats.origin.lists.succeeded, stats.revalidated_by_list),
        (2, 0),
        "no read was its reason"
    );
    rig.clock.advance(secs(10));
    assert_eq!(status(&rig, KEYS[0], TEN).await, Status::Revalidated);
    rig.origin.reset();
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

#[tokio::test]
async fn a_list_marks_entries_of_other_versions() {
    let rig = cached().await;
    rig.origin.inner().write(KEYS[1], "new");
    list(&rig).await.unwrap();
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fresh);
    let served = rig.cache.get(KEYS[1], Some(&FOREVER)).await.unwrap();
    assert_eq!((text(&served), served.status), ("new".to_owned(), Status::Refetched));
    assert_eq!(gets(&rig), 1);
}

/// Tags are compared as opaque tags: the lists of some stores leave the quotes out.
#[tokio::test]
async fn a_tag_without_quotes_renews() {
    let rig = cached().await;
    rig.clock.advance(secs(20));
    let shown = as_cached(&rig, KEYS[0]);
    let bare = shown.version().unwrap().e_tag.as_ref().unwrap().trim_matches('"').to_owned();
    let mut list = begin(&rig, true);
    list.page(&[self::shown(KEYS[0], &bare)], &[]).await;
    assert_eq!(status(&rig, KEYS[0], TEN).await, Status::Fresh);
}

#[tokio::test]
async fn a_renewal_counts_from_before_the_request_for_its_page() {
    for is_ahead in [false, true] {
        let rig = cached().await;
        rig.origin.inner().set_page_size(1);
        if is_ahead {
            rig.origin.fault(OriginFault::page(PageFault::Ahead));
        }
        rig.clock.advance(secs(100));
        rig.origin.fault(OriginFault::hold().on(OriginOperation::List));
        let listing = spawn_list(&rig);
        for _ in KEYS {
            rig.origin.wait_until_held(1).await;
            rig.clock.advance(secs(5));
            rig.origin.release(1);
        }
        listing.await.unwrap().unwrap();
        let renewed_at = KEYS.map(|key| validated_at(&rig, key).unwrap());
        // A page that was requested ahead may be as old as the first.
        let expected = if is_ahead { [101; 3] } else { [101, 106, 111] };
        assert_eq!(renewed_at, expected);
    }
}

#[tokio::test]
async fn a_page_that_no_request_was_announced_for_counts_from_the_begin() {
    let rig = cached().await;
    rig.clock.advance(secs(100));
    let mut list = begin(&rig, true);
    rig.clock.advance(secs(5));
    list.page(&[as_cached(&rig, KEYS[0])], &[]).await;
    rig.clock.advance(secs(5));
    list.page(&[as_cached(&rig, KEYS[1])], &[]).await;
    list.request_page();
    assert_eq!(list.sent_at(), Moment::from_nanos(111_000_000_000));
    list.page(&[as_cached(&rig, KEYS[2])], &[]).await;
    assert_eq!(KEYS.map(|key| validated_at(&rig, key).unwrap()), [101, 101, 111]);
}

/// Nor is it moved back.
#[tokio::test]
async fn an_entry_that_was_validated_later_is_not_renewed() {
    let rig = cached().await;
    rig.clock.advance(secs(20));
    let late = late_list(&rig).await;
    rig.clock.advance(secs(5));
    assert_eq!(status(&rig, KEYS[0], TEN).await, Status::Revalidated);
    rig.origin.release_all();
    late.await.unwrap().unwrap();
    assert_eq!(KEYS.map(|key| validated_at(&rig, key).unwrap()), [26, 21, 21]);
}

#[tokio::test]
async fn a_list_lifts_the_marks_that_are_older_than_it() {
    let rig = cached().await;
    let marks: [&dyn Fn(&Rig); 2] = [&|rig| rig.cache.mark_stale_prefix("a").unwrap(), &|rig| {
        rig.cache.mark_all_stale().unwrap()
    }];
    for mark in marks {
        mark(&rig);
        rig.clock.advance(secs(1));
        list(&rig).await.unwrap();
        assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fresh);
    }
    rig.cache.mark_stale(KEYS[0]).await.unwrap();
    rig.cache.observe(KEYS[1], Observation::Version(Version::default())).await;
    rig.clock.advance(secs(1));
    list(&rig).await.unwrap();
    for key in KEYS {
        assert_eq!(status(&rig, key, FOREVER).await, Status::Fresh, "{key}");
    }
    assert_eq!(gets(&rig), 0);
}

/// What happens to the first of `KEYS` between the answer to a list and its arrival.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    MarkStale,
    Observed,
    ListedElsewhere,
    LeftOutElsewhere,
    MarkStalePrefix,
    MarkAllStale,
    Invalidate,
    InvalidatePrefix,
    Clear,
    OpenWrite,
    Put,
    Delete,
}

const EVENTS: [Event; 12] = [
    Event::MarkStale,
    Event::Observed,
    Event::ListedElsewhere,
    Event::LeftOutElsewhere,
    Event::MarkStalePrefix,
    Event::MarkAllStale,
    Event::Invalidate,
    Event::InvalidatePrefix,
    Event::Clear,
    Event::OpenWrite,
    Event::Put,
    Event::Delete,
];

impl Event {
    async fn happen(self, rig: &Rig) {
        let (cache, first) = (&rig.cache, KEYS[0]);
        match self {
            Self::MarkStale => cache.mark_stale(first).await.unwrap(),
            Self::Observed => {
                cache.observe(first, Observation::Version(Version::default())).await;
            }
            Self::ListedElsewhere => {
                begin(rig, true).page(&[shown(first, "\"other\"")], &[]).await;
            }
            Self::LeftOutElsewhere => begin(rig, true).end().await,
            Self::MarkStalePrefix => cache.mark_stale_prefix(PREFIX).unwrap(),
            Self::MarkAllStale => cache.mark_all_stale().unwrap(),
            Self::Invalidate => cache.invalidate(first).await.unwrap(),
            Self::InvalidatePrefix => cache.invalidate_prefix(PREFIX).unwrap(),
            Self::Clear => cache.clear().await.unwrap(),
            Self::OpenWrite => drop(cache.open_write(first).await.unwrap()),
            Self::Put => {
                cache.put(first, first.into(), PutCondition::Always).await.unwrap();
            }
            Self::Delete => cache.delete(first).await.unwrap(),
        }
    }
}

/// A mark that came while the list was under way says more than the list: also one of the moment
/// at which its request was sent.
#[tokio::test]
async fn a_list_lifts_no_mark_that_is_younger_than_its_request() {
    for event in EVENTS {
        for (n_secs, is_on_disk) in [(0, false), (5, false), (5, true)] {
            let rig = match is_on_disk {
                true => with_objects(Rig::over(TwoTierBackend::new(0))).await,
                false => with_objects(Rig::new()).await,
            };
            list(&rig).await.unwrap();
            rig.clock.advance(secs(100));
            let late = late_list(&rig).await;
            rig.clock.advance(secs(n_secs));
            rig.origin.inner().write(KEYS[0], "written by another node");
            event.happen(&rig).await;
            rig.origin.release_all();
            late.await.unwrap().unwrap();
            let n_before = gets(&rig);
            let read = rig.cache.get(KEYS[0], Some(&FOREVER)).await;
            let got = read.as_ref().map(text).map_err(|error| error.kind());
            let expected = match event {
                Event::Put => Ok(KEYS[0].to_owned()),
                Event::Delete => Err(ErrorKind::NotFound),
                _ => Ok("written by another node".to_owned()),
            };
            assert_eq!(got, expected, "{event:?} {n_secs} s later");
            if event != Event::Put {
                assert_eq!(gets(&rig), n_before + 1, "{event:?} {n_secs} s later");
            }
        }
    }
}

/// The page is of a moment before the entry.
#[tokio::test]
async fn an_entry_that_was_requested_after_the_page_came_is_not_marked() {
    // The first key is on disk alone, so that the page waits there.
    let rig = Rig::over(TwoTierBackend::new(1));
    for key in [KEYS[1], KEYS[0], KEYS[1]] {
        rig.origin.inner().write(key, key);
        rig.cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    assert!(rig.cache.backend().peek(KEYS[0]).is_none());
    let mut list = begin(&rig, true);
    let objects = KEYS.map(|key| shown(key, "\"other\""));
    let mut page = Box::pin(list.page(&objects[..2], &[]));
    assert!(poll_once(page.as_mut()).is_pending());
    rig.clock.advance(secs(1));
    rig.cache.invalidate(KEYS[1]).await.unwrap();
    assert_eq!(status(&rig, KEYS[1], FOREVER).await, Status::Fetched);
    page.await;
    assert_eq!(status(&rig, KEYS[1], FOREVER).await, Status::Fresh);
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Revalidated);
}

/// A read of `of` whose request has been answered, which has not arrived.
async fn late_read(rig: &Rig, of: &'static str) -> JoinHandle<Result<Served>> {
    rig.origin.fault(OriginFault::hold().late().on(OriginOperation::Validate).once());
    let read = spawn_read(rig, of);
    rig.origin.wait_until_held(1).await;
    read
}

fn spawn_read(rig: &Rig, of: &'static str) -> JoinHandle<Result<Served>> {
    let cache = rig.cache.clone();
    tokio::spawn(async move { cache.get(of, Some(&FOREVER)).await })
}

/// Rule 4: equal or not, cached or not.
#[tokio::test]
async fn a_request_that_is_older_than_a_page_is_not_joined_and_publishes_only_what_was_shown() {
    for is_ordered in [true, false] {
        for (is_changed, is_deleted) in [(false, false), (true, false), (false, true)] {
            let rig = Rig::new();
            rig.origin.inner().list_in_order(is_ordered);
            rig.origin.inner().write("a/2", "old");
            let late = late_read(&rig, "a/2").await;
            if is_changed {
                rig.origin.inner().write("a/2", "new");
            }
            if is_deleted {
                rig.origin.inner().erase("a/2");
            }
            list(&rig).await.unwrap();
            let after = spawn_read(&rig, "a/2");
            settle().await;
            rig.origin.release_all();
            assert_eq!(text(&late.await.unwrap().unwrap()), "old", "it began before");
            let got = after.await.unwrap().map(|served| (text(&served), served.status));
            match (is_changed, is_deleted) {
                (true, _) => assert_eq!(got.unwrap(), ("new".to_owned(), Status::Fetched)),
                (_, true) => assert_eq!(got.unwrap_err().kind(), ErrorKind::NotFound),
                _ => assert_eq!(got.unwrap(), ("old".to_owned(), Status::Revalidated)),
            }
            assert_eq!(gets(&rig), 2, "{is_changed} {is_deleted}");
        }
    }
}

/// Rule 3: cached or not, whichever way the origin lists.
#[tokio::test]
async fn an_object_that_a_list_leaves_out_is_revalidated_before_it_is_served() {
    for is_ordered in [true, false] {
        for page_size in [1, 2, 1000] {
            for deleted in [&KEYS[..], &KEYS[..1], &KEYS[1..2], &KEYS[2..]] {
                let rig = cached().await;
                rig.origin.inner().list_in_order(is_ordered);
                rig.origin.inner().set_page_size(page_size);
                for key in deleted {
                    rig.origin.inner().erase(key);
                }
                rig.clock.advance(secs(1));
                list(&rig).await.unwrap();
                for key in KEYS {
                    let read = rig.cache.get(key, Some(&FOREVER)).await;
                    match deleted.contains(&key) {
                        true => assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound),
                        false => assert_eq!(read.unwrap().status, Status::Fresh),
                    }
                }
                assert_eq!(gets(&rig), deleted.len());
            }
        }
    }
}

#[tokio::test]
async fn a_page_in_order_tells_at_once_which_keys_it_leaves_out() {
    for is_ordered in [true, false] {
        let rig = cached().await;
        let mut list = begin(&rig, is_ordered);
        list.page(&[as_cached(&rig, KEYS[1])], &[]).await;
        let must_revalidate =
            || KEYS.map(|key| rig.cache.backend().peek(key).unwrap().must_revalidate());
        assert_eq!(must_revalidate(), [is_ordered, false, false]);
        list.end().await;
        assert_eq!(must_revalidate(), [true, false, true]);
        // A mark, so that an object that is still there costs no body.
        assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Revalidated);
    }
}

#[tokio::test]
async fn an_entry_that_was_stored_after_the_list_began_and_is_left_out_is_marked() {
    let rig = Rig::new();
    rig.origin.inner().write(KEYS[0], "short-lived");
    let mut list = begin(&rig, true);
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fetched);
    list.page(&[shown("a/9", "\"9\"")], &[]).await;
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Revalidated);
}

/// Entries that were stored before the keys of a prefix were noted are not known one by one.
#[tokio::test]
async fn the_first_list_of_a_prefix_marks_all_below_it_and_lifts_those_that_it_shows() {
    let rig = with_objects(Rig::new()).await;
    rig.origin.inner().write("b", "other");
    rig.cache.get("b", Some(&FOREVER)).await.unwrap();
    rig.origin.inner().erase(KEYS[1]);
    rig.origin.reset();
    list(&rig).await.unwrap();
    for (key, expected) in
        [(KEYS[0], Status::Fresh), (KEYS[2], Status::Fresh), ("b", Status::Fresh)]
    {
        assert_eq!(status(&rig, key, FOREVER).await, expected);
    }
    let read = rig.cache.get(KEYS[1], Some(&FOREVER)).await;
    assert_eq!((read.unwrap_err().kind(), gets(&rig)), (ErrorKind::NotFound, 1));
}

#[tokio::test]
async fn a_shallow_list_leaves_out_no_key_of_its_common_prefixes() {
    let rig = Rig::new();
    for key in ["a/1", "a/b/2", "a/c/3", "ab"] {
        rig.origin.inner().write(key, key);
    }
    let mut list = rig.cache.observe_list(ListScope::new(PREFIX).ordered(true).shallow(true));
    for key in ["a/1", "a/b/2", "a/c/3", "ab"] {
        rig.cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    list.page(&[as_cached(&rig, "a/1")], &[key("a/b")]).await;
    list.end().await;
    let must_revalidate = |key| rig.cache.backend().peek(key).unwrap().must_revalidate();
    assert_eq!(["a/1", "a/b/2", "a/c/3", "ab"].map(must_revalidate), [false, false, true, false]);
}

#[tokio::test]
async fn an_open_write_of_a_key_that_a_list_shows_or_leaves_out_publishes_nothing() {
    for is_shown in [true, false] {
        let rig = cached().await;
        rig.origin.fault(OriginFault::hold().late().on(OriginOperation::Put).once());
        let cache = rig.cache.clone();
        let put =
            tokio::spawn(
                async move { cache.put(KEYS[1], "put".into(), PutCondition::Always).await },
            );
        rig.origin.wait_until_held(1).await;
        let mut list = begin(&rig, true);
        if is_shown {
            list.page(&[shown(KEYS[1], "\"x\"")], &[]).await;
        }
        list.end().await;
        rig.origin.release_all();
        put.await.unwrap().unwrap();
        assert_eq!(status(&rig, KEYS[1], FOREVER).await, Status::Fetched, "shown: {is_shown}");
    }
}
