//! Flights and writes on runtimes that nobody drives any more: no other reader or writer waits for
//! them for ever.

use std::{pin::Pin, sync::Arc, time::Duration};

use cache_core::{ErrorKind, Freshness, PutCondition, ReadThroughBuilder, Result, Served, Status};
use cache_testkit::{
    FaultyOrigin, MapBackend, MemoryOrigin, OriginFault, OriginOperation, WaitingBackend,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, secs, settle, text};

/// It is driven by its `block_on` only.
fn idle() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Its time goes on when nothing else can.
fn driven() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

const LIMIT: Duration = secs(30);

/// Where a flight is when its runtime is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Left {
    /// It looks up what is held.
    Looking,
    /// It waits for a permit.
    Queued,
    /// Its request is at the origin.
    Asked,
    /// It has answered "one", which is being kept.
    Publishing,
    /// Its reader drives it, and is not polled any more.
    ToItsReader,
}

const LEFT: [Left; 5] =
    [Left::Looking, Left::Queued, Left::Asked, Left::Publishing, Left::ToItsReader];

type Set = fn(
    ReadThroughBuilder<FaultyOrigin<MemoryOrigin>>,
) -> ReadThroughBuilder<FaultyOrigin<MemoryOrigin>>;

/// A cache with a flight on a runtime that is left alone. The object was "one", and is "two" now.
struct World {
    rig: Rig,
    idle: Runtime,
    reader: Option<Reader>,
}

impl World {
    fn new(left: Left) -> Self {
        Self::with(left, |builder| builder)
    }

    fn with(left: Left, set: Set) -> Self {
        let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
        let limit = if left == Left::Queued { 1 } else { 1024 };
        let rig = Rig::with(Arc::clone(&backend), |builder| set(builder.max_in_flight(limit)));
        rig.origin.inner().write(KEY, "one");
        rig.origin.inner().write("other", "other");
        let (idle, busy) = (idle(), idle());
        let mut reader: Option<Reader> = None;
        let other = (left == Left::Queued).then(|| {
            rig.origin.fault(OriginFault::hold().once());
            let cache = rig.cache.clone();
            let other = busy.spawn(async move { cache.get("other", None).await });
            busy.block_on(rig.origin.wait_until_held(1));
            other
        });
        idle.block_on(async {
            match left {
                Left::Looking => {
                    backend.gate.close();
                    rig.spawn_get(STRONG);
                    backend.gate.wait_held(1).await;
                }
                Left::Queued => {
                    rig.spawn_get(STRONG);
                    settle().await;
                }
                Left::Asked => {
                    rig.origin.fault(OriginFault::hold().late().once());
                    rig.spawn_get(STRONG);
                    rig.origin.wait_until_held(1).await;
                }
                Left::Publishing => {
                    rig.origin.fault(OriginFault::hold().once());
                    rig.spawn_get(STRONG);
                    rig.origin.wait_until_held(1).await;
                    backend.gate.close();
                    rig.origin.release_all();
                    backend.gate.wait_held(1).await;
                }
                Left::ToItsReader => {
                    rig.origin.fault(OriginFault::hold().late().once());
                    let mut driving: Reader = Box::pin({
                        let rig = rig.clone();
                        async move { rig.get(STRONG).await }
                    });
                    while rig.origin.count() == 0 {
                        assert!(poll_once(driving.as_mut()).is_pending());
                        tokio::task::yield_now().await;
                    }
                    reader = Some(driving);
                }
            }
        });
        if let Some(other) = other {
            // It is the queued one's turn when nobody polls that any more.
            rig.origin.release_all();
            busy.block_on(other).unwrap().unwrap();
        }
        rig.origin.inner().write(KEY, "two");
        // What is held stays there, for nobody polls it. What comes later passes.
        backend.gate.open();
        Self { rig, idle, reader }
    }

    /// The runtime is driven again, and all goes on that was held.
    fn wake_up(&self) {
        self.rig.origin.release_all();
        self.idle.block_on(settle());
    }
}

type Reader = Pin<Box<dyn Future<Output = Result<Served>>>>;

/// What `call` answers, in less virtual time than three limits.
async fn in_time<F: Future>(what: impl std::fmt::Debug, call: F) -> F::Output {
    match timeout(3 * LIMIT, call).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what:?} waits for an idle runtime"),
    }
}

#[test]
fn a_read_is_answered_by_a_request_from_its_own_runtime() {
    for left in LEFT {
        for freshness in [STRONG, FOREVER] {
            let world = World::new(left);
            let got = driven().block_on(in_time((left, freshness), world.rig.get(freshness)));
            assert_eq!(text(&got.unwrap()), "two", "{left:?}, {freshness:?}");
            world.wake_up();
            // What the backend has under way is waited for, or nothing is kept.
            let status = if left == Left::Publishing { Status::Fetched } else { Status::Fresh };
            driven().block_on(world.rig.check(FOREVER, "two", status));
            driven().block_on(world.rig.check(FOREVER, "two", Status::Fresh));
            assert!(world.rig.origin.count() <= 3, "{left:?}: {:?}", world.rig.origin.requests());
            driven().block_on(async {
                if let Some(reader) = world.reader {
                    assert!(matches!(&*text(&reader.await.unwrap()), "one" | "two"));
                }
            });
            assert_eq!(world.rig.cache.keys_in_flight(), 0);
        }
    }
}

/// What the flight was about to keep is older than what was written, and is not served after that,
/// also when its runtime is driven again.
#[test]
fn a_write_and_the_reads_after_it_do_not_wait_for_an_idle_runtime() {
    for left in LEFT {
        for write in ["put", "delete", "invalidate", "expire", "open_write"] {
            let world = World::new(left);
            let (rig, expected) = (&world.rig, if write == "put" { "put" } else { "two" });
            driven().block_on(async {
                let call = async {
                    match write {
                        "put" => drop(
                            rig.cache.put(KEY, "put".into(), PutCondition::Always).await.unwrap(),
                        ),
                        "delete" => {
                            rig.cache.delete(KEY).await.unwrap();
                            rig.origin.inner().write(KEY, "two");
                        }
                        "invalidate" => rig.cache.invalidate(KEY).await.unwrap(),
                        "expire" => rig.cache.mark_stale(KEY).await.unwrap(),
                        _ => drop(rig.cache.open_write(KEY).await.unwrap()),
                    }
                };
                in_time((left, write), call).await;
                let got = in_time((left, write, "read"), rig.get(FOREVER)).await;
                assert_eq!(text(&got.unwrap()), expected, "{left:?}, {write}");
            });
            world.wake_up();
            driven().block_on(async {
                let got = rig.get(FOREVER).await.unwrap();
                assert_eq!(text(&got), expected, "{left:?}, {write}, later");
                rig.check(STRONG, expected, Status::Revalidated).await;
            });
        }
    }
}

#[test]
fn a_cache_is_closed_although_a_runtime_is_idle() {
    for left in LEFT {
        let world = World::new(left);
        let read = driven().block_on(async {
            let reader = world.rig.spawn_get(STRONG);
            settle().await;
            in_time(left, world.rig.cache.close()).await.unwrap();
            reader.await.unwrap()
        });
        // It may have been answered before.
        match read {
            Ok(served) => assert_eq!(text(&served), "two", "{left:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{left:?}"),
        }
        let asked = world.rig.origin.count();
        world.wake_up();
        assert_eq!(
            world.rig.origin.count(),
            asked,
            "{left:?}: something was asked after the close"
        );
        assert_eq!(world.rig.cache.stats().entries, 0);
        driven().block_on(async {
            assert_eq!(world.rig.get(FOREVER).await.unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}

/// Nobody waits for them: there is nobody else who could give them up.
#[test]
fn a_cache_is_closed_although_an_idle_runtime_has_a_flight_that_nobody_waits_for() {
    for left in LEFT {
        let world = World::new(left);
        driven().block_on(in_time(left, world.rig.cache.close())).unwrap();
        let asked = world.rig.origin.count();
        world.wake_up();
        assert_eq!(
            world.rig.origin.count(),
            asked,
            "{left:?}: something was asked after the close"
        );
        assert_eq!(world.rig.cache.keys_in_flight(), 0);
    }
}

#[test]
fn patience_is_counted_where_somebody_waits() {
    for left in [Left::Asked, Left::ToItsReader] {
        let world = World::with(left, |builder| builder.patience(Some(secs(1))));
        driven().block_on(async {
            let got = timeout(secs(2), world.rig.get(STRONG)).await.unwrap();
            assert_eq!(text(&got.unwrap()), "two");
        });
        assert_eq!(world.rig.origin.count(), 2);
    }
}

/// The one that took the place of the first is left alone too.
#[test]
#[expect(
    clippy::async_yields_async,
    reason = "the reader is awaited later, on the runtime that it was spawned on"
)]
fn two_idle_runtimes_in_a_row_are_given_up_one_after_the_other() {
    let World { rig, idle: first, .. } = World::new(Left::Asked);
    rig.origin.fault(OriginFault::hold().late().once());
    let second = driven();
    let waiting = second.block_on(async {
        let waiting = rig.spawn_get(STRONG);
        rig.origin.wait_until_held(2).await;
        waiting
    });
    rig.origin.inner().write(KEY, "three");
    driven().block_on(async {
        assert_eq!(text(&in_time("a reader", rig.get(STRONG)).await.unwrap()), "three");
        rig.check(FOREVER, "three", Status::Fresh).await;
    });
    rig.origin.release_all();
    // It came before the third request was sent.
    assert_eq!(text(&second.block_on(waiting).unwrap().unwrap()), "three");
    first.block_on(settle());
    driven().block_on(rig.check(FOREVER, "three", Status::Fresh));
    assert_eq!(rig.origin.count(), 3);
}

/// A reader that was polled in a runtime which is left alone, or dropped, goes on in another: its
/// timers too.
#[test]
fn a_reader_that_moves_to_another_runtime_counts_there() {
    for drops in [false, true] {
        for patience in [None, Some(secs(1))] {
            let rig = Rig::with(MapBackend::new(), |builder| builder.patience(patience));
            rig.origin.inner().write(KEY, "one");
            rig.origin.fault(OriginFault::hold());
            let (left, also_left) = (idle(), idle());
            left.block_on(async {
                rig.spawn_get(STRONG);
                rig.origin.wait_until_held(1).await;
            });
            let mut moves: Reader = Box::pin({
                let rig = rig.clone();
                async move { rig.get(STRONG).await }
            });
            also_left.block_on(async { assert!(poll_once(moves.as_mut()).is_pending()) });
            rig.origin.heal();
            if drops {
                drop(also_left);
            }
            let got = driven().block_on(in_time((drops, patience), moves)).unwrap();
            assert_eq!((text(&got), rig.origin.count()), ("one".to_owned(), 2));
        }
    }
}

/// Nothing is known to be lost there: it is for the origin to say how long a request may take.
#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_on_a_driven_runtime_is_waited_for() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.origin_timeout(secs(5)));
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold().once());
    let readers = [STRONG, FOREVER, STRONG].map(|freshness| rig.spawn_get(freshness));
    tokio::time::sleep(secs(1000)).await;
    assert_eq!(rig.origin.count(), 1);
    rig.origin.release_all();
    for reader in readers {
        assert_eq!(text(&reader.await.unwrap().unwrap()), "one");
    }
    assert_eq!(rig.origin.count(), 2);
    rig.at_rest(3).await;
}

/// Its request is at the origin still, as far as anybody knows.
#[test]
fn a_request_on_an_idle_runtime_keeps_its_permit_and_holds_up_no_reader_of_its_key() {
    let world = World::with(Left::Asked, |builder| builder.max_in_flight(1).queue_timeout(secs(5)));
    let rig = &world.rig;
    driven().block_on(async {
        let error = rig.cache.get("other", Some(&STRONG)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(text(&in_time("a reader", rig.get(STRONG)).await.unwrap()), "two");
    });
    drop(world.idle);
    driven().block_on(async {
        assert_eq!(text(&rig.cache.get("other", Some(&STRONG)).await.unwrap()), "other");
        rig.check(FOREVER, "two", Status::Fresh).await;
    });
}

/// It is the first in line, and is told of the place that becomes free: the next one finds that it
/// does not take it.
#[test]
fn a_place_that_an_idle_runtime_is_first_in_line_for_goes_to_the_next() {
    let rig = Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1));
    for key in [KEY, "next", "busy"] {
        rig.origin.inner().write(key, key);
    }
    let (left, here) = (idle(), driven());
    let read = |key| {
        let cache = rig.cache.clone();
        async move { cache.get(key, Some(&STRONG)).await }
    };
    rig.origin.fault(OriginFault::hold().once());
    let busy = here.spawn(read("busy"));
    here.block_on(rig.origin.wait_until_held(1));
    let first = left.spawn(read(KEY));
    left.block_on(settle());
    let next = here.spawn(read("next"));
    here.block_on(async {
        settle().await;
        rig.origin.release_all();
        busy.await.unwrap().unwrap();
        assert_eq!(text(&timeout(secs(2), next).await.unwrap().unwrap().unwrap()), "next");
    });
    assert!(!first.is_finished());
}

/// It waits in line for ever. The permits that it does not need are for others, and for refreshes.
#[test]
fn a_flight_that_is_queued_on_an_idle_runtime_keeps_no_copy_stale() {
    let rule = Freshness::max_age(secs(10)).stale_while_revalidate(secs(10_000));
    let rig = Rig::with(MapBackend::new(), |builder| builder.max_in_flight(2));
    for key in [KEY, "one", "two", "queued"] {
        rig.origin.inner().write(key, key);
    }
    let (left, here) = (idle(), driven());
    let read = |key| {
        let cache = rig.cache.clone();
        async move { cache.get(key, Some(&STRONG)).await }
    };
    here.block_on(rig.check(rule, KEY, Status::Fetched));
    rig.origin.fault(OriginFault::hold());
    let busy = ["one", "two"].map(|key| here.spawn(read(key)));
    here.block_on(rig.origin.wait_until_held(2));
    let queued = left.spawn(read("queued"));
    left.block_on(settle());
    here.block_on(async {
        rig.origin.heal();
        rig.origin.release_all();
        for read in busy {
            read.await.unwrap().unwrap();
        }
        rig.clock.advance(secs(10));
        rig.check(rule, KEY, Status::Stale).await;
        settle().await;
        rig.check(rule, KEY, Status::Fresh).await;
    });
    assert!(!queued.is_finished());
    // The permit that is left is still the queued one's.
    left.block_on(async { assert_eq!(text(&queued.await.unwrap().unwrap()), "queued") });
}

/// Stale copies are served without a wait: nobody counts there but the clock.
#[test]
fn a_refresh_on_an_idle_runtime_is_repeated_from_another() {
    let rule = Freshness::max_age(secs(10)).stale_while_revalidate(secs(10_000));
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    let (left, here) = (idle(), driven());
    left.block_on(async {
        rig.check(rule, "one", Status::Fetched).await;
        rig.clock.advance(secs(10));
        rig.origin.fault(OriginFault::hold().late().once());
        rig.check(rule, "one", Status::Stale).await;
        rig.origin.wait_until_held(1).await;
    });
    rig.origin.inner().write(KEY, "two");
    here.block_on(async {
        for _ in 0..2 {
            rig.check(rule, "one", Status::Stale).await;
            rig.clock.advance(secs(20));
        }
        rig.check(rule, "one", Status::Stale).await;
        settle().await;
        rig.check(rule, "two", Status::Fresh).await;
    });
    rig.origin.release_all();
    left.block_on(settle());
    here.block_on(rig.check(rule, "two", Status::Fresh));
    assert_eq!(rig.origin.count(), 3);
}

/// A write whose task was never run: others do not wait for it, nor does its caller where that is
/// polled now.
#[test]
fn a_write_on_an_idle_runtime_holds_nobody_up() {
    for write in ["put", "delete", "invalidate", "expire", "open_write"] {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        let (left, here) = (idle(), driven());
        here.block_on(rig.check(FOREVER, "one", Status::Fetched));
        let mut call: Pin<Box<dyn Future<Output = Result<()>>>> = Box::pin({
            let cache = rig.cache.clone();
            async move {
                match write {
                    "put" => cache.put(KEY, "put".into(), PutCondition::Always).await.map(drop),
                    "delete" => cache.delete(KEY).await,
                    "invalidate" => cache.invalidate(KEY).await,
                    "expire" => cache.mark_stale(KEY).await,
                    _ => cache.open_write(KEY).await.map(drop),
                }
            }
        });
        left.block_on(async { assert!(poll_once(call.as_mut()).is_pending()) });
        rig.origin.inner().write(KEY, "two");
        here.block_on(async {
            assert_eq!(text(&in_time(write, rig.get(STRONG)).await.unwrap()), "two");
            in_time(write, rig.cache.invalidate(KEY)).await.unwrap();
            let ended = in_time(write, call).await;
            match write {
                "invalidate" | "expire" => ended.unwrap(),
                _ => assert_eq!(ended.unwrap_err().kind(), ErrorKind::Timeout),
            }
            assert_eq!(text(&in_time(write, rig.get(FOREVER)).await.unwrap()), "two");
            let closed = in_time(write, rig.cache.close()).await;
            assert_eq!(closed.unwrap_err().kind(), ErrorKind::Timeout, "{write}: it has not ended");
        });
        left.block_on(settle());
        let is_write = |operation| !matches!(operation, OriginOperation::Validate);
        assert!(
            !rig.origin.requests().iter().any(|request| is_write(request.operation)),
            "{write}"
        );
        here.block_on(async { rig.cache.close().await.unwrap() });
    }
}
