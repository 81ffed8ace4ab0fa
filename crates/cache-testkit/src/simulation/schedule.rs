//! What is to be done, when, and by whom.

use std::{fmt, time::Duration};

use super::Shrinks;
use crate::{history::ReadRule, random::Random};

/// A whole schedule. With its seed it says all that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What all latencies, faults and turns are drawn from.
    pub seed: u64,
    /// How many nodes have a cache. One more writes to the origin directly.
    pub nodes: usize,
    /// The calls.
    pub calls: Vec<Planned>,
    /// Whether each call waits for the one before it.
    pub one_at_a_time: bool,
    /// Of 256 requests, how many the origin spoils.
    pub faults: u8,
    /// Of 256 answers, how many have no tag, a weak one, or one that the origin does not know
    /// again.
    pub odd_tags: u8,
    /// Whether the origin repeats a request whose answer was lost: a conditional put may then have
    /// met its own work.
    pub retries: bool,
    /// The cache's setting.
    pub patience: Option<Duration>,
    /// The cache's setting.
    pub negative_ttl: Duration,
    /// The cache's setting.
    pub time_to_live: Option<Duration>,
    /// The cache's setting.
    pub max_in_flight: usize,
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
    /// A read.
    Get(ReadRule),
    /// A put of the value.
    Put(u64),
    /// A put of the value, if there is no object.
    PutIfAbsent(u64),
    /// A put of the value, if the object is at the version that the node saw last.
    PutIfSame(u64),
    /// A put of the value that is not made by the cache, under an `open_write`.
    OpenWrite(u64),
    /// A delete.
    Delete,
    /// `invalidate`.
    Invalidate,
    /// `mark_stale`.
    Expire,
    /// `mark_stale_prefix`, with the first letters of the key.
    ExpirePrefix,
    /// `mark_all_stale`.
    ExpireAll,
    /// `invalidate_prefix`, with the first letters of the key.
    InvalidatePrefix,
    /// `clear`.
    Clear,
    /// The node gets a new cache.
    Restart {
        /// The old one is closed. Else it is left alone with what it has in the air.
        closes: bool,
        /// What it held is in the new one's backend, which outlives the process.
        keeps: bool,
    },
}

/// When a caller goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// After so long.
    After(Duration),
    /// When its call has been polled so often and has not ended: at its so-manieth await.
    AtPoll(u32),
}

impl Schedule {
    /// The schedule of a seed, with everything that can happen.
    pub fn new(seed: u64, nodes: usize) -> Self {
        let random = Random::stream(seed, SCHEDULE);
        let span_ms = random.pick(&[40, 100, 100, 400]);
        let n_calls = 4 + random.below(40);
        let repeats_values = random.below(4) == 0;
        // Of 256 calls, how many are reads for sure.
        let reads = random.pick(&[0, 0, 100, 170]);
        let call = |number| Planned {
            at: ms(random.below(span_ms)),
            node: random.index(nodes),
            key: KEYS[[0, 0, 0, 0, 0, 1, 1, 2][random.index(8)]],
            plan: plan(&random, reads, if repeats_values { 1 + number % 3 } else { 1 + number }),
            dropped: match random.below(16) {
                0 | 1 => Some(Leaves::AtPoll(
                    1 + u32::try_from(random.below(5) * random.below(2)).unwrap_or(0),
                )),
                2 => Some(Leaves::After(ms(random.below(20)))),
                _ => None,
            },
        };
        let mut calls: Vec<_> = (0..n_calls).map(call).collect();
        for call in &mut calls {
            let is_write = matches!(call.plan, Plan::Put(_) | Plan::Delete);
            if is_write && random.below(2) == 0 {
                (call.node, call.dropped) = (nodes, None);
            }
        }
        // What is held although it must not be shows where somebody reads after a write, or when
        // all is over.
        let writes =
            calls.iter().filter(|call| call.node < nodes && !matches!(call.plan, Plan::Get(_)));
        let looks: Vec<_> = writes
            .filter_map(|call| {
                let (is_made, later) = (random.below(2) == 0, ms(random.below(16)));
                let plan = read(&random);
                is_made.then_some(Planned { at: call.at + later, plan, dropped: None, ..*call })
            })
            .collect();
        let last_looks =
            (0..nodes).flat_map(|node| KEYS.map(|key| (node, key))).map(|(node, key)| Planned {
                at: ms(span_ms + 12),
                node,
                key,
                plan: Plan::Get(IMMUTABLE),
                dropped: None,
            });
        calls.extend(looks.into_iter().chain(last_looks));
        calls.sort_by_key(|call| call.at);
        Self {
            seed,
            nodes,
            calls,
            one_at_a_time: false,
            faults: random.pick(&[0, 0, 30, 60]),
            odd_tags: random.pick(&[0, 0, 0, 60]),
            retries: random.below(4) == 0,
            patience: random.pick(&[None, None, Some(ms(9))]),
            negative_ttl: random.pick(&[Duration::ZERO, ms(15)]),
            time_to_live: random.pick(&[Some(ms(70)), Some(ms(70)), Some(ms(250)), None]),
            max_in_flight: random.pick(&[usize::MAX, usize::MAX, 2, 1]),
        }
    }

    /// The schedule of a seed whose answers are the same over every backend: one call after the
    /// other, and no faults. Reads are strong, or nobody writes but the one node itself.
    pub fn in_order(seed: u64, nodes: usize) -> Self {
        let mut schedule = Self {
            one_at_a_time: true,
            faults: 0,
            odd_tags: 0,
            retries: false,
            patience: None,
            ..Self::new(seed, nodes)
        };
        for call in &mut schedule.calls {
            call.dropped = None;
            match &mut call.plan {
                Plan::Get(rule) if seed.is_multiple_of(2) => *rule = ReadRule::default(),
                _ if !seed.is_multiple_of(2) => call.node = 0,
                _ => {}
            }
        }
        schedule
    }
}

impl Shrinks for Schedule {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn smaller(&self) -> Box<dyn Iterator<Item = Self> + '_> {
        let without = with_fewer(&self.calls).map(|calls| Self { calls, ..self.clone() });
        let plainer = [
            Self { faults: 0, ..self.clone() },
            Self { odd_tags: 0, ..self.clone() },
            Self { retries: false, ..self.clone() },
            Self { patience: None, ..self.clone() },
            Self { negative_ttl: Duration::ZERO, ..self.clone() },
            Self { time_to_live: None, ..self.clone() },
            Self { max_in_flight: usize::MAX, ..self.clone() },
        ];
        let patient =
            (0..self.calls.len()).filter(|at| self.calls[*at].dropped.is_some()).map(move |at| {
                let mut calls = self.calls.clone();
                calls[at].dropped = None;
                Self { calls, ..self.clone() }
            });
        Box::new(
            without
                .chain(plainer.into_iter().filter(move |plainer| plainer != self))
                .chain(patient),
        )
    }
}

/// Without some of them: first without many, then without one.
pub(super) fn with_fewer<T: Clone>(calls: &[T]) -> impl Iterator<Item = Vec<T>> + use<'_, T> {
    let n = calls.len();
    let sizes =
        std::iter::successors(Some(n / 2), |size| Some(size / 2)).take_while(|size| *size > 0);
    sizes.flat_map(move |size| {
        (0..n).step_by(size).map(move |from| {
            let mut fewer = calls.to_vec();
            fewer.drain(from..(from + size).min(n));
            fewer
        })
    })
}

fn plan(random: &Random, reads: u8, value: u64) -> Plan {
    if random.happens(reads) {
        return read(random);
    }
    match random.below(31) {
        0..14 => read(random),
        14..17 => Plan::Put(value),
        17..19 => Plan::OpenWrite(value),
        19 => Plan::PutIfAbsent(value),
        20 => Plan::PutIfSame(value),
        21..23 => Plan::Delete,
        23..25 => Plan::Invalidate,
        25 => Plan::Expire,
        26 => Plan::ExpirePrefix,
        27 => Plan::InvalidatePrefix,
        28..30 => Plan::Clear,
        _ if random.below(2) == 0 => Plan::ExpireAll,
        _ => Plan::Restart { closes: random.below(2) == 0, keeps: random.below(2) == 0 },
    }
}

/// In milliseconds.
pub(super) const fn rule(
    max_age: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
) -> ReadRule {
    ReadRule {
        max_age: ms(max_age),
        stale_while_revalidate: ms(stale_while_revalidate),
        stale_if_error: ms(stale_if_error),
    }
}

fn read(random: &Random) -> Plan {
    Plan::Get(match random.below(14) {
        0..3 => rule(0, 0, 0),
        3..5 => rule(0, 0, 30),
        5..7 => rule(20, 0, 0),
        7..9 => rule(20, 20, 0),
        9..11 => rule(10, 20, 30),
        _ => IMMUTABLE,
    })
}

pub(super) const IMMUTABLE: ReadRule = ReadRule {
    max_age: Duration::MAX,
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
};

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, faults, odd_tags, retries, .. } = self;
        let Self { one_at_a_time, patience, negative_ttl, time_to_live, max_in_flight, .. } = self;
        writeln!(f, "schedule of seed {seed}, {nodes} nodes, one at a time: {one_at_a_time}")?;
        writeln!(
            f,
            "  origin: {faults} faults and {odd_tags} odd tags of 256, retries: {retries}"
        )?;
        writeln!(
            f,
            "  patience {patience:?}, negative ttl {negative_ttl:?}, time to live {time_to_live:?}"
        )?;
        write!(f, "  in flight at most {max_in_flight}")?;
        for Planned { at, node, key, plan, dropped } in &self.calls {
            write!(f, "\n  at {at:?}  node {node}  {key}  {plan:?}")?;
            if let Some(dropped) = dropped {
                write!(f, ", dropped: {dropped:?}")?;
            }
        }
        Ok(())
    }
}

/// Two share a prefix.
pub(super) const KEYS: [&str; 3] = ["a/one", "b/two", "b/three"];
const SCHEDULE: u64 = 1;
