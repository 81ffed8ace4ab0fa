//! Lists: I-36 and I-37, each rule of `read_through/list.rs`.

use std::sync::Arc;

use cache_core::{
    ErrorKind, Freshness, Key, ListScope, ListedObject, Moment, Namespace, Observation,
    ObservedList, PutCondition, Result, Served, Status, Validator, Version,
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

/// Returns the object `of` as a list shows it at its cached version.
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
        rig.cache.mark_all_stale().unwrap();
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

/// A list tells nothing of bytes that were removed.
#[tokio::test]
async fn a_list_brings_no_void_entry_back() {
    let voids: [&dyn Fn(&Rig); 2] = [&|rig| rig.cache.invalidate_prefix("a").unwrap(), &|rig| {
        rig.cache.invalidate_prefix("").unwrap();
    }];
    for void in voids {
        let rig = cached().await;
        void(&rig);
        rig.clock.advance(secs(1));
        list(&rig).await.unwrap();
        assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fetched);
    }
}

/// An event of the first of `KEYS` between the answer to a list and its arrival.
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

/// A mark that was put while the list was under way says more than the list: also one of the moment
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
async fn an_entry_that_was_requested_after_the_page_arrived_is_not_marked() {
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
            // The next list is not the first.
            list(&rig).await.unwrap();
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

/// So under a clock that stands still.
#[tokio::test]
async fn an_entry_of_the_moment_of_the_first_list_stays_fresh() {
    let rig = Rig::new();
    rig.origin.inner().write(KEYS[0], "body");
    rig.cache.get(KEYS[0], Some(&FOREVER)).await.unwrap();
    list(&rig).await.unwrap();
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fresh);
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

/// Neither list finds the entry in the index, which is younger.
#[tokio::test]
async fn of_two_first_lists_one_renews_nothing_that_the_other_leaves_out() {
    let rig = with_objects(Rig::new()).await;
    let mut early = begin(&rig, true);
    rig.clock.advance(secs(1));
    let objects = KEYS.map(|key| as_cached(&rig, key));
    // The first object is deleted between the two.
    let mut late = begin(&rig, true);
    late.page(&objects[1..], &[]).await;
    late.end().await;
    early.page(&objects, &[]).await;
    early.end().await;
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Revalidated);
    for key in &KEYS[1..] {
        assert_eq!(status(&rig, key, FOREVER).await, Status::Fresh);
    }
}

/// By a list, or by a request of its own, which keeps the entry.
#[tokio::test]
async fn an_entry_older_than_the_first_list_is_found_by_the_second() {
    for is_listed in [true, false] {
        let rig = with_objects(Rig::new()).await;
        let objects = KEYS.map(|key| as_cached(&rig, key));
        let mut first = begin(&rig, true);
        if is_listed {
            first.page(&objects, &[]).await;
        } else {
            first.page(&[shown("a/0", "\"0\"")], &[]).await;
            drop(first);
            rig.clock.advance(secs(1));
            assert_eq!(status(&rig, KEYS[1], FOREVER).await, Status::Revalidated);
        }
        rig.clock.advance(secs(1));
        begin(&rig, true).end().await;
        assert_eq!(status(&rig, KEYS[1], FOREVER).await, Status::Revalidated, "{is_listed}");
    }
}

#[tokio::test]
async fn two_lists_at_once_renew_what_both_show() {
    let rig = cached().await;
    rig.clock.advance(secs(20));
    let early = late_list(&rig).await;
    let late = late_list(&rig).await;
    rig.origin.wait_until_held(2).await;
    rig.clock.advance(secs(5));
    list(&rig).await.unwrap();
    rig.origin.release_all();
    early.await.unwrap().unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(KEYS.map(|key| validated_at(&rig, key).unwrap()), [26; 3]);
    for key in KEYS {
        assert_eq!(status(&rig, key, TEN).await, Status::Fresh);
    }
    assert_eq!(rig.origin.count(), 3);
}

#[tokio::test]
async fn a_list_renews_entries_that_are_on_disk_alone() {
    for memory_max in [0, 1] {
        let rig = with_objects(Rig::over(TwoTierBackend::new(memory_max))).await;
        list(&rig).await.unwrap();
        rig.clock.advance(secs(20));
        list(&rig).await.unwrap();
        rig.origin.reset();
        for key in KEYS {
            assert_eq!(status(&rig, key, TEN).await, Status::Fresh, "{memory_max} {key}");
        }
        assert_eq!(rig.origin.count(), 0);
    }
}

/// It is marked without being read, and removed when its next read finds it missing.
#[tokio::test]
async fn an_entry_on_disk_that_a_list_leaves_out_is_marked() {
    let rig = with_objects(Rig::over(TwoTierBackend::new(1))).await;
    list(&rig).await.unwrap();
    rig.origin.inner().erase(KEYS[0]);
    let hits = rig.cache.backend().lower_tier().unwrap().hits;
    begin(&rig, true).end().await;
    assert_eq!(rig.cache.backend().lower_tier().unwrap().hits, hits);
    let read = rig.cache.get(KEYS[0], Some(&FOREVER)).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(status(&rig, KEYS[1], FOREVER).await, Status::Revalidated);
}

#[tokio::test]
async fn after_a_restart_one_list_validates_all_entries_on_disk() {
    let disk = SimulatedDisk::new();
    let over = |memory_max| {
        Rig::with(TwoTierBackend::new(memory_max).on(&disk), |builder| {
            builder.namespace(Namespace::named("lists")).time_to_live(Some(secs(3600)))
        })
    };
    with_objects(over(1)).await.cache.close().await.unwrap();
    for memory_max in [0, 1, 9] {
        let rig = over(memory_max);
        for key in KEYS {
            rig.origin.inner().write(key, key);
        }
        rig.clock.advance(secs(1));
        rig.cache.invalidate_prefix(PREFIX).unwrap();
        list(&rig).await.unwrap();
        for key in KEYS {
            let served = rig.cache.get(key, Some(&TEN)).await.unwrap();
            assert_eq!(served.status, Status::Fresh, "{memory_max} {key}");
        }
        assert_eq!(rig.origin.count(), 1);
        // From now on they are entries of this process, with a time to live and a note.
        rig.origin.inner().erase(KEYS[1]);
        rig.clock.advance(secs(1));
        list(&rig).await.unwrap();
        let read = rig.cache.get(KEYS[1], Some(&FOREVER)).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
        rig.origin.inner().write(KEYS[1], KEYS[1]);
        rig.clock.advance(secs(3600));
        assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fetched);
        rig.cache.close().await.unwrap();
        with_objects(over(1)).await.cache.close().await.unwrap();
    }
}

/// A weak tag does not identify the bytes, neither in the list nor of the entry.
#[tokio::test]
async fn weak_tags_renew_nothing() {
    let in_list = OriginFault::tag(TagFault::Weak).on(OriginOperation::List);
    let in_reads = OriginFault::tag(TagFault::Weak).on(OriginOperation::Validate);
    for (fault, expected) in [(in_list, Status::Revalidated), (in_reads, Status::Refetched)] {
        let rig = Rig::new();
        rig.origin.fault(fault);
        let rig = with_objects(rig).await;
        list(&rig).await.unwrap();
        rig.cache.get(KEYS[0], Some(&FOREVER)).await.unwrap();
        rig.clock.advance(secs(20));
        list(&rig).await.unwrap();
        assert_eq!(status(&rig, KEYS[0], TEN).await, expected);
        // It has the same opaque tag, so it is not marked either.
        rig.clock.advance(secs(1));
        list(&rig).await.unwrap();
        assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fresh);
    }
}

#[tokio::test]
async fn a_negative_entry_is_marked_by_a_list_that_shows_its_object_and_kept_by_others() {
    let rig = Rig::with(MapBackend::new(), |builder| {
        builder.negative_ttl(secs(60)).freshness_rules(rules(FOREVER))
    });
    list(&rig).await.unwrap();
    assert!(rig.cache.get(KEYS[0], None).await.is_err());
    rig.clock.advance(secs(1));
    list(&rig).await.unwrap();
    assert!(rig.cache.get(KEYS[0], None).await.is_err());
    assert_eq!(gets(&rig), 1, "the list has shown again that it is missing");
    rig.origin.inner().write(KEYS[0], "new");
    list(&rig).await.unwrap();
    let served = rig.cache.get(KEYS[0], Some(&FOREVER)).await.unwrap();
    assert_eq!(text(&served), "new");
}

#[tokio::test]
async fn a_list_that_fails_has_said_nothing_of_the_rest() {
    let rig = cached().await;
    rig.origin.inner().set_page_size(1);
    rig.clock.advance(secs(20));
    for key in &KEYS[1..] {
        rig.origin.inner().erase(key);
    }
    rig.origin.inner().write("a/4", "more");
    let failure = OriginFault::error(ErrorKind::Unavailable).when(|request| request.page == 1);
    rig.origin.fault(failure);
    let mut pages = rig.cache.list(PREFIX);
    assert_eq!(pages.next().await.unwrap().unwrap().objects.len(), 1);
    assert_eq!(pages.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(pages.next().await.is_none());
    assert_eq!(status(&rig, KEYS[0], TEN).await, Status::Fresh);
    for key in &KEYS[1..] {
        assert_eq!(status(&rig, key, FOREVER).await, Status::Fresh, "as before the list");
    }
    assert_eq!((rig.origin.count(), rig.cache.stats().origin.lists.failed), (2, 1));
}

#[tokio::test]
async fn a_panic_and_a_hang_of_a_list_leave_the_cache_as_it_is() {
    let rig = cached().await;
    rig.origin.fault(OriginFault::panic().on(OriginOperation::List).once());
    assert_eq!(list(&rig).await.unwrap_err().kind(), ErrorKind::Panicked);
    rig.origin.fault(OriginFault::hang().on(OriginOperation::List).once());
    let hung = spawn_list(&rig);
    settle().await;
    hung.abort();
    settle().await;
    assert_eq!(rig.origin.requests()[1].outcome, OriginOutcome::Dropped);
    assert_eq!(rig.cache.stats().origin.lists.cancelled, 1);
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fresh);
    list(&rig).await.unwrap();
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

/// A page that does not follow the one before shows no range, and no object that it leaves out.
#[tokio::test]
async fn a_list_that_is_out_of_order_or_repeats_a_page_marks_its_prefix_at_the_end() {
    for fault in [PageFault::Reversed, PageFault::Repeated] {
        let rig = cached().await;
        rig.origin.inner().set_page_size(2);
        rig.origin.inner().write("a/4", "four");
        rig.cache.get("a/4", Some(&FOREVER)).await.unwrap();
        rig.origin.inner().erase(KEYS[0]);
        rig.clock.advance(secs(1));
        let is_repeated = fault == PageFault::Repeated;
        let nth = usize::from(is_repeated);
        rig.origin.fault(OriginFault::page(fault).when(move |request| request.page == nth).once());
        list(&rig).await.unwrap();
        let read = rig.cache.get(KEYS[0], Some(&FOREVER)).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
        for key in ["a/2", "a/3", "a/4"] {
            assert_eq!(status(&rig, key, FOREVER).await, Status::Revalidated);
        }
    }
}

#[tokio::test]
async fn a_list_with_a_common_fault_is_an_error_of_a_read_of_the_prefix() {
    for fault in [PageFault::Reversed, PageFault::Repeated] {
        let rig = cached().await;
        rig.origin.fault(OriginFault::page(fault));
        let read: Vec<_> = rig.cache.get_prefix(PREFIX, 2).collect().await;
        let errors = read.iter().filter(|read| read.is_err()).count();
        assert!(errors == 1 && read.last().unwrap().is_err(), "the last item: {read:?}");
        let mut keys: Vec<_> = read[..read.len() - 1].iter().flatten().collect();
        keys.dedup_by_key(|served| served.entry.key().to_owned());
        assert_eq!(keys.len(), read.len() - 1, "each key once");
    }
}

#[tokio::test]
async fn an_index_of_keys_that_is_emptied_leaves_no_list_in_ignorance() {
    const N: usize = 64 * 1024;
    let rig = Rig::over(MapBackend::new());
    rig.origin.inner().write(KEYS[0], "old");
    let mut list = begin(&rig, true);
    rig.cache.get(KEYS[0], Some(&FOREVER)).await.unwrap();
    for n in 0..N {
        // Each is noted and leaves the cache again.
        let key = format!("a/many/{n}");
        rig.cache.put(&key, "x".into(), PutCondition::Always).await.unwrap();
        rig.cache.backend().remove(&key).await.unwrap();
    }
    rig.clock.advance(secs(1));
    list.page(&[shown("a/9", "\"9\"")], &[]).await;
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Revalidated);
}

#[tokio::test]
async fn a_list_without_an_end_keeps_a_bounded_number_of_marks() {
    let rig = cached().await;
    let forgotten = begin(&rig, true);
    for n in 0..20_000 {
        rig.cache.observe(&format!("a/{n}"), Observation::Version(Version::default())).await;
    }
    let hint = || rig.cache.observe(KEYS[0], Observation::Version(Version::default()));
    hint().await;
    rig.clock.advance(secs(1));
    list(&rig).await.unwrap();
    assert_eq!(status(&rig, KEYS[0], FOREVER).await, Status::Fresh, "the mark is older");
    drop(forgotten);
}

#[test]
fn a_list_goes_on_in_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (left, right) = (runtime(), runtime());
    let rig = left.block_on(cached());
    rig.origin.inner().set_page_size(2);
    rig.clock.advance(secs(20));
    let mut pages = rig.cache.list(PREFIX);
    left.block_on(async { pages.next().await.unwrap().unwrap() });
    rig.origin.inner().erase(KEYS[2]);
    right.block_on(async { assert!(pages.next().await.unwrap().unwrap().objects.is_empty()) });
    assert!(right.block_on(pages.next()).is_none());
    let read = |key| right.block_on(rig.cache.get(key, Some(&TEN)));
    assert_eq!(read(KEYS[0]).unwrap().status, Status::Fresh);
    assert_eq!(read(KEYS[2]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_closed_cache_lists_nothing() {
    let rig = cached().await;
    rig.origin.inner().set_page_size(1);
    let mut pages = rig.cache.list(PREFIX);
    pages.next().await.unwrap().unwrap();
    rig.cache.close().await.unwrap();
    assert_eq!(pages.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(pages.next().await.is_none());
    assert_eq!(list(&rig).await.unwrap_err().kind(), ErrorKind::Closed);
    let read: Vec<_> = rig.cache.get_prefix(PREFIX, 1).collect().await;
    assert!(matches!(&read[..], [Err(error)] if error.kind() == ErrorKind::Closed));
    assert_eq!(rig.origin.count(), 1);
}

#[tokio::test]
async fn a_prefix_may_be_empty_or_a_key_or_match_nothing() {
    let rig = cached().await;
    rig.origin.inner().write("b", "b");
    for (prefix, n_objects) in [("", 4), ("a/2", 1), ("x", 0), ("a/2/", 0), ("//", 0)] {
        let read: Vec<_> = rig.cache.get_prefix(prefix, 0).collect().await;
        assert!(read.iter().all(Result::is_ok) && read.len() == n_objects, "{prefix}: {read:?}");
    }
}

/// The keys and statuses of a read of the prefix.
async fn read_prefix(rig: &Rig) -> Vec<(String, Status)> {
    let mut read = rig.cache.get_prefix(PREFIX, 10);
    let mut objects = Vec::new();
    while let Some(served) = read.next().await {
        let served = served.unwrap();
        objects.push((served.entry.key().to_owned(), served.status));
    }
    objects
}

#[tokio::test]
async fn a_thousand_unchanged_objects_are_read_for_one_list() {
    for is_ordered in [true, false] {
        let rig = Rig::new();
        rig.origin.inner().list_in_order(is_ordered);
        let keys: Vec<_> = (0..1000).map(|n| format!("a/{n:04}")).collect();
        for key in &keys {
            rig.origin.inner().write(key, key.clone());
        }
        let read = |status| keys.iter().map(|key| (key.clone(), status)).collect::<Vec<_>>();
        assert_eq!(read_prefix(&rig).await, read(Status::Fetched));
        assert_eq!(rig.origin.count(), 1001);
        rig.clock.advance(secs(1));
        rig.origin.reset();
        assert_eq!(read_prefix(&rig).await, read(Status::RevalidatedByList));
        assert_eq!((rig.origin.count(), count(&rig, OriginOperation::List)), (1, 1));

        for key in keys.iter().step_by(100) {
            rig.origin.inner().write(key, "changed");
        }
        rig.clock.advance(secs(1));
        let mut expected = read(Status::RevalidatedByList);
        expected.iter_mut().step_by(100).for_each(|(_, status)| *status = Status::Refetched);
        assert_eq!(read_prefix(&rig).await, expected);
        assert_eq!((rig.origin.count(), gets(&rig)), (12, 10));
        let stats = rig.cache.stats();
        assert_eq!((stats.gets(), stats.revalidated_by_list), (3000, 1990));
    }
}

#[tokio::test]
async fn a_prefix_of_2500_objects_is_three_pages() {
    let rig = Rig::new();
    for n in 0..2500 {
        rig.origin.inner().write(&format!("a/{n:04}"), "body");
    }
    read_prefix(&rig).await;
    rig.clock.advance(secs(1));
    rig.origin.reset();
    assert_eq!(read_prefix(&rig).await.len(), 2500);
    assert_eq!((rig.origin.count(), count(&rig, OriginOperation::List)), (3, 3));
}

#[tokio::test]
async fn at_most_so_many_objects_are_requested_at_a_time() {
    for (parallel, expected) in [(0, 1), (1, 1), (2, 2), (9, 3)] {
        let rig = Rig::new();
        for key in KEYS {
            rig.origin.inner().write(key, key);
        }
        rig.origin.fault(OriginFault::hold().on(OriginOperation::Validate));
        let cache = rig.cache.clone();
        let read = tokio::spawn(async move {
            cache.get_prefix(PREFIX, parallel).map(|served| text(&served.unwrap())).collect().await
        });
        settle().await;
        assert_eq!(gets(&rig), expected);
        rig.origin.release_all();
        let read: Vec<String> = read.await.unwrap();
        assert_eq!(read, KEYS);
    }
}

#[tokio::test]
async fn an_object_that_fails_is_an_error_item_and_one_that_was_deleted_is_none() {
    let rig = cached().await;
    for key in KEYS {
        rig.origin.inner().write(key, "new");
    }
    let denied = OriginFault::error(ErrorKind::PermissionDenied);
    rig.origin.fault(denied.when(|request| request.key == KEYS[1]));
    let memory = Arc::clone(rig.origin.inner());
    let delete = move |_: &_| {
        memory.erase(KEYS[2]);
        std::future::ready(())
    };
    rig.origin.fault(OriginFault::meanwhile(delete).when(|request| request.key == KEYS[2]));
    let read: Vec<_> = rig.cache.get_prefix(PREFIX, 3).collect().await;
    let [Ok(first), Err(error)] = &read[..] else { panic!("{read:?}") };
    assert_eq!((first.entry.key(), text(first)), (KEYS[0], "new".to_owned()));
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.key(), Some(KEYS[1]));
}

/// However young it is.
#[tokio::test]
async fn an_entry_that_a_list_cannot_renew_is_requested() {
    let rig = Rig::new();
    rig.origin.fault(OriginFault::tag(TagFault::Weak).on(OriginOperation::Validate));
    let rig = with_objects(rig).await;
    list(&rig).await.unwrap();
    rig.clock.advance(secs(1));
    let statuses: Vec<_> = read_prefix(&rig).await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, [Status::Refetched; 3]);
    rig.clock.advance(secs(1));
    rig.origin.reset();
    assert_eq!(read_prefix(&rig).await.len(), 3);
    assert_eq!(gets(&rig), 3);
}

#[tokio::test]
async fn a_dropped_read_of_a_prefix_leaves_the_requests_that_were_sent() {
    let rig = Rig::new();
    for key in KEYS {
        rig.origin.inner().write(key, key);
    }
    rig.origin.fault(OriginFault::hold().on(OriginOperation::Validate));
    let mut read = rig.cache.get_prefix(PREFIX, 2);
    assert!(poll_once(std::pin::pin!(read.next())).is_pending());
    drop(read);
    rig.origin.release_all();
    settle().await;
    let entries = rig.cache.stats().entries;
    assert_eq!((gets(&rig), entries), (2, 2));
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

#[tokio::test]
async fn an_origin_without_lists_says_so() {
    struct WithoutLists(MemoryOrigin);

    #[async_trait::async_trait]
    impl Validator for WithoutLists {
        async fn validate(
            &self,
            key: &Key,
            held: Option<&cache_core::Entry>,
        ) -> Result<cache_core::Validation> {
            self.0.validate(key, held).await
        }
    }

    let origin = Arc::new(WithoutLists(MemoryOrigin::new()));
    let cache =
        cache_core::ReadThrough::builder(origin, Arc::new(MapBackend::new())).build().unwrap();
    let pages: Vec<_> = cache.list("").collect().await;
    assert!(matches!(&pages[..], [Err(error)] if error.kind() == ErrorKind::Unsupported));
    let read: Vec<_> = cache.get_prefix("", 2).collect().await;
    assert!(matches!(&read[..], [Err(error)] if error.kind() == ErrorKind::Unsupported));
}
