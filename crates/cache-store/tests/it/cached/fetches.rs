//! Several readers of one answer.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use cache_core::{Backend, Freshness};
use cache_store::CachedStore;
use cache_testkit::{BodyFault, Fault, FaultyStore, Gate, HookBackend, MapBackend, WaitingBackend};
use futures_util::{
    FutureExt, StreamExt,
    future::poll_immediate,
    stream::{BoxStream, poll_fn},
};
use object_store::{ObjectStore, ObjectStoreExt, Result};

use super::{
    HOUR, asked, body, bounded, builder, builder_over, get, lasting, part, read, read_all,
    scripted_store::{ScriptedStore, with_body},
    slow::{Slow, slow},
    status, with_object,
};
use crate::{path, write};

type Body = BoxStream<'static, Result<Bytes>>;

/// A store whose bodies come by 5 bytes, each of which has to pass the gate; and a cache that knows
/// the head.
async fn gated(len: usize) -> (Arc<Gate>, FaultyStore, CachedStore) {
    let gate = Arc::new(Gate::new());
    let store = ScriptedStore::gated(&gate, 5);
    write(&store, body(len)).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    (gate, store, cached)
}

async fn stream(cached: &CachedStore) -> Body {
    cached.get(&path()).await.unwrap().into_stream()
}

async fn rest(mut body: Body) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(chunk) = body.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }
    read
}

async fn next(body: &mut Body) -> Bytes {
    body.next().await.unwrap().unwrap()
}

fn is_pending(body: &mut Body) -> bool {
    body.next().now_or_never().is_none()
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn is_idle(cached: &CachedStore) -> bool {
    let shown = format!("{cached:?}");
    shown.contains("objects_on_their_way: 0")
}

#[tokio::test]
async fn twenty_readers_of_the_same_blocks_make_one_request() {
    for known in [false, true] {
        let store = with_object(50).await;
        let cached = lasting(&store);
        if known {
            cached.head(&path()).await.unwrap();
            store.reset();
        }
        store.fault(Fault::hold());
        let readers: Vec<_> = (0..20)
            .map(|_| {
                let cached = cached.clone();
                tokio::spawn(async move {
                    let answer = get(&cached, 3..48).await.unwrap();
                    let status = status(&answer);
                    (answer.bytes().await.unwrap(), status.coalesced())
                })
            })
            .collect();
        store.wait_until_held(1).await;
        settle().await;
        store.release_all();
        let mut n_coalesced = 0;
        for reader in readers {
            let (read, coalesced) = reader.await.unwrap();
            assert_eq!(read, part(3..48));
            n_coalesced += u32::from(coalesced);
        }
        assert_eq!(asked(&store), [(bounded(0..50), known)]);
        // Without a head, those who waited for it find the blocks held.
        assert!(!known || n_coalesced == 19);
        assert!(is_idle(&cached));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_on_many_threads_get_what_they_asked_for() {
    for round in 0..20 {
        let gate = Arc::new(Gate::new());
        let store = ScriptedStore::gated(&gate, 3);
        write(&store, body(500)).await;
        let cached = lasting(&store);
        gate.close();
        let readers: Vec<_> = (0..32_usize)
            .map(|n| {
                let cached = cached.clone();
                tokio::spawn(async move {
                    let (from, to) = ((n * 7 + round) % 200, 300 + n * 5);
                    let read = read(&cached, from as u64..to as u64).await;
                    assert_eq!(read, part(from..to));
                })
            })
            .collect();
        gate.wait_held(1).await;
        gate.open();
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(read_all(&cached).await, body(500));
        assert!(is_idle(&cached));
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_whole_blocks_and_the_others_go_on() {
    let (gate, store, cached) = gated(50).await;
    gate.close();
    let (mut gone, mut other) = (stream(&cached).await, stream(&cached).await);
    assert!(is_pending(&mut gone) && is_pending(&mut other));
    drop(gone);
    gate.open();
    assert_eq!(next(&mut other).await, part(0..5));
    assert_eq!(rest(other).await, part(5..50));
    assert_eq!(asked(&store), [(bounded(0..50), true)]);

    let (gate, store, cached) = gated(50).await;
    let mut one = stream(&cached).await;
    next(&mut one).await;
    next(&mut one).await;
    gate.close();
    assert!(is_pending(&mut one));
    drop(one);
    gate.open();
    assert!(is_idle(&cached));
    settle().await;
    // Nobody read on.
    assert_eq!(store.body_bytes(), 10);
    store.reset();
    assert_eq!(read_all(&cached).await, body(50));
    assert_eq!(asked(&store), [(bounded(10..50), true)]);
}

#[tokio::test]
async fn the_one_who_began_need_not_be_polled_for_the_others_to_go_on() {
    // Neither while the request is on its way,
    let store = with_object(50).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    store.fault(Fault::hold());
    let mut first = Box::pin(get(&cached, 0..50));
    let mut second = Box::pin(get(&cached, 0..50));
    assert!(poll_immediate(&mut first).await.is_none());
    assert!(poll_immediate(&mut second).await.is_none());
    store.release_all();
    let second = second.await.unwrap();
    assert_eq!(second.bytes().await.unwrap(), body(50));
    assert_eq!(first.await.unwrap().bytes().await.unwrap(), body(50));
    assert_eq!(store.count(), 1);

    // nor while its body is.
    let (gate, store, cached) = gated(50).await;
    let (mut first, mut second) = (stream(&cached).await, stream(&cached).await);
    next(&mut first).await;
    gate.close();
    assert!(is_pending(&mut first));
    assert_eq!(next(&mut second).await, part(0..5));
    assert!(is_pending(&mut second));
    let second = tokio::spawn(rest(second));
    settle().await;
    gate.open();
    assert_eq!(second.await.unwrap(), part(5..50));
    assert_eq!(rest(first).await, part(5..50));
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn the_one_who_began_may_go_away_while_the_request_is_on_its_way() {
    let store = with_object(50).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    store.fault(Fault::hold());
    let mut first = Box::pin(get(&cached, 0..50));
    assert!(poll_immediate(&mut first).await.is_none());
    let second = tokio::spawn({
        let cached = cached.clone();
        async move { read(&cached, 0..50).await }
    });
    settle().await;
    drop(first);
    store.release_all();
    assert_eq!(second.await.unwrap(), body(50));
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn nothing_is_read_ahead_of_the_fastest_reader() {
    let (_gate, store, cached) = gated(500).await;
    let mut slow = stream(&cached).await;
    settle().await;
    assert!(store.body_bytes() <= 5);
    for n in 1..10 {
        next(&mut slow).await;
        settle().await;
        assert!(store.body_bytes() <= n * 5 + 5);
    }
    // A faster one is not held back.
    assert_eq!(read_all(&cached).await, body(500));
    assert_eq!(rest(slow).await, part(45..500));
    assert_eq!(store.count(), 1);
}

/// For blocks that are not there any more.
#[tokio::test]
async fn a_reader_that_falls_behind_is_served_what_was_retained_and_asks_for_the_rest() {
    for (n_blocks, requests) in [(1 << 20, vec![]), (16, vec![(bounded(25..500), true)])] {
        let gate = Arc::new(Gate::new());
        let store = ScriptedStore::gated(&gate, 5);
        write(&store, body(500)).await;
        let cached = builder(&store)
            .freshness(Freshness::max_age(HOUR))
            .max_in_flight_bytes(n_blocks * 1024)
            .build()
            .unwrap();
        cached.head(&path()).await.unwrap();
        let mut slow = stream(&cached).await;
        next(&mut slow).await;
        read_all(&cached).await;
        cached.clear().await.unwrap();
        store.reset();
        assert_eq!(rest(slow).await, part(5..500));
        assert_eq!(asked(&store), requests);
    }
}

#[tokio::test]
async fn who_is_far_ahead_makes_a_request_of_its_own() {
    let (gate, store, cached) = gated(500).await;
    let mut slow = stream(&cached).await;
    next(&mut slow).await;
    store.reset();
    assert_eq!(read(&cached, 20..23).await, part(20..23));
    assert_eq!(store.count(), 0);
    assert_eq!(read(&cached, 300..303).await, part(300..303));
    assert_eq!(asked(&store), [(bounded(300..305), true)]);
    drop(gate);
    assert_eq!(rest(slow).await, part(5..500));
}

#[tokio::test]
async fn what_others_bring_does_not_split_a_request() {
    let store = with_object(50).await;
    let cached = lasting(&store);
    cached.head(&path()).await.unwrap();
    store.reset();
    store.fault(Fault::hold().once());
    let spawn = |range: std::ops::Range<u64>| {
        let cached = cached.clone();
        tokio::spawn(async move { read(&cached, range).await })
    };
    let one = spawn(20..30);
    store.wait_until_held(1).await;
    let other = spawn(10..40);
    settle().await;
    store.release_all();
    assert_eq!((one.await.unwrap(), other.await.unwrap()), (part(20..30), part(10..40)));
    assert_eq!(asked(&store), [(bounded(20..30), true), (bounded(10..40), true)]);
}

#[tokio::test]
async fn a_block_of_which_all_was_given_out_that_was_wanted_is_read_to_its_end() {
    let gate = Arc::new(Gate::new());
    let store = ScriptedStore::gated(&gate, 2);
    write(&store, body(50)).await;
    let cached = lasting(&store);
    let mut one = get(&cached, 5..6).await.unwrap().into_stream();
    assert_eq!(next(&mut one).await, part(5..6));
    assert!(store.body_bytes() < 5);
    gate.close();
    drop(one);
    // Who comes now waits for it.
    store.reset();
    let other = tokio::spawn({
        let cached = cached.clone();
        async move { read(&cached, 7..10).await }
    });
    settle().await;
    gate.open();
    assert_eq!(other.await.unwrap(), part(7..10));
    settle().await;
    assert_eq!(read(&cached, 5..10).await, part(5..10));
    assert_eq!(store.count(), 0);
    assert!(is_idle(&cached));
}

#[tokio::test]
async fn a_read_may_be_dropped_at_every_poll() {
    for n_polls in 0..60 {
        let gate = Arc::new(Gate::new());
        let store = ScriptedStore::gated(&gate, 2);
        write(&store, body(23)).await;
        // With a backend that waits, too.
        let backend = WaitingBackend::new(MapBackend::new(), 0, n_polls);
        let cached = builder_over(&store, Arc::new(backend))
            .freshness(Freshness::max_age(HOUR))
            .build()
            .unwrap();
        let reading = {
            let cached = cached.clone();
            async move { read(&cached, 3..21).await }
        };
        let mut reading = Box::pin(reading);
        for _ in 0..n_polls {
            if poll_immediate(&mut reading).await.is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(reading);
        settle().await;
        assert!(is_idle(&cached), "after {n_polls} polls");
        for _ in 0..2 {
            assert_eq!(read(&cached, 3..21).await, part(3..21), "after {n_polls} polls");
        }
        settle().await;
        store.reset();
        assert_eq!(read_all(&cached).await, body(23));
        assert!(store.body_bytes() <= 3, "after {n_polls} polls");
    }
}

#[tokio::test]
async fn a_body_may_be_dropped_at_every_chunk() {
    for n_chunks in 0..12 {
        let gate = Arc::new(Gate::new());
        let store = ScriptedStore::gated(&gate, 2);
        write(&store, body(23)).await;
        let cached = lasting(&store);
        let mut body_read = stream(&cached).await;
        let mut got = 0;
        for _ in 0..n_chunks {
            got += next(&mut body_read).await.len();
        }
        drop(body_read);
        settle().await;
        store.reset();
        assert_eq!(read_all(&cached).await, body(23));
        let kept = if got == 23 { 23 } else { got - got % 5 };
        assert_eq!(store.body_bytes(), (23 - kept) as u64);
    }
}

/// A cache over a backend that does not take blocks, with room for four that it has not taken.
async fn over_slow(store: &FaultyStore) -> (Arc<Slow>, Arc<HookBackend>, CachedStore) {
    let (slow, backend) = slow();
    slow.blocks.close();
    let cached = builder_over(store, Arc::<HookBackend>::clone(&backend))
        .freshness(Freshness::max_age(HOUR))
        .max_in_flight_bytes(4 * 1024)
        .build()
        .unwrap();
    (slow, backend, cached)
}

#[tokio::test]
async fn what_is_on_its_way_to_a_slow_backend_is_served() {
    let store = with_object(23).await;
    let (slow, backend, cached) = over_slow(&store).await;
    assert_eq!(read(&cached, 5..10).await, part(5..10));
    assert_eq!(backend.usage().entries, 1);
    store.reset();
    assert_eq!(read(&cached, 6..9).await, part(6..9));
    assert_eq!(store.count(), 0);
    slow.blocks.open();
    settle().await;
    assert_eq!(backend.usage().entries, 2);
    assert_eq!(read(&cached, 6..9).await, part(6..9));
    assert_eq!(store.count(), 0);
}

/// However long the inserts wait, and however many: as long as there is room.
#[tokio::test]
async fn every_block_is_kept_that_finds_room_in_max_in_flight_bytes() {
    let store = with_object(500).await;
    let (slow, backend) = slow();
    slow.blocks.close();
    let cached = builder_over(&store, Arc::<HookBackend>::clone(&backend))
        .freshness(Freshness::max_age(HOUR))
        // A KiB for each block: one that is being collected, and those that wait.
        .max_in_flight_bytes(100 * 1024)
        .build()
        .unwrap();
    assert_eq!(read_all(&cached).await, body(500));
    assert_eq!(slow.n_blocks.load(Ordering::Relaxed), 100);
    slow.blocks.open();
    settle().await;
    assert_eq!(cached.stats().blocks_refused.backend, 0);
    assert_eq!(backend.usage().entries, 101);
    store.reset();
    assert_eq!(read_all(&cached).await, body(500));
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn a_slow_backend_holds_no_reader_up_and_few_blocks() {
    let store = with_object(500).await;
    let (slow, _, cached) = over_slow(&store).await;
    assert_eq!(read_all(&cached).await, body(500));
    assert_eq!(slow.n_blocks.load(Ordering::Relaxed), 4);
    assert_eq!(cached.stats().blocks_refused.backend, 96, "those that were dropped are counted");
    // Two versions of one block are never on their way at once.
    write(&store, vec![b'n'; 500]).await;
    cached.invalidate(&path()).await.unwrap();
    assert_eq!(read_all(&cached).await, vec![b'n'; 500]);
    slow.blocks.open();
    settle().await;
    assert!(!slow.overlapped.load(Ordering::Relaxed));
    assert_eq!(read_all(&cached).await, vec![b'n'; 500]);
    settle().await;
    store.reset();
    assert_eq!(read_all(&cached).await, vec![b'n'; 500]);
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn what_the_backend_failed_to_take_is_removed() {
    let store = with_object(23).await;
    let (slow, _, cached) = over_slow(&store).await;
    cached.head(&path()).await.unwrap();
    slow.blocks.open();
    slow.fails.store(true, Ordering::Relaxed);
    let n_removed = slow.n_removed.load(Ordering::Relaxed);
    assert_eq!(read(&cached, 5..15).await, part(5..15));
    assert_eq!(slow.n_removed.load(Ordering::Relaxed), n_removed + 2);
    assert_eq!(cached.stats().backend_errors, 2);
}

#[tokio::test]
async fn a_backend_that_refuses_and_fails_costs_requests_alone() {
    for seed in 0..20 {
        let store = with_object(100).await;
        store.fault(Fault::body(BodyFault::Chunked(3)));
        let backend = WaitingBackend::new(MapBackend::new(), 128, seed);
        let rule = Freshness::max_age(HOUR);
        let cached = builder_over(&store, Arc::new(backend)).freshness(rule).build().unwrap();
        let readers: Vec<_> = (0..8_usize)
            .map(|n| {
                let cached = cached.clone();
                tokio::spawn(async move {
                    let (from, to) = (n * 9, 100 - n * 3);
                    assert_eq!(read(&cached, from as u64..to as u64).await, part(from..to));
                    let parts =
                        cached.get_ranges(&path(), &[from as u64..from as u64 + 2, 7..99]).await;
                    assert_eq!(parts.unwrap(), [part(from..from + 2), part(7..99)]);
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(is_idle(&cached));
    }
}

#[tokio::test]
async fn an_error_is_told_to_the_one_whose_request_it_is_and_the_others_ask_anew() {
    let (gate, store, cached) = gated(50).await;
    store.fault(Fault::body(BodyFault::Fails(12)).once());
    let mut readers = [stream(&cached).await, stream(&cached).await];
    for n in 0..2 {
        for reader in &mut readers {
            assert_eq!(next(reader).await, part(n * 5..n * 5 + 5));
        }
    }
    gate.close();
    assert!(readers.iter_mut().all(is_pending));
    gate.open();
    for reader in &mut readers {
        assert_eq!(next(reader).await, part(10..12));
    }
    store.reset();
    let [mut own, joined] = readers;
    let error = own.next().await.unwrap();
    assert!(matches!(error, Err(object_store::Error::Generic { .. })), "{error:?}");
    assert!(own.next().await.is_none());
    // Also while the other one has yet to hear of it.
    assert_eq!(read_all(&cached).await, body(50));
    assert_eq!(rest(joined).await, part(12..50));
    assert_eq!(asked(&store), [(bounded(10..50), true)]);
}

/// A store whose bodies have 5 bytes, and then come from `then`.
fn with_rest(
    then: impl Fn(&mut Context<'_>) -> Poll<Option<Result<Bytes>>> + Clone + Send + Sync + 'static,
) -> FaultyStore {
    ScriptedStore::answers(move |answer| {
        with_body(answer, |body| {
            let first = body.map(|chunk| Ok(chunk.unwrap().slice(0..5)));
            first.chain(poll_fn(then.clone())).boxed()
        })
    })
}

/// Two readers of one fill, which wait for what comes behind the first 5 bytes.
async fn two_readers(store: &FaultyStore) -> (CachedStore, Body, Body) {
    write(store, body(17)).await;
    let cached = lasting(store);
    cached.head(&path()).await.unwrap();
    let (mut one, mut other) = (stream(&cached).await, stream(&cached).await);
    assert_eq!((next(&mut one).await, next(&mut other).await), (part(0..5), part(0..5)));
    (cached, one, other)
}

#[tokio::test]
async fn a_panic_of_the_store_is_an_error_for_those_who_wait() {
    let panics = Arc::new(AtomicBool::new(false));
    let store = with_rest({
        let panics = Arc::clone(&panics);
        move |_| {
            assert!(!panics.load(Ordering::Relaxed), "the store panics");
            Poll::Pending
        }
    });
    let (cached, mut one, mut other) = two_readers(&store).await;
    let one = tokio::spawn(async move { one.next().await.unwrap() });
    settle().await;
    panics.store(true, Ordering::Relaxed);
    AssertUnwindSafe(other.next()).catch_unwind().await.unwrap_err();
    assert!(matches!(one.await.unwrap(), Err(object_store::Error::Generic { .. })));
    drop(other);
    assert!(is_idle(&cached));
}

#[tokio::test]
async fn who_comes_while_another_polls_does_not_miss_the_wake() {
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    // While it is polled, it wakes who waits, and only then the other reader comes.
    let (woken, late) = (Arc::<Woken>::default(), Arc::<Mutex<Option<Body>>>::default());
    let store = with_rest({
        let (woken, late) = (Arc::clone(&woken), Arc::clone(&late));
        move |context| {
            let other = late.lock().unwrap().take();
            if let Some(mut other) = other {
                context.waker().wake_by_ref();
                let waker = Waker::from(Arc::clone(&woken));
                assert!(other.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
                *late.lock().unwrap() = Some(other);
            }
            Poll::Pending
        }
    });
    let (_cached, mut one, other) = two_readers(&store).await;
    *late.lock().unwrap() = Some(other);
    assert!(is_pending(&mut one));
    assert!(woken.0.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_body_is_read_on_another_runtime_or_on_none() {
    let (_gate, store, cached) = gated(50).await;
    let body_read = stream(&cached).await;
    let read = std::thread::spawn(|| futures_util::FutureExt::now_or_never(rest(body_read)))
        .join()
        .unwrap();
    assert_eq!(read.unwrap(), body(50));
    store.reset();
    assert_eq!(read_all(&cached).await, body(50));
    assert_eq!(store.count(), 0);
}

/// It waits as long as the store lets it, for tokio has no timer for it any more.
#[test]
fn a_body_is_read_on_when_the_runtime_that_began_it_has_been_shut_down() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (gate, cached, mut body_read) = first.block_on(async {
        let (gate, _, cached) = gated(50).await;
        let mut body_read = stream(&cached).await;
        assert_eq!(next(&mut body_read).await, part(0..5));
        gate.close();
        assert!(is_pending(&mut body_read));
        (gate, cached, body_read)
    });
    drop(first);
    for _ in 0..2 {
        assert!(is_pending(&mut body_read));
    }
    runtime().block_on(async {
        assert!(is_pending(&mut body_read));
        gate.open();
        assert_eq!(rest(body_read).await, part(5..50));
        assert!(is_idle(&cached));
    });
}

#[tokio::test]
async fn without_room_for_a_block_reads_go_on_and_nothing_is_cached() {
    let gate = Arc::new(Gate::new());
    let store = ScriptedStore::gated(&gate, 1000);
    write(&store, body(20_000)).await;
    let cached = CachedStore::builder(Arc::new(store.clone()), Arc::new(MapBackend::new()))
        .block_size(4096)
        .max_in_flight_bytes(1024)
        .freshness(Freshness::max_age(HOUR))
        .build()
        .unwrap();
    cached.head(&path()).await.unwrap();
    for _ in 0..2 {
        store.reset();
        let (one, other) = (stream(&cached).await, stream(&cached).await);
        let (one, other) = tokio::join!(tokio::spawn(rest(one)), tokio::spawn(rest(other)));
        assert_eq!((one.unwrap(), other.unwrap()), (body(20_000).to_vec(), body(20_000).to_vec()));
        let parts =
            cached.get_ranges(&path(), &[10..20, 4000..9000, 19_999..20_000]).await.unwrap();
        assert_eq!(parts, [part(10..20), part(4000..9000), part(19_999..20_000)]);
        // Each reader makes at most one more request, when the other one has read on.
        assert!(store.count() <= 4, "{:?}", store.requests());
    }
    let stats = cached.stats();
    assert_eq!((stats.blocks_hit, stats.heads.entries), (0, 1));
    assert!(stats.blocks_refused.backend > 0);
    assert!(is_idle(&cached));
}
