//! What waits for time, over memory and tokio's paused clock, which goes on when nothing else can.

use std::{sync::Arc, time::Duration};

use cache_core::Clock;
use cache_facade::{
    CachedStore, ErrorKind, Freshness, Memory, Namespace, ObjectCache, ObjectCacheBuilder,
    PrefixChange, Status, cache_core,
};
use cache_testkit::{Fault, FaultyStore, LocalBus, Operation::Get, TokioClock};
use object_store::{ObjectStoreExt as _, path::Path};

use crate::support::{at_rest, failed, got, until};

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_is_a_timeout() {
    let (store, cache) = node(|builder| builder.origin_timeout(secs(3)));
    store.fault(Fault::hang());
    let clock = TokioClock::new();
    failed(cache.get("a").await, ErrorKind::Timeout);
    assert_eq!(clock.now().saturating_since(cache_core::Moment::from_nanos(0)), secs(3));
    failed(cache.put("a", "body").await, ErrorKind::Timeout);
    failed(cache.delete("a").await, ErrorKind::Timeout);
    assert_eq!(cache.stats().origin.requests(), store.count() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_is_covered_by_stale_if_error() {
    let rule = Freshness::strong().stale_if_error(secs(10));
    let (store, cache) = node(|builder| builder.origin_timeout(secs(3)).freshness(rule));
    cache.put("a", "body").await.unwrap();
    store.fault(Fault::hang().on(Get).once());
    got(&cache.get("a").await, "body", Status::Stale);
    got(&cache.get("a").await, "body", Status::Revalidated);
}

#[tokio::test(start_paused = true)]
async fn patience_asks_once_more() {
    let (store, cache) = node(|builder| builder.patience(secs(1)));
    cache.put("a", "body").await.unwrap();
    store.fault(Fault::hang().on(Get).once());
    got(&cache.get("a").await, "body", Status::Revalidated);
    assert_eq!((store.gets(), cache.stats().origin.cancelled), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn idle_copies_leave_by_themselves() {
    let (_, cache) = node(|builder| builder);
    cache.put("a", "body").await.unwrap();
    tokio::time::sleep(secs(299)).await;
    assert_eq!(cache.stats().entries, 1);
    tokio::time::sleep(secs(62)).await;
    assert_eq!((cache.stats().entries, cache.stats().expirations), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_all_tasks_with_it() {
    let (_, cache) = node(|builder| builder);
    cache.put("a", "body").await.unwrap();
    cache.get("a").await.unwrap();
    at_rest(&cache).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    until(|| tasks() == 1).await;
    let mut watch = cache.watch("a", secs(1));
    watch.next().await.unwrap().unwrap();
    drop(cache);
    watch.next_would_wait(secs(5)).await;
    drop(watch);
    until(|| tasks() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_asks_once_in_its_span_and_makes_up_for_nothing() {
    let (store, cache) = node(|builder| builder);
    cache.put("a", "body").await.unwrap();
    let mut watch = cache.watch("a", secs(10));
    watch.next().await.unwrap().unwrap();
    watch.next_would_wait(secs(35)).await;
    assert_eq!(store.gets(), 4);
    // Nobody polls for a while: one request, and then the span again.
    tokio::time::sleep(secs(1000)).await;
    watch.next_would_wait(secs(9)).await;
    assert_eq!(store.gets(), 5);
    watch.next_would_wait(secs(2)).await;
    assert_eq!(store.gets(), 6);
    drop(watch);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(store.gets(), 6);
}

/// A write through the cache, and a message of another node, are seen at once.
#[tokio::test(start_paused = true)]
async fn watches_are_woken_by_writes_and_by_messages() {
    let bus = LocalBus::new();
    let (store, here) =
        node(|builder| builder.namespace(Namespace::named("bucket")).bus(Arc::new(bus.node(0))));
    let there = ObjectCache::builder(Arc::new(store.clone()))
        .clock(Arc::new(TokioClock::new()))
        .namespace(Namespace::named("bucket"))
        .bus(Arc::new(bus.node(1)))
        .build()
        .unwrap();
    for node in [&here, &there] {
        until(|| node.bus_stats().unwrap().is_listening).await;
    }
    here.put("a/b", "1").await.unwrap();
    let mut watch = here.watch("a/b", secs(3600));
    let mut prefix = here.watch_prefix("a/", secs(3600));
    got(&watch.next().await.unwrap(), "1", Status::Revalidated);
    assert!(matches!(prefix.next().await, Some(Ok(PrefixChange::Added { .. }))));
    #[expect(clippy::disallowed_methods, reason = "the paused clock of the runtime")]
    let begun = tokio::time::Instant::now();
    for (writer, body) in [(&here, "2"), (&there, "3")] {
        tokio::time::sleep(secs(10)).await;
        let (next, change, written) =
            tokio::join!(watch.next(), prefix.next(), writer.put("a/b", body));
        written.unwrap();
        assert_eq!(next.unwrap().unwrap().bytes(), body);
        let Some(Ok(PrefixChange::Modified { key, .. })) = change else { panic!("{change:?}") };
        assert_eq!(key.as_str(), "a/b");
    }
    assert!(begun.elapsed() < secs(21), "{:?}", begun.elapsed());
    // Objects elsewhere wake neither.
    let before = store.count();
    there.put("b", "1").await.unwrap();
    tokio::join!(watch.next_would_wait(secs(60)), async {
        assert!(tokio::time::timeout(secs(60), prefix.next()).await.is_err());
    });
    assert_eq!(store.count(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_object_is_read_ten_times_a_second_by_its_watch() {
    let (store, cache) = node(|builder| builder);
    cache.put("a", "0").await.unwrap();
    let mut watch = cache.watch("a", secs(3600));
    watch.next().await.unwrap().unwrap();
    let write = async {
        for n in 0..1000 {
            cache.put("a", n.to_string()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let seen = async { while watch.next().await.unwrap().unwrap().bytes() != "999" {} };
    tokio::join!(write, seen);
    assert!((10..=13).contains(&store.gets()), "{}", store.gets());
}

#[tokio::test(start_paused = true)]
async fn a_watch_loses_nothing_when_its_next_is_dropped() {
    let (store, cache) = node(|builder| builder);
    store.inner().put(&Path::from("a"), "body".into()).await.unwrap();
    store.fault(Fault::hold().once());
    let mut watch = cache.watch("a", secs(10));
    watch.next_would_wait(secs(1)).await;
    store.release_all();
    got(&watch.next().await.unwrap(), "body", Status::Fetched);
    assert_eq!(store.gets(), 1);
}

/// The limit of the store is that for requests from a runtime which is not driven any more.
#[test]
fn a_request_on_an_idle_runtime_is_given_up_after_origin_timeout() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    for drop_in in [false, true] {
        let (store, cache) = node(|builder| builder.origin_timeout(secs(3)));
        let cached = CachedStore::builder(Arc::new(store.clone()), Memory::new())
            .origin_timeout(secs(3))
            .build()
            .unwrap();
        let (left, here) = (runtime(), runtime());
        left.block_on(store.inner().put(&Path::from("a"), "one".into())).unwrap();
        store.fault(Fault::hold().once());
        let read = move || {
            let (cache, cached) = (cache.clone(), cached.clone());
            async move {
                match drop_in {
                    false => cache.get("a").await.unwrap().bytes().clone(),
                    true => cached.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(),
                }
            }
        };
        left.spawn(read());
        left.block_on(store.wait_until_held(1));
        here.block_on(async {
            let read = tokio::time::timeout(secs(4), read()).await;
            assert_eq!(read.expect("it waits for an idle runtime"), "one");
        });
        assert_eq!(store.gets(), 2);
    }
}

/// At each point of it: before its first reading, while one is on its way, and between two.
#[test]
fn a_watch_goes_on_in_another_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    for point in ["before", "reading", "between", "stuck"] {
        for is_gone in [false, true] {
            let (store, cache) = node(|builder| builder.origin_timeout(secs(30)));
            let (first, second, third) = (runtime(), runtime(), runtime());
            let write = |body: &'static str| {
                first.block_on(store.inner().put(&Path::from("a"), body.into())).unwrap();
            };
            write("one");
            let mut watch = cache.watch("a", secs(10));
            match point {
                "before" => {}
                "between" => {
                    got(&first.block_on(watch.next()).unwrap(), "one", Status::Fetched);
                    first.block_on(watch.next_would_wait(secs(5)));
                }
                _ => {
                    store.fault(Fault::hold().once());
                    first.block_on(watch.next_would_wait(secs(5)));
                    if point == "reading" {
                        store.release_all();
                    }
                }
            }
            write("two");
            if is_gone {
                drop(first);
            }
            // What it needs at most: a pause, and to find out that nothing comes from the first
            // one.
            let next =
                second.block_on(async { tokio::time::timeout(secs(100), watch.next()).await });
            let next = next.unwrap_or_else(|_| panic!("{point}, {is_gone}: it is silent"));
            assert_eq!(next.unwrap().unwrap().bytes(), "two", "{point}, {is_gone}");
            third.block_on(store.inner().put(&Path::from("a"), "three".into())).unwrap();
            let next =
                third.block_on(async { tokio::time::timeout(secs(100), watch.next()).await });
            assert_eq!(next.unwrap().unwrap().unwrap().bytes(), "three", "{point}, {is_gone}");
            assert!(store.gets() <= 8, "{point}, {is_gone}: {} requests", store.gets());
        }
    }
}

trait WatchExt {
    /// Waits for `span`, in which nothing may come.
    async fn next_would_wait(&mut self, span: Duration);
}

impl WatchExt for cache_facade::Watch {
    async fn next_would_wait(&mut self, span: Duration) {
        tokio::time::timeout(span, self.next()).await.expect_err("nothing has changed");
    }
}

/// A bucket in memory and a node over it, whose clock is tokio's.
fn node(set: impl FnOnce(ObjectCacheBuilder) -> ObjectCacheBuilder) -> (FaultyStore, ObjectCache) {
    let store = FaultyStore::in_memory();
    let builder = ObjectCache::builder(Arc::new(store.clone())).clock(Arc::new(TokioClock::new()));
    let cache = set(builder).build().unwrap();
    (store, cache)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
