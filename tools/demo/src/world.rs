//! Two nodes over one bucket, their readers and the writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_facade::{
    Clock, Memory, Namespace, ObjectCache, ReadOptions, Stats,
    cache_core::Moment,
    object_store::{ObjectStore, ObjectStoreExt, path::Path},
};
use cache_testkit::{LocalBus, Random, TokioClock, Zipf};
use tokio::task::JoinSet;

use crate::{
    bodies,
    bucket::{Bucket, Requests},
    ledger::Ledger,
    rule::{Rule, Switch},
    tally::{Seen, Tally},
};

/// The size of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) n_objects: usize,
    /// For each node.
    pub(crate) n_readers: usize,
    /// Between two reads of a reader.
    pub(crate) pause: Duration,
    /// Between two writes of the one writer.
    pub(crate) write_pause: Duration,
    /// To the store.
    pub(crate) round_trip: Duration,
    /// Of each node, in bytes.
    pub(crate) capacity: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_objects: 2000,
            n_readers: 64,
            pause: Duration::from_millis(2),
            write_pause: Duration::from_millis(50),
            round_trip: Duration::from_millis(40),
            capacity: 8 << 20,
        }
    }
}

/// The whole run. Works until [`World::stop`], on the runtime that started it.
pub(crate) struct World {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    settings: Settings,
    clock: TokioClock,
    bucket: Arc<Bucket>,
    bus: LocalBus,
    is_bus_cut: AtomicBool,
    nodes: [Node; 2],
    ledger: Ledger,
    rule: Switch,
    popularity: Zipf,
    is_stopped: AtomicBool,
}

struct Node {
    cache: ObjectCache,
    tally: Tally,
}

/// The state at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Since the start.
    pub(crate) at: Duration,
    pub(crate) rule: Rule,
    pub(crate) is_up: bool,
    pub(crate) is_bus_cut: bool,
    pub(crate) round_trip: Duration,
    pub(crate) nodes: [NodeFigures; 2],
    pub(crate) origin: Requests,
}

/// A node, as counted by its readers and by its cache.
#[derive(Debug, Clone)]
pub(crate) struct NodeFigures {
    pub(crate) seen: Seen,
    pub(crate) stats: Stats,
    /// Whether it listens to the bus.
    pub(crate) is_listening: bool,
}

impl Figures {
    /// The state of the bus in a word.
    pub(crate) fn bus(&self) -> &'static str {
        match (self.is_bus_cut, self.nodes.iter().all(|node| node.is_listening)) {
            (true, _) => "cut",
            (false, _) if self.rule != Rule::Notified => "off",
            (false, true) => "up",
            // It connects, and waits for its own heartbeat.
            (false, false) => "quiet",
        }
    }
}

impl World {
    /// Fills the bucket and starts the readers and the writer.
    pub(crate) async fn start(settings: Settings) -> Result<Self, cache_facade::Error> {
        let clock = TokioClock::new();
        let bucket = Arc::new(Bucket::new(settings.round_trip));
        let ledger = Ledger::new(settings.n_objects, clock);
        for number in (0..settings.n_objects).filter(|number| bodies::exists(*number)) {
            let version = ledger.begin(number);
            let body = bodies::body(number, version);
            let put = bucket.inner().put(&Path::from(bodies::key(number)), body.into()).await;
            put.expect("a store in memory accepts every put");
            ledger.returned(number, version);
        }
        let bus = LocalBus::new();
        bus.cut_all();
        let node = |name, number| {
            let store: Arc<dyn ObjectStore> = Arc::clone(&bucket) as _;
            let cache = ObjectCache::builder(store)
                .name(name)
                .backend(Memory::new().max_capacity(settings.capacity))
                .clock(Arc::new(clock))
                .namespace(Namespace::named("demo"))
                .bus(Arc::new(bus.node(number)))
                .build()?;
            Ok::<_, cache_facade::Error>(Node { cache, tally: Tally::new() })
        };
        let shared = Arc::new(Shared {
            settings,
            clock,
            nodes: [node("A", 0)?, node("B", 1)?],
            bucket,
            bus,
            is_bus_cut: AtomicBool::new(false),
            ledger,
            rule: Switch::default(),
            popularity: Zipf::new(settings.n_objects, EXPONENT),
            is_stopped: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for reader in 0..2 * settings.n_readers {
            tasks.spawn(read(Arc::clone(&shared), reader));
        }
        tasks.spawn(write(Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.shared.clock.now().saturating_since(Moment::from_nanos(0))
    }

    /// The rule after the current one.
    pub(crate) fn next_rule(&self) -> Rule {
        self.shared.rule.next()
    }

    pub(crate) fn set_rule(&self, rule: Rule) {
        self.shared.rule.set(rule);
        self.connect_bus();
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.shared.bucket
    }

    pub(crate) fn is_bus_cut(&self) -> bool {
        self.shared.is_bus_cut.load(Ordering::Relaxed)
    }

    /// Disconnects both nodes from the bus, or connects them again.
    pub(crate) fn cut_bus(&self, cut: bool) {
        self.shared.is_bus_cut.store(cut, Ordering::Relaxed);
        self.connect_bus();
    }

    /// The nodes are on the bus only under the rule that needs it: its messages mark entries under
    /// every rule, and the others would not show how old their reads are without it.
    fn connect_bus(&self) {
        if self.shared.rule.rule() == Rule::Notified && !self.is_bus_cut() {
            self.shared.bus.heal();
        } else {
            self.shared.bus.cut_all();
        }
    }

    /// Records a write that was not made.
    #[cfg(test)]
    pub(crate) fn pretend_written(&self, number: usize) {
        let version = self.shared.ledger.begin(number);
        self.shared.ledger.returned(number, version);
    }

    pub(crate) fn figures(&self) -> Figures {
        let Shared { settings, bucket, nodes, rule, .. } = &*self.shared;
        Figures {
            at: self.elapsed(),
            rule: rule.rule(),
            is_up: bucket.is_up(),
            is_bus_cut: self.is_bus_cut(),
            round_trip: settings.round_trip,
            nodes: nodes.each_ref().map(|node| NodeFigures {
                seen: node.tally.seen(),
                stats: node.cache.stats(),
                is_listening: node.cache.bus_stats().is_some_and(|bus| bus.is_listening),
            }),
            origin: bucket.requests(),
        }
    }

    /// Whether all tasks are running. One that is not has panicked.
    pub(crate) fn is_whole(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }

    /// Stops the readers and the writer, waits for all requests, and returns the final state.
    ///
    /// # Errors
    ///
    /// If a task has panicked.
    pub(crate) async fn stop(mut self) -> Result<Figures, Box<dyn std::error::Error>> {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        // `close` clears the caches.
        let held = self.figures();
        for node in &self.shared.nodes {
            node.cache.close().await?;
        }
        let mut end = self.figures();
        for (node, held) in end.nodes.iter_mut().zip(held.nodes) {
            (node.stats.bytes, node.stats.entries) = (held.stats.bytes, held.stats.entries);
            node.is_listening = held.is_listening;
        }
        Ok(end)
    }
}

/// One reader of one node, until the end.
async fn read(shared: Arc<Shared>, reader: usize) {
    let (own, node) = (reader.is_multiple_of(2), &shared.nodes[reader % 2]);
    let random = Random::new(reader as u64);
    while !shared.is_stopped.load(Ordering::Relaxed) {
        let number = shared.popular(&random);
        let key = bodies::key(number);
        let rule = shared.rule.rule();
        // Writes through the same node are seen under every rule.
        let lag = if own { Some(Duration::ZERO) } else { rule.lag() };
        let least = shared.ledger.least(number, lag);
        let options = ReadOptions::new().freshness(rule.freshness());
        let begun = shared.clock.now();
        let answer = node.cache.get_with(&key, options).await;
        let took = shared.clock.now().saturating_since(begun);
        let (mut older, mut wrong) = (None, None);
        if let Ok(object) = &answer {
            match bodies::version(number, object.bytes()) {
                Some(version) => {
                    older = shared.ledger.older_by(number, version, begun);
                    wrong = shared.ledger.wrong(number, version, least);
                }
                None => {
                    wrong = Some(format!(
                        "object {number}: a body of {} bytes that is no version of it",
                        object.bytes().len()
                    ));
                }
            }
        }
        node.tally.count(&answer, took, (rule, older), wrong);
        tokio::time::sleep(shared.settings.pause).await;
    }
}

/// The one writer, through the first node, until the end.
async fn write(shared: Arc<Shared>) {
    let random = Random::new(u64::MAX);
    while !shared.is_stopped.load(Ordering::Relaxed) {
        let number = shared.popular(&random);
        if bodies::exists(number) {
            let version = shared.ledger.begin(number);
            let (key, body) = (bodies::key(number), bodies::body(number, version));
            // A failed write may have reached the store or not: reads may return either version.
            if shared.nodes[0].cache.put(&key, body).await.is_ok() {
                shared.ledger.returned(number, version);
            }
        }
        tokio::time::sleep(shared.settings.write_pause).await;
    }
}

impl Shared {
    /// An object's number, as popular as in Zipf's law.
    fn popular(&self, random: &Random) -> usize {
        bodies::number_of_rank(self.popularity.sample(random), self.settings.n_objects)
    }
}

const EXPONENT: f64 = 0.99;
