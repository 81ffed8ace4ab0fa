//! A bus that keeps its contract, and what each of its faults breaks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cache_core::{
    Announcement, BusEvent, Change, ChangeBus, Error, ErrorKind, GapReason, Key, Namespace, Result,
};
use cache_testkit::{
    BusFault, LocalBus,
    conformance::bus::{self, Broker, Capabilities, RULES, Suite},
};
use futures_util::{
    StreamExt as _,
    future::{join_all, ready},
    stream::{self, BoxStream},
};
use tokio::{sync::Mutex, task::yield_now};

use crate::{SHORT, broken, covered};

/// The fault of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    MessageBeforeConnected,
    NeverConnected,
    ConnectedTooEarly,
    HearsOthersAlone,
    LosesTags,
    CutsKeys,
    SplitsLines,
    OneListenerEach,
    LosesOneOfMany,
    Reorders,
    MixesUp,
    DropEndsOthers,
    FailsUnheard,
    EndsWithItsClient,
    StaysLocked,
    KeepsAll,
    HidesLosses,
    StopsAfterALoss,
    WaitsForTheSlow,
    HidesOutages,
    StaysDisconnected,
    HidesReconnects,
    EndsInAnOutage,
    HidesGarbage,
    EndsAtGarbage,
    NewerIsUnreadable,
    Panics,
}

/// For each rule, what must be caught by it.
const CASES: &[(&str, &[Fault])] = &[
    ("the_first_event_is_connected", &[Fault::MessageBeforeConnected, Fault::NeverConnected]),
    ("a_message_after_connected_is_delivered", &[Fault::ConnectedTooEarly]),
    ("a_listener_hears_its_own_client", &[Fault::HearsOthersAlone]),
    ("a_message_is_delivered_whole", &[Fault::LosesTags, Fault::CutsKeys, Fault::SplitsLines]),
    ("each_listener_hears_each_message", &[Fault::OneListenerEach]),
    ("messages_come_in_order_or_with_a_gap", &[Fault::LosesOneOfMany, Fault::Reorders]),
    ("clients_that_announce_at_once_keep_their_orders", &[Fault::MixesUp]),
    ("a_dropped_stream_disturbs_no_other", &[Fault::DropEndsOthers, Fault::FailsUnheard]),
    ("a_stream_outlives_its_client", &[Fault::EndsWithItsClient]),
    ("a_dropped_announcement_disturbs_no_later_one", &[Fault::StaysLocked]),
    (
        "an_unread_stream_is_bounded_and_reports_the_loss",
        &[Fault::KeepsAll, Fault::HidesLosses, Fault::StopsAfterALoss],
    ),
    ("a_slow_listener_disturbs_no_other", &[Fault::WaitsForTheSlow]),
    (
        "a_lost_connection_is_a_gap_and_made_again",
        &[Fault::HidesOutages, Fault::StaysDisconnected, Fault::HidesReconnects],
    ),
    ("a_stream_opened_in_an_outage_connects_later", &[Fault::EndsInAnOutage]),
    (
        "bytes_that_are_no_message_are_reported",
        &[Fault::HidesGarbage, Fault::EndsAtGarbage, Fault::NewerIsUnreadable],
    ),
];

#[tokio::test]
async fn for_each_rule_something_broken_is_caught() {
    let cases =
        CASES.iter().flat_map(|(rule, faults)| faults.iter().map(move |fault| (rule, fault)));
    // At once: many of them are found by their patience.
    let checks = cases.map(async |(rule, fault)| {
        let checks = RULES.iter().find(|known| known.name == *rule).unwrap();
        (rule, fault, checks.run(&suite(*fault)).await)
    });
    for (rule, fault, outcome) in join_all(checks).await {
        broken(rule, fault, outcome);
    }
}

#[tokio::test]
async fn without_a_fault_all_rules_are_kept() {
    let report = bus::check(&suite(Fault::None)).await.unwrap();
    covered(&report, CASES.iter().map(|(rule, _)| *rule));
}

/// With its default queue, behind one more `Arc`, and in a runtime with several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_bus_keeps_its_contract() {
    let server = LocalBus::new();
    let broker = Arc::new(server.clone());
    let nodes = AtomicUsize::new(0);
    // 1,024 messages of at most 20 KiB are less.
    let can = Capabilities::new().unread_bytes_max(24 << 20);
    let suite = Suite::new(can, move |_| {
        let inner: Arc<dyn ChangeBus> = Arc::new(server.node(nodes.fetch_add(1, Ordering::SeqCst)));
        let outer: Arc<dyn ChangeBus> = Arc::new(inner);
        ready(outer)
    });
    let report = bus::check(&suite.clone().broker(broker)).await.unwrap();
    assert_eq!(report.kept().count(), RULES.len(), "{report}");

    let report = bus::check(&suite).await.unwrap();
    let left_out: Vec<_> = report.left_out().map(|(rule, _)| rule).collect();
    assert_eq!(
        left_out,
        [
            "a_lost_connection_is_a_gap_and_made_again",
            "a_stream_opened_in_an_outage_connects_later",
            "bytes_that_are_no_message_are_reported",
        ]
    );
}

#[tokio::test]
async fn a_panic_or_an_endless_call_is_reported_with_the_call() {
    let broken = bus::check(&suite(Fault::Panics)).await.unwrap_err();
    assert!(broken.what.contains("`announce` of message"), "{broken}");
    assert!(broken.what.contains("panicked: told to"), "{broken}");
    let broken = bus::check(&suite(Fault::NeverConnected)).await.unwrap_err();
    let said = "expected to be `Connected`, first of all, did not return within 1s";
    assert!(broken.what.contains(said), "{broken}");
}

fn suite(fault: Fault) -> Suite {
    let server = LocalBus::new();
    // Forty of the largest messages are less than what is declared.
    server.set_queue_len(if fault == Fault::KeepsAll { usize::MAX } else { 40 });
    script(&server, fault);
    let broker: Arc<dyn Broker> = Arc::new(server.clone());
    let (nodes, slot, locked) = (AtomicUsize::new(0), Arc::default(), Arc::default());
    let open = move |_: Namespace| {
        let bus = server.node(nodes.fetch_add(1, Ordering::SeqCst));
        let (slot, locked) = (Arc::clone(&slot), Arc::clone(&locked));
        ready(Arc::new(Faulty { fault, bus, slot, locked }) as Arc<dyn ChangeBus>)
    };
    let suite = Suite::new(Capabilities::new().unread_bytes_max(1 << 20), open).broker(broker);
    if fault == Fault::None { suite } else { suite.patience(SHORT) }
}

/// Faults that happen to messages.
fn script(server: &LocalBus, fault: Fault) {
    match fault {
        Fault::HearsOthersAlone => {
            server
                .fault(BusFault::drop_silently().when(|passage| passage.to == Some(passage.from)));
        }
        Fault::LosesTags => server.fault(edit_keys(|key, _| (key, None))),
        Fault::CutsKeys => server.fault(edit_keys(|key, e_tag| {
            let short = &key.as_str()[..key.as_str().len().min(1024)];
            (Key::parse(short).unwrap_or(key), e_tag)
        })),
        Fault::SplitsLines => server.fault(BusFault::edit(|bytes| {
            let len = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            bytes.slice(..len)
        })),
        Fault::OneListenerEach => server.fault(
            BusFault::drop_silently()
                .when(|passage| passage.listener.is_some_and(|id| id % 3 != passage.number % 3)),
        ),
        Fault::LosesOneOfMany => server.fault(BusFault::drop_silently().every(100)),
        Fault::Reorders => server.fault(BusFault::reorder().every(100)),
        _ => {}
    }
}

fn edit_keys(
    edit: impl Fn(Key, Option<Box<str>>) -> (Key, Option<Box<str>>) + Send + Sync + 'static,
) -> BusFault {
    BusFault::edit(move |bytes| {
        let message = Announcement::from_bytes(&bytes).unwrap();
        let Change::Key { key, e_tag } = message.change else { return bytes };
        let (key, e_tag) = edit(key, e_tag);
        Announcement { change: Change::Key { key, e_tag }, ..message }.to_bytes().into()
    })
}

struct Faulty {
    fault: Fault,
    bus: LocalBus,
    /// A message on its way, of all clients.
    slot: Arc<Mutex<Option<Announcement>>>,
    locked: Arc<AtomicBool>,
}

#[async_trait]
impl ChangeBus for Faulty {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        match self.fault {
            Fault::MixesUp => {
                *self.slot.lock().await = Some(message.clone());
                yield_now().await;
                let taken = self.slot.lock().await.clone();
                return self.bus.announce(&taken.unwrap()).await;
            }
            Fault::FailsUnheard if self.bus.counts().listeners == 0 => {
                return Err(Error::new(ErrorKind::Unavailable, "no listener"));
            }
            Fault::StaysLocked => {
                while self.locked.swap(true, Ordering::SeqCst) {
                    yield_now().await;
                }
                yield_now().await;
                let announced = self.bus.announce(message).await;
                self.locked.store(false, Ordering::SeqCst);
                return announced;
            }
            Fault::WaitsForTheSlow => {
                let has_room = |counts: &cache_testkit::BusCounts| {
                    counts.sent * counts.listeners < counts.delivered + 30
                };
                self.bus.wait_until(has_room).await;
            }
            Fault::Panics => panic!("told to"),
            _ => {}
        }
        self.bus.announce(message).await
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        let events = self.bus.listen();
        let without = |event| events_without(self.bus.listen(), event);
        let disconnected = BusEvent::Gap(GapReason::Disconnected);
        match self.fault {
            Fault::MessageBeforeConnected => {
                let namespace = Namespace::unique();
                let message = Announcement { namespace, node: 1, seq: 1, change: Change::All };
                stream::iter([BusEvent::Message(message)]).chain(events).boxed()
            }
            Fault::NeverConnected => without(BusEvent::Connected),
            Fault::ConnectedTooEarly => {
                stream::iter([BusEvent::Connected]).chain(events.skip(1)).boxed()
            }
            Fault::HidesLosses => without(BusEvent::Gap(GapReason::SlowListener)),
            Fault::StopsAfterALoss => stops_after(events, BusEvent::Gap(GapReason::SlowListener)),
            Fault::HidesOutages => without(disconnected),
            Fault::StaysDisconnected => stops_after(events, disconnected),
            Fault::HidesReconnects => {
                let mut n_connects = 0;
                let is_shown = move |event: &BusEvent| {
                    n_connects += usize::from(*event == BusEvent::Connected);
                    ready(*event != BusEvent::Connected || n_connects == 1)
                };
                events.filter(is_shown).boxed()
            }
            Fault::EndsInAnOutage => {
                events.take_while(move |event| ready(*event != disconnected)).boxed()
            }
            Fault::HidesGarbage => without(BusEvent::Unreadable),
            Fault::EndsAtGarbage => {
                events.take_while(|event| ready(*event != BusEvent::Unreadable)).boxed()
            }
            Fault::NewerIsUnreadable => events
                .map(|event| match event {
                    BusEvent::Gap(GapReason::NewerFormat) => BusEvent::Unreadable,
                    event => event,
                })
                .boxed(),
            Fault::DropEndsOthers => {
                let ends = EndsOthers(self.bus.clone());
                events.inspect(move |_| drop(ends.0.node(0))).boxed()
            }
            _ => events,
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.fault == Fault::EndsWithItsClient {
            self.bus.end_all();
        }
    }
}

/// Is dropped with its stream.
struct EndsOthers(LocalBus);

impl Drop for EndsOthers {
    fn drop(&mut self) {
        self.0.end_all();
    }
}

fn events_without(
    events: BoxStream<'static, BusEvent>,
    hidden: BusEvent,
) -> BoxStream<'static, BusEvent> {
    events.filter(move |event| ready(*event != hidden)).boxed()
}

/// The events up to `last`, and nothing after it.
fn stops_after(
    events: BoxStream<'static, BusEvent>,
    last: BusEvent,
) -> BoxStream<'static, BusEvent> {
    let mut has_stopped = false;
    let until = events.take_while(move |event| {
        let is_shown = !has_stopped;
        has_stopped |= *event == last;
        ready(is_shown)
    });
    until.chain(stream::pending()).boxed()
}
