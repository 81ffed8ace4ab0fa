//! What is to be done, when, and by whom.

use std::{fmt, time::Duration};

use super::Shrinks;
use crate::{FaultRates, history::ReadRule, random::Random};

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
    /// The bus of the caches, if there is one: rules `until_notified` need it.
    pub bus: Option<BusPlan>,
}

/// A bus, and what goes wrong on it.
#[derive(Debug, Clone, PartialEq)]
pub struct BusPlan {
    /// How often faults are drawn.
    pub rates: FaultRates,
    /// No message is ever delivered, and nothing says so.
    pub is_deaf: bool,
    /// How long a message is on its way to a cache at most.
    pub latency_max: Duration,
    /// How many messages wait for a cache at most.
    pub queue_len: usize,
    /// How long after the node before it a node starts, times its number.
    pub starts_after: Duration,
    /// The caches' setting.
    pub announce_within: Option<Duration>,
    /// The faults and their moments.
    pub troubles: Vec<(Duration, Trouble)>,
}

/// Something that goes wrong on a bus, or ends to do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A node is disconnected.
    Cut(usize),
    /// A node hears nothing more, and is not told.
    Blackhole(usize),
    /// The stream of a node ends.
    End(usize),
    /// The nodes are split in two groups, by the bits of the number.
    Split(u8),
    /// Everything is connected again, and nothing waits.
    Heal,
    /// Waiting messages are delivered.
    Release,
    /// An earlier message is delivered to all again.
    Replay(usize),
    /// Bytes that are no message are delivered to all.
    Garbage(u64),
    /// A node does not listen for a while.
    Lag(usize, Duration),
    /// A node is told that it is connected again, without having been disconnected.
    Lie(usize),
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
    /// A list by the cache.
    List(Listed),
    /// A list that the cache is told of.
    ListBeside(Listed),
    /// A read of all objects of a list, and how many at a time.
    GetPrefix(Listed, usize),
    /// The node announces on the bus that the object may have changed.
    Announce,
    /// The node announces on the bus that the objects with the first letters of the key may have
    /// changed.
    AnnouncePrefix,
    /// The node announces on the bus that all objects may have changed.
    AnnounceAll,
    /// The node is told by other means than the bus that the object may have changed.
    HearChange,
    /// The node gets a new cache.
    Restart {
        /// The old one is closed. Else it is left alone with what it has in the air.
        closes: bool,
        /// What it held is in the new one's backend, which outlives the process.
        keeps: bool,
    },
}

/// Which keys are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All of them.
    All,
    /// Those with the first letters of the key.
    Below,
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
        let bus_random = Random::stream(seed, BUS);
        let (bus, begins_ms) = bus(&bus_random, nodes);
        // On a bus much happens in bursts, and some of it seconds later.
        let at = |span_ms| match begins_ms.as_slice() {
            [] => ms(random.below(span_ms)),
            begins_ms => ms(bus_random.pick(begins_ms) + random.below(span_ms)),
        };
        let call = |number| Planned {
            at: at(span_ms),
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
            // Without a cache nothing is announced.
            let is_elsewhere = if bus.is_some() { 6 } else { 2 };
            if is_write && random.below(is_elsewhere) == 0 {
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
        calls.extend(looks);
        if bus.is_some() {
            with_bus(&bus_random, nodes, &mut calls);
        }
        with_lists(&Random::stream(seed, LISTS), nodes, &mut calls);
        let end = ms(span_ms + 12 + begins_ms.iter().max().unwrap_or(&0));
        let mut last_looks = vec![(end, Plan::Get(IMMUTABLE))];
        if bus.is_some() {
            // Before the immutable ones, which may be served from what these read.
            last_looks =
                vec![(end + ms(200), Plan::Get(NOTIFIED)), (end + ms(400), Plan::Get(IMMUTABLE))];
        }
        let last_looks = last_looks.into_iter().flat_map(|(at, plan)| {
            (0..nodes).flat_map(move |node| {
                KEYS.map(|key| Planned { at, node, key, plan, dropped: None })
            })
        });
        calls.extend(last_looks);
        calls.sort_by_key(|call| call.at);
        let times_to_live = match bus {
            None => [Some(ms(70)), Some(ms(70)), Some(ms(250)), None],
            Some(_) => [Some(ms(250)), Some(ms(20_000)), None, None],
        };
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
            time_to_live: random.pick(&times_to_live),
            max_in_flight: random.pick(&[usize::MAX, usize::MAX, 2, 1]),
            bus,
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
        schedule.bus = None;
        for call in &mut schedule.calls {
            call.dropped = None;
            call.plan = call.plan.without_bus().without_lists();
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
        let calmer = self.bus.iter().flat_map(|bus| {
            let calmer = bus.calmer().map(Some);
            calmer.map(|bus| Self { bus, ..self.clone() })
        });
        let patient =
            (0..self.calls.len()).filter(|at| self.calls[*at].dropped.is_some()).map(move |at| {
                let mut calls = self.calls.clone();
                calls[at].dropped = None;
                Self { calls, ..self.clone() }
            });
        Box::new(
            without
                .chain(calmer)
                .chain(plainer.into_iter().filter(move |plainer| plainer != self))
                .chain(patient),
        )
    }
}

impl BusPlan {
    /// With a little less that goes wrong.
    fn calmer(&self) -> impl Iterator<Item = Self> + use<'_> {
        let fewer = with_fewer(&self.troubles).map(|troubles| Self { troubles, ..self.clone() });
        let plainer = [
            Self { rates: FaultRates::NONE, ..self.clone() },
            Self { is_deaf: false, ..self.clone() },
            Self { latency_max: Duration::ZERO, ..self.clone() },
            Self { queue_len: 1_024, ..self.clone() },
            Self { announce_within: None, ..self.clone() },
        ];
        fewer.chain(plainer.into_iter().filter(move |plainer| plainer != self))
    }
}

impl Plan {
    /// The calls that need no bus.
    fn without_bus(self) -> Self {
        match self {
            Self::Get(rule) => Self::Get(ReadRule { when_disconnected: None, ..rule }),
            Self::Announce | Self::HearChange => Self::Expire,
            Self::AnnouncePrefix => Self::ExpirePrefix,
            Self::AnnounceAll => Self::ExpireAll,
            _ => self,
        }
    }
}

impl Plan {
    fn without_lists(self) -> Self {
        match self {
            Self::List(_) | Self::ListBeside(_) | Self::GetPrefix(..) => {
                Self::Get(ReadRule::default())
            }
            _ => self,
        }
    }
}

/// Has some calls be lists, in some schedules.
fn with_lists(random: &Random, nodes: usize, calls: &mut [Planned]) {
    let rate = random.pick(&[0, 0, 30, 80]);
    for call in calls.iter_mut().filter(|call| call.node < nodes) {
        let can_change = !matches!(call.plan, Plan::Put(_) | Plan::OpenWrite(_));
        if can_change && random.happens(rate) {
            let listed = random.pick(&[Listed::All, Listed::Below]);
            call.plan = match random.below(3) {
                0 => Plan::List(listed),
                1 => Plan::ListBeside(listed),
                _ => Plan::GetPrefix(listed, 1 + random.index(3)),
            };
        }
    }
}

/// The bus of a schedule, if there is one, and when the bursts of calls begin.
fn bus(random: &Random, nodes: usize) -> (Option<BusPlan>, Vec<u64>) {
    if random.below(2) == 0 {
        return (None, Vec::new());
    }
    let begins_ms: &[u64] = random.pick(&[
        &[0],
        &[0, 300],
        &[0, 500, 1_000, 1_500],
        &[0, 990, 2_000, 2_400, 2_990, 3_500],
        &[0, 1_200, 2_900, 3_100, 4_500, 7_000],
    ]);
    let rate = random.pick(&[3, 3, 10, 40, 120, 255]);
    let a_few = |rate: u8| {
        let one_of = |rate| if random.below(3) == 0 { rate } else { 0 };
        FaultRates {
            drop: one_of(rate),
            drop_reported: one_of(rate),
            repeat: one_of(rate),
            delay: one_of(rate),
            reorder: one_of(rate),
            garbage: one_of(rate),
            fail: one_of(rate),
            fail_late: one_of(rate),
            hang: one_of(rate / 4),
            replay: one_of(rate),
            cut: one_of(rate / 2),
            split: one_of(rate / 2),
            blackhole: one_of(rate / 4),
            end: one_of(rate / 2),
            heal: one_of(rate),
            release: one_of(rate),
        }
    };
    let rates = match random.below(8) {
        0..3 => FaultRates::NONE,
        3 => FaultRates::all(rate / 4),
        4 => FaultRates { drop: rate, ..FaultRates::NONE },
        _ => a_few(rate),
    };
    let last_ms = begins_ms.iter().max().unwrap_or(&0) + 600;
    let n_troubles = random.pick(&[0, 0, 0, 1, 2, 5, 9]);
    let mut troubles: Vec<_> =
        (0..n_troubles).map(|_| (ms(random.below(last_ms)), trouble(random, nodes))).collect();
    troubles.sort_by_key(|(at, _)| *at);
    let plan = BusPlan {
        rates,
        is_deaf: random.below(24) == 0,
        latency_max: ms(random.pick(&[0, 0, 3, 3, 15, 900])),
        queue_len: random.pick(&[1_024, 1_024, 1_024, 2]),
        starts_after: ms(random.pick(&[0, 13, 370, 370])),
        announce_within: random.pick(&[None, None, Some(ms(10)), Some(ms(5_000))]),
        troubles,
    };
    (Some(plan), begins_ms.to_vec())
}

fn trouble(random: &Random, nodes: usize) -> Trouble {
    let node = random.index(nodes);
    match random.below(20) {
        0..3 => Trouble::Cut(node),
        3..5 => Trouble::Blackhole(node),
        5..7 => Trouble::End(node),
        7 => Trouble::Split(random.draw().to_le_bytes()[0]),
        8..12 => Trouble::Heal,
        12 => Trouble::Release,
        13..15 => Trouble::Replay(random.index(40)),
        15 => Trouble::Garbage(random.draw()),
        16..19 => Trouble::Lag(node, ms(random.pick(&[5, 40, 900, 3_200]))),
        _ => Trouble::Lie(node),
    }
}

/// Has most reads depend on the bus, and some calls use it.
fn with_bus(random: &Random, nodes: usize, calls: &mut [Planned]) {
    let disconnected = random.pick(&[0, 0, 20, 300]);
    for call in calls.iter_mut().filter(|call| call.node < nodes) {
        match &mut call.plan {
            Plan::Get(rule) if random.below(4) > 0 => {
                let max_age = random.pick(&[20, 300, 5_000, 5_000, 60_000]);
                *rule = ReadRule {
                    max_age: ms(max_age),
                    stale_while_revalidate: ms(random.pick(&[0, 0, 0, 0, 20])),
                    stale_if_error: ms(random.pick(&[0, 0, 0, 30])),
                    when_disconnected: Some(ms(disconnected.min(max_age))),
                };
            }
            Plan::Expire if random.below(2) == 0 => {
                call.plan = random.pick(&[Plan::Announce, Plan::HearChange]);
            }
            Plan::ExpirePrefix if random.below(2) == 0 => call.plan = Plan::AnnouncePrefix,
            Plan::ExpireAll if random.below(2) == 0 => call.plan = Plan::AnnounceAll,
            // Too many of them leave nothing to be announced.
            Plan::Clear if random.below(2) == 0 => call.plan = Plan::Get(NOTIFIED),
            _ => {}
        }
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
        when_disconnected: None,
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
    when_disconnected: None,
};

/// As long as there are messages.
const NOTIFIED: ReadRule = ReadRule {
    max_age: Duration::from_secs(60),
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
    when_disconnected: Some(Duration::ZERO),
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
        if let Some(bus) = &self.bus {
            write!(f, "\n  {bus:?}")?;
        }
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
const BUS: u64 = 4;
const LISTS: u64 = 5;
