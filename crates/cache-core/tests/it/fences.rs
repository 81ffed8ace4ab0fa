//! A write or an invalidation against a flight, at every point of it.

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Admission, Backend, Entry, Error, ErrorKind, Moment, PutCondition, Result, Status, Usage,
};
use cache_testkit::{
    BackendAction, BackendCall, Gate, HookBackend, MapBackend, OriginFault, WaitingBackend,
};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, secs, text};

/// What fences.
#[derive(Debug, Clone, Copy)]
enum Fence {
    Invalidate,
    Put,
    Delete,
    Clear,
    Prefix,
    Expire,
    OpenWrite,
}

const FENCES: [Fence; 7] = [
    Fence::Invalidate,
    Fence::Put,
    Fence::Delete,
    Fence::Clear,
    Fence::Prefix,
    Fence::Expire,
    Fence::OpenWrite,
];

impl Fence {
    async fn put_up(self, rig: &Rig) {
        match self {
            Self::Invalidate => rig.cache.invalidate(KEY).await.unwrap(),
            Self::Put => {
                drop(rig.cache.put(KEY, Bytes::from("put"), PutCondition::Always).await.unwrap());
            }
            Self::Delete => rig.cache.delete(KEY).await.unwrap(),
            Self::Clear => rig.cache.clear().await.unwrap(),
            Self::Prefix => rig.cache.invalidate_prefix("a/").unwrap(),
            Self::Expire => rig.cache.mark_stale(KEY).await.unwrap(),
            Self::OpenWrite => drop(rig.cache.open_write(KEY).await.unwrap()),
        }
    }
}

/// I-7: what was asked before a fence is not served to who comes after it, in any freshness.
#[tokio::test]
async fn no_answer_asked_before_a_fence_is_served_after_it() {
    for fence in FENCES {
        for held_before in [false, true] {
            let rig = Rig::new();
            rig.origin.inner().write(KEY, "one");
            if held_before {
                rig.check(STRONG, "one", Status::Fetched).await;
            }
            rig.origin.fault(OriginFault::hold().late());
            let early = rig.spawn_get(STRONG);
            rig.origin.wait_until_held(1).await;
            rig.origin.inner().write(KEY, "two");
            let fencing = {
                let rig = rig.clone();
                tokio::spawn(async move { fence.put_up(&rig).await })
            };
            rig.settle().await;
            // The early answer comes after the write has reached the origin, before or after its
            // own answer.
            rig.origin.release_all();
            fencing.await.unwrap();
            assert_eq!(text(&early.await.unwrap().unwrap()), "one", "{fence:?}: it arrived before");
            let late = rig.get(FOREVER).await.map(|served| text(&served));
            match fence {
                Fence::Put => assert_eq!(late.unwrap(), "put", "{fence:?}"),
                Fence::Delete => assert_eq!(late.unwrap_err().kind(), ErrorKind::NotFound),
                _ => assert_eq!(late.unwrap(), "two", "{fence:?}, held before: {held_before}"),
            }
            rig.at_rest(if held_before { 3 } else { 2 }).await;
        }
    }
}

/// The reader arrives after the fence while the early flight is still in flight: it does not join,
/// and nothing starts beside.
#[tokio::test]
async fn a_fenced_flight_is_not_joined_and_keeps_its_place() {
    for fence in [Fence::Invalidate, Fence::Clear, Fence::Prefix, Fence::Expire, Fence::OpenWrite] {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        rig.origin.fault(OriginFault::hold().late());
        let early = rig.spawn_get(FOREVER);
        rig.origin.wait_until_held(1).await;
        rig.origin.inner().write(KEY, "two");
        fence.put_up(&rig).await;
        let late = rig.spawn_get(FOREVER);
        rig.settle().await;
        assert_eq!(rig.origin.count(), 1, "{fence:?}: one in the air at a time");
        rig.origin.release_all();
        assert_eq!(text(&early.await.unwrap().unwrap()), "one");
        assert_eq!(text(&late.await.unwrap().unwrap()), "two", "{fence:?}");
        rig.check(FOREVER, "two", Status::Fresh).await;
        rig.at_rest(3).await;
    }
}

/// Rule 9: what a fenced flight answers may be newer than what is held.
#[tokio::test]
async fn a_fenced_flight_that_brings_news_removes_what_is_held() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    rig.origin.fault(OriginFault::hold().late());
    let early = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    rig.cache.mark_stale(KEY).await.unwrap();
    rig.origin.release_all();
    assert_eq!(text(&early.await.unwrap().unwrap()), "two");
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    let late = rig.get(STRONG.stale_if_error(secs(60))).await;
    assert_eq!(
        late.unwrap_err().kind(),
        ErrorKind::Unavailable,
        "\"one\" may not be served after \"two\""
    );
    rig.at_rest(3).await;
}

#[tokio::test]
async fn a_fenced_flight_that_finds_nothing_removes_what_is_held() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.fault(OriginFault::hold());
    let early = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    rig.cache.mark_stale(KEY).await.unwrap();
    rig.origin.inner().erase(KEY);
    rig.origin.release_all();
    assert_eq!(early.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    let late = rig.get(STRONG.stale_if_error(secs(60))).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Unavailable, "it is gone, and somebody knows");
    rig.at_rest(3).await;
}

#[tokio::test]
async fn a_fenced_confirmation_renews_nothing() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(STRONG, "one", Status::Fetched).await;
    rig.origin.fault(OriginFault::hold().late());
    let early = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    rig.cache.mark_stale(KEY).await.unwrap();
    rig.origin.release_all();
    assert_eq!(early.await.unwrap().unwrap().status, Status::Revalidated);
    rig.check(FOREVER, "one", Status::Revalidated).await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(4).await;
}

#[tokio::test]
async fn expire_asks_first_in_every_mode_and_keeps_the_bytes() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.cache.mark_stale(KEY).await.unwrap();
    rig.check(FOREVER, "one", Status::Revalidated).await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.cache.mark_stale("not/held").await.unwrap();
    assert_eq!(rig.cache.stats().invalidations(), 0);
    rig.at_rest(3).await;
}

#[tokio::test]
async fn a_put_is_one_request_and_its_own_reader_hits() {
    let rig = Rig::new();
    let version = rig.cache.put(KEY, "one".into(), PutCondition::Absent).await.unwrap();
    let got = rig.get(FOREVER).await.unwrap();
    assert_eq!(
        (text(&got).as_str(), got.status, got.entry.version()),
        ("one", Status::Fresh, version)
    );
    assert_eq!(rig.origin.count(), 1);
    rig.check(STRONG, "one", Status::Revalidated).await;
    rig.at_rest(2).await;
}

#[tokio::test]
async fn a_put_is_validated_at_its_sending() {
    let rig = Rig::new();
    rig.origin.fault(OriginFault::hold().late());
    let put = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.put(KEY, "one".into(), PutCondition::Always).await })
    };
    rig.origin.wait_until_held(1).await;
    rig.clock.advance(secs(8));
    rig.origin.release_all();
    put.await.unwrap().unwrap();
    assert_eq!(rig.get(FOREVER).await.unwrap().age(), secs(8));
    rig.at_rest(1).await;
}

#[tokio::test]
async fn a_lost_condition_leaves_nothing_held() {
    let rig = Rig::new();
    let first = rig.cache.put(KEY, "one".into(), PutCondition::Always).await.unwrap();
    let second = rig.cache.put(KEY, "two".into(), first.clone().into()).await.unwrap();
    assert_ne!(first, second);
    for condition in [PutCondition::Absent, first.into()] {
        let error = rig.cache.put(KEY, "three".into(), condition).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::PreconditionFailed, Some(KEY)));
        assert_eq!(rig.cache.stats().entries, 0);
        rig.check(FOREVER, "two", Status::Fetched).await;
    }
    rig.at_rest(2).await;
}

/// I-16: a put whose reply is lost may have taken effect.
#[tokio::test]
async fn a_put_with_an_unknown_outcome_leaves_nothing_held() {
    for (fault, left) in [
        (OriginFault::error(ErrorKind::Timeout).late(), "two"),
        (OriginFault::error(ErrorKind::Unavailable), "one"),
        (OriginFault::panic(), "one"),
    ] {
        let shown = format!("{fault:?}");
        let rig = Rig::new();
        rig.cache.put(KEY, "one".into(), PutCondition::Always).await.unwrap();
        rig.origin.fault(fault.once());
        assert!(rig.cache.put(KEY, "two".into(), PutCondition::Always).await.is_err());
        assert_eq!(rig.cache.stats().entries, 0, "{shown}");
        rig.check(FOREVER, left, Status::Fetched).await;
        rig.at_rest(1).await;
    }
}

#[tokio::test]
async fn while_a_put_is_open_reads_are_answered_and_nothing_is_published() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.origin.fault(OriginFault::hold().late());
    let put = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.put(KEY, "two".into(), PutCondition::Always).await })
    };
    rig.origin.wait_until_held(1).await;
    let during = rig.spawn_get(FOREVER);
    rig.origin.wait_until_held(2).await;
    rig.origin.inner().write(KEY, "three");
    rig.origin.release_all();
    assert_eq!(text(&during.await.unwrap().unwrap()), "two");
    put.await.unwrap().unwrap();
    assert_eq!(rig.cache.stats().entries, 0, "neither the put nor the flight may be kept");
    rig.check(FOREVER, "three", Status::Fetched).await;
    rig.at_rest(2).await;
}

#[tokio::test]
async fn overlapping_puts_keep_nothing() {
    let rig = Rig::new();
    rig.origin.fault(OriginFault::hold().late());
    let puts: Vec<_> = ["one", "two"]
        .map(|body| {
            let cache = rig.cache.clone();
            tokio::spawn(async move { cache.put(KEY, body.into(), PutCondition::Always).await })
        })
        .into();
    rig.origin.wait_until_held(2).await;
    rig.origin.release_all();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert_eq!(rig.cache.stats().entries, 0);
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.at_rest(1).await;
}

#[tokio::test]
async fn invalidations_count_copies_that_were_held() {
    let rig = Rig::new();
    for key in ["a/b", "a/c", "d"] {
        rig.origin.inner().write(key, key);
        rig.cache.get(key, None).await.unwrap();
    }
    rig.cache.invalidate("a/b").await.unwrap();
    rig.cache.invalidate("a/b").await.unwrap();
    assert_eq!(rig.cache.stats().invalidations(), 1);
    rig.cache.invalidate_prefix("a/").unwrap();
    rig.cache.get("a/c", Some(&FOREVER)).await.unwrap();
    assert_eq!(rig.cache.stats().invalidations(), 2);
    rig.cache.get("d", Some(&FOREVER)).await.unwrap();
    rig.cache.clear().await.unwrap();
    let stats = rig.cache.stats();
    assert_eq!((stats.invalidations(), stats.entries, stats.fresh), (4, 0, 1));
    rig.at_rest(5).await;
}

/// An insert that lands after `clear` carries the epoch of its question.
#[tokio::test]
async fn an_insert_that_lands_after_clear_is_void() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    let early = rig.spawn_get(FOREVER);
    rig.origin.fault(OriginFault::hold().late());
    rig.origin.wait_until_held(1).await;
    backend.gate.close();
    rig.origin.release_all();
    backend.gate.wait_held(1).await; // The insert, decided before the clear.
    rig.origin.inner().write(KEY, "two");
    let clear = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.clear().await })
    };
    backend.gate.wait_held(2).await;
    backend.gate.open();
    clear.await.unwrap().unwrap();
    assert_eq!(text(&early.await.unwrap().unwrap()), "one");
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.at_rest(2).await;
}

/// Also when it lands after `clear` has returned.
#[tokio::test]
async fn an_insert_that_lands_long_after_clear_is_void() {
    let (gate, backend) = held_inserts();
    let rig = Rig::over(backend);
    rig.origin.inner().write(KEY, "one");
    gate.close();
    let early = rig.spawn_get(FOREVER);
    gate.wait_held(1).await;
    rig.cache.clear().await.unwrap();
    rig.origin.inner().write(KEY, "two");
    gate.open();
    assert_eq!(text(&early.await.unwrap().unwrap()), "one");
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.at_rest(2).await;
}

/// `clear` fences at its end too, here where its caller goes away: what was asked about meanwhile
/// is void then.
#[tokio::test]
async fn what_was_asked_during_a_clear_is_void_after_it() {
    let rig = Rig::over(Broken { inner: MapBackend::new(), call: BrokenCall::EndlessClear });
    rig.origin.inner().write(KEY, "one");
    let mut clear = Box::pin(rig.cache.clear());
    assert!(poll_once(clear.as_mut()).is_pending());
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.origin.inner().write(KEY, "two");
    drop(clear);
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.at_rest(3).await;
}

/// Who has been answered has been answered with what is held: the next reader may not see anything
/// older.
#[tokio::test]
async fn nobody_is_woken_before_the_answer_is_published() {
    let backend = Arc::new(WaitingBackend::new(MapBackend::new(), 0, 1));
    let rig = Rig::over(Arc::clone(&backend));
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.origin.inner().write(KEY, "two");
    rig.origin.fault(OriginFault::hold().late());
    let reader = rig.spawn_get(STRONG);
    rig.origin.wait_until_held(1).await;
    backend.gate.close();
    rig.origin.release_all();
    backend.gate.wait_held(1).await;
    rig.settle().await;
    assert!(!reader.is_finished(), "the insert has not been done");
    backend.gate.open();
    assert_eq!(text(&reader.await.unwrap().unwrap()), "two");
    rig.check(FOREVER, "two", Status::Fresh).await;
    rig.at_rest(3).await;
}

/// A remove that fails leaves the entry where it is; it is void all the same.
#[tokio::test]
async fn a_failed_remove_voids_the_entry() {
    let rig = Rig::over(Broken { inner: MapBackend::new(), call: BrokenCall::Remove });
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.origin.inner().write(KEY, "two");
    rig.cache.invalidate(KEY).await.unwrap();
    rig.check(FOREVER, "two", Status::Fetched).await;
    rig.check(FOREVER, "two", Status::Fresh).await;
    assert_eq!(rig.cache.stats().backend_errors, 1);
    rig.at_rest(4).await;
}

/// What could not be stored in the place of an entry removes it: its readers have seen something
/// newer.
#[tokio::test]
async fn a_failed_insert_removes_what_was_held() {
    for call in [
        BrokenCall::InsertOfTwo,
        BrokenCall::PanickingInsertOfTwo,
        BrokenCall::InsertOfTwoPanickingAtOnce,
    ] {
        let rig = Rig::over(Broken { inner: MapBackend::new(), call });
        rig.origin.inner().write(KEY, "one");
        rig.check(FOREVER, "one", Status::Fetched).await;
        rig.origin.inner().write(KEY, "two");
        rig.check(STRONG, "two", Status::Refetched).await;
        rig.check(FOREVER, "two", Status::Fetched).await;
        let stats = rig.cache.stats();
        assert_eq!((stats.rejections(), stats.backend_errors, stats.entries), (2, 2, 0));
        rig.at_rest(3).await;
    }
}

/// A panic while looking is "not held", and an entry that cannot be marked is void.
#[tokio::test]
async fn a_backend_that_panics_when_looked_at_costs_requests_only() {
    let rig = Rig::over(Broken { inner: MapBackend::new(), call: BrokenCall::Peek });
    rig.origin.inner().write(KEY, "one");
    for _ in 0..2 {
        rig.check(FOREVER, "one", Status::Fetched).await;
    }
    rig.cache.mark_stale(KEY).await.unwrap();
    assert!(rig.cache.stats().backend_errors > 2);
    rig.at_rest(2).await;
}

/// A backend one of whose calls fails, and leaves what is held as it is.
struct Broken {
    inner: MapBackend,
    call: BrokenCall,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum BrokenCall {
    Peek,
    Remove,
    InsertOfTwo,
    PanickingInsertOfTwo,
    /// Before there is a future.
    InsertOfTwoPanickingAtOnce,
    EndlessClear,
}

#[async_trait]
impl Backend for Broken {
    fn get_now(&self, key: &str) -> Option<Entry> {
        assert_ne!(self.call, BrokenCall::Peek, "out of order");
        self.inner.get_now(key)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        assert_ne!(self.call, BrokenCall::Peek, "out of order");
        self.inner.peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }

    fn insert<'a, 'f>(
        &'a self,
        entry: Entry,
    ) -> Pin<Box<dyn Future<Output = Result<Admission>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        assert!(
            self.call != BrokenCall::InsertOfTwoPanickingAtOnce || entry.body() != "two",
            "no room"
        );
        Box::pin(async move {
            match self.call {
                BrokenCall::InsertOfTwo if entry.body() == "two" => {
                    Err(Error::new(ErrorKind::Backend, "no room"))
                }
                BrokenCall::PanickingInsertOfTwo if entry.body() == "two" => panic!("no room"),
                _ => self.inner.insert(entry).await,
            }
        })
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        match self.call {
            BrokenCall::Remove => Err(Error::new(ErrorKind::Backend, "it will not go")),
            _ => self.inner.remove(key).await,
        }
    }

    async fn clear(&self) -> Result<()> {
        if self.call == BrokenCall::EndlessClear {
            std::future::pending::<()>().await;
        }
        self.inner.clear().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.inner.sweep(now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

/// Returns a backend whose inserts wait at the gate.
pub(crate) fn held_inserts() -> (Arc<Gate>, HookBackend) {
    let gate = Arc::new(Gate::new());
    let backend = HookBackend::new(MapBackend::new(), {
        let gate = Arc::clone(&gate);
        move |call| match call {
            BackendCall::Insert(_) => BackendAction::hold(&gate),
            _ => BackendAction::Proceed,
        }
    });
    (gate, backend)
}
