//! What is to be done, when, and by whom.

use std::{fmt, time::Duration};

use object_store::GetRange;

use super::TIMEOUT;
use crate::{
    history::ReadRule,
    random::Random,
    simulation::{
        Leaves, Shrinks,
        schedule::{IMMUTABLE, KEYS, ms, rule},
    },
};

/// A whole schedule. With its seed it says all that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What all latencies, faults and turns are drawn from.
    pub seed: u64,
    /// How many nodes have a cache. One more writes to the store directly.
    pub nodes: usize,
    /// The calls.
    pub calls: Vec<Planned>,
    /// Of 256 requests, how many the store spoils.
    pub faults: u8,
    /// The cache's setting, in bytes.
    pub block_size: u64,
    /// The cache's setting, in bytes.
    pub coalesce_gap: u64,
    /// The cache's setting, in bytes.
    pub readahead: u64,
    /// The cache's setting. `u64::MAX`: there is no limit.
    pub max_object_size: u64,
    /// The cache's setting.
    pub time_to_live: Option<Duration>,
    /// The cache's setting.
    pub origin_timeout: Duration,
    /// The `max_age` of reads that do not say theirs.
    pub max_age: Duration,
}

/// A call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    /// When it is made.
    pub at: Duration,
    /// On which node; the one after the last has no cache.
    pub node: usize,
    /// Of which key.
    pub key: &'static str,
    /// What is done.
    pub plan: Plan,
    /// Whether its caller goes away.
    pub dropped: Option<Leaves>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plan {
    /// A read of a part.
    Get(ReadRule, Part),
    /// A read without a body.
    Head(ReadRule),
    /// A read of two ranges at once, each by its first byte and its length.
    Ranges([(u64, u64); 2]),
    /// A read that makes no request.
    OnlyIfCached(ReadRule, Part),
    /// A read past the cache.
    Bypass(Part),
    /// A read with the tag that the node saw last, if that is not the current one.
    IfNoneMatch(ReadRule),
    /// A read with the tag that the node saw last, if that is the current one.
    IfMatch(ReadRule, Part),
    /// A list of all objects.
    List,
    /// A list of the objects in the folder of the key.
    ListFolder,
    /// A put of the value.
    Put(u64),
    /// A put of the value, if there is no object.
    PutIfAbsent(u64),
    /// A put of the value, if the object is at the version that the node saw last.
    PutIfSame(u64),
    /// A put of the value in two parts.
    Multipart(u64),
    /// A delete.
    Delete,
    /// A copy from another key.
    CopyFrom(&'static str),
    /// A rename from another key.
    RenameFrom(&'static str),
    /// The object is forgotten.
    Invalidate,
    /// The objects are forgotten whose paths begin with the first letters of the key.
    InvalidatePrefix,
    /// Everything is forgotten.
    Clear,
    /// The node gets a new cache.
    Restart {
        /// The old one is closed. Else it is left alone with what it has in flight.
        closes: bool,
    },
}

/// A part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// From a byte on, so many.
    Some(u64, u64),
    /// From a byte on.
    From(u64),
    /// So many at its end.
    Last(u64),
}

impl Part {
    /// As a store is asked for it.
    pub fn range(self) -> Option<GetRange> {
        match self {
            Self::All => None,
            Self::Some(from, len) => Some(GetRange::Bounded(from..from + len)),
            Self::From(from) => Some(GetRange::Offset(from)),
            Self::Last(len) => Some(GetRange::Suffix(len)),
        }
    }
}

impl Schedule {
    /// The schedule of a seed, with everything that can happen.
    pub fn new(seed: u64, nodes: usize) -> Self {
        let random = Random::stream(seed, SCHEDULE);
        let span_ms = random.pick(&[40, 100, 100, 400]);
        let n_calls = 4 + random.below(32);
        // Of 256 calls, how many are reads for sure.
        let reads = random.pick(&[0, 0, 100, 170]);
        let mut calls: Vec<_> = (0..n_calls)
            .map(|number| {
                let key = KEYS[[0, 0, 0, 0, 0, 1, 1, 2][random.index(8)]];
                let plan = plan(&random, reads, key, 1 + number);
                let leaves = match random.below(16) {
                    0 => Some(Leaves::AtPoll(1 + u32::try_from(random.below(6)).unwrap_or(0))),
                    1 => Some(Leaves::After(ms(random.below(20)))),
                    _ => None,
                };
                let (at, node) = (ms(random.below(span_ms)), random.index(nodes));
                Planned { at, node, key, plan, dropped: leaves }
            })
            .collect();
        for call in &mut calls {
            let is_write = matches!(call.plan, Plan::Put(_) | Plan::Delete);
            if is_write && random.below(3) > 0 {
                (call.node, call.dropped) = (nodes, None);
            }
        }
        // What was not heard, or is held although it must not be, shows where somebody reads
        // afterwards.
        let looks: Vec<_> = calls
            .iter()
            .filter(|call| call.node < nodes)
            .filter_map(|call| {
                let (is_made, later) = (random.below(2) == 0, ms(random.below(24)));
                let plan = Plan::Get(random.pick(&[IMMUTABLE, rule(20, 0, 0)]), part(&random));
                is_made.then_some(Planned { at: call.at + later, plan, dropped: None, ..*call })
            })
            .collect();
        let last_looks =
            (0..nodes).flat_map(|node| KEYS.map(|key| (node, key))).map(|(node, key)| Planned {
                at: ms(span_ms + 24),
                node,
                key,
                plan: Plan::Get(IMMUTABLE, Part::All),
                dropped: None,
            });
        calls.extend(looks.into_iter().chain(last_looks));
        calls.sort_by_key(|call| call.at);
        Self {
            seed,
            nodes,
            calls,
            faults: random.pick(&[0, 0, 30, 60]),
            block_size: random.pick(&[5, 8, 16, 64]),
            coalesce_gap: random.pick(&[0, 6, 1_000]),
            readahead: random.pick(&[0, 0, 0, 16]),
            max_object_size: random.pick(&[u64::MAX, u64::MAX, u64::MAX, 30]),
            time_to_live: random.pick(&[Some(ms(70)), Some(ms(250)), None]),
            origin_timeout: random.pick(&[TIMEOUT, TIMEOUT, ms(45)]),
            max_age: random.pick(&[Duration::ZERO, ms(20)]),
        }
    }

    /// The rule of reads that do not say theirs.
    pub(super) fn default_rule(&self) -> ReadRule {
        ReadRule { max_age: self.max_age, ..ReadRule::default() }
    }
}

impl Shrinks for Schedule {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn smaller(&self) -> Box<dyn Iterator<Item = Self> + '_> {
        let with = |calls| Self { calls, ..self.clone() };
        let without = crate::simulation::schedule::with_fewer(&self.calls).map(with);
        let plainer = [
            Self { faults: 0, ..self.clone() },
            Self { readahead: 0, ..self.clone() },
            Self { coalesce_gap: 0, ..self.clone() },
            Self { max_object_size: u64::MAX, ..self.clone() },
            Self { block_size: 64, ..self.clone() },
            Self { time_to_live: None, ..self.clone() },
            Self { origin_timeout: TIMEOUT, ..self.clone() },
            Self { max_age: Duration::ZERO, ..self.clone() },
        ];
        let patient =
            (0..self.calls.len()).filter(|at| self.calls[*at].dropped.is_some()).map(move |at| {
                let mut calls = self.calls.clone();
                calls[at].dropped = None;
                with(calls)
            });
        Box::new(
            without
                .chain(plainer.into_iter().filter(move |plainer| plainer != self))
                .chain(patient),
        )
    }
}

fn plan(random: &Random, reads: u8, key: &'static str, value: u64) -> Plan {
    let source = || KEYS[(KEYS.iter().position(|it| *it == key).unwrap_or(0) + 1) % KEYS.len()];
    if random.happens(reads) {
        return Plan::Get(reading(random), part(random));
    }
    match random.below(40) {
        0..12 => Plan::Get(reading(random), part(random)),
        12 => Plan::Head(reading(random)),
        13..16 => Plan::Ranges([0, 1].map(|_| (random.below(30), 1 + random.below(12)))),
        16 => Plan::OnlyIfCached(reading(random), part(random)),
        17 => Plan::Bypass(part(random)),
        18 => Plan::IfNoneMatch(reading(random)),
        19 => Plan::IfMatch(reading(random), part(random)),
        20..23 => Plan::List,
        23 => Plan::ListFolder,
        24..29 => Plan::Put(value),
        29 => Plan::PutIfAbsent(value),
        30 => Plan::PutIfSame(value),
        31 => Plan::Multipart(value),
        32..34 => Plan::Delete,
        34 => Plan::CopyFrom(source()),
        35 => Plan::RenameFrom(source()),
        36 => Plan::Invalidate,
        37 => Plan::InvalidatePrefix,
        38 => Plan::Clear,
        _ => Plan::Restart { closes: random.below(2) == 0 },
    }
}

fn reading(random: &Random) -> ReadRule {
    match random.below(14) {
        0..4 => rule(0, 0, 0),
        4 => rule(0, 0, 30),
        5..9 => rule(20, 0, 0),
        9 => rule(20, 20, 0),
        10 => rule(10, 20, 30),
        _ => IMMUTABLE,
    }
}

fn part(random: &Random) -> Part {
    match random.below(8) {
        0..3 => Part::All,
        3..6 => Part::Some(random.below(36), 1 + random.below(20)),
        6 => Part::From(random.below(30)),
        _ => Part::Last(1 + random.below(20)),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, faults, block_size, coalesce_gap, readahead, .. } = self;
        let Self { max_object_size, time_to_live, origin_timeout, max_age, .. } = self;
        writeln!(f, "schedule of seed {seed}, {nodes} nodes over one object store")?;
        writeln!(f, "  {faults} faults of 256, blocks of {block_size}, gaps of {coalesce_gap}")?;
        writeln!(
            f,
            "  readahead {readahead}, largest object {max_object_size}, max_age {max_age:?}"
        )?;
        write!(f, "  time to live {time_to_live:?}, origin timeout {origin_timeout:?}")?;
        for Planned { at, node, key, plan, dropped } in &self.calls {
            write!(f, "\n  at {at:?}  node {node}  {key}  {plan:?}")?;
            if let Some(dropped) = dropped {
                write!(f, ", dropped: {dropped:?}")?;
            }
        }
        Ok(())
    }
}

const SCHEDULE: u64 = 11;
