//! What happens to writers, readers and the bus.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use bus_nodes::{Command, Fault, Ledger, Line, Listens, Read, Reader, Writer, clock};

use crate::{
    proxy::{Loses, Proxy},
    scene::{Id, Scene},
};

pub(crate) const SCENARIOS: [(&str, fn(&mut Scene)); 8] = [
    ("each write is seen", each_write_is_seen),
    ("the writer dies before it announces", the_writer_dies),
    ("the bus is killed and started again", the_bus_is_killed),
    ("the bus is paused", the_bus_is_paused),
    ("readers are paused", readers_are_paused),
    ("nothing is delivered to a reader", nothing_is_delivered),
    ("the announcements are lost", announcements_are_lost),
    ("broken readers are found", broken_readers_are_found),
];

const WRITER: Writer = Writer { first: 1, abort_at: None };

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A strong reader, and one that reads with a `max_age` while it does not listen.
fn two_readers(scene: &mut Scene) -> [Id; 2] {
    let port = scene.broker.port();
    let lax = Reader { disconnected: millis(500), ..Reader::default() };
    [scene.reader("strong reader", port, Reader::default()), scene.reader("lax reader", port, lax)]
}

/// A writer that writes without end, after its readers listen.
fn steady_writer(scene: &mut Scene, port: u16, readers: &[Id]) -> Id {
    let writer = scene.writer("writer", port, WRITER);
    scene.write(writer, 1);
    scene.listening(readers);
    scene.tell(writer, Command::WriteEach(50));
    writer
}

/// Each reader sees writes that were acknowledged after this moment, and does not listen.
fn see_without_listening(scene: &mut Scene, readers: &[Id]) {
    let last = scene.last();
    scene.each(readers, "a later write, without listening", |_, read| {
        read.listens == Listens::No && read.value > last
    });
}

/// Each reader listens again, and is served later writes without a request.
fn see_by_listening(scene: &mut Scene, readers: &[Id]) {
    let last = scene.last();
    scene.each(readers, "a later write, without a request", |_, read| {
        read.listens == Listens::Yes && read.status == "Fresh" && read.value > last
    });
}

fn each_write_is_seen(scene: &mut Scene) {
    const ROUNDS: u64 = 30;

    let port = scene.broker.port();
    let reader = scene.reader("reader", port, Reader { pause: millis(1), ..Reader::default() });
    let writer = scene.writer("writer", port, WRITER);
    scene.write(writer, 1);
    scene.listening(&[reader]);
    for round in 2..=ROUNDS {
        scene.write(writer, 1);
        scene.each(&[reader], "the last write", |_, read| read.value == round);
    }
    scene.check();
    let mut late = Vec::new();
    for key in &scene.keys {
        for (acknowledged, value) in scene.ledger.acknowledged(key) {
            let read =
                scene.reads(reader).iter().find(|read| &read.key == key && read.value == value);
            let read = read.unwrap_or_else(|| panic!("{key}: {value} was not read"));
            late.push(Duration::from_nanos(read.ended.saturating_sub(acknowledged)));
        }
    }
    late.sort_unstable();
    println!(
        "  acknowledged until read: median {:?}, at most {:?}",
        late[late.len() / 2],
        late[late.len() - 1]
    );
}

fn the_writer_dies(scene: &mut Scene) {
    const ABORT_AT: u64 = 5;

    scene.keys.truncate(1);
    let port = scene.broker.port();
    let fallback = millis(2000);
    let reader = scene.reader("reader", port, Reader { fallback, ..Reader::default() });
    let writer = scene.writer("writer", port, Writer { abort_at: Some(ABORT_AT), ..WRITER });
    scene.write(writer, 1);
    scene.listening(&[reader]);
    for value in 2..ABORT_AT {
        scene.write(writer, 1);
        scene.read(reader, "a write", |read| read.value == value);
    }
    scene.tell(writer, Command::Write(1));
    let status = scene.ended(writer);
    assert_eq!(status.signal(), Some(6), "{status}");
    assert_eq!(scene.last(), ABORT_AT, "acknowledged before the process ended");
    // By the fallback alone: it listens all the time.
    let read = scene.read(reader, "a write that was not announced", |read| read.value == ABORT_AT);
    let (_, acknowledged) = scene.ledger.last_acknowledged(&scene.keys[0]);
    let late = Duration::from_nanos(read.ended.saturating_sub(acknowledged));
    println!("  the write that was not announced was read after {late:?}");

    let next = scene.writer("next writer", port, Writer { first: ABORT_AT + 1, ..WRITER });
    scene.settle(next, &[reader]);
    scene.check();
}

fn the_bus_is_killed(scene: &mut Scene) {
    let readers = two_readers(scene);
    let port = scene.broker.port();
    let writer = steady_writer(scene, port, &readers);
    for _ in 0..2 {
        scene.broker.kill();
        see_without_listening(scene, &readers);
        scene.broker.restart();
        see_by_listening(scene, &readers);
    }
    scene.settle(writer, &readers);
    scene.check();
}

fn the_bus_is_paused(scene: &mut Scene) {
    let readers = two_readers(scene);
    let port = scene.broker.port();
    let writer = steady_writer(scene, port, &readers);
    scene.broker.pause();
    see_without_listening(scene, &readers);
    scene.broker.resume();
    see_by_listening(scene, &readers);
    scene.settle(writer, &readers);
    scene.check();
}

fn readers_are_paused(scene: &mut Scene) {
    let port = scene.broker.port();
    let small = Reader { buffer: Some(64), ..Reader::default() };
    let readers = [
        scene.reader("reader", port, Reader::default()),
        scene.reader("reader with a small buffer", port, small),
    ];
    let writer = scene.writer("writer", port, WRITER);
    // Before the proof has ended, perhaps, and after it.
    for (rounds, messages, pause) in [(20, 1000, millis(0)), (100, 5000, millis(3500))] {
        // Without a request on its way: moto would serve no one else meanwhile.
        scene.settle(writer, &readers);
        scene.listening(&readers);
        readers.iter().for_each(|reader| scene.pause(*reader));
        let paused_at = clock::now();
        scene.write(writer, rounds);
        scene.tell(writer, Command::Flood(messages));
        scene.done(writer);
        scene.tell(writer, Command::WriteEach(20));
        scene.wait("a write after the pause", |_, line| match line {
            Line::Acknowledged { at, .. } if Duration::from_nanos(at - paused_at) > pause => {
                Some(())
            }
            _ => None,
        });
        readers.iter().for_each(|reader| scene.resume(*reader));
        see_by_listening(scene, &readers);
    }
    scene.settle(writer, &readers);
    scene.check();
}

fn nothing_is_delivered(scene: &mut Scene) {
    let port = scene.broker.port();
    let proxy = Proxy::start(port);
    let readers = [scene.reader("reader behind the proxy", proxy.port(), Reader::default())];
    let writer = steady_writer(scene, port, &readers);
    proxy.lose(Loses::FromServer);
    let cut_at = clock::now();
    see_without_listening(scene, &readers);
    let first = scene
        .reads(readers[0])
        .iter()
        .find(|read| read.ended > cut_at && read.listens == Listens::No);
    let after = first.map(|read| Duration::from_nanos(read.began.saturating_sub(cut_at)));
    println!("  not listening after {after:?}");
    proxy.lose(Loses::Nothing);
    see_by_listening(scene, &readers);
    scene.settle(writer, &readers);
    scene.check();
}

fn announcements_are_lost(scene: &mut Scene) {
    let port = scene.broker.port();
    let proxy = Proxy::start(port);
    let short = Reader { fallback: millis(2000), ..Reader::default() };
    let readers = [
        scene.reader("reader with a short fallback", port, short),
        scene.reader("reader with a long fallback", port, Reader::default()),
    ];
    // NATS takes what it does not get.
    readers.iter().for_each(|reader| scene.without_proof(*reader));
    let writer = scene.writer("writer", proxy.port(), WRITER);
    scene.settle(writer, &readers);
    scene.listening(&readers);
    proxy.lose(Loses::ToServer);
    scene.tell(writer, Command::Write(1));
    let mut left = scene.keys.len();
    scene.wait("announcements that are lost", |_, line| {
        left -= usize::from(matches!(line, Line::Announced { .. } | Line::NotAnnounced(_)));
        (left == 0).then_some(())
    });
    let is_last =
        |ledger: &Ledger, read: &Read| read.value == ledger.last_acknowledged(&read.key).0;
    // It listens: only the fallback finds it.
    scene.each(&readers[..1], "a write whose announcement was lost", is_last);
    proxy.lose(Loses::Nothing);
    // No further write, and a fallback that is longer than the test: the numbers of the messages
    // show that one is missing.
    scene.each(&readers[1..], "a write whose announcement was lost", is_last);
    scene.settle(writer, &readers);
    scene.check();
    assert!(scene.sequence_gaps(readers[1]) > 0);
}

fn broken_readers_are_found(scene: &mut Scene) {
    let port = scene.broker.port();
    let proxy = Proxy::start(port);
    let fallback = millis(1000);
    let immutable = Reader { fallback, fault: Some(Fault::Immutable), ..Reader::default() };
    let deaf = Reader { fault: Some(Fault::Deaf), ..Reader::default() };
    let writer = scene.writer("writer", port, WRITER);
    scene.write(writer, 1);
    let readers = [
        scene.reader("immutable reader", proxy.port(), immutable),
        scene.reader("deaf reader", port, deaf),
    ];
    scene.listening(&readers);
    proxy.lose(Loses::FromServer);
    scene.tell(writer, Command::WriteEach(200));
    // As long as a proof lasts, and the slack.
    let began = clock::now();
    scene.each(&readers, "a late read", |_, read| {
        Duration::from_nanos(read.began.saturating_sub(began)) > millis(5000)
    });
    let violations = scene.end();
    for (name, reason) in [
        ("immutable reader: ", "was acknowledged 1s before"),
        ("immutable reader: ", "it does not listen"),
        ("deaf reader: ", "was announced 4s before"),
    ] {
        let found = violations.iter().any(|text| text.starts_with(name) && text.contains(reason));
        assert!(found, "{name}{reason}: {:#?}", violations.first());
    }
}
