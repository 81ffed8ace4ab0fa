//! The figures of a fleet under one rule, and the tables of them.

use std::time::Duration;

use super::{
    node::Counts,
    plan::{Fleet, Plan},
    rule::Rule,
};
use crate::table::{Table, count};

/// In dollars a million requests. The defaults are those of S3 Standard in us-east-1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// GET and HEAD, also those that are answered with 304.
    pub get: f64,
    /// LIST, by page.
    pub list: f64,
    /// PUT.
    pub put: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self { get: 0.4, list: 5.0, put: 5.0 }
    }
}

/// The figures of a whole fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The number of nodes.
    pub nodes: u32,
    /// How many of them were replayed.
    pub sampled: u32,
    /// The rule of all reads.
    pub rule: Rule,
    /// Reads of the program, a second.
    pub reads: f64,
    /// GET requests that were answered with a body, a second.
    pub bodies: f64,
    /// Conditional GET requests that were answered with 304, a second.
    pub not_modified: f64,
    /// LIST requests, a second.
    pub lists: f64,
    /// PUT requests, a second.
    pub puts: f64,
    /// Bytes from the store, a second: bodies and pages of lists.
    pub bytes: f64,
    /// The most GET requests in flight on one node at one moment.
    pub in_flight: u64,
    /// Median and 99th percentile of the age of served entries.
    pub age: [Duration; 2],
    /// The share of reads that were served a superseded version.
    pub stale: f64,
    /// Of all reads: the 99th percentile and the maximum of how long the version had been
    /// superseded.
    pub staleness: [Duration; 2],
    /// Announcements on the bus, a second.
    pub announcements: f64,
    /// Heartbeats on the bus, a second.
    pub heartbeats: f64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "rates are not exact")]
    pub(super) fn new(plan: &Plan<'_>, rule: Rule, counts: &Counts) -> Self {
        let fleet = &plan.fleet;
        let seconds = fleet.span.as_secs_f64();
        let all = f64::from(fleet.nodes) / f64::from(plan.sampled());
        let of_fleet = |n: u64| n as f64 * all / seconds;
        let bytes = counts.body_bytes + counts.list_bytes;
        let is_bus = matches!(rule, Rule::Bus { .. });
        Self {
            nodes: fleet.nodes,
            sampled: plan.sampled(),
            rule,
            reads: of_fleet(counts.reads),
            bodies: of_fleet(counts.bodies),
            not_modified: of_fleet(counts.not_modified),
            lists: of_fleet(counts.lists),
            puts: fleet.writes,
            bytes: bytes as f64 * all / seconds,
            in_flight: counts.in_flight,
            age: [counts.ages.percentile(0.5), counts.ages.percentile(0.99)],
            stale: counts.stale as f64 / counts.reads.max(1) as f64,
            staleness: [counts.staleness.percentile(0.99), counts.staleness.max()],
            announcements: if is_bus { fleet.writes * (1.0 - fleet.unannounced) } else { 0.0 },
            heartbeats: if is_bus { f64::from(fleet.nodes) } else { 0.0 },
        }
    }

    /// The share of one prefix's [`PREFIX_READS`] that all requests but PUT take.
    pub fn prefix_load(&self) -> f64 {
        (self.bodies + self.not_modified + self.lists) / PREFIX_READS
    }

    /// Deliveries of the bus, a second: each message goes to each node.
    pub fn deliveries(&self) -> f64 {
        (self.announcements + self.heartbeats) * f64::from(self.nodes)
    }

    /// Dollars for the requests of a month of 730 hours.
    pub fn dollars(&self, prices: &Prices) -> f64 {
        let gets = (self.bodies + self.not_modified) * prices.get;
        (gets + self.lists * prices.list + self.puts * prices.put) / 1e6 * MONTH
    }
}

/// The tables of all figures, as text.
pub(super) fn render(all: &[Figures], prices: &Prices) -> String {
    let mut requests = Table::new([
        "nodes",
        "rule",
        "reads/s",
        "GET/s",
        "304/s",
        "LIST/s",
        "PUT/s",
        "$/month",
        "of a prefix",
        "MiB/s",
        "in flight",
    ]);
    let mut ages = Table::new([
        "nodes",
        "rule",
        "age p50",
        "age p99",
        "stale reads",
        "stale p99",
        "stale max",
        "announced/s",
        "heartbeats/s",
        "deliveries/s",
    ]);
    for row in all {
        let nodes = count(row.nodes.into());
        requests.push([
            nodes.clone(),
            row.rule.to_string(),
            number(row.reads),
            number(row.bodies),
            number(row.not_modified),
            number(row.lists),
            number(row.puts),
            number(row.dollars(prices)),
            percent(row.prefix_load()),
            number(row.bytes / f64::from(1 << 20)),
            count(row.in_flight),
        ]);
        ages.push([
            nodes,
            row.rule.to_string(),
            time(row.age[0]),
            time(row.age[1]),
            percent(row.stale),
            time(row.staleness[0]),
            time(row.staleness[1]),
            number(row.announcements),
            number(row.heartbeats),
            number(row.deliveries()),
        ]);
    }
    format!("{requests}\n{ages}")
}

/// One line about the fleet.
pub(super) fn describe(fleet: &Fleet, all: &[Figures]) -> String {
    let sampled: Vec<_> = all.iter().filter(|row| row.sampled < row.nodes).collect();
    let mut text = String::new();
    if !sampled.is_empty() {
        let mut sizes: Vec<_> = sampled
            .iter()
            .map(|row| format!("{} of {}", count(row.sampled.into()), count(row.nodes.into())))
            .collect();
        sizes.dedup();
        text.push_str(&format!(
            "Replayed are {} nodes; the others are taken to be like them.\n",
            sizes.join(", ")
        ));
    }
    text.push_str(&format!(
        "Counted are {} after {} of warm-up. GET: with a body. Stale: superseded when the read \
         began. In flight: GET requests of one node, at most.\n",
        time(fleet.span),
        time(fleet.warm_up),
    ));
    text
}

/// Three digits, or more if it is a thousand or more.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
fn number(n: f64) -> String {
    match n {
        _ if n <= 0.0 => "0".to_owned(),
        _ if n < 0.001 => "<0.001".to_owned(),
        _ if n < 0.995 => format!("{n:.3}"),
        _ if n < 9.995 => format!("{n:.2}"),
        _ if n < 99.95 => format!("{n:.1}"),
        _ => count(n.round() as u64),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

fn time(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        _ if span.is_zero() => "0".to_owned(),
        _ if seconds < 0.9995 => format!("{} ms", number(seconds * 1e3)),
        _ => format!("{} s", number(seconds)),
    }
}

/// Reads a second that S3 serves under one prefix.
pub const PREFIX_READS: f64 = 5_500.0;
/// Seconds of 730 hours.
const MONTH: f64 = 730.0 * 3600.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            nodes: 1_000,
            sampled: 10,
            rule: Rule::Bus { fallback: Duration::from_secs(60) },
            reads: 100_000.0,
            bodies: 500.0,
            not_modified: 49.0,
            lists: 1.0,
            puts: 10.0,
            bytes: 3_145_728.0,
            in_flight: 12,
            age: [Duration::from_millis(1_500), Duration::from_secs(59)],
            stale: 0.0001,
            staleness: [Duration::ZERO, Duration::from_millis(25)],
            announcements: 10.0,
            heartbeats: 1_000.0,
        }
    }

    #[test]
    fn prices_loads_and_deliveries_are_as_computed_by_hand() {
        let figures = figures();
        // A month has 2,628,000 seconds: 1,442.772 million GET, 2.628 million LIST, 26.28 million
        // PUT.
        let dollars = 1_442.772 * 0.4 + 2.628 * 5.0 + 26.28 * 5.0;
        assert!((figures.dollars(&Prices::default()) - dollars).abs() < 1e-6);
        let prices = Prices { get: 0.0, list: 0.0, put: 1.0 };
        assert!((figures.dollars(&prices) - 26.28).abs() < 1e-6);
        assert!((figures.prefix_load() - 0.1).abs() < 1e-12);
        assert!((figures.deliveries() - 1_010_000.0).abs() < 1e-6);
    }

    #[test]
    fn tables_have_a_row_for_each_rule() {
        let text = render(&[figures()], &Prices::default());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 7, "{text}");
        let words =
            |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            words(lines[2])[1..12],
            [
                "1,000", "bus=1m", "100,000", "500", "49.0", "1.00", "10.0", "722", "10.0 %",
                "3.00", "12"
            ]
        );
        assert_eq!(
            words(lines[6])[1..11],
            [
                "1,000",
                "bus=1m",
                "1.50 s",
                "59.0 s",
                "0.010 %",
                "0",
                "25.0 ms",
                "10.0",
                "1,000",
                "1,010,000"
            ]
        );
    }

    #[test]
    fn small_numbers_are_not_shown_as_zero() {
        for (n, text) in [
            (0.0, "0"),
            (0.0001, "<0.001"),
            (0.0123, "0.012"),
            (0.9994, "1.00"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.5, "1,235"),
        ] {
            assert_eq!(number(n), text);
        }
    }
}
