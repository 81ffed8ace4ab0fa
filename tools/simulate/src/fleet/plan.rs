//! The reads and writes of a fleet, in virtual time: the same under every freshness rule.

use std::{collections::HashMap, time::Duration};

use fastrand::Rng;

use crate::{Result, setting::Setting, trace::Trace};

/// A fleet of nodes, each with a cache of its own, over one store.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// The number of nodes; not zero.
    pub nodes: u32,
    /// Reads a second of all nodes together, evenly spaced.
    pub reads: f64,
    /// Writes a second of all nodes together: one in each slot of that length, at any moment.
    pub writes: f64,
    /// Time that is replayed before anything is counted.
    pub warm_up: Duration,
    /// Time that is counted.
    pub span: Duration,
    /// From the sending of a request to its response. The store processes it in the middle.
    pub round_trip: Duration,
    /// From the acknowledgement of a write to the moment at which the other nodes hear of it.
    pub bus_delay: Duration,
    /// The share of deliveries that the bus loses. The next heartbeat of the sender shows the gap.
    pub lost: f64,
    /// The share of writes that are never announced.
    pub unannounced: f64,
    /// How long an entry lives without being validated.
    pub time_to_live: Duration,
    /// The objects under the prefix that is listed. `None`: those of the trace.
    pub listed: Option<u64>,
    /// The node that reads or writes an object.
    pub split: Split,
    /// The objects that are written.
    pub written: Written,
    /// Of each node. `None`: all objects fit.
    pub capacity: Option<Setting>,
    /// The size in bytes of each object, if the trace has no sizes.
    pub object_size: u64,
    /// How many of the nodes are replayed; the others are taken to be like them. `None`: as many as
    /// about four million reads and messages allow, or all if the split is by key.
    pub sample: Option<u32>,
    /// Of everything that is drawn at random.
    pub seed: u64,
}

/// How requests are split over nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Each request goes to any node.
    Random,
    /// All requests for an object go to one node, by the hash of its key.
    ByKey,
}

/// The objects that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// As often as they are read.
    Popular,
    /// Each as often as the others.
    Uniform,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            nodes: 1,
            reads: 100.0,
            writes: 1.0,
            warm_up: Duration::from_secs(300),
            span: Duration::from_secs(600),
            round_trip: Duration::from_millis(20),
            bus_delay: Duration::from_millis(5),
            lost: 0.0,
            unannounced: 0.0,
            time_to_live: Duration::from_secs(300),
            listed: None,
            split: Split::Random,
            written: Written::Popular,
            capacity: None,
            object_size: 16 << 10,
            sample: None,
            seed: 1,
        }
    }
}

impl Fleet {
    /// Checks the settings that do not depend on a trace.
    ///
    /// # Errors
    ///
    /// For a setting outside of its range, with the setting, and for more requests than can be
    /// replayed.
    pub fn check(&self) -> Result<()> {
        if self.nodes == 0 || self.nodes > NODES_MAX {
            return Err(format!("{} nodes: give 1 to {NODES_MAX}", self.nodes).into());
        }
        if !(self.reads.is_finite() && self.reads > 0.0) {
            return Err(format!("{} reads a second: give a number above zero", self.reads).into());
        }
        if !(self.writes.is_finite() && self.writes >= 0.0) {
            return Err(format!("{} writes a second: give zero or more", self.writes).into());
        }
        for (name, share) in [("lost", self.lost), ("unannounced", self.unannounced)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("a share of {share} {name}: give 0 to 1").into());
            }
        }
        if self.sample == Some(0) {
            return Err("a sample of 0 nodes: give at least one".into());
        }
        if self.span.is_zero() || self.time_to_live.is_zero() {
            return Err("the time that is counted and the time to live must be above zero".into());
        }
        let shorten = "lower the rate or --seconds";
        let (reads, writes) = (self.reads * self.seconds(), self.writes * self.seconds());
        if reads > READS_MAX {
            return Err(format!("{reads:.3e} reads to split, 4e9 at most: {shorten}").into());
        }
        if writes > WRITES_MAX {
            return Err(format!("{writes:.3e} writes to replay, 1e7 at most: {shorten}").into());
        }
        let sampled = reads * f64::from(self.sampled()) / f64::from(self.nodes);
        if sampled > SAMPLED_MAX {
            let shorten = "lower the rate, --seconds or --sample";
            return Err(format!("{sampled:.3e} reads to replay, 5e7 at most: {shorten}").into());
        }
        Ok(())
    }

    /// All of the time that is replayed, in seconds.
    fn seconds(&self) -> f64 {
        (self.warm_up + self.span).as_secs_f64()
    }

    /// How many nodes are replayed.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded down")]
    pub(super) fn sampled(&self) -> u32 {
        let default = || match self.split {
            // The load of the nodes is uneven: a few of them are not like the others.
            Split::ByKey => self.nodes,
            Split::Random => {
                let reads = self.reads / f64::from(self.nodes);
                (SAMPLED_DEFAULT / ((reads + self.writes) * self.seconds())) as u32
            }
        };
        self.sample.unwrap_or_else(default).clamp(1, self.nodes)
    }
}

/// The reads of the sampled nodes and the writes of all nodes.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(super) trace: &'a Trace,
    pub(super) fleet: Fleet,
    /// By sampled node: the numbers of its reads among those of the fleet.
    reads: Vec<Vec<u32>>,
    writes: Vec<Write>,
    /// In bytes, by object; `None` if the trace has no sizes.
    sizes: Option<Vec<u64>>,
    /// Of each object that is written: when each of its versions but the first took effect.
    effects: HashMap<u32, Vec<u64>>,
}

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// When it is sent, in nanoseconds.
    pub at: u64,
    /// The object.
    pub object: u32,
    /// The node that writes; it may be one that is not replayed.
    pub node: u32,
    /// The version that it makes. The object is of version zero at the start.
    pub version: u32,
    /// Whether other nodes are told.
    pub is_announced: bool,
}

impl<'a> Plan<'a> {
    /// Splits the requests of `trace`, repeated as often as needed, over the nodes of `fleet`.
    ///
    /// # Errors
    ///
    /// As [`Fleet::check`]; and if `trace` has no requests.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in range, rounded down"
    )]
    pub fn new(trace: &'a Trace, fleet: &Fleet) -> Result<Self> {
        fleet.check()?;
        if trace.is_empty() {
            return Err("the trace has no requests".into());
        }
        // A product such as 0.1 * 30 may be a little below a whole number.
        let n_requests = |rate: f64| (rate * fleet.seconds() + 1e-6).floor() as u32;
        let mut plan = Self {
            trace,
            fleet: fleet.clone(),
            reads: vec![Vec::new(); fleet.sampled() as usize],
            writes: Vec::new(),
            sizes: trace.is_sized().then(|| sizes(trace)),
            effects: HashMap::new(),
        };
        plan.split_reads(n_requests(fleet.reads));
        plan.draw_writes(n_requests(fleet.writes));
        Ok(plan)
    }

    fn split_reads(&mut self, n_reads: u32) {
        let (nodes, sampled) = (self.fleet.nodes, self.fleet.sampled());
        if self.fleet.split == Split::ByKey {
            for read in 0..n_reads {
                let owner = self.owner(self.object(read));
                if let Some(reads) = self.reads.get_mut(owner as usize) {
                    reads.push(read);
                }
            }
            return;
        }
        let mut rng = self.rng(Stream::Reads);
        let share = f64::from(sampled) / f64::from(nodes);
        let mut read = 0_u32;
        loop {
            if sampled < nodes {
                // The reads of the other nodes are skipped in one step.
                let skipped = (-rng.f64()).ln_1p() / (-share).ln_1p();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates"
                )]
                let skipped = skipped.floor() as u32;
                read = read.saturating_add(skipped);
            }
            if read >= n_reads {
                return;
            }
            self.reads[rng.u32(0..sampled) as usize].push(read);
            read += 1;
        }
    }

    fn draw_writes(&mut self, n_writes: u32) {
        let mut rng = self.rng(Stream::Writes);
        let n_objects = u32::try_from(self.trace.n_distinct()).unwrap_or(u32::MAX);
        for write in 0..n_writes {
            // Ten writes a second are ten in every second, and none is always beside a read.
            let at = nanos_at(f64::from(write) + rng.f64(), self.fleet.writes);
            let object = match self.fleet.written {
                Written::Popular => self.trace.objects()[rng.usize(0..self.trace.len())],
                Written::Uniform => rng.u32(0..n_objects),
            };
            let node = match self.fleet.split {
                Split::Random => rng.u32(0..self.fleet.nodes),
                Split::ByKey => self.owner(object),
            };
            let effects = self.effects.entry(object).or_default();
            effects.push(at + nanos(self.fleet.round_trip) / 2);
            let version = u32::try_from(effects.len()).unwrap_or(u32::MAX);
            let is_announced = rng.f64() >= self.fleet.unannounced;
            self.writes.push(Write { at, object, node, version, is_announced });
        }
    }

    /// The node of all requests for `object`, if they are split by key.
    fn owner(&self, object: u32) -> u32 {
        let seed = self.fleet.seed ^ u64::from(object).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Rng::with_seed(seed).u32(0..self.fleet.nodes)
    }

    /// The object of read number `read` of the fleet.
    fn object(&self, read: u32) -> u32 {
        self.trace.objects()[read as usize % self.trace.len()]
    }

    /// Generators that do not depend on how much the others drew.
    pub(super) fn rng(&self, stream: Stream) -> Rng {
        let stream = match stream {
            Stream::Reads => 1,
            Stream::Writes => 2,
            Stream::Lists(node) => 4 + 2 * u64::from(node),
            Stream::Bus(node) => 5 + 2 * u64::from(node),
        };
        Rng::with_seed(Rng::with_seed(self.fleet.seed ^ stream.rotate_left(32)).u64(..))
    }

    /// The number of nodes that are replayed: the first ones.
    pub fn sampled(&self) -> u32 {
        self.fleet.sampled()
    }

    /// The reads of a sampled node, in order: when they begin, in nanoseconds, and the object. None
    /// for other nodes.
    pub fn reads(&self, node: u32) -> impl Iterator<Item = (u64, u32)> {
        let reads = self.reads.get(node as usize).into_iter().flatten();
        reads.map(|&read| (nanos_at(f64::from(read), self.fleet.reads), self.object(read)))
    }

    /// The writes of all nodes, in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// When a node begins its first list, in nanoseconds, if it lists at this interval: at a random
    /// moment of the first one.
    pub fn first_list(&self, node: u32, every: Duration) -> u64 {
        self.rng(Stream::Lists(node)).u64(0..nanos(every).max(1))
    }

    /// The size of the object in bytes.
    pub(super) fn size(&self, object: u32) -> u64 {
        let sizes = self.sizes.as_ref();
        sizes.map_or(self.fleet.object_size, |sizes| sizes[object as usize])
    }

    /// The version that the store has at `now`, in nanoseconds.
    pub fn version_at(&self, object: u32, now: u64) -> u32 {
        let version = self.effects.get(&object).map_or(0, |at| at.partition_point(|at| *at <= now));
        u32::try_from(version).unwrap_or(u32::MAX)
    }

    /// When `version` was superseded; `None` if it never is.
    pub(super) fn superseded_at(&self, object: u32, version: u32) -> Option<u64> {
        self.effects.get(&object)?.get(version as usize).copied()
    }
}

/// The size of each object, as its first request gives it.
fn sizes(trace: &Trace) -> Vec<u64> {
    let mut sizes = Vec::new();
    for request in trace.requests() {
        // Objects are numbered in the order of their first requests.
        if request.object as usize == sizes.len() {
            sizes.push(request.size);
        }
    }
    sizes
}

/// The purpose of a generator.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Reads,
    Writes,
    Lists(u32),
    Bus(u32),
}

/// In nanoseconds; times are at most a few years.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The moment of event number `n` of `rate` a second, in nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
fn nanos_at(n: f64, rate: f64) -> u64 {
    (n / rate * 1e9).round() as u64
}

const NODES_MAX: u32 = 1_000_000;
/// Reads are numbered with 32 bits.
const READS_MAX: f64 = 4e9;
const WRITES_MAX: f64 = 1e7;
/// Four bytes each.
const SAMPLED_MAX: f64 = 5e7;
/// Of one rule: a few seconds.
const SAMPLED_DEFAULT: f64 = 4e6;
