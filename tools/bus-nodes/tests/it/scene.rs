//! Processes over one store and one bus, the lines that they print, and their ledger.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command as Program, ExitStatus, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use bus_nodes::{Command, Ledger, Line, Listens, Read, Reader, Role, Rule, Setup, Writer, clock};
use rustix::process::{Pid, Signal, kill_process};

use crate::{pair::Pair, server::Server};

pub(crate) struct Scene {
    name: String,
    pair: Pair,
    pub(crate) broker: Server,
    pub(crate) keys: Vec<String>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    pub(crate) ledger: Ledger,
    nodes: Vec<Node>,
}

/// The number of a process in its scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(usize);

struct Node {
    name: &'static str,
    child: Child,
    /// Closed to end the process.
    input: Option<ChildStdin>,
    has_ended: bool,
    /// Of a reader.
    rule: Option<Rule>,
    reads: Vec<Read>,
    failures: Vec<String>,
    stats: String,
    sequence_gaps: u64,
}

enum Event {
    Line(Id, Line),
    /// The process has closed its output.
    Ended(Id),
}

impl Scene {
    /// `None` if the bus's server is not installed.
    pub(crate) fn new(pair: Pair, name: &str) -> Option<Self> {
        let broker = pair.broker()?;
        let (sender, events) = channel();
        // A server keeps the objects of earlier runs.
        let folder = format!("bus-nodes/{}/{}", clock::now(), name.replace(' ', "-"));
        let keys = (0..2).map(|n| format!("{folder}/{n}")).collect();
        Some(Self {
            name: format!("{}: {name}", pair.name),
            pair,
            broker,
            keys,
            sender,
            events,
            ledger: Ledger::default(),
            nodes: Vec::new(),
        })
    }

    /// Starts a writer. `port`: of the bus.
    pub(crate) fn writer(&mut self, name: &'static str, port: u16, role: Writer) -> Id {
        self.start(name, port, Role::Writer(role), None)
    }

    /// Starts a reader that has to keep its rule.
    pub(crate) fn reader(&mut self, name: &'static str, port: u16, role: Reader) -> Id {
        let rule = Rule {
            fallback: role.fallback,
            disconnected: role.disconnected,
            proof: Some(PROOF + SLACK),
        };
        self.start(name, port, Role::Reader(role), Some(rule))
    }

    /// Some announcements are lost after the bus has taken them, so the proof proves less.
    pub(crate) fn without_proof(&mut self, reader: Id) {
        if let Some(rule) = &mut self.nodes[reader.0].rule {
            rule.proof = None;
        }
    }

    fn start(&mut self, name: &'static str, port: u16, role: Role, rule: Option<Rule>) -> Id {
        let id = Id(self.nodes.len());
        let setup = Setup {
            store: self.pair.store,
            bus: self.pair.url(port),
            namespace: self.name.clone(),
            keys: self.keys.clone(),
            role,
        };
        let mut child = Program::new(env!("CARGO_BIN_EXE_bus-nodes"))
            .arg(serde_json::to_string(&setup).expect("a setup is JSON"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program that was built");
        let output = child.stdout.take().expect("a piped output");
        let sender = self.sender.clone();
        // Reads to the end: a full pipe would stop the process.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line of the program");
                if sender.send(Event::Line(id, line)).is_err() {
                    return;
                }
            }
            // The scene may be over.
            let _ = sender.send(Event::Ended(id));
        });
        let input = child.stdin.take();
        self.nodes.push(Node {
            name,
            child,
            input,
            has_ended: false,
            rule,
            reads: Vec::new(),
            failures: Vec::new(),
            stats: String::new(),
            sequence_gaps: 0,
        });
        id
    }

    pub(crate) fn tell(&mut self, id: Id, command: Command) {
        let input = self.nodes[id.0].input.as_mut().expect("a process that was not ended");
        let text = serde_json::to_string(&command).expect("a command is JSON");
        writeln!(input, "{text}").expect("a process that runs");
    }

    pub(crate) fn pause(&self, id: Id) {
        self.signal(id, Signal::STOP);
    }

    pub(crate) fn resume(&self, id: Id) {
        self.signal(id, Signal::CONT);
    }

    fn signal(&self, id: Id, signal: Signal) {
        let pid = i32::try_from(self.nodes[id.0].child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("an id of a process"), signal).expect("a process that runs");
    }

    /// Waits for a line that `find` takes.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        mut find: impl FnMut(Id, &Line) -> Option<T>,
    ) -> T {
        let end = clock::now() + LIMIT.as_nanos() as u64;
        loop {
            match self.next(end) {
                Some(Event::Line(id, line)) => {
                    self.note(id, &line);
                    if let Some(found) = find(id, &line) {
                        return found;
                    }
                }
                Some(Event::Ended(id)) => {
                    self.nodes[id.0].has_ended = true;
                    panic!("{}: {} has ended; awaited: {what}", self.name, self.nodes[id.0].name);
                }
                None => panic!("{}: {what}: not within {LIMIT:?}\n{}", self.name, self.summary()),
            }
        }
    }

    /// Waits for a read of `reader` that `is_it` takes.
    pub(crate) fn read(&mut self, reader: Id, what: &str, is_it: impl Fn(&Read) -> bool) -> Read {
        let what = format!("{}: {what}", self.nodes[reader.0].name);
        self.wait(&what, |id, line| match line {
            Line::Read(read) if id == reader && is_it(read) => Some(read.clone()),
            _ => None,
        })
    }

    /// Waits until each of `readers` has read each key without a request while it listened.
    pub(crate) fn listening(&mut self, readers: &[Id]) {
        self.each(readers, "a fresh read while it listens", |_, read| {
            read.listens == Listens::Yes && read.status == "Fresh"
        });
    }

    /// Waits until each of `readers` has read each key with a result that `is_it` takes.
    pub(crate) fn each(
        &mut self,
        readers: &[Id],
        what: &str,
        is_it: impl Fn(&Ledger, &Read) -> bool,
    ) {
        let mut left: Vec<(Id, String)> = readers
            .iter()
            .flat_map(|reader| self.keys.iter().map(|key| (*reader, key.clone())))
            .collect();
        let end = clock::now() + LIMIT.as_nanos() as u64;
        while !left.is_empty() {
            match self.next(end) {
                Some(Event::Line(id, line)) => {
                    self.note(id, &line);
                    if let Line::Read(read) = &line
                        && is_it(&self.ledger, read)
                    {
                        left.retain(|(reader, key)| (*reader, key) != (id, &read.key));
                    }
                }
                Some(Event::Ended(id)) => {
                    panic!("{}: {} has ended", self.name, self.nodes[id.0].name)
                }
                None => panic!(
                    "{}: {what}: not within {LIMIT:?} ({left:?})\n{}",
                    self.name,
                    self.summary()
                ),
            }
        }
    }

    /// Tells `writer` to write each key `rounds` times, and waits until it has.
    pub(crate) fn write(&mut self, writer: Id, rounds: u64) {
        self.tell(writer, Command::Write(rounds));
        self.done(writer);
    }

    pub(crate) fn done(&mut self, writer: Id) {
        self.wait("a command that is done", |id, line| {
            (id == writer && matches!(line, Line::Done)).then_some(())
        });
    }

    /// The last write, and that each of `readers` sees it.
    pub(crate) fn settle(&mut self, writer: Id, readers: &[Id]) {
        self.write(writer, 1);
        self.each(readers, "the last write", |ledger, read| {
            read.value == ledger.last_acknowledged(&read.key).0
        });
    }

    /// Returns the last number of the first key that was acknowledged.
    pub(crate) fn last(&self) -> u64 {
        self.ledger.last_acknowledged(&self.keys[0]).0
    }

    /// Waits until a process has ended by itself.
    pub(crate) fn ended(&mut self, id: Id) -> ExitStatus {
        let end = clock::now() + LIMIT.as_nanos() as u64;
        while !self.nodes[id.0].has_ended {
            match self.next(end) {
                Some(Event::Line(id, line)) => self.note(id, &line),
                Some(Event::Ended(id)) => self.nodes[id.0].has_ended = true,
                None => panic!("{}: {} has not ended", self.name, self.nodes[id.0].name),
            }
        }
        self.nodes[id.0].child.wait().expect("a process that has ended")
    }

    /// Ends the processes and returns the reads that break their rule.
    pub(crate) fn end(&mut self) -> Vec<String> {
        for id in (0..self.nodes.len()).map(Id) {
            if !self.nodes[id.0].has_ended {
                drop(self.nodes[id.0].input.take());
                let status = self.ended(id);
                assert!(status.success(), "{}: {}: {status}", self.name, self.nodes[id.0].name);
            }
        }
        println!("{}\n{}", self.name, self.summary());
        for node in self.nodes.iter().filter(|node| node.rule.is_some()) {
            // The store is there all the time.
            assert!(node.failures.is_empty(), "{}: {}: {:?}", self.name, node.name, node.failures);
        }
        let mut violations = Vec::new();
        for node in &self.nodes {
            let Some(rule) = node.rule else { continue };
            let found = self.ledger.check(&node.reads, rule);
            violations.extend(found.iter().map(|violation| format!("{}: {violation}", node.name)));
        }
        violations
    }

    /// Ends the processes and checks that each read has kept its rule.
    pub(crate) fn check(&mut self) {
        let violations = self.end();
        let first = &violations[..violations.len().min(5)];
        assert!(
            violations.is_empty(),
            "{}: {} reads break their rule, the first ones:\n{}\n{}",
            self.name,
            violations.len(),
            first.join("\n"),
            self.summary(),
        );
    }

    pub(crate) fn reads(&self, id: Id) -> &[Read] {
        &self.nodes[id.0].reads
    }

    pub(crate) fn sequence_gaps(&self, id: Id) -> u64 {
        self.nodes[id.0].sequence_gaps
    }

    fn next(&self, end: u64) -> Option<Event> {
        let left = Duration::from_nanos(end.saturating_sub(clock::now()));
        self.events.recv_timeout(left).ok()
    }

    fn note(&mut self, id: Id, line: &Line) {
        self.ledger.note(line);
        let node = &mut self.nodes[id.0];
        match line {
            Line::Read(read) => node.reads.push(read.clone()),
            Line::Failed(failure) | Line::NotAnnounced(failure) => {
                node.failures.push(failure.clone());
            }
            Line::Stats { sequence_gaps, all } => {
                node.sequence_gaps = *sequence_gaps;
                node.stats.clone_from(all);
            }
            _ => {}
        }
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let count =
                |is_it: fn(&Read) -> bool| node.reads.iter().filter(|read| is_it(read)).count();
            text += &format!(
                "  {}: {} reads, {} without a request, {} while it did not listen; last {:?}\n    \
                    {} failures, the last: {:?}\n    {}\n",
                node.name,
                node.reads.len(),
                count(|read| read.status == "Fresh"),
                count(|read| read.listens == Listens::No),
                node.reads.last().map(|read| read.value),
                node.failures.len(),
                node.failures.last(),
                node.stats,
            );
        }
        text
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // An error says that it has ended already.
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
    }
}

/// How long a heartbeat proves that a cache listens.
const PROOF: Duration = Duration::from_secs(3);
/// NATS does not confirm what was published: it may read it a moment later.
const SLACK: Duration = Duration::from_secs(1);
/// A wait that takes so long hangs. Shorter than the default fallback.
const LIMIT: Duration = Duration::from_secs(40);
