//! Caches that tell each other of changes on a bus, in virtual time.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use cache_core::{Change, ErrorKind, Freshness, Key, Namespace, PutCondition, ReadThrough, Status};
use cache_testkit::{
    BusFault, FaultyOrigin, LocalBus, MapBackend, MemoryOrigin, OriginFault, OriginOperation,
    TokioClock,
};

use crate::support::{KEY, poll_once, secs, settle, text};

type Cache = ReadThrough<FaultyOrigin<MemoryOrigin>>;

const NOTIFIED: Freshness = Freshness::until_notified(secs(600));

/// Two caches of one origin on one bus, which listen.
struct Pair {
    bus: LocalBus,
    origin: Arc<FaultyOrigin<MemoryOrigin>>,
    writer: Cache,
    reader: Cache,
}

impl Pair {
    async fn listening() -> Self {
        let (bus, origin) = (LocalBus::new(), Arc::new(FaultyOrigin::in_memory()));
        let cache = |node| {
            ReadThrough::builder(Arc::clone(&origin), Arc::new(MapBackend::new()))
                .namespace(Namespace::named("origin"))
                .bus(Arc::new(bus.node(node)))
                .clock(Arc::new(TokioClock::new()))
                .build()
                .unwrap()
        };
        let pair = Self { writer: cache(1), reader: cache(2), bus, origin };
        // An entry validated at the moment of the first heartbeat is not covered.
        tokio::time::sleep(secs(1)).await;
        for cache in [&pair.writer, &pair.reader] {
            assert!(cache.bus_stats().unwrap().is_listening);
        }
        pair
    }

    async fn put(&self, body: &'static str) {
        let put = self.writer.put(KEY, Bytes::from_static(body.as_bytes()), PutCondition::Always);
        put.await.unwrap();
        settle().await;
    }

    /// The body that the reader is served.
    async fn read(&self) -> (String, Status) {
        let served = self.reader.get(KEY, Some(&NOTIFIED)).await.unwrap();
        (text(&served), served.status)
    }
}

fn key(path: &str, e_tag: Option<&str>) -> Change {
    Change::Key { key: Key::parse(path).unwrap(), e_tag: e_tag.map(Into::into) }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_read_as_soon_as_it_is_announced() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    assert_eq!(pair.read().await, ("one".into(), Status::Fetched));
    assert_eq!(pair.read().await, ("one".into(), Status::Fresh));
    pair.put("two").await;
    assert_eq!(pair.read().await, ("two".into(), Status::Refetched));
    assert_eq!(pair.read().await, ("two".into(), Status::Fresh));
}

#[tokio::test(start_paused = true)]
async fn a_weak_tag_in_a_message_may_be_that_of_other_bytes() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    let served = pair.reader.get(KEY, Some(&NOTIFIED)).await.unwrap();
    let e_tag = served.entry.e_tag().unwrap();
    pair.reader.hear_change(&key(KEY, Some(e_tag))).await;
    assert_eq!(pair.read().await.1, Status::Fresh);
    pair.reader.hear_change(&key(KEY, Some(&format!("W/{e_tag}")))).await;
    assert_eq!(pair.read().await.1, Status::Revalidated);
}

#[tokio::test(start_paused = true)]
async fn announcements_that_there_is_no_room_for_are_one_for_all_objects() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    pair.read().await;
    assert_eq!(pair.read().await.1, Status::Fresh);
    pair.bus.fault(BusFault::hang().once());
    // One that hangs, as many as may wait, and one more.
    for _ in 0..10_002 {
        let change = key("another/object", None);
        assert!(poll_once(pin!(pair.writer.announce(change))).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.writer.bus_stats().unwrap().overflows, 1);
    pair.bus.release();
    settle().await;
    assert_eq!(pair.read().await.1, Status::Revalidated);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_lost_is_noticed_by_the_next_heartbeat() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    pair.read().await;
    pair.bus.fault(BusFault::drop_silently().to(2).once());
    pair.put("two").await;
    assert_eq!(pair.read().await, ("one".into(), Status::Fresh));
    tokio::time::sleep(secs(1)).await;
    settle().await;
    assert_eq!(pair.read().await, ("two".into(), Status::Refetched));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_disconnected_cache_does_not_join_a_request_that_was_sent() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    pair.bus.cut(2);
    settle().await;
    pair.origin.fault(OriginFault::hold().late().once());
    let read = || {
        let reader = pair.reader.clone();
        tokio::spawn(async move { reader.get(KEY, Some(&NOTIFIED)).await })
    };
    let early = read();
    pair.origin.wait_until_held(1).await;
    pair.put("two").await;
    let late = read();
    settle().await;
    pair.origin.release(1);
    let [early, late] = [early, late].map(|read| async { text(&read.await.unwrap().unwrap()) });
    assert_eq!((early.await, late.await), ("one".to_owned(), "two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_the_bus_does_not_take_is_an_error_and_is_applied_here() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    pair.read().await;
    pair.bus.fault(BusFault::fail(ErrorKind::Unavailable).from(2).once());
    let error = pair.reader.announce(key(KEY, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(pair.read().await.1, Status::Revalidated);
    pair.reader.announce(key(KEY, None)).await.unwrap();
}

/// Its first request may have taken effect, with a lost answer.
#[tokio::test(start_paused = true)]
async fn a_delete_that_finds_no_object_is_announced() {
    let pair = Pair::listening().await;
    pair.put("one").await;
    pair.read().await;
    assert_eq!(pair.read().await.1, Status::Fresh);
    pair.origin.inner().erase(KEY);
    let not_found = OriginFault::error(ErrorKind::NotFound);
    pair.origin.fault(not_found.on(OriginOperation::Delete).once());
    let error = pair.writer.delete(KEY).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    settle().await;
    let error = pair.reader.get(KEY, Some(&NOTIFIED)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
