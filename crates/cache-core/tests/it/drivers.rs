//! Readers that drive their own flight, and are left alone on the way: nobody may have to wait for
//! them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Entry, ErrorKind, Freshness, Key, PutCondition, ReadThrough, Result, Served, Status,
    Validation, Validator,
};
use cache_testkit::{FaultyOrigin, Gate, MapBackend, MemoryOrigin, OriginFault, WaitingBackend};
use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, secs, settle, text};

/// A reader that has asked, is on its way, and is not polled any more.
struct Idle<'a>(Pin<Box<dyn Future<Output = Result<Served>> + 'a>>);

impl<'a> Idle<'a> {
    fn begin(rig: &'a Rig, freshness: Freshness) -> Self {
        let mut reader = Box::pin(rig.get(freshness));
        assert!(poll_once(reader.as_mut()).is_pending());
        Self(reader)
    }

    /// Polls it until `reached` resolves.
    async fn polled_until(&mut self, reached: impl Future<Output = ()>) {
        let mut reached = Box::pin(reached);
        while poll_once(reached.as_mut()).is_pending() {
            assert!(poll_once(self.0.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }

    /// Goes on, late.
    async fn ends_with(self, body: &str, status: Status) {
        let served = self.0.await.unwrap();
        assert_eq!((text(&served), served.status), (body.to_owned(), status));
    }
}

fn held_at_the_origin() -> Rig {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    rig
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn a_reader_alone_needs_no_task() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.time_to_live(None));
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let mut reader = Idle::begin(&rig, STRONG);
    assert_eq!(tasks(), 0);
    rig.origin.release_all();
    assert!(poll_once(reader.0.as_mut()).is_ready());
    // An origin that answers at once is asked within one poll.
    assert!(poll_once(Box::pin(rig.get(STRONG)).as_mut()).is_ready());
    assert_eq!(tasks(), 0);
    rig.at_rest(2).await;
}

#[tokio::test]
async fn who_joins_an_idle_reader_gets_the_answer() {
    let rig = held_at_the_origin();
    let idle = Idle::begin(&rig, FOREVER);
    let joined = rig.spawn_get(FOREVER);
    settle().await;
    rig.origin.release_all();
    assert_eq!(text(&joined.await.unwrap().unwrap()), "one");
    idle.ends_with("one", Status::Fetched).await;
    assert_eq!(rig.origin.count(), 1);
    rig.at_rest(2).await;
}

#[tokio::test]
async fn who_waits_behind_an_idle_reader_gets_a_turn() {
    let rig = held_at_the_origin();
    let idle = Idle::begin(&rig, STRONG);
    let behind = rig.spawn_get(STRONG);
    settle().await;
    rig.origin.release_all();
    assert_eq!(text(&behind.await.unwrap().unwrap()), "one");
    idle.ends_with("one", Status::Fetched).await;
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(2).await;
}

/// Between two polls of its reader a flight may hold the key's turn.
#[tokio::test]
async fn a_write_does_not_wait_for_an_idle_reader() {
    for write in ["put", "delete", "invalidate", "expire"] {
        let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
        let rig = Rig::over(Arc::clone(&backend));
        rig.origin.inner().write(KEY, "one");
        rig.origin.fault(OriginFault::hold().late());
        let mut idle = Idle::begin(&rig, STRONG);
        idle.polled_until(rig.origin.wait_until_held(1)).await;
        backend.gate.close();
        rig.origin.release_all();
        // Its insert.
        idle.polled_until(backend.gate.wait_held(1)).await;
        backend.gate.open();
        match write {
            "put" => drop(rig.cache.put(KEY, "two".into(), PutCondition::Always).await.unwrap()),
            "delete" => rig.cache.delete(KEY).await.unwrap(),
            "invalidate" => rig.cache.invalidate(KEY).await.unwrap(),
            _ => rig.cache.mark_stale(KEY).await.unwrap(),
        }
        idle.ends_with("one", Status::Fetched).await;
        settle().await;
        assert_eq!(rig.cache.keys_in_flight(), 0);
    }
}

/// The same, for a write that was there first.
#[tokio::test]
async fn a_write_that_began_before_does_not_wait_for_an_idle_reader() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let put = tokio::spawn({
        let cache = rig.cache.clone();
        async move { cache.put(KEY, "two".into(), PutCondition::default()).await }
    });
    rig.origin.wait_until_held(1).await;
    let mut idle = Idle::begin(&rig, STRONG);
    idle.polled_until(rig.origin.wait_until_held(2)).await;
    backend.gate.close();
    rig.origin.release_all();
    for _ in 0..20 {
        assert!(poll_once(idle.0.as_mut()).is_pending());
    }
    backend.gate.open();
    put.await.unwrap().unwrap();
    idle.0.await.unwrap();
    settle().await;
    assert_eq!(rig.cache.keys_in_flight(), 0);
}

#[tokio::test]
async fn a_stale_entry_is_refreshed_behind_an_idle_reader() {
    let rule = Freshness::max_age(secs(10)).stale_while_revalidate(secs(10));
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(rule, "one", Status::Fetched).await;
    rig.clock.advance(secs(10));
    rig.origin.fault(OriginFault::hold());
    let idle = Idle::begin(&rig, STRONG);
    rig.check(rule, "one", Status::Stale).await;
    rig.origin.release_all();
    settle().await;
    rig.check(rule, "one", Status::Fresh).await;
    idle.ends_with("one", Status::Revalidated).await;
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(4).await;
}

#[tokio::test]
async fn a_cache_is_closed_although_a_reader_is_idle() {
    let rig = held_at_the_origin();
    let idle = Idle::begin(&rig, STRONG);
    let closing = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.close().await })
    };
    settle().await;
    assert!(!closing.is_finished(), "what is in flight comes to its end");
    rig.origin.release_all();
    closing.await.unwrap().unwrap();
    idle.ends_with("one", Status::Fetched).await;
    rig.at_rest(1).await;
}

/// It was let in before, and would have begun its flight after the others were called for.
#[tokio::test]
async fn a_reader_that_has_yet_to_ask_when_the_cache_is_closed_asks_nothing() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let keeps_it_open = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.get("another", None).await })
    };
    rig.origin.wait_until_held(1).await;
    backend.gate.close();
    let mut idle = Idle::begin(&rig, FOREVER);
    idle.polled_until(backend.gate.wait_held(1)).await;
    let closing = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.close().await })
    };
    settle().await;
    backend.gate.open();
    assert!(!closing.is_finished(), "what is in flight comes to its end");
    assert_eq!(idle.0.await.unwrap_err().kind(), ErrorKind::Closed);
    rig.origin.release_all();
    closing.await.unwrap().unwrap();
    assert_eq!(keeps_it_open.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    rig.at_rest(2).await;
}

/// The cache is closed while the reader polls its flight, which is parked only then.
#[tokio::test]
async fn a_cache_is_closed_although_a_reader_becomes_idle_later() {
    let origin = Arc::new(ClosesWhenAsked::default());
    let cache =
        ReadThrough::builder(Arc::clone(&origin), Arc::new(MapBackend::new())).build().unwrap();
    assert!(origin.cache.set(cache.clone()).is_ok());
    origin.gate.close();
    let mut idle = Box::pin(cache.get(KEY, None));
    assert!(poll_once(idle.as_mut()).is_pending());
    let closing = origin.closing.lock().unwrap().take().unwrap();
    let closing = tokio::spawn(closing);
    settle().await;
    assert!(!closing.is_finished(), "what is in flight comes to its end");
    origin.gate.open();
    closing.await.unwrap().unwrap();
    assert_eq!(idle.await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A validator that has its cache closed when it is first polled. There is no object.
#[derive(Default)]
struct ClosesWhenAsked {
    cache: OnceLock<ReadThrough<Self>>,
    closing: Mutex<Option<Closing>>,
    gate: Gate,
}

type Closing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

#[async_trait]
impl Validator for ClosesWhenAsked {
    async fn validate(&self, _: &Key, _: Option<&Entry>) -> Result<Validation> {
        let cache = self.cache.get().unwrap().clone();
        let mut closing: Closing = Box::pin(async move { cache.close().await });
        assert!(poll_once(closing.as_mut()).is_pending());
        *self.closing.lock().unwrap() = Some(closing);
        self.gate.pass().await;
        Ok(Validation::NotFound)
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_hands_its_flight_on() {
    let rig = held_at_the_origin();
    drop(Idle::begin(&rig, STRONG));
    rig.origin.release_all();
    settle().await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(1).await;
}

/// A reader whose flight was handed on is told of the answer, not left to be polled by chance.
#[tokio::test]
async fn a_reader_is_woken_by_what_others_did_to_its_flight() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let rig = held_at_the_origin();
    let woken = Arc::new(Flag(false.into()));
    let mut reader = Box::pin(rig.get(FOREVER));
    let waker = Waker::from(Arc::clone(&woken));
    assert!(reader.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let joined = rig.spawn_get(FOREVER);
    settle().await;
    assert!(woken.0.swap(false, std::sync::atomic::Ordering::SeqCst), "it was handed on");
    assert!(reader.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    rig.origin.release_all();
    joined.await.unwrap().unwrap();
    assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst), "it has landed");
    assert!(reader.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    rig.at_rest(2).await;
}

/// A validator may use its runtime at any poll, and a reader may be polled from anywhere.
#[test]
fn a_flight_is_polled_inside_its_runtime() {
    struct Sleepy;
    #[async_trait]
    impl Validator for Sleepy {
        async fn validate(&self, key: &Key, _held: Option<&Entry>) -> Result<Validation> {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::ZERO).await;
            Ok(Validation::Modified(Entry::builder(key, "one".into()).e_tag("\"1\"").build()))
        }
    }
    let cache =
        ReadThrough::builder(Arc::new(Sleepy), Arc::new(MapBackend::new())).build().unwrap();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let mut reader = Box::pin(cache.get(KEY, None));
    runtime.block_on(async { assert!(poll_once(reader.as_mut()).is_pending()) });
    match poll_once(reader.as_mut()) {
        Poll::Ready(served) => assert_eq!(text(&served.unwrap()), "one"),
        Poll::Pending => assert_eq!(text(&runtime.block_on(reader).unwrap()), "one"),
    }
}

#[test]
fn a_reader_whose_first_runtime_is_gone_asks_from_where_it_is() {
    for patience in [None, Some(secs(1))] {
        let first = Builder::new_current_thread().enable_time().build().unwrap();
        let second = Builder::new_current_thread().enable_time().build().unwrap();
        let rig = Rig::with(MapBackend::new(), |builder| builder.patience(patience));
        rig.origin.inner().write(KEY, "one");
        rig.origin.fault(OriginFault::hold());
        let mut reader = Box::pin(rig.get(STRONG));
        first.block_on(async { assert!(poll_once(reader.as_mut()).is_pending()) });
        drop(first);
        let served = second.block_on(async {
            assert!(poll_once(reader.as_mut()).is_pending());
            rig.origin.release_all();
            reader.await
        });
        assert_eq!(text(&served.unwrap()), "one");
        assert_eq!(rig.cache.keys_in_flight(), 0);
    }
}

/// A waker is somebody else's code; it may come back to the cache when it is dropped.
#[tokio::test]
async fn a_waker_is_not_dropped_under_the_lock_of_its_key() {
    struct Silent;
    #[async_trait]
    impl Validator for Silent {
        async fn validate(&self, _key: &Key, _held: Option<&Entry>) -> Result<Validation> {
            // Keeps no waker.
            std::future::pending().await
        }
    }
    struct Nosy(ReadThrough<Silent>);
    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            assert!(poll_once(Box::pin(self.0.get(KEY, Some(&STRONG))).as_mut()).is_pending());
        }
    }
    let cache =
        ReadThrough::builder(Arc::new(Silent), Arc::new(MapBackend::new())).build().unwrap();
    let mut reader = Box::pin(cache.get(KEY, Some(&STRONG)));
    let waker = Waker::from(Arc::new(Nosy(cache.clone())));
    assert!(reader.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert!(poll_once(reader.as_mut()).is_pending());
}

/// Somebody joins at the very moment at which the flight is polled.
#[tokio::test]
async fn who_joins_while_the_flight_is_polled_does_not_wait_for_its_reader() {
    struct Joining {
        origin: FaultyOrigin<MemoryOrigin>,
        cache: OnceLock<ReadThrough<Joining>>,
        joined: Mutex<Option<JoinHandle<Result<Served>>>>,
    }
    #[async_trait]
    impl Validator for Joining {
        async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
            if let Some(cache) = self.cache.get().cloned() {
                let mut other = Box::pin(async move { cache.get(KEY, Some(&FOREVER)).await });
                assert!(poll_once(other.as_mut()).is_pending());
                *self.joined.lock().unwrap() = Some(tokio::spawn(other));
            }
            self.origin.validate(key, held).await
        }
    }
    let origin = FaultyOrigin::in_memory();
    let origin = Arc::new(Joining { origin, cache: OnceLock::new(), joined: Mutex::default() });
    origin.origin.inner().write(KEY, "one");
    origin.origin.fault(OriginFault::hold());
    let cache =
        ReadThrough::builder(Arc::clone(&origin), Arc::new(MapBackend::new())).build().unwrap();
    assert!(origin.cache.set(cache.clone()).is_ok());
    let mut idle = Box::pin(cache.get(KEY, Some(&FOREVER)));
    assert!(poll_once(idle.as_mut()).is_pending());
    origin.origin.release_all();
    let joined = origin.joined.lock().unwrap().take().unwrap();
    assert_eq!(text(&joined.await.unwrap().unwrap()), "one");
    assert_eq!(text(&idle.await.unwrap()), "one");
    assert_eq!(origin.origin.count(), 1);
}

/// 1,000 strong readers of one key while its origin does not answer: two requests, whoever drives
/// them.
#[tokio::test]
async fn a_burst_makes_two_requests() {
    let rig = held_at_the_origin();
    let idle = Idle::begin(&rig, STRONG);
    let readers: Vec<_> = (0..1000).map(|_| rig.spawn_get(STRONG)).collect();
    settle().await;
    rig.origin.release_all();
    for reader in readers {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "one");
    }
    assert_eq!(rig.origin.count(), 2);
    idle.ends_with("one", Status::Fetched).await;
    rig.at_rest(1001).await;
}
