//! The result of a whole simulation: the answers in a line per capacity, and how each policy stands
//! over all traces.
//!
//! A *case* is one trace, replayed by entries or by bytes, at one capacity. For each policy:
//!
//! * *gap closed*: the share of the gap between LRU's hit ratio and the optimum's that the policy
//!   closes; the mean over the cases with a gap of more than one point. Negative if it is below
//!   LRU.
//! * *worst vs LRU* and *worst vs best peer*: the smallest difference to the other's hit ratio over
//!   all cases, in points, and the case. Negative if the policy is lower there.
//!
//! A point is 1 % of the requests (or of the bytes). A peer is a policy called `peer:…`.

use std::fmt::{self, Write as _};

use crate::{
    replay::BELADY,
    row::Row,
    setting::Unit,
    table::{Table, amount, cases, count, groups},
};

/// The standings of all policies. Displays as Markdown.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Over all cases.
    pub whole: Vec<Standing>,
    /// The number of cases by entries and by bytes.
    pub n_cases: (usize, usize),
    /// The number of those with a gap of more than one point.
    pub n_gaps: (usize, usize),
    /// For each trace with sizes, by bytes.
    pub sized: Vec<SizedSummary>,
}

/// How one policy compares with the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The policy, or a description of several.
    pub policy: String,
    /// The mean share of the gap that it closes; `None` without a gap.
    pub closed: Option<f64>,
    /// The same over the cases by entries.
    pub closed_by_entries: Option<f64>,
    /// The same over the cases by bytes.
    pub closed_by_bytes: Option<f64>,
    /// The worst case compared with LRU.
    pub vs_lru: Option<Lead>,
    /// The worst case compared with the best peer of that case.
    pub vs_peers: Option<Lead>,
}

/// The smallest difference of two hit ratios.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// In points; negative if lower.
    pub points: f64,
    /// The case: trace, unit, capacity.
    pub at: (String, Unit, u64),
}

/// One trace with sizes, by bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct SizedSummary {
    /// The name of the trace.
    pub trace: String,
    /// For each policy, its hit ratio and its byte hit ratio.
    pub standings: Vec<(String, SizedStanding, SizedStanding)>,
}

/// One ratio of one policy on one trace.
#[derive(Debug, Clone, PartialEq)]
pub struct SizedStanding {
    /// The mean ratio over the capacities, from 0 to 1.
    pub mean: f64,
    /// The worst case compared with LRU.
    pub vs_lru: Option<Lead>,
    /// The worst case compared with the best peer of that case.
    pub vs_peers: Option<Lead>,
}

type Ratio = fn(&Row) -> f64;
const HITS: Ratio = |row| row.hit_ratio;
const BYTES: Ratio = |row| row.byte_hit_ratio;

/// Whether the policy needs no knowledge of the future.
pub(crate) fn is_online(row: &Row) -> bool {
    row.policy != BELADY
}

pub(crate) fn is_peer(policy: &str) -> bool {
    policy.starts_with("peer:")
}

impl Summary {
    /// Summarizes the rows of a simulation, in their order.
    pub fn new(rows: &[Row]) -> Self {
        let cases: Vec<_> = cases(rows).map(Case).collect();
        let number = |has: &dyn Fn(&Case<'_>) -> bool| {
            let of = |unit| cases.iter().filter(|case| case.unit() == unit && has(case)).count();
            (of(Unit::Entries), of(Unit::Bytes))
        };
        let names =
            cases.first().map_or(&[][..], |case| case.0).iter().filter(|row| is_online(row));
        let mut whole: Vec<_> = names
            .map(|row| row.policy.as_str())
            .map(|policy| standing(policy, &cases, &|case| case.of(policy, HITS)))
            .collect();
        if cases.iter().any(|case| case.best_peer(HITS).is_some()) {
            whole.push(standing("best peer of each case", &cases, &|case| case.best_peer(HITS)));
        }
        whole.push(standing("best policy of each case", &cases, &|case| case.best(|_| true, HITS)));
        Self {
            whole,
            n_cases: number(&|_| true),
            n_gaps: number(&|case| case.gap().is_some()),
            sized: groups(rows)
                .filter(|group| group[0].unit == Unit::Bytes)
                .map(SizedSummary::new)
                .collect(),
        }
    }
}

impl SizedSummary {
    fn new(group: &[Row]) -> Self {
        let cases: Vec<_> = cases(group).map(Case).collect();
        let names = cases[0].0.iter().map(|row| row.policy.clone());
        let standings = names.map(|policy| {
            let by = |ratio| SizedStanding::new(&policy, &cases, ratio);
            let (hits, bytes) = (by(HITS), by(BYTES));
            (policy, hits, bytes)
        });
        Self { trace: group[0].trace.clone(), standings: standings.collect() }
    }
}

impl SizedStanding {
    fn new(policy: &str, cases: &[Case<'_>], ratio: Ratio) -> Self {
        let of = |case: &Case<'_>| case.of(policy, ratio);
        Self {
            mean: mean(cases.iter().filter_map(of)).unwrap_or(0.0),
            vs_lru: least_lead(cases, &of, &|case| case.of(LRU, ratio)),
            vs_peers: least_lead(cases, &of, &|case| case.best_peer(ratio)),
        }
    }
}

/// The rows of one case, one for each policy.
struct Case<'a>(&'a [Row]);

impl Case<'_> {
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

    /// LRU's hit ratio and the gap to the optimum, if that is more than one point.
    fn gap(&self) -> Option<(f64, f64)> {
        let lru = self.of(LRU, HITS)?;
        let gap = self.of(BELADY, HITS)? - lru;
        (gap > POINT + ROUNDING).then_some((lru, gap))
    }
}

type Of<'a> = &'a dyn Fn(&Case<'_>) -> Option<f64>;

fn standing(name: &str, cases: &[Case<'_>], of: Of<'_>) -> Standing {
    let closed = |is_one: fn(Unit) -> bool| {
        let share = |case: &Case<'_>| {
            let (lru, gap) = case.gap()?;
            Some((of(case)? - lru) / gap)
        };
        mean(cases.iter().filter(|case| is_one(case.unit())).filter_map(share))
    };
    Standing {
        policy: name.to_owned(),
        closed: closed(|_| true),
        closed_by_entries: closed(|unit| unit == Unit::Entries),
        closed_by_bytes: closed(|unit| unit == Unit::Bytes),
        vs_lru: least_lead(cases, of, &|case| case.of(LRU, HITS)),
        vs_peers: least_lead(cases, of, &|case| case.best_peer(HITS)),
    }
}

fn least_lead(cases: &[Case<'_>], of: Of<'_>, over: Of<'_>) -> Option<Lead> {
    let lead = |case: &Case<'_>| {
        let points = (of(case)? - over(case)?) / POINT;
        let row = &case.0[0];
        Some(Lead { points, at: (row.trace.clone(), row.unit, row.capacity) })
    };
    cases.iter().filter_map(lead).min_by(|a, b| a.points.total_cmp(&b.points))
}

#[expect(clippy::cast_precision_loss, reason = "a few cases")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

const LRU: &str = "lru";
const POINT: f64 = 0.01;
const ROUNDING: f64 = 1e-12;

impl Summary {
    /// Explains the columns of [`table`](Self::table).
    pub(crate) fn explained(&self) -> String {
        let ((entries, bytes), (long_entries, long_bytes)) = (self.n_cases, self.n_gaps);
        format!(
            "{entries} cases (a trace and a capacity) by entries and {bytes} by bytes.\n\n\
             * gap closed: share of the gap between LRU's hit ratio and the optimum's that a \
             policy\n  \
             closes, the mean over the {long_entries} and {long_bytes} cases with a gap of more \
             than \
             one point\n\
             * worst vs LRU, worst vs best peer: smallest difference of hit ratios over all \
             cases,\n  \
             in points (1 point: 1 % of the requests), and the case; negative where it is lower\n"
        )
    }

    /// The standings.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new([
            "policy",
            "gap closed",
            "by entries",
            "by bytes",
            "worst vs LRU",
            "worst vs best peer",
        ]);
        for standing in &self.whole {
            table.push([
                standing.policy.clone(),
                percent(standing.closed),
                percent(standing.closed_by_entries),
                percent(standing.closed_by_bytes),
                place(standing.vs_lru.as_ref()),
                place(standing.vs_peers.as_ref()),
            ]);
        }
        table
    }
}

/// The hit ratios that matter at each capacity, a line each: the default policy, the best one, LRU
/// and the optimum, as far as they were replayed.
pub(crate) fn answers(rows: &[Row]) -> String {
    let mut text = String::new();
    for group in groups(rows) {
        let (trace, by, n) = (&group[0].trace, group[0].unit.name(), count(group[0].requests));
        let _ = writeln!(text, "{trace}, by {by}: hit ratios of {n} requests\n");
        for case in cases(group).map(Case) {
            let Row { share, capacity, unit, .. } = &case.0[0];
            let _ = write!(
                text,
                "* at {} % of your working set ({}): ",
                trimmed(100.0 * share),
                of_unit(*capacity, *unit)
            );
            let known =
                |name, policy| Some(format!("{name} {}", percent(Some(case.of(policy, HITS)?))));
            let best =
                case.0.iter().rev().filter(|row| is_online(row)).max_by(|a, b| a.hits.cmp(&b.hits));
            let best =
                best.map(|row| format!("best {} ({})", percent(Some(row.hit_ratio)), row.policy));
            let parts =
                [known("default", "default"), best, known("LRU", LRU), known("optimum", BELADY)];
            let _ =
                writeln!(text, "{}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
        }
        text.push('\n');
    }
    text
}

/// With one decimal, unless that is zero.
fn trimmed(percent: f64) -> String {
    let text = format!("{percent:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

fn of_unit(capacity: u64, unit: Unit) -> String {
    match unit {
        Unit::Entries => format!("{} entries", count(capacity)),
        Unit::Bytes => amount(capacity, unit),
    }
}

impl SizedSummary {
    pub(crate) fn title(&self) -> String {
        format!("{}, by bytes: means over the capacities", self.trace)
    }

    /// The standings.
    pub(crate) fn table(&self) -> Table {
        let vs = ["worst vs LRU", "worst vs best peer"];
        let mut table =
            Table::new(["policy", "hit ratio", vs[0], vs[1], "byte hit ratio", vs[0], vs[1]]);
        for (policy, hits, bytes) in &self.standings {
            let cells = [hits, bytes].into_iter().flat_map(|by| {
                [percent(Some(by.mean)), points(by.vs_lru.as_ref()), points(by.vs_peers.as_ref())]
            });
            table.push([policy.clone()].into_iter().chain(cells));
        }
        table
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "## Over all traces\n\n{}\n{}", self.explained(), self.table())?;
        self.sized
            .iter()
            .try_for_each(|sized| write!(f, "\n### {}\n\n{}", sized.title(), sized.table()))
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

/// No "-0.00": rounds what is less than half of the last digit to zero.
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
            share: 0.05,
            requests: 1000,
            hits: hits.into(),
            hit_ratio: f64::from(hits) / 1000.0,
            byte_hit_ratio: f64::from(hits) / 2000.0,
        }
    }

    fn rows(cases: &[(&str, u64, [u32; 5])]) -> Vec<Row> {
        let names = ["lru", "default", "peer:a", "peer:b", "belady"];
        let of_pair = |(trace, capacity, hits): &(&str, u64, [u32; 5])| {
            names
                .iter()
                .zip(hits)
                .map(|(name, &hits)| row(trace, *capacity, name, hits))
                .collect::<Vec<_>>()
        };
        cases.iter().flat_map(of_pair).collect()
    }

    #[test]
    fn figures_are_right() {
        let summary = Summary::new(&rows(&[
            // Half of the gap, 5 points above LRU, 2 below the best peer.
            ("x", 10, [100, 150, 120, 170, 200]),
            // A tenth below LRU by 1 point, level with the best peer.
            ("x", 20, [200, 190, 190, 180, 300]),
            // A gap of one point does not count; the differences do.
            ("y", 10, [300, 260, 280, 290, 310]),
        ]));
        assert_eq!((summary.n_cases, summary.n_gaps), ((3, 0), (2, 0)));
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
                [
                    "best peer of each case",
                    "30.0 %",
                    "30.0 %",
                    "–",
                    "-1.00 (x, 20)",
                    "+0.00 (x, 10)"
                ],
                [
                    "best policy of each case",
                    "35.0 %",
                    "35.0 %",
                    "–",
                    "+0.00 (x, 20)",
                    "+0.00 (x, 10)"
                ],
            ]
        );
    }

    #[test]
    fn byte_hits_are_compared_with_byte_hits() {
        let summary = Summary::new(&rows(&[("sized", 1 << 20, [100, 150, 120, 170, 200])]));
        let [sized] = &summary.sized[..] else { panic!("{summary:?}") };
        let shown: Vec<_> = sized.table().rows[1].iter().map(|cell| cell.text.clone()).collect();
        assert_eq!(shown, ["default", "15.0 %", "+5.00", "-2.00", "7.5 %", "+2.50", "-1.00"]);
        assert_eq!(percent(summary.whole[1].closed_by_bytes), "50.0 %");
    }

    #[test]
    fn missing_figures_are_dashes() {
        let summary = Summary::new(&[row("x", 10, "default", 500)]);
        assert_eq!((&summary.whole[0].closed, &summary.whole[0].vs_lru), (&None, &None));
        assert!(summary.table().rows[0][1..].iter().all(|cell| cell.text == NOTHING), "{summary}");
        assert!(Summary::new(&[]).to_string().contains("0 cases"));
    }

    #[test]
    fn answers_name_what_was_replayed() {
        let rows = rows(&[("x", 1024, [100, 150, 120, 170, 200])]);
        let expected = "x, by entries: hit ratios of 1,000 requests\n\n\
            * at 5 % of your working set (1,024 entries): default 15.0 %, best 17.0 % (peer:b), \
            LRU 10.0 %, optimum 20.0 %\n\n";
        assert_eq!(answers(&rows), expected);
        let only = Row { share: 0.0834, ..row("sized", 3 << 20, "sieve", 500) };
        let line = "* at 8.3 % of your working set (3.0 MiB): best 50.0 % (sieve)\n";
        assert!(answers(&[only]).contains(line));
    }
}
