//! Callers that go away, at every await.

use std::sync::Arc;

use cache_core::{PutCondition, Status};
use cache_testkit::{MapBackend, OriginFault, WaitingBackend};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, settle, text};

/// I-19, I-21: a reader that goes away stops nothing, and what was asked for it is kept.
#[tokio::test]
async fn a_dropped_reader_leaves_its_answer_to_the_next() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let leader = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    let followers: Vec<_> = (0..20).map(|_| rig.spawn_get(FOREVER)).collect();
    settle().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    rig.origin.release_all();
    for follower in followers {
        assert_eq!(text(&follower.await.unwrap().unwrap()), "one");
    }
    assert_eq!(rig.origin.count(), 1);
    rig.at_rest(20).await;
}

#[tokio::test]
async fn a_flight_that_everybody_left_is_still_kept() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let reader = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    reader.abort();
    rig.origin.release_all();
    settle().await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(1).await;
}

#[tokio::test]
async fn a_waiting_flight_that_nobody_waits_for_does_not_start() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold());
    let first = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    let second = rig.spawn_get(STRONG);
    settle().await;
    second.abort();
    assert!(second.await.is_err());
    rig.origin.release_all();
    first.await.unwrap().unwrap();
    settle().await;
    assert_eq!(rig.origin.count(), 1);
    rig.at_rest(1).await;
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Get,
    Put,
    Delete,
    Invalidate,
    Expire,
    Clear,
    OpenWrite,
}

const CALLS: [Call; 7] = [
    Call::Get,
    Call::Put,
    Call::Delete,
    Call::Invalidate,
    Call::Expire,
    Call::Clear,
    Call::OpenWrite,
];

impl Call {
    async fn make(self, rig: &Rig) {
        match self {
            Self::Get => drop(rig.get(STRONG).await),
            Self::Put => drop(rig.cache.put(KEY, "put".into(), PutCondition::Always).await),
            Self::Delete => drop(rig.cache.delete(KEY).await),
            Self::Invalidate => rig.cache.invalidate(KEY).await.unwrap(),
            Self::Expire => rig.cache.mark_stale(KEY).await.unwrap(),
            Self::Clear => drop(rig.cache.clear().await),
            Self::OpenWrite => {
                let write = rig.cache.open_write(KEY).await.unwrap();
                tokio::task::yield_now().await;
                rig.origin.inner().write(KEY, "written");
                tokio::task::yield_now().await;
                drop(write);
            }
        }
    }
}

/// Rule 2 for futures that were dropped: polled k times, with the scheduler at work between, then
/// dropped. Whatever they left behind, a read that begins later sees the truth, and nothing stays
/// in flight.
#[tokio::test]
async fn a_call_dropped_at_any_await_leaves_no_lie_and_no_litter() {
    for call in CALLS {
        for waits in [false, true] {
            for spoiled in [0, 64] {
                for polls in 0..40 {
                    check_dropped(call, waits, spoiled, polls).await;
                }
            }
        }
    }
}

async fn check_dropped(call: Call, waits: bool, spoiled: u8, polls: u64) {
    let rig = if waits {
        Rig::over(WaitingBackend::new(MapBackend::new(), spoiled, polls))
    } else {
        Rig::new()
    };
    rig.origin.inner().write(KEY, "old");
    rig.get(FOREVER).await.unwrap();
    {
        let mut future = Box::pin(call.make(&rig));
        let mut done = false;
        for _ in 0..polls {
            if poll_once(future.as_mut()).is_ready() {
                done = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(future);
        let fenced = polls > 0 && !matches!(call, Call::Get);
        if fenced {
            // Another node writes; what was held or asked before may not be served any more.
            rig.origin.inner().write(KEY, "new");
            let late = rig.get(FOREVER).await.map(|served| text(&served));
            let seen = late.unwrap_or_else(|error| format!("{:?}", error.kind()));
            assert_ne!(
                seen, "old",
                "{call:?}, waits: {waits}, dropped after {polls} polls (done: {done})"
            );
        }
    }
    settle().await;
    assert_eq!(rig.cache.keys_in_flight(), 0, "{call:?}, waits: {waits}, {polls} polls");
    let stats = rig.cache.stats();
    let sent = stats.origin.requests();
    assert!(sent == rig.origin.count() as u64, "{call:?}, {polls} polls: {stats:?}");
}

/// A put that was given up while the origin works on it may take effect; nothing of it is held.
#[tokio::test]
async fn a_dropped_put_gives_the_request_up_and_holds_nothing() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.get(FOREVER).await.unwrap();
    rig.origin.fault(OriginFault::hang().once());
    let put = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.put(KEY, "two".into(), PutCondition::Always).await })
    };
    settle().await;
    assert_eq!(rig.origin.count(), 2);
    put.abort();
    settle().await;
    assert_eq!(rig.cache.keys_in_flight(), 0);
    assert_eq!(rig.cache.stats().entries, 0);
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.at_rest(2).await;
}

#[tokio::test]
async fn a_put_whose_answer_is_on_its_way_when_the_caller_goes_is_not_kept() {
    let rig = Rig::new();
    rig.origin.fault(OriginFault::hold().late());
    let put = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.put(KEY, "two".into(), PutCondition::Always).await })
    };
    rig.origin.wait_until_held(1).await;
    put.abort();
    assert!(put.await.is_err());
    rig.origin.inner().write(KEY, "three");
    rig.origin.release_all();
    rig.check(FOREVER, "three", Status::Fetched).await;
    rig.at_rest(1).await;
}

/// Found by a generated schedule: the insert had been decided when the caller went away.
#[tokio::test]
async fn a_put_that_is_being_kept_when_the_caller_goes_is_void() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.fault(OriginFault::hold().late());
    let put = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.put(KEY, "two".into(), PutCondition::Always).await })
    };
    rig.origin.wait_until_held(1).await;
    backend.gate.close();
    rig.origin.release_all();
    backend.gate.wait_held(1).await;
    rig.origin.inner().write(KEY, "three");
    put.abort();
    assert!(put.await.is_err());
    backend.gate.open();
    settle().await;
    rig.check(FOREVER, "three", Status::Fetched).await;
    rig.at_rest(1).await;
}

/// The fence of a caller that goes away is up at once, not when the task of its call takes notice.
#[tokio::test]
async fn a_reader_right_after_a_dropped_put_joins_nothing_asked_before() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold().late());
    let mut put = Box::pin(rig.cache.put(KEY, "two".into(), PutCondition::Always));
    assert!(poll_once(put.as_mut()).is_pending());
    rig.origin.wait_until_held(1).await;
    let early = rig.spawn_get(FOREVER);
    rig.origin.wait_until_held(2).await;
    rig.origin.inner().write(KEY, "three");
    drop(put);
    let mut late = Box::pin(rig.get(FOREVER));
    assert!(poll_once(late.as_mut()).is_pending());
    rig.origin.release_all();
    assert_eq!(text(&late.await.unwrap()), "three");
    assert_eq!(text(&early.await.unwrap().unwrap()), "two");
    rig.at_rest(2).await;
}
