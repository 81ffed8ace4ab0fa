//! What many replays say together.
//!
//! A *pair* is a trace, replayed by entries or by bytes, and a capacity. Of each policy:
//!
//! * *way*: how far it gets from LRU's hit ratio to the optimum's, as a share, the mean over the pairs where the two
//!   are more than one point apart. Negative if it is behind LRU.
//! * *least lead* over LRU, and over the best peer of each pair: the least difference of hit ratios over all pairs,
//!   in points, and where that is. Negative if it is behind there.
//!
//! A point is one percent of the requests (or of the bytes). A peer is a policy called `peer:…`.

use std::fmt;

use crate::{
    row::Row,
    setting::Unit,
    simulate::BELADY,
    table::{amount, groups, pairs},
};

/// Of a whole simulation. Shown as Markdown.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Over all pairs.
    pub whole: Vec<Standing>,
    /// How many pairs there are, by entries and by bytes.
    pub n_pairs: (usize, usize),
    /// How many of them have a way of over one point.
    pub n_ways: (usize, usize),
    /// Of each trace with sizes, by bytes.
    pub sized: Vec<SizedSummary>,
}

/// How one policy stands among the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The policy, or a description of several.
    pub policy: String,
    /// The mean share of the way from LRU to the optimum; none without such pairs.
    pub way: Option<f64>,
    /// The same, of the pairs by entries alone.
    pub way_by_entries: Option<f64>,
    /// The same, of the pairs by bytes alone.
    pub way_by_bytes: Option<f64>,
    /// Over LRU.
    pub over_lru: Option<Lead>,
    /// Over the best peer of each pair.
    pub over_peers: Option<Lead>,
}

/// The least difference of two hit ratios.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// In points; negative if behind.
    pub points: f64,
    /// The pair where it is so: trace, unit, capacity.
    pub at: (String, Unit, u64),
}

/// One trace with sizes, by bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct SizedSummary {
    /// Its name.
    pub trace: String,
    /// Of each policy: how it stands by hits, and by bytes of hits.
    pub standings: Vec<(String, SizedStanding, SizedStanding)>,
}

/// How one policy stands on one trace.
#[derive(Debug, Clone, PartialEq)]
pub struct SizedStanding {
    /// The mean ratio over the capacities, from 0 to 1.
    pub mean: f64,
    /// Over LRU.
    pub over_lru: Option<Lead>,
    /// Over the best peer of each pair.
    pub over_peers: Option<Lead>,
}

type Ratio = fn(&Row) -> f64;
const HITS: Ratio = |row| row.hit_ratio;
const BYTES: Ratio = |row| row.byte_hit_ratio;

/// Whether a cache could follow it that does not know the future.
pub(crate) fn is_online(row: &Row) -> bool {
    row.policy != BELADY
}

pub(crate) fn is_peer(policy: &str) -> bool {
    policy.starts_with("peer:")
}

impl Summary {
    /// Of the rows of a simulation, in their order.
    pub fn new(rows: &[Row]) -> Self {
        let pairs: Vec<_> = pairs(rows).map(Pair).collect();
        let number = |has: &dyn Fn(&Pair<'_>) -> bool| {
            let of = |unit| pairs.iter().filter(|pair| pair.unit() == unit && has(pair)).count();
            (of(Unit::Entries), of(Unit::Bytes))
        };
        let names = pairs.first().map_or(&[][..], |pair| pair.0).iter().filter(|row| is_online(row));
        let mut whole: Vec<_> = names
            .map(|row| row.policy.as_str())
            .map(|policy| standing(policy, &pairs, &|pair| pair.of(policy, HITS)))
            .collect();
        if pairs.iter().any(|pair| pair.best_peer(HITS).is_some()) {
            whole.push(standing("best peer of each pair", &pairs, &|pair| pair.best_peer(HITS)));
        }
        whole.push(standing("best of all of each pair", &pairs, &|pair| pair.best(|_| true, HITS)));
        Self {
            whole,
            n_pairs: number(&|_| true),
            n_ways: number(&|pair| pair.way().is_some()),
            sized: groups(rows).filter(|group| group[0].unit == Unit::Bytes).map(SizedSummary::new).collect(),
        }
    }
}

impl SizedSummary {
    fn new(group: &[Row]) -> Self {
        let pairs: Vec<_> = pairs(group).map(Pair).collect();
        let names = pairs[0].0.iter().map(|row| row.policy.clone());
        let standings = names.map(|policy| {
            let by = |ratio| SizedStanding::new(&policy, &pairs, ratio);
            let (hits, bytes) = (by(HITS), by(BYTES));
            (policy, hits, bytes)
        });
        Self { trace: group[0].trace.clone(), standings: standings.collect() }
    }
}

impl SizedStanding {
    fn new(policy: &str, pairs: &[Pair<'_>], ratio: Ratio) -> Self {
        let of = |pair: &Pair<'_>| pair.of(policy, ratio);
        Self {
            mean: mean(pairs.iter().filter_map(of)).unwrap_or(0.0),
            over_lru: least_lead(pairs, &of, &|pair| pair.of(LRU, ratio)),
            over_peers: least_lead(pairs, &of, &|pair| pair.best_peer(ratio)),
        }
    }
}

/// The rows of one pair, one a policy.
struct Pair<'a>(&'a [Row]);

impl Pair<'_> {
    fn unit(&self) -> Unit {
        self.0[0].unit
    }

    fn of(&self, policy: &str, ratio: Ratio) -> Option<f64> {
        self.0.iter().find(|row| row.policy == policy).map(ratio)
    }

    fn best(&self, is_one: impl Fn(&Row) -> bool, ratio: Ratio) -> Option<f64> {
        self.0.iter().filter(|row| is_online(row) && is_one(row)).map(ratio).max_by(f64::total_cmp)
    }

    fn best_peer(&self, ratio: Ratio) -> Option<f64> {
        self.best(|row| is_peer(&row.policy), ratio)
    }

    /// LRU's hit ratio, and what the optimum has more, if that is over one point.
    fn way(&self) -> Option<(f64, f64)> {
        let lru = self.of(LRU, HITS)?;
        let way = self.of(BELADY, HITS)? - lru;
        (way > POINT).then_some((lru, way))
    }
}

type Of<'a> = &'a dyn Fn(&Pair<'_>) -> Option<f64>;

fn standing(name: &str, pairs: &[Pair<'_>], of: Of<'_>) -> Standing {
    let way = |is_one: fn(Unit) -> bool| {
        let share = |pair: &Pair<'_>| {
            let (lru, way) = pair.way()?;
            Some((of(pair)? - lru) / way)
        };
        mean(pairs.iter().filter(|pair| is_one(pair.unit())).filter_map(share))
    };
    Standing {
        policy: name.to_owned(),
        way: way(|_| true),
        way_by_entries: way(|unit| unit == Unit::Entries),
        way_by_bytes: way(|unit| unit == Unit::Bytes),
        over_lru: least_lead(pairs, of, &|pair| pair.of(LRU, HITS)),
        over_peers: least_lead(pairs, of, &|pair| pair.best_peer(HITS)),
    }
}

fn least_lead(pairs: &[Pair<'_>], of: Of<'_>, over: Of<'_>) -> Option<Lead> {
    let lead = |pair: &Pair<'_>| {
        let points = (of(pair)? - over(pair)?) / POINT;
        let row = &pair.0[0];
        Some(Lead { points, at: (row.trace.clone(), row.unit, row.capacity) })
    };
    pairs.iter().filter_map(lead).min_by(|a, b| a.points.total_cmp(&b.points))
}

#[expect(clippy::cast_precision_loss, reason = "of a few pairs")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

const LRU: &str = "lru";
const POINT: f64 = 0.01;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, bytes) = self.n_pairs;
        let (long_entries, long_bytes) = self.n_ways;
        writeln!(f, "## Summary\n")?;
        writeln!(
            f,
            "{entries} pairs of trace and capacity by entries and {bytes} by bytes; in {long_entries} and \
             {long_bytes} of them the way from LRU to the optimum is over one point.\n"
        )?;
        writeln!(f, "| policy | way | by entries | by bytes | least lead over LRU | over the best peer |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | --- | --- |")?;
        for standing in &self.whole {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} |",
                standing.policy,
                percent(standing.way),
                percent(standing.way_by_entries),
                percent(standing.way_by_bytes),
                place(standing.over_lru.as_ref()),
                place(standing.over_peers.as_ref()),
            )?;
        }
        self.sized.iter().try_for_each(|sized| write!(f, "\n{sized}"))
    }
}

impl fmt::Display for SizedSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}, by bytes\n", self.trace)?;
        writeln!(
            f,
            "| policy | hits, mean | over LRU | over the best peer | bytes, mean | over LRU | over the best peer |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (policy, hits, bytes) in &self.standings {
            let [hits, bytes] = [hits, bytes].map(|by| {
                let (lru, peers) = (points(by.over_lru.as_ref()), points(by.over_peers.as_ref()));
                format!("{} | {lru} | {peers}", percent(Some(by.mean)))
            });
            writeln!(f, "| {policy} | {hits} | {bytes} |")?;
        }
        Ok(())
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or(NOTHING.to_owned(), |share| format!("{:.1} %", tidy(100.0 * share)))
}

fn points(lead: Option<&Lead>) -> String {
    lead.map_or(NOTHING.to_owned(), |lead| format!("{:+.2}", tidy(lead.points)))
}

fn place(lead: Option<&Lead>) -> String {
    let Some(Lead { at: (trace, unit, capacity), .. }) = lead else { return NOTHING.to_owned() };
    format!("{} ({trace}, {})", points(lead), amount(*capacity, *unit))
}

/// No "-0.00".
fn tidy(number: f64) -> f64 {
    if number.abs() < 0.005 { 0.0 } else { number }
}

const NOTHING: &str = "–";
