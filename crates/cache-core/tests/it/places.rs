//! A limit on the questions that are at the origin at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::SystemTime,
};

use cache_core::{Clock, ErrorKind, Freshness, Moment, ReadThrough, Result, Served, Status};
use cache_testkit::{
    BackendAction, BackendCall, FaultyOrigin, HookBackend, ManualClock, MapBackend, MemoryOrigin,
    OriginFault, OriginOperation, OriginRequest, TagFault, TokioClock,
};
use tokio::task::JoinHandle;

use crate::{
    fences::held_inserts,
    rig::{FOREVER, Rig, STRONG, poll_once, secs, settle, text},
};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// An origin with objects under [`KEYS`] that holds what it is asked, and answers `n` questions at
/// once.
fn held(n: usize) -> Rig {
    let rig = Rig::with(MapBackend::new(), |builder| builder.max_in_flight(n));
    for key in KEYS {
        rig.origin.inner().write(key, key);
    }
    rig.origin.fault(OriginFault::hold());
    rig
}

fn spawn(rig: &Rig, key: &'static str, freshness: Freshness) -> JoinHandle<Result<Served>> {
    let cache = rig.cache.clone();
    tokio::spawn(async move { cache.get(key, Some(&freshness)).await })
}

fn asked(rig: &Rig) -> Vec<String> {
    let key = |request: OriginRequest| {
        assert_eq!(request.operation, OriginOperation::Validate);
        request.key
    };
    rig.origin.requests().into_iter().map(key).collect()
}

#[tokio::test]
async fn no_more_are_asked_at_once_than_there_are_places_and_who_waits_is_next() {
    let rig = held(2);
    let mut readers = Vec::new();
    for key in KEYS {
        readers.push(spawn(&rig, key, STRONG));
        settle().await;
    }
    for n in 2..=4 {
        assert_eq!(asked(&rig), KEYS[..n]);
        rig.origin.release(1);
        settle().await;
    }
    rig.origin.release_all();
    for (reader, key) in readers.into_iter().zip(KEYS) {
        assert_eq!(text(&reader.await.unwrap().unwrap()), key);
    }
    rig.at_rest(4).await;
}

/// It arrives before the question is sent, so the answer is not too old for it.
#[tokio::test]
async fn a_strong_reader_joins_a_flight_that_waits_for_its_place() {
    let rig = held(1);
    let first = spawn(&rig, "a", STRONG);
    settle().await;
    let waiting = [spawn(&rig, "b", STRONG), spawn(&rig, "b", FOREVER)];
    settle().await;
    // Written after the first two came, and before the third.
    rig.origin.inner().write("b", "new");
    let last = spawn(&rig, "b", STRONG);
    settle().await;
    rig.origin.release_all();
    assert_eq!(text(&first.await.unwrap().unwrap()), "a");
    for reader in waiting.into_iter().chain([last]) {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "new");
    }
    assert_eq!(asked(&rig), ["a", "b"]);
    rig.at_rest(4).await;
}

/// Else strangers who come and go could leave any number of them behind.
#[tokio::test]
async fn a_flight_that_nobody_waits_for_any_more_leaves_the_queue() {
    for readers in 1..=3 {
        let rig = held(1);
        let first = spawn(&rig, "a", STRONG);
        settle().await;
        let gone: Vec<_> = (0..readers).map(|_| spawn(&rig, "b", STRONG)).collect();
        let last = spawn(&rig, "c", STRONG);
        settle().await;
        assert_eq!(rig.cache.keys_in_flight(), 3);
        for reader in gone {
            reader.abort();
        }
        settle().await;
        assert_eq!(rig.cache.keys_in_flight(), 2, "of {readers} readers");
        rig.origin.release_all();
        assert!(first.await.unwrap().is_ok() && last.await.unwrap().is_ok());
        assert_eq!(asked(&rig), ["a", "c"]);
        rig.at_rest(2).await;
    }
}

/// The reader of a flight in the air is not polled, and neither are those of flights that wait.
#[tokio::test]
async fn a_reader_that_is_not_polled_keeps_no_place() {
    let rig = held(1);
    let mut idle: Vec<_> =
        ["a", "b", "c"].map(|key| Box::pin(rig.cache.get(key, Some(&STRONG)))).into();
    for reader in &mut idle {
        assert!(poll_once(reader.as_mut()).is_pending());
    }
    let last = spawn(&rig, "d", STRONG);
    settle().await;
    rig.origin.release_all();
    settle().await;
    assert!(last.is_finished());
    assert_eq!(text(&last.await.unwrap().unwrap()), "d");
    for (reader, key) in idle.into_iter().zip(KEYS) {
        assert_eq!(text(&reader.await.unwrap()), key);
    }
    rig.at_rest(4).await;
}

/// A stale copy is served in any case: nobody waits for what would be asked behind it.
#[tokio::test]
async fn a_refresh_that_finds_no_place_is_left_out() {
    let rig = held(1);
    rig.origin.release_all();
    let stale = Freshness::max_age(secs(1)).stale_while_revalidate(secs(60));
    assert!(rig.cache.get("b", Some(&stale)).await.is_ok());
    rig.clock.advance(secs(2));
    rig.origin.fault(OriginFault::hold());
    let first = spawn(&rig, "a", STRONG);
    settle().await;
    assert_eq!(rig.cache.get("b", Some(&stale)).await.unwrap().status, Status::Stale);
    settle().await;
    assert_eq!(rig.cache.keys_in_flight(), 1);
    rig.origin.release_all();
    assert!(first.await.unwrap().is_ok());
    assert_eq!(asked(&rig), ["b", "a"]);
    rig.at_rest(3).await;
}

/// What was written while a flight waited is not undone by its answer.
#[tokio::test]
async fn a_write_fences_a_flight_that_waits() {
    let rig = held(1);
    let first = spawn(&rig, "a", STRONG);
    settle().await;
    let waiting = spawn(&rig, "b", STRONG);
    settle().await;
    rig.cache.invalidate("b").await.unwrap();
    rig.origin.release_all();
    assert_eq!(text(&waiting.await.unwrap().unwrap()), "b");
    assert!(first.await.unwrap().is_ok());
    assert!(rig.cache.backend().peek("b").is_none(), "what was asked behind the fence is not kept");
    rig.at_rest(2).await;
}

/// Every way in which a flight can end gives its place back.
#[tokio::test]
async fn no_place_is_lost() {
    let rig = held(1);
    rig.origin.release_all();
    for fault in [
        OriginFault::error(ErrorKind::Unavailable),
        OriginFault::panic(),
        OriginFault::unchanged(),
        OriginFault::tag(TagFault::Missing),
    ] {
        rig.origin.fault(fault.once());
        // What it says is not the matter here.
        let _ = rig.cache.get("a", Some(&STRONG)).await;
        assert!(rig.cache.get("b", Some(&STRONG)).await.is_ok());
    }
    assert_eq!(
        rig.cache.get("missing", Some(&STRONG)).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    rig.check_at("a").await;
}

/// Its runtime is shut down, and nothing of it is polled any more.
#[test]
fn a_flight_that_is_lost_gives_its_place_back() {
    let rig = held(1);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let lost = runtime();
    lost.block_on(async {
        spawn(&rig, "a", STRONG);
        settle().await;
    });
    assert_eq!(asked(&rig), ["a"]);
    drop(lost);
    rig.origin.release_all();
    runtime().block_on(async {
        let reader = spawn(&rig, "b", STRONG);
        settle().await;
        assert!(reader.is_finished(), "it waits for a place");
    });
}

impl Rig {
    async fn check_at(&self, key: &str) {
        assert_eq!(text(&self.cache.get(key, Some(&STRONG)).await.unwrap()), key);
    }
}

#[tokio::test]
async fn a_limit_of_zero_is_an_error() {
    let rig = Rig::new();
    let builder =
        ReadThrough::builder(rig.origin.clone(), rig.cache.backend().clone()).max_in_flight(0);
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("max_in_flight"), "{error}");
}

/// It has no ticket yet, and the one who joined has gone again.
#[tokio::test]
async fn a_reader_at_its_first_poll_is_one_who_waits() {
    type Visit = Mutex<Option<Box<dyn FnOnce() + Send>>>;
    let visit = Arc::new(Visit::default());
    let backend = HookBackend::new(MapBackend::new(), {
        let visit = Arc::clone(&visit);
        move |call| {
            if let BackendCall::GetNow(_) = call {
                let visit = visit.lock().unwrap().take();
                visit.into_iter().for_each(|visit| visit());
            }
            BackendAction::Proceed
        }
    });
    let rig = Rig::with(backend, |builder| builder.max_in_flight(1));
    for key in KEYS {
        rig.origin.inner().write(key, key);
    }
    rig.origin.fault(OriginFault::hold());
    let other = spawn(&rig, "a", STRONG);
    settle().await;
    let cache = rig.cache.clone();
    // Another reader comes and goes while the first one looks for its key.
    *visit.lock().unwrap() = Some(Box::new(move || {
        let mut visitor = Box::pin(cache.get("b", Some(&STRONG)));
        assert!(poll_once(visitor.as_mut()).is_pending());
    }));
    let mut first = Box::pin(rig.cache.get("b", Some(&STRONG)));
    assert!(poll_once(first.as_mut()).is_pending(), "it ended before anything was asked");
    rig.origin.release_all();
    assert!(other.await.unwrap().is_ok());
    assert_eq!(text(&first.await.unwrap()), "b");
    rig.at_rest(2).await;
}

/// What `patience` asks once more is asked at once.
#[tokio::test(start_paused = true)]
async fn a_second_question_has_the_place_of_the_first() {
    let rig =
        Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1).patience(Some(secs(1))));
    for key in KEYS {
        rig.origin.inner().write(key, key);
    }
    rig.origin.fault(OriginFault::hold());
    let first = spawn(&rig, "a", STRONG);
    settle().await;
    let second = spawn(&rig, "b", STRONG);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(asked(&rig), ["a", "a"]);
    rig.origin.release_all();
    assert_eq!(text(&first.await.unwrap().unwrap()), "a");
    assert_eq!(text(&second.await.unwrap().unwrap()), "b");
    assert_eq!(asked(&rig), ["a", "a", "b"]);
    rig.at_rest(2).await;
}

/// An outage keeps all places busy; who has a stale copy is not to wait until all others have found
/// that out.
#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_a_place_is_told_of_an_outage() {
    let rig =
        Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1).queue_timeout(secs(5)));
    for key in KEYS {
        rig.origin.inner().write(key, key);
    }
    let covered = STRONG.stale_if_error(secs(3600));
    assert!(rig.cache.get("c", Some(&covered)).await.is_ok());
    rig.origin.fault(OriginFault::hold());
    let first = spawn(&rig, "a", STRONG);
    settle().await;
    let clock = TokioClock::new();
    let begun = clock.now();
    let waiting = [spawn(&rig, "b", STRONG), spawn(&rig, "b", STRONG), spawn(&rig, "c", covered)];
    let [one, two, covered] = waiting;
    for reader in [one, two] {
        let error = reader.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some("b")));
        assert!(error.to_string().contains("max_in_flight"), "{error}");
    }
    assert_eq!(covered.await.unwrap().unwrap().status, Status::Stale);
    let took = clock.now().saturating_since(begun);
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
    rig.origin.release_all();
    assert!(first.await.unwrap().is_ok());
    assert_eq!(asked(&rig), ["c", "a"]);
    rig.at_rest(5).await;
}

#[tokio::test]
async fn a_permit_counts_like_a_read_and_both_are_served_in_the_order_of_arrival() {
    let rig = held(1);
    let permit = rig.cache.request_permit().await.unwrap();
    let reader = spawn(&rig, "a", STRONG);
    settle().await;
    let mut second = Box::pin(rig.cache.request_permit());
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!(asked(&rig).len(), 0, "the permit is the only one");
    drop(permit);
    settle().await;
    assert_eq!(asked(&rig), ["a"]);
    assert!(poll_once(second.as_mut()).is_pending(), "the read came first");
    rig.origin.release_all();
    assert!(reader.await.unwrap().is_ok());
    drop(second.await.unwrap());
    rig.at_rest(1).await;
}

#[tokio::test]
async fn a_permit_that_nobody_waits_for_any_more_is_the_next_ones() {
    let rig = held(1);
    rig.origin.heal();
    let permit = rig.cache.request_permit().await.unwrap();
    let mut given_up = Box::pin(rig.cache.request_permit());
    assert!(poll_once(given_up.as_mut()).is_pending());
    // It is assigned, and not taken.
    drop(permit);
    drop(given_up);
    assert!(rig.cache.get("a", Some(&STRONG)).await.is_ok());
    drop(rig.cache.request_permit().await.unwrap());
    rig.at_rest(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_does_not_come_is_a_timeout_that_names_the_settings() {
    let rig =
        Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1).queue_timeout(secs(5)));
    let permit = rig.cache.request_permit().await.unwrap();
    let clock = TokioClock::new();
    let begun = clock.now();
    let error = rig.cache.request_permit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("max_in_flight, queue_timeout"), "{error}");
    let took = clock.now().saturating_since(begun);
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
    drop(permit);
    drop(rig.cache.request_permit().await.unwrap());
}

/// A woken reader may send its next request at once, and must not find the limit reached by this
/// one.
#[tokio::test]
async fn a_place_is_free_before_those_who_wait_are_woken() {
    struct ReadsOn(Rig, Mutex<Vec<usize>>);
    impl Wake for ReadsOn {
        fn wake(self: Arc<Self>) {
            let before = self.0.origin.count();
            let mut next = Box::pin(self.0.cache.get("b", Some(&STRONG)));
            let _ = poll_once(next.as_mut());
            self.1.lock().unwrap().push(self.0.origin.count() - before);
        }
    }
    for first in ["fetched", "unchanged"] {
        let rig =
            Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1).queue_timeout(secs(0)));
        for key in KEYS {
            rig.origin.inner().write(key, key);
        }
        if first == "unchanged" {
            rig.check_at("a").await;
        }
        rig.clock.advance(secs(20));
        rig.origin.fault(OriginFault::hold().once());
        let driving = spawn(&rig, "a", STRONG);
        rig.origin.wait_until_held(1).await;
        let woken = Arc::new(ReadsOn(rig.clone(), Mutex::default()));
        let ten = Freshness::max_age(secs(10));
        let mut joined = Box::pin(rig.cache.get("a", Some(&ten)));
        let waker = Waker::from(Arc::clone(&woken));
        assert!(joined.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        rig.origin.release_all();
        driving.await.unwrap().unwrap();
        settle().await;
        assert_eq!(woken.1.lock().unwrap().first(), Some(&1), "{first}");
    }
}

/// Looks at the clock are all that is seen of the moment when one flight has begun after another.
#[tokio::test]
async fn a_place_is_free_before_the_next_flight_of_the_key_begins() {
    type Cache = ReadThrough<FaultyOrigin<MemoryOrigin>>;
    /// Has another reader arrive at the next look.
    #[derive(Debug, Default)]
    struct Arrives(ManualClock, Mutex<Option<Cache>>, AtomicUsize);
    impl Clock for Arrives {
        fn now(&self) -> Moment {
            self.0.now()
        }
        fn coarse_bounds(&self) -> (Moment, Moment) {
            let arrives = self.1.lock().unwrap().take();
            if let Some(cache) = arrives {
                let mut other = Box::pin(cache.get("b", Some(&STRONG)));
                let _ = poll_once(other.as_mut());
                self.2.store(cache.origin().count(), Ordering::SeqCst);
            }
            self.0.coarse_bounds()
        }
        fn wall_time(&self) -> SystemTime {
            self.0.wall_time()
        }
    }
    let clock = Arc::new(Arrives::default());
    let rig = Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1).clock(clock.clone()));
    for key in KEYS {
        rig.origin.inner().write(key, key);
    }
    rig.origin.fault(OriginFault::hold().once());
    let first = spawn(&rig, "a", STRONG);
    rig.origin.wait_until_held(1).await;
    let second = spawn(&rig, "a", STRONG);
    settle().await;
    *clock.1.lock().unwrap() = Some(rig.cache.clone());
    rig.origin.release_all();
    for reader in [first, second] {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "a");
    }
    assert_eq!(clock.2.load(Ordering::SeqCst), 2, "it found no place");
}

/// The answer is there, and as young as the reader wants it: it waits until that is kept, and sends
/// no other request.
#[tokio::test]
async fn a_reader_that_takes_an_older_answer_joins_a_flight_that_publishes() {
    let (gate, backend) = held_inserts();
    let rig = Rig::over(backend);
    rig.origin.inner().write("a", "a");
    rig.origin.fault(OriginFault::hold().once());
    let first = spawn(&rig, "a", STRONG);
    rig.origin.wait_until_held(1).await;
    gate.close();
    rig.origin.release_all();
    gate.wait_held(1).await;
    rig.clock.advance(secs(5));
    let readers = [Freshness::max_age(secs(6)), Freshness::max_age(secs(5)), STRONG];
    let readers = readers.map(|freshness| spawn(&rig, "a", freshness));
    settle().await;
    rig.origin.inner().write("a", "b");
    gate.open();
    assert_eq!(text(&first.await.unwrap().unwrap()), "a");
    for (reader, expected) in readers.into_iter().zip(["a", "b", "b"]) {
        assert_eq!(text(&reader.await.unwrap().unwrap()), expected);
    }
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(4).await;
}
