//! Tests of any bus over a server. The crates of the other buses use this file too.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{Announcement, BusEvent, Change, ChangeBus, GapReason, Key, Namespace};
use cache_testkit::conformance::bus as conformance;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use tokio::{runtime::Handle, task::yield_now};

use crate::server::{Program, Server};

/// A kind of bus.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) program: Program,
    pub(crate) bus: fn(port: u16, Namespace, &Settings) -> Arc<dyn ChangeBus>,
    /// Sends messages of any bytes, in order, many at a time.
    pub(crate) publish: fn(port: u16, channel: String, Vec<Vec<u8>>) -> BoxFuture<'static, ()>,
}

pub(crate) struct Settings {
    pub(crate) time_limit: Duration,
    pub(crate) ping_every: Duration,
    pub(crate) buffer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        // Long enough on a busy machine.
        let time_limit = Duration::from_secs(10);
        Self { time_limit, ping_every: time_limit, buffer: 8192 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Suite(pub(crate) Kind);

impl Suite {
    fn server(self) -> Option<Server> {
        Server::start(self.0.program, &[])
    }

    fn bus(self, server: &Server, settings: &Settings) -> Arc<dyn ChangeBus> {
        (self.0.bus)(server.port(), namespace(), settings)
    }

    /// The sentences of the contract, one by one.
    pub(crate) async fn it_keeps_the_contract(self) {
        let Some(server) = self.server() else { return };
        let (port, kind) = (server.port(), self.0);
        let suite = conformance::Suite::new(conformance::Capabilities::new(), move |namespace| {
            std::future::ready((kind.bus)(port, namespace, &Settings::default()))
        });
        let broker = Broker { kind, port, server: Mutex::new(server) };
        let report = conformance::check(&suite.broker(Arc::new(broker))).await;
        println!("{}", report.expect("a bus that keeps the contract"));
    }

    pub(crate) async fn messages_are_delivered_in_order_to_all_and_to_their_sender(self) {
        let Some(server) = self.server() else { return };
        let bus = self.bus(&server, &Settings::default());
        let other = self.bus(&server, &Settings::default());
        let mut streams = [bus.listen(), bus.listen(), other.listen()];
        for stream in &mut streams {
            assert_eq!(next(stream).await, BusEvent::Connected);
        }
        for seq in 1..=1000 {
            bus.announce(&message(seq)).await.expect("a server that takes messages");
        }
        for stream in &mut streams {
            for seq in 1..=1000 {
                assert_eq!(next(stream).await, BusEvent::Message(message(seq)));
            }
        }
        // A stream that was dropped is replaced by another.
        drop(streams);
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        bus.announce(&message(1001)).await.expect("a server that takes messages");
        assert_eq!(next(&mut stream).await, BusEvent::Message(message(1001)));
    }

    pub(crate) async fn all_changes_arrive_as_they_were_also_long_ones(self) {
        let Some(server) = self.server() else { return };
        let bus = self.bus(&server, &Settings::default());
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        let long = Key::parse(&"k".repeat(Key::LEN_MAX)).expect("a key");
        let changes = [
            Change::Key { key: long.clone(), e_tag: None },
            Change::Key { key: long, e_tag: Some("t".repeat(16 * 1024).into()) },
            Change::Key { key: Key::parse("a/ä").expect("a key"), e_tag: Some("".into()) },
            Change::Prefix("p".repeat(Key::LEN_MAX).into()),
            Change::Prefix("".into()),
            Change::All,
            Change::Heartbeat { beat: u64::MAX, last_seq: 0 },
        ];
        for change in changes {
            let message = Announcement { change, ..message(1) };
            bus.announce(&message).await.expect("a server that takes messages");
            assert_eq!(next(&mut stream).await, BusEvent::Message(message));
        }
    }

    pub(crate) async fn unreadable_messages_and_other_namespaces(self) {
        let Some(server) = self.server() else { return };
        let bus = self.bus(&server, &Settings::default());
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);

        let other = Namespace::named("another store");
        let foreign = (self.0.bus)(server.port(), other, &Settings::default());
        let elsewhere = Announcement { namespace: other, ..message(1) };
        foreign.announce(&elsewhere).await.expect("a server that takes messages");
        bus.announce(&elsewhere).await.expect("a server that takes messages");

        let channel = Announcement::channel(namespace());
        let mut newer = message(1).to_bytes();
        newer[4] = u8::MAX;
        let garbage = [vec![], b"garbage".to_vec(), vec![0xff; 500_000]];
        for bytes in garbage {
            (self.0.publish)(server.port(), channel.clone(), vec![bytes]).await;
            assert_eq!(next(&mut stream).await, BusEvent::Unreadable);
        }
        (self.0.publish)(server.port(), channel, vec![newer]).await;
        assert_eq!(next(&mut stream).await, BusEvent::Gap(GapReason::NewerFormat));
        bus.announce(&message(2)).await.expect("a server that takes messages");
        assert_eq!(next(&mut stream).await, BusEvent::Message(message(2)));
    }

    pub(crate) async fn a_server_that_is_killed_and_started_again(self) {
        let Some(mut server) = self.server() else { return };
        let bus = self.bus(&server, &Settings::default());
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        for round in 1..=3 {
            bus.announce(&message(round)).await.expect("a server that takes messages");
            assert_eq!(next(&mut stream).await, BusEvent::Message(message(round)));
            server.kill();
            assert_eq!(next(&mut stream).await, BusEvent::Gap(GapReason::Disconnected));
            let error = bus.announce(&message(0)).await.expect_err("no server");
            assert!(error.is_unavailable(), "{error}");
            server.restart();
            assert_eq!(next(&mut stream).await, BusEvent::Connected);
        }
        // Without an announcement in between, the first one after it is not lost.
        bus.announce(&message(10)).await.expect("a server that takes messages");
        assert_eq!(next(&mut stream).await, BusEvent::Message(message(10)));
        server.kill();
        assert_eq!(next(&mut stream).await, BusEvent::Gap(GapReason::Disconnected));
        server.restart();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        bus.announce(&message(11)).await.expect("a server that is back");
        assert_eq!(next(&mut stream).await, BusEvent::Message(message(11)));
    }

    pub(crate) async fn a_server_that_is_not_there_at_first(self) {
        let Some(mut server) = Server::stopped(self.0.program, &[]) else { return };
        let bus = self.bus(&server, &Settings::default());
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Gap(GapReason::Disconnected));
        let error = bus.announce(&message(1)).await.expect_err("no server");
        assert!(error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("check that the server runs"), "{error}");
        server.restart();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        bus.announce(&message(2)).await.expect("a server that takes messages");
        assert_eq!(next(&mut stream).await, BusEvent::Message(message(2)));
    }

    pub(crate) async fn a_server_that_is_paused(self) {
        let Some(server) = self.server() else { return };
        let short = Duration::from_millis(250);
        let settings = Settings { time_limit: short, ping_every: short, ..Settings::default() };
        let bus = self.bus(&server, &settings);
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        announced(&*bus, 1).await;
        until_message(&mut stream, 1).await;

        // A bus that sends no ping meanwhile has its time limit alone.
        let settings = Settings { time_limit: short, ..Settings::default() };
        let patient = self.bus(&server, &settings);
        announced(&*patient, 2).await;
        until_message(&mut stream, 2).await;

        server.pause();
        let error = refused(&*bus).await;
        assert!(error.is_timeout() || error.is_unavailable(), "{error}");
        let error = refused(&*patient).await;
        assert!(error.is_timeout(), "{error}");
        until(&mut stream, |event| event == &BusEvent::Gap(GapReason::Disconnected)).await;
        // Nothing hangs while there is no connection either.
        in_time(bus.announce(&message(0))).await.expect_err("a server that is paused");

        server.resume();
        until(&mut stream, |event| event == &BusEvent::Connected).await;
        announced(&*bus, 3).await;
        until_message(&mut stream, 3).await;
    }

    pub(crate) async fn a_stream_that_is_not_polled(self) {
        const MESSAGES: u64 = 200_000;
        const BATCH: usize = 1000;

        let Some(server) = self.server() else { return };
        let bus = self.bus(&server, &Settings::default());
        let mut stream = bus.listen();
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        let before = resident_bytes();
        let change = Change::Prefix("p".repeat(1024).into());
        for first in (1..=MESSAGES).step_by(BATCH) {
            let seqs = (first..).take(BATCH);
            let message = |seq| Announcement { change: change.clone(), ..message(seq) }.to_bytes();
            let batch = seqs.map(message).collect();
            (self.0.publish)(server.port(), Announcement::channel(namespace()), batch).await;
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 100 << 20, "{grown} bytes for a stream that is not polled");

        // All are there, or a gap is where the first is missing.
        let mut expected = 1;
        let mut has_gap = false;
        let end = MESSAGES + 1;
        announced(&*bus, end).await;
        loop {
            match next(&mut stream).await {
                BusEvent::Message(message) if message.seq == end => break,
                BusEvent::Message(message) if !has_gap => {
                    assert_eq!(message.seq, expected);
                    expected += 1;
                }
                BusEvent::Message(_) => {}
                // The last message was dropped too, or was announced while there was no
                // connection.
                BusEvent::Gap(_) => {
                    has_gap = true;
                    announced(&*bus, end).await;
                }
                BusEvent::Connected => announced(&*bus, end).await,
                other => panic!("{other:?}"),
            }
        }
        println!("{} messages before the first gap (there is one: {has_gap})", expected - 1);
        assert!(has_gap || expected == end, "messages were lost without a gap");
    }

    /// A gap is where the messages are missing, however small the buffer is.
    pub(crate) async fn a_small_buffer(self) {
        let Some(server) = self.server() else { return };
        let bus = self.bus(&server, &Settings { buffer: 10, ..Settings::default() });
        let other = self.bus(&server, &Settings::default());
        let (mut small, mut all) = (bus.listen(), other.listen());
        assert_eq!(next(&mut small).await, BusEvent::Connected);
        assert_eq!(next(&mut all).await, BusEvent::Connected);
        for seq in 1..=100 {
            bus.announce(&message(seq)).await.expect("a server that takes messages");
            assert_eq!(next(&mut all).await, BusEvent::Message(message(seq)));
        }
        let mut expected = 1;
        let mut gaps = 0;
        loop {
            match next(&mut small).await {
                BusEvent::Message(message) => {
                    assert_eq!(message.seq, expected, "lost without a gap");
                    expected += 1;
                }
                BusEvent::Gap(GapReason::SlowListener) => {
                    gaps += 1;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(gaps == 1 && expected <= 12, "{expected}");
        let seq = 101;
        bus.announce(&message(seq)).await.expect("a server that takes messages");
        until_message(&mut small, seq).await;
    }

    /// Whether the server runs or not when it is dropped.
    pub(crate) async fn no_task_outlives_a_bus(self) {
        let Some(mut server) = self.server() else { return };
        for outage in [false, true] {
            let bus = self.bus(&server, &Settings::default());
            let mut stream = bus.listen();
            assert_eq!(next(&mut stream).await, BusEvent::Connected);
            bus.announce(&message(1)).await.expect("a server that takes messages");
            if outage {
                server.kill();
                until(&mut stream, |event| event == &BusEvent::Gap(GapReason::Disconnected)).await;
            }
            drop(bus);
            drop(stream);
            let metrics = Handle::current().metrics();
            in_time(async {
                while metrics.num_alive_tasks() > 0 {
                    yield_now().await;
                }
            })
            .await;
        }
    }

    /// Not polled in a runtime, and dropped outside of one.
    pub(crate) fn a_runtime_that_is_not_there(self) {
        let Some(server) = self.server() else { return };
        let bus = self.bus(&server, &Settings::default());
        let mut stream = bus.listen();
        let gap = Some(Some(BusEvent::Gap(GapReason::Disconnected)));
        assert_eq!(stream.next().now_or_never(), gap);
        assert_eq!(stream.next().now_or_never(), None);
        let announced = bus.announce(&message(1)).now_or_never().expect("an answer");
        assert!(announced.expect_err("no runtime").is_config());

        for round in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let mut other = bus.listen();
            runtime.block_on(async {
                assert_eq!(next(&mut stream).await, BusEvent::Connected);
                assert_eq!(next(&mut other).await, BusEvent::Connected);
                // The last runtime's connection is lost: a new one is made at once.
                bus.announce(&message(round)).await.expect("a server that takes messages");
                until_message(&mut stream, round).await;
            });
            if round == 0 {
                drop(other);
                drop(runtime);
            } else {
                drop(runtime);
                drop(other);
                break;
            }
            stream = bus.listen();
        }
        drop(stream);
        drop(bus);
    }
}

struct Broker {
    kind: Kind,
    port: u16,
    server: Mutex<Server>,
}

#[async_trait]
impl conformance::Broker for Broker {
    async fn stop(&self) -> bool {
        self.server.lock().expect("a lock").kill();
        true
    }

    async fn start(&self) {
        self.server.lock().expect("a lock").restart();
    }

    async fn send(&self, namespace: Namespace, bytes: &[u8]) -> bool {
        let channel = Announcement::channel(namespace);
        (self.kind.publish)(self.port, channel, vec![bytes.to_vec()]).await;
        true
    }
}

fn namespace() -> Namespace {
    Namespace::named("s3://bucket")
}

pub(crate) fn message(seq: u64) -> Announcement {
    let change =
        Change::Key { key: Key::parse("a/b").expect("a key"), e_tag: Some("\"1\"".into()) };
    Announcement { namespace: namespace(), node: 7, seq, change }
}

/// Ends a test that hangs.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("an end within a minute")
}

pub(crate) async fn next(stream: &mut BoxStream<'static, BusEvent>) -> BusEvent {
    in_time(stream.next()).await.expect("a stream that does not end")
}

async fn until(stream: &mut BoxStream<'static, BusEvent>, is_it: impl Fn(&BusEvent) -> bool) {
    while !is_it(&next(stream).await) {}
}

async fn until_message(stream: &mut BoxStream<'static, BusEvent>, seq: u64) {
    until(stream, |event| matches!(event, BusEvent::Message(message) if message.seq == seq)).await;
}

/// Announces until the server has taken it: after an outage, the first one can still fail.
async fn announced(bus: &dyn ChangeBus, seq: u64) {
    let message = message(seq);
    let attempts = stream::iter(0..100).then(|_| in_time(bus.announce(&message)));
    let taken = attempts.any(|attempt| async move { attempt.is_ok() }).await;
    assert!(taken, "the server takes no message");
}

/// Announces until the server does not take it: one that confirms no messages lets some into the
/// buffers of the sockets.
async fn refused(bus: &dyn ChangeBus) -> cache_core::Error {
    let change = Change::Prefix("p".repeat(4096).into());
    let long = Announcement { change, ..message(0) };
    loop {
        if let Err(error) = in_time(bus.announce(&long)).await {
            break error;
        }
    }
}

/// Zero where that is not known.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}
