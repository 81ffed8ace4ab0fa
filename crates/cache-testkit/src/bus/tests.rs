use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    Announcement, BusEvent, Change, ChangeBus, ErrorKind, GapReason, Key, Namespace, Result,
};
use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};

use super::{BusFault, FaultRates, LocalBus, channel::SENT_MAX};
use crate::Random;

const CONNECTED: BusEvent = BusEvent::Connected;
const DISCONNECTED: BusEvent = BusEvent::Gap(GapReason::Disconnected);
const SLOW: BusEvent = BusEvent::Gap(GapReason::SlowListener);

type Events = BoxStream<'static, BusEvent>;

fn message(seq: u64) -> Announcement {
    let key = Key::parse(&format!("key/{seq}")).unwrap();
    let change = Change::Key { key, e_tag: Some("\"tag\"".into()) };
    Announcement { namespace: Namespace::named("s3://bucket"), node: 7, seq, change }
}

fn got(seq: u64) -> BusEvent {
    BusEvent::Message(message(seq))
}

/// The outcome of an announcement that does not wait.
fn announce(bus: &LocalBus, seq: u64) -> Result<()> {
    bus.announce(&message(seq)).now_or_never().expect("it waits")
}

fn announce_all(bus: &LocalBus, seqs: impl IntoIterator<Item = u64>) {
    seqs.into_iter().for_each(|seq| announce(bus, seq).unwrap());
}

/// All events that there are.
fn read(events: &mut Events) -> Vec<BusEvent> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

/// A stream that is connected, of a node.
fn listen(bus: &LocalBus, node: usize) -> Events {
    let mut events = bus.node(node).listen();
    assert_eq!(read(&mut events), [CONNECTED]);
    events
}

#[test]
fn each_listener_hears_each_message_in_order() {
    let bus = LocalBus::new();
    let (mut a, mut b) = (listen(&bus, 0), listen(&bus, 1));
    announce_all(&bus, 1..=3);
    announce_all(&bus.node(1), 4..=5);
    let all: Vec<_> = (1..=5).map(got).collect();
    assert_eq!((read(&mut a), read(&mut b)), (all.clone(), all));
    let counts = bus.counts();
    assert_eq!((counts.announced, counts.sent, counts.delivered), (5, 5, 10));
    assert_eq!((counts.listeners, counts.connected, counts.connects), (2, 2, 2));
    drop(a);
    announce_all(&bus, [6]);
    assert_eq!(read(&mut b), [got(6)]);
    assert_eq!(bus.counts().listeners, 1);
}

#[test]
fn a_stream_subscribes_when_it_is_first_polled() {
    let bus = LocalBus::new();
    let mut events = bus.listen();
    announce_all(&bus, [1]);
    assert_eq!(bus.counts().listeners, 0);
    assert_eq!(read(&mut events), [CONNECTED]);
    announce_all(&bus, [2]);
    assert_eq!(read(&mut events), [got(2)]);
}

#[tokio::test]
async fn a_listener_is_woken_by_messages_gaps_and_ends() {
    let bus = LocalBus::new();
    let mut events = listen(&bus, 0);
    let (cuts, ends) = (bus.clone(), bus.clone());
    for (change, expected) in [
        (Box::new(|bus: &LocalBus| announce_all(bus, [1])) as Box<dyn Fn(&LocalBus)>, Some(got(1))),
        (Box::new(move |_| cuts.cut(0)), Some(DISCONNECTED)),
        (Box::new(LocalBus::heal), Some(CONNECTED)),
        (Box::new(|bus| bus.inject(&b"?"[..])), Some(BusEvent::Unreadable)),
        (Box::new(move |_| ends.end_all()), None),
    ] {
        let next = tokio::spawn(async move { (events.next().await, events) });
        tokio::task::yield_now().await;
        change(&bus);
        let (event, back) = next.await.unwrap();
        assert_eq!(event, expected);
        events = back;
    }
}

#[test]
fn faults_happen_to_the_messages_they_are_narrowed_to() {
    let bus = LocalBus::new();
    let (mut a, mut b) = (listen(&bus, 1), listen(&bus, 2));
    bus.fault(BusFault::drop_silently().to(1).every(2));
    bus.fault(BusFault::drop_with_gap().listener(1).when(|passage| passage.message.seq == 3));
    announce_all(&bus, 1..=4);
    assert_eq!(read(&mut a), [got(1), got(3)]);
    assert_eq!(read(&mut b), [got(1), got(2), SLOW, got(4)]);
    let counts = bus.counts();
    assert_eq!((counts.dropped, counts.gaps, counts.delivered), (2, 1, 5));

    bus.heal();
    bus.fault(BusFault::drop_silently().from(5).once());
    announce_all(&bus.node(4), [5]);
    announce_all(&bus.node(5), [6, 7]);
    assert_eq!(read(&mut a), [got(5), got(7)], "the first listener comes first");
    assert_eq!(read(&mut b), [got(5), got(6), got(7)]);
}

#[test]
fn messages_are_repeated_reordered_delayed_and_edited() {
    let bus = LocalBus::new();
    let mut events = listen(&bus, 0);
    bus.fault(BusFault::repeat().once());
    announce_all(&bus, [1]);
    assert_eq!(read(&mut events), [got(1), got(1)]);

    bus.fault(BusFault::reorder().times(2));
    announce_all(&bus, 2..=5);
    assert_eq!(read(&mut events), [got(3), got(2), got(4), got(5)]);

    bus.fault(BusFault::delay().times(2));
    announce_all(&bus, 6..=8);
    assert_eq!(read(&mut events), [got(8)]);
    bus.release();
    assert_eq!(read(&mut events), [got(6), got(7)]);

    bus.fault(BusFault::edit(|bytes| bytes.slice(..9)).once());
    announce_all(&bus, 9..=10);
    assert_eq!(read(&mut events), [BusEvent::Unreadable, got(10)]);
    bus.fault(BusFault::reorder().once());
    bus.fault(BusFault::delay());
    announce_all(&bus, 11..=12);
    assert_eq!(read(&mut events), []);
    bus.heal();
    announce_all(&bus, [13]);
    assert_eq!(read(&mut events), [got(11), got(12), got(13)]);
    let counts = bus.counts();
    assert_eq!((counts.repeated, counts.reordered, counts.delayed, counts.edited), (1, 2, 3, 1));
}

#[test]
fn a_node_that_is_cut_hears_and_sends_nothing_until_it_is_healed() {
    let bus = LocalBus::new();
    let (mut a, mut b) = (listen(&bus, 1), listen(&bus, 2));
    bus.cut(1);
    assert_eq!(announce(&bus.node(1), 1).unwrap_err().kind(), ErrorKind::Unavailable);
    announce_all(&bus.node(2), [2]);
    let mut late = bus.node(1).listen();
    assert_eq!((read(&mut a), read(&mut late)), (vec![DISCONNECTED], vec![DISCONNECTED]));
    assert_eq!(read(&mut b), [got(2)]);
    bus.heal();
    announce_all(&bus.node(1), [3]);
    assert_eq!((read(&mut a), read(&mut late)), (vec![CONNECTED, got(3)], vec![CONNECTED, got(3)]));
    assert_eq!(read(&mut b), [got(3)]);
    // One connection, in the middle of the messages.
    bus.fault(BusFault::cut().to(2).once());
    announce_all(&bus, 4..=5);
    assert_eq!((read(&mut a), read(&mut b)), (vec![got(4), got(5)], vec![DISCONNECTED]));
    bus.cut_all();
    bus.heal();
    assert_eq!(read(&mut b), [CONNECTED]);
    assert_eq!(bus.counts().connected, 3);
}

#[test]
fn a_bus_that_lies_says_nothing_of_what_it_drops() {
    let bus = LocalBus::new();
    let (mut a, mut b) = (listen(&bus, 1), listen(&bus, 2));
    bus.split(&[&[1]]);
    announce_all(&bus.node(1), [1]);
    announce_all(&bus.node(2), [2]);
    announce_all(&bus.node(3), [3]);
    assert_eq!((read(&mut a), read(&mut b)), (vec![got(1)], vec![got(2), got(3)]));
    bus.heal();
    bus.blackhole(1);
    announce_all(&bus.node(1), [4]);
    let mut late = listen(&bus, 1);
    announce_all(&bus, [5]);
    assert_eq!((read(&mut a), read(&mut late)), (vec![], vec![]));
    assert_eq!(read(&mut b), [got(4), got(5)]);
    bus.blackhole_all();
    announce_all(&bus, [6]);
    bus.heal();
    announce_all(&bus, [7]);
    assert_eq!((read(&mut a), read(&mut b)), (vec![got(7)], vec![got(7)]));
}

#[test]
fn any_bytes_can_be_injected_old_messages_too() {
    let bus = LocalBus::new();
    let (mut a, mut b) = (listen(&bus, 1), listen(&bus, 2));
    announce_all(&bus, [1]);
    let mut newer = message(2).to_bytes();
    newer[4] += 1;
    bus.inject_to(1, newer);
    bus.inject(Bytes::new());
    bus.sent().into_iter().for_each(|bytes| bus.inject(bytes));
    assert_eq!(
        read(&mut a),
        [got(1), BusEvent::Gap(GapReason::NewerFormat), BusEvent::Unreadable, got(1)]
    );
    assert_eq!(read(&mut b), [got(1), BusEvent::Unreadable, got(1)]);
    announce_all(&bus, 0..2 * SENT_MAX as u64);
    assert_eq!(bus.sent().len(), SENT_MAX);
    assert_eq!(bus.sent()[0], Bytes::from(message(SENT_MAX as u64).to_bytes()));
}

#[test]
fn a_stream_that_ends_is_read_to_its_end() {
    let bus = LocalBus::new();
    let (mut a, mut b) = (listen(&bus, 1), listen(&bus, 2));
    announce_all(&bus, [1]);
    bus.end(1);
    announce_all(&bus, [2]);
    assert_eq!(a.next().now_or_never(), Some(Some(got(1))));
    assert_eq!(a.next().now_or_never(), Some(None));
    assert_eq!(a.next().now_or_never(), Some(None));
    assert_eq!(read(&mut b), [got(1), got(2)]);
    let mut again = listen(&bus, 1);
    announce_all(&bus, [3]);
    assert_eq!(read(&mut again), [got(3)]);
}

#[test]
fn an_unread_queue_is_bounded_and_reports_the_loss() {
    let bus = LocalBus::new();
    bus.set_queue_len(3);
    let (mut slow, mut fast) = (listen(&bus, 1), listen(&bus, 2));
    for seq in 1..=10 {
        announce_all(&bus, [seq]);
        assert_eq!(read(&mut fast), [got(seq)]);
    }
    assert_eq!(bus.counts().overflowed, 7);
    assert_eq!(slow.next().now_or_never(), Some(Some(got(1))));
    announce_all(&bus, [11]);
    assert_eq!(read(&mut slow), [got(2), got(3), SLOW, got(11)], "where the loss is");
    // Delayed messages are as many.
    bus.fault(BusFault::delay().to(1));
    announce_all(&bus, 12..=20);
    assert_eq!((bus.counts().delayed, bus.counts().dropped), (3, 6));
    drop(slow);
    assert_eq!(bus.counts().unread, 3);
}

#[tokio::test]
async fn announcements_fail_and_hang_before_or_after_they_are_sent() {
    let bus = LocalBus::new();
    let mut events = listen(&bus, 0);
    bus.fault(BusFault::fail(ErrorKind::Timeout).once());
    bus.fault(BusFault::fail(ErrorKind::Unavailable).late().once());
    assert_eq!(announce(&bus, 1).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(announce(&bus, 2).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(read(&mut events), [got(2)]);

    bus.fault(BusFault::hang().from(1).once());
    bus.fault(BusFault::hang().late().from(1).once());
    bus.fault(BusFault::hang().from(1));
    let hanging = |seq| {
        let bus = bus.node(1);
        tokio::spawn(async move { bus.announce(&message(seq)).await })
    };
    let (early, late) = (hanging(3), hanging(4));
    bus.wait_until_held(2).await;
    assert_eq!(read(&mut events), [got(4)]);
    bus.release();
    early.await.unwrap().unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(read(&mut events), [got(3)]);

    // A dropped future sends nothing later.
    let dropped = hanging(5);
    bus.wait_until_held(1).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    bus.heal();
    assert_eq!(read(&mut events), []);
    let counts = bus.counts();
    assert_eq!((counts.announced, counts.failed, counts.hung, counts.sent), (5, 2, 3, 3));
}

#[tokio::test]
async fn a_test_waits_for_counts() {
    let bus = LocalBus::new();
    let waits = tokio::spawn({
        let bus = bus.clone();
        async move { bus.wait_until(|counts| counts.delivered == 2).await }
    });
    let mut events = listen(&bus, 0);
    announce_all(&bus, 1..=2);
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    assert_eq!(read(&mut events).len(), 2);
    waits.await.unwrap();
}

/// All that three nodes read in a run of a seed.
fn run(seed: u64, rates: FaultRates) -> (LocalBus, Vec<BusEvent>) {
    let (bus, random) = (LocalBus::seeded(seed, rates), Random::new(seed));
    bus.set_queue_len(8);
    let mut streams: Vec<_> = (0..3).map(|node| bus.node(node).listen()).collect();
    let (mut all, mut hanging) = (Vec::new(), Vec::new());
    for seq in 1..=300 {
        let node = random.index(3);
        let (handle, message) = (bus.node(node), message(seq));
        let mut announced = async move { handle.announce(&message).await }.boxed();
        if (&mut announced).now_or_never().is_none() {
            hanging.push(announced);
        }
        let reader = random.index(3);
        all.extend(read(&mut streams[reader]));
        if streams[reader].next().now_or_never() == Some(None) {
            streams[reader] = bus.node(reader).listen();
        }
    }
    bus.heal();
    for announced in hanging {
        let _ = announced.now_or_never().expect("healed");
    }
    streams.iter_mut().for_each(|events| all.extend(read(events)));
    (bus, all)
}

#[test]
fn the_same_seed_brings_the_same_faults() {
    let (mut sums, rates) = ([0; 9], FaultRates::all(12));
    for seed in 0..20 {
        let ((bus, events), (again, same)) = (run(seed, rates), run(seed, rates));
        assert_eq!((&events, bus.counts()), (&same, again.counts()), "seed {seed}");
        let counts = bus.counts();
        let fates = [
            counts.failed,
            counts.hung,
            counts.dropped,
            counts.gaps,
            counts.overflowed,
            counts.repeated,
            counts.delayed,
            counts.reordered,
            counts.edited,
        ];
        sums.iter_mut().zip(fates).for_each(|(sum, fate)| *sum += fate);
        assert!(counts.injected > 0 && counts.cuts > 0 && counts.connects > 3, "{counts:?}");
    }
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
    assert_ne!(run(0, rates).1, run(1, rates).1);
}

/// Every copy of a message has one fate.
#[test]
fn fates_add_up() {
    let bus = LocalBus::seeded(3, FaultRates { end: 0, cut: 0, ..FaultRates::all(20) });
    bus.set_queue_len(8);
    let mut streams: Vec<_> = (0..3).map(|node| listen(&bus, node)).collect();
    for seq in 1..=500 {
        let _ = bus.announce(&message(seq)).now_or_never();
        if seq % 10 == 0 {
            streams.iter_mut().for_each(|events| drop(read(events)));
        }
    }
    bus.heal();
    drop(streams);
    let counts = bus.counts();
    let copies = 3 * (counts.sent + counts.injected) + counts.repeated;
    let losses = counts.dropped + counts.gaps + counts.disconnected + counts.overflowed;
    assert_eq!(copies, counts.delivered + losses + counts.unread, "{counts:?}");
}

#[test]
fn a_waker_may_call_the_bus() {
    struct Calls(LocalBus);
    impl std::task::Wake for Calls {
        fn wake(self: Arc<Self>) {
            assert_eq!(self.0.counts().sent, 1);
        }
    }
    let bus = LocalBus::new();
    let mut events = listen(&bus, 0);
    let waker = Arc::new(Calls(bus.clone())).into();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(events.poll_next_unpin(&mut context).is_pending());
    announce_all(&bus, [1]);
}
