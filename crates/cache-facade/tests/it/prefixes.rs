//! Reads and watches of many objects by prefix.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    Bytes, CachedObject, ErrorKind, Freshness, ObjectCache, PrefixChange, Result, Status,
    object_store::{ObjectStoreExt as _, memory::InMemory},
};
use cache_testkit::{
    FaultyOrigin, MemoryOrigin, OriginFault, OriginOperation, TagFault, TokioClock,
};
use futures_util::StreamExt as _;
use tokio::time::sleep;

type Origin = FaultyOrigin<MemoryOrigin>;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn over(origin: &Arc<Origin>) -> ObjectCache {
    let origin: Arc<Origin> = Arc::clone(origin);
    ObjectCache::builder_with_origin(origin).clock(Arc::new(TokioClock::new())).build().unwrap()
}

fn with_objects(keys: &[&str]) -> (Arc<Origin>, ObjectCache) {
    let origin = Arc::new(FaultyOrigin::in_memory());
    for key in keys {
        origin.inner().write(key, (*key).to_owned());
    }
    let cache = over(&origin);
    (origin, cache)
}

fn count(origin: &Origin, operation: OriginOperation) -> usize {
    origin.requests().iter().filter(|request| request.operation == operation).count()
}

fn shown(object: Result<CachedObject>) -> (String, Status) {
    let object = object.unwrap();
    (object.key().to_owned(), object.status())
}

#[tokio::test(start_paused = true)]
async fn a_prefix_and_a_set_of_keys_are_read_for_one_list() {
    let (origin, cache) = with_objects(&["a/1", "a/2", "b"]);
    let first: Vec<_> = cache.get_prefix("a/").map(shown).collect().await;
    let fetched = |key: &str| (key.to_owned(), Status::Fetched);
    assert_eq!(first, [fetched("a/1"), fetched("a/2")]);
    sleep(secs(1)).await;
    let by_list = |key: &str| (key.to_owned(), Status::RevalidatedByList);
    for read in [cache.get_prefix("a/"), cache.get_many(["a/2", "a/1", "a/2"])] {
        origin.reset();
        let read: Vec<_> = read.parallel(1).map(shown).collect().await;
        assert_eq!(read, [by_list("a/1"), by_list("a/2")]);
        assert_eq!((origin.count(), count(&origin, OriginOperation::List)), (1, 1));
        sleep(secs(1)).await;
    }
    let mut read = cache.get_many(["b", "a/9"]);
    assert_eq!(read.next().await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(shown(read.next().await.unwrap()), fetched("b"));
    assert!(read.next().await.is_none());
}

#[tokio::test]
async fn parallel_counts_before_the_first_poll() {
    let (origin, cache) = with_objects(&["a/1", "a/2", "a/3"]);
    origin.fault(OriginFault::hold().on(OriginOperation::Validate));
    let mut read = cache.get_prefix("a/").parallel(2);
    let mut next = Box::pin(read.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(next);
    origin.wait_until_held(2).await;
    assert_eq!(count(&origin, OriginOperation::Validate), 2);
    let mut read = read.parallel(9);
    origin.release_all();
    assert_eq!(read.next().await.unwrap().unwrap().key(), "a/1", "nothing was lost");
    assert!(format!("{read:?}").contains("is_running: true"));
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_decoded_once_for_each_version() {
    let (origin, cache) = with_objects(&["n/1", "n/2", "n/3"]);
    for (key, body) in [("n/1", "1"), ("n/2", "two"), ("n/3", "3")] {
        origin.inner().write(key, body);
    }
    let n_calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for expected in [3, 4] {
        let counted = Arc::clone(&n_calls);
        let decode = move |bytes: &Bytes| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let text = std::str::from_utf8(bytes)?;
            text.parse::<u32>().map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        };
        let read: Vec<_> = cache.get_decoded_prefix("n/", decode).collect().await;
        let [Ok((first, one)), Err(error), Ok((_, three))] = &read[..] else { panic!("{read:?}") };
        assert_eq!((first.key(), **one, **three), ("n/1", 1, 3));
        assert_eq!((error.kind(), error.key()), (ErrorKind::Decode, Some("n/2")));
        // A failure is not cached.
        assert_eq!(n_calls.load(std::sync::atomic::Ordering::Relaxed), expected);
        sleep(secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_prefix_is_read_without_requests() {
    let (origin, _) = with_objects(&["a/1", "a/2"]);
    let dyn_origin: Arc<Origin> = Arc::clone(&origin);
    let minute = Freshness::max_age(secs(60));
    let cache = ObjectCache::builder_with_origin(dyn_origin)
        .clock(Arc::new(TokioClock::new()))
        .freshness(minute)
        .refresh_by_list("a/", secs(50))
        .build()
        .unwrap();
    cache.get("a/1").await.unwrap();
    for _ in 0..100 {
        sleep(secs(10)).await;
        assert_eq!(cache.get("a/1").await.unwrap().status(), Status::Fresh);
    }
    assert_eq!(count(&origin, OriginOperation::Validate), 1);
    assert!(count(&origin, OriginOperation::List) >= 20);
    let zero = ObjectCache::builder(Arc::new(InMemory::new())).refresh_by_list("", Duration::ZERO);
    assert_eq!(zero.build().unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(cache.refresh_by_list("", Duration::ZERO).unwrap_err().kind(), ErrorKind::Config);
}

fn brief(change: Option<Result<PrefixChange>>) -> String {
    match change {
        Some(Ok(PrefixChange::Added { key, .. })) => format!("+{key}"),
        Some(Ok(PrefixChange::Modified { key, .. })) => format!("~{key}"),
        Some(Ok(PrefixChange::Removed { key, .. })) => format!("-{key}"),
        Some(Err(error)) => format!("{:?}", error.kind()),
        None => "end".to_owned(),
        Some(Ok(other)) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_below_a_prefix_comes_once_and_through_outages() {
    let (origin, cache) = with_objects(&["a/1", "a/2", "a/3", "b"]);
    let mut watch = cache.watch_prefix("a/", secs(10));
    for expected in ["+a/1", "+a/2", "+a/3"] {
        assert_eq!(brief(watch.next().await), expected);
    }
    let e_tag = origin.inner().write("a/2", "new");
    let Some(Ok(PrefixChange::Modified { key, version, .. })) = watch.next().await else {
        panic!("no change")
    };
    assert_eq!((key.as_str(), version.unwrap().e_tag), ("a/2", Some(e_tag)));

    let outage = |kind| OriginFault::error(kind).on(OriginOperation::List);
    origin.fault(outage(ErrorKind::Unavailable).times(3));
    origin.fault(outage(ErrorKind::PermissionDenied).times(2));
    origin.fault(outage(ErrorKind::Unavailable).once());
    origin.inner().erase("a/1");
    origin.inner().write("a/3", "new");
    origin.inner().write("a/4", "new");
    origin.inner().write("b", "new");
    let expected = ["Unavailable", "PermissionDenied", "Unavailable", "-a/1", "~a/3", "+a/4"];
    for expected in expected {
        assert_eq!(brief(watch.next().await), expected);
    }
    origin.reset();
    assert!(tokio::time::timeout(secs(95), watch.next()).await.is_err());
    assert!((9..=10).contains(&origin.count()), "{}: one list in an interval", origin.count());
    cache.close().await.unwrap();
    assert_eq!(brief(watch.next().await), "Closed");
    assert_eq!(brief(watch.next().await), "end");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_prefix_ends_after_errors_that_stay() {
    let (_, cache) = with_objects(&[]);
    let mut watch = cache.watch_prefix("a/", Duration::ZERO);
    assert_eq!([brief(watch.next().await), brief(watch.next().await)], ["Config", "end"]);
    // Its lists have no order, and are no worse for it.
    let (origin, cache) = with_objects(&["1", "2", "3"]);
    origin.inner().list_in_order(false);
    origin.inner().set_page_size(1);
    let mut watch = cache.watch_prefix("", secs(1));
    for expected in ["+1", "+2", "+3"] {
        assert_eq!(brief(watch.next().await), expected);
    }
    origin.fault(OriginFault::tag(TagFault::Missing).on(OriginOperation::List));
    for expected in ["~1", "~2", "~3"] {
        assert_eq!(brief(watch.next().await), expected);
    }
}

#[test]
fn a_watch_of_a_prefix_goes_on_in_another_runtime() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let (origin, cache) = with_objects(&["a/1"]);
    let mut watch = cache.watch_prefix("a/", secs(10));
    let (left, right) = (runtime(), runtime());
    origin.fault(OriginFault::hold().once());
    left.block_on(async {
        let next = std::pin::pin!(watch.next());
        assert!(futures_util::poll!(next).is_pending());
        tokio::task::yield_now().await;
    });
    // The list that was begun is not driven any more.
    assert_eq!(brief(right.block_on(watch.next())), "+a/1");
    origin.inner().write("a/1", "new");
    assert_eq!(brief(left.block_on(watch.next())), "~a/1");
    let outside = std::pin::pin!(watch.next());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(end) = outside.poll(&mut context) else { panic!("it waits") };
    assert_eq!(brief(end), "Config");
}

#[tokio::test]
async fn objects_of_a_store_are_read_and_watched_by_prefix() {
    let store = Arc::new(InMemory::new());
    let cache = ObjectCache::builder(store.clone()).build().unwrap();
    for n in 0..30 {
        store.put(&format!("a/{n:02}").into(), "body".into()).await.unwrap();
    }
    assert_eq!(cache.get_prefix("a/").count().await, 30);
    let n_before = cache.stats().origin.requests();
    let statuses: Vec<_> = cache.get_prefix("a/").map(|it| it.unwrap().status()).collect().await;
    assert_eq!(statuses, [Status::RevalidatedByList; 30]);
    assert_eq!(cache.stats().origin.requests(), n_before + 1);
    assert_eq!(cache.watch_prefix("a/", secs(1)).take(30).count().await, 30);
    let read: Vec<_> = cache.get_prefix("//").collect().await;
    assert!(matches!(&read[..], [Err(error)] if error.kind() == ErrorKind::InvalidKey));
}
