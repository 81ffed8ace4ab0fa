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
    replay::BELADY,
    row::Row,
    setting::Unit,
    table::{Table, amount, groups, pairs},
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
        (way > POINT + ROUNDING).then_some((lru, way))
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
const ROUNDING: f64 = 1e-12;

impl Summary {
    /// What the figures are of.
    pub(crate) fn basis(&self) -> String {
        let ((entries, bytes), (long_entries, long_bytes)) = (self.n_pairs, self.n_ways);
        format!(
            "{entries} pairs of trace and capacity by entries and {bytes} by bytes; in {long_entries} and \
             {long_bytes} of them the way from LRU to the optimum is over one point."
        )
    }

    /// The standings.
    pub(crate) fn table(&self) -> Table {
        let head = ["policy", "way", "by entries", "by bytes", "least lead over LRU", "over the best peer"];
        let mut table = Table::new(head);
        for standing in &self.whole {
            table.push([
                standing.policy.clone(),
                percent(standing.way),
                percent(standing.way_by_entries),
                percent(standing.way_by_bytes),
                place(standing.over_lru.as_ref()),
                place(standing.over_peers.as_ref()),
            ]);
        }
        table
    }
}

impl SizedSummary {
    pub(crate) fn title(&self) -> String {
        format!("{}, by bytes", self.trace)
    }

    /// The standings.
    pub(crate) fn table(&self) -> Table {
        let head = ["over LRU", "over the best peer"];
        let mut table =
            Table::new(["policy", "hits, mean", head[0], head[1], "bytes of hits, mean", head[0], head[1]]);
        for (policy, hits, bytes) in &self.standings {
            let cells = [hits, bytes].into_iter().flat_map(|by| {
                [percent(Some(by.mean)), points(by.over_lru.as_ref()), points(by.over_peers.as_ref())]
            });
            table.push([policy.clone()].into_iter().chain(cells));
        }
        table
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "## Summary\n\n{}\n\n{}", self.basis(), self.table())?;
        self.sized.iter().try_for_each(|sized| write!(f, "\n### {}\n\n{}", sized.title(), sized.table()))
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or(NOTHING.to_owned(), |share| format!("{:.1} %", tidy(100.0 * share, 0.05)))
}

fn points(lead: Option<&Lead>) -> String {
    lead.map_or(NOTHING.to_owned(), |lead| format!("{:+.2}", tidy(lead.points, 0.005)))
}

fn place(lead: Option<&Lead>) -> String {
    let Some(Lead { at: (trace, unit, capacity), .. }) = lead else { return NOTHING.to_owned() };
    format!("{} ({trace}, {})", points(lead), amount(*capacity, *unit))
}

/// No "-0.00": what is less than half of the last digit is nothing.
fn tidy(number: f64, half: f64) -> f64 {
    if number.abs() < half { 0.0 } else { number }
}

const NOTHING: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Cell;

    fn row(trace: &str, capacity: u64, policy: &str, hits: u32) -> Row {
        Row {
            trace: trace.to_owned(),
            unit: if trace == "sized" { Unit::Bytes } else { Unit::Entries },
            capacity,
            policy: policy.to_owned(),
            requests: 1000,
            hits: hits.into(),
            hit_ratio: f64::from(hits) / 1000.0,
            byte_hit_ratio: f64::from(hits) / 2000.0,
        }
    }

    fn rows(pairs: &[(&str, u64, [u32; 5])]) -> Vec<Row> {
        let names = ["lru", "default", "peer:a", "peer:b", "belady"];
        let of_pair = |(trace, capacity, hits): &(&str, u64, [u32; 5])| {
            names.iter().zip(hits).map(|(name, &hits)| row(trace, *capacity, name, hits)).collect::<Vec<_>>()
        };
        pairs.iter().flat_map(of_pair).collect()
    }

    #[test]
    fn the_figures_are_those_one_would_work_out() {
        let summary = Summary::new(&rows(&[
            // Half of the way, 5 points over LRU, 2 under the best peer.
            ("x", 10, [100, 150, 120, 170, 200]),
            // A tenth back, 1 point under LRU, level with the best peer.
            ("x", 20, [200, 190, 190, 180, 300]),
            // A way of one point does not count; the leads do.
            ("y", 10, [300, 260, 280, 290, 310]),
        ]));
        assert_eq!((summary.n_pairs, summary.n_ways), ((3, 0), (2, 0)));
        let table = summary.table();
        let texts = |row: &Vec<Cell>| row.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        let shown: Vec<_> = table.rows.iter().map(texts).collect();
        assert_eq!(
            shown,
            [
                ["lru", "0.0 %", "0.0 %", "–", "+0.00 (x, 10)", "-7.00 (x, 10)"],
                ["default", "20.0 %", "20.0 %", "–", "-4.00 (y, 10)", "-3.00 (y, 10)"],
                ["peer:a", "5.0 %", "5.0 %", "–", "-2.00 (y, 10)", "-5.00 (x, 10)"],
                ["peer:b", "25.0 %", "25.0 %", "–", "-2.00 (x, 20)", "-1.00 (x, 20)"],
                ["best peer of each pair", "30.0 %", "30.0 %", "–", "-1.00 (x, 20)", "+0.00 (x, 10)"],
                ["best of all of each pair", "35.0 %", "35.0 %", "–", "+0.00 (x, 20)", "+0.00 (x, 10)"],
            ]
        );
    }

    #[test]
    fn bytes_are_compared_with_bytes() {
        let summary = Summary::new(&rows(&[("sized", 1 << 20, [100, 150, 120, 170, 200])]));
        let [sized] = &summary.sized[..] else { panic!("{summary:?}") };
        let shown: Vec<_> = sized.table().rows[1].iter().map(|cell| cell.text.clone()).collect();
        assert_eq!(shown, ["default", "15.0 %", "+5.00", "-2.00", "7.5 %", "+2.50", "-1.00"]);
        assert_eq!(percent(summary.whole[1].way_by_bytes), "50.0 %");
    }

    #[test]
    fn what_cannot_be_compared_is_left_open() {
        let summary = Summary::new(&[row("x", 10, "default", 500)]);
        assert_eq!((&summary.whole[0].way, &summary.whole[0].over_lru), (&None, &None));
        assert!(summary.to_string().contains("| default | – | – | – | – | – |"), "{summary}");
        assert!(Summary::new(&[]).to_string().contains("0 pairs"));
    }
}
