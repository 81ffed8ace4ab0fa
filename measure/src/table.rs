//! Rows of figures as Markdown.

use std::fmt::Write as _;

use crate::{row::Row, setting::Unit, summary::is_online};

/// One table for each trace and unit, and one more of the byte hits where objects have sizes.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Hit ratios\n\nIn percent of all requests; the best of each column but the optimum is **bold**.\n",
    );
    for group in groups(rows) {
        let (trace, unit) = (&group[0].trace, group[0].unit);
        let n = count(group[0].requests);
        let _ = write!(
            text,
            "\n## {trace}, by {}: {n} requests\n\n{}",
            unit.name(),
            table(group, unit, |row| row.hit_ratio)
        );
        if unit == Unit::Bytes {
            let bytes = table(group, unit, |row| row.byte_hit_ratio);
            let _ = write!(text, "\nIn percent of the bytes:\n\n{bytes}");
        }
    }
    text
}

/// The rows of each trace and unit, which follow each other.
pub fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.trace == b.trace && a.unit == b.unit)
}

/// The rows of each pair of a trace and a capacity.
pub(crate) fn pairs(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.trace == b.trace && a.unit == b.unit && a.capacity == b.capacity)
}

fn table(group: &[Row], unit: Unit, ratio: fn(&Row) -> f64) -> String {
    let columns: Vec<_> = pairs(group).collect();
    let best = |column: &[Row]| {
        let online = column.iter().filter(|row| is_online(row));
        online.map(ratio).fold(0.0, f64::max)
    };
    let best: Vec<_> = columns.iter().map(|column| best(column)).collect();
    let heads = columns.iter().map(|column| format!(" {} |", amount(column[0].capacity, unit)));
    let mut text =
        format!("| policy |{}\n| --- |{}\n", heads.collect::<String>(), " ---: |".repeat(columns.len()));
    for (i, row) in columns[0].iter().enumerate() {
        let cells = columns.iter().zip(&best).map(|(column, &best)| {
            let row = &column[i];
            let percent = 100.0 * ratio(row);
            if is_online(row) && ratio(row) >= best {
                format!(" **{percent:.2}** |")
            } else {
                format!(" {percent:.2} |")
            }
        });
        let _ = writeln!(text, "| {} |{}", row.policy, cells.collect::<String>());
    }
    text
}

/// A capacity, for people.
pub(crate) fn amount(capacity: u64, unit: Unit) -> String {
    match unit {
        Unit::Entries => count(capacity),
        Unit::Bytes => bytes(capacity),
    }
}

/// With a comma at each thousand.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let lead = digits.len() % 3;
    let (head, tail) = digits.split_at(lead);
    let mut text = head.to_owned();
    for (i, digit) in tail.chars().enumerate() {
        if i % 3 == 0 && !text.is_empty() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(n: u64) -> String {
    let names = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = n as f64;
    let mut names = names.iter();
    let mut name = names.next();
    while amount >= 1024.0 {
        let Some(next) = names.next() else { break };
        (amount, name) = (amount / 1024.0, Some(next));
    }
    let name = name.copied().unwrap_or_default();
    if name == "B" { format!("{n} B") } else { format!("{amount:.1} {name}") }
}
