//! Tables, as Markdown and as HTML, and those of the hit ratios.

use std::fmt::{self, Write as _};

use crate::{html::escaped, row::Row, setting::Unit, summary::is_online};

/// A table whose first column is text and whose others are numbers. Displays as aligned Markdown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The headings of the columns.
    pub head: Vec<String>,
    /// One cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// In plain text.
    pub text: String,
    /// Whether it is shown in bold.
    pub is_best: bool,
}

impl Table {
    /// An empty one.
    pub(crate) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row without bold cells.
    pub(crate) fn push<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| Cell::from(cell.into())).collect());
    }

    /// As an element `table`.
    pub(crate) fn html(&self) -> String {
        let row = |cells: Vec<String>| format!("<tr>{}</tr>", cells.concat());
        let head = self
            .head
            .iter()
            .map(|cell| format!("<th scope=\"col\">{}</th>", escaped(cell)))
            .collect();
        let body = self.rows.iter().map(|cells| {
            let cells = cells.iter().enumerate().map(|(i, cell)| {
                let text = escaped(&cell.text);
                match (i, cell.is_best) {
                    (0, _) => format!("<th scope=\"row\">{text}</th>"),
                    (_, true) => format!("<td><b>{text}</b></td>"),
                    (_, false) => format!("<td>{text}</td>"),
                }
            });
            row(cells.collect())
        });
        let body: Vec<_> = body.collect();
        format!("<table><thead>{}</thead>\n<tbody>{}</tbody></table>\n", row(head), body.join("\n"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |row: &Vec<Cell>| row.iter().map(Cell::to_string).collect::<Vec<_>>();
        let rows: Vec<_> =
            [self.head.clone()].into_iter().chain(self.rows.iter().map(texts)).collect();
        let widths: Vec<_> = (0..self.head.len())
            .map(|i| rows.iter().map(|row| row[i].chars().count()).fold(3, usize::max))
            .collect();
        for (n, row) in rows.iter().enumerate() {
            for (i, (text, &width)) in row.iter().zip(&widths).enumerate() {
                if i == 0 {
                    write!(f, "| {text:width$} |")?;
                } else {
                    write!(f, " {text:>width$} |")?;
                }
            }
            writeln!(f)?;
            if n == 0 {
                let rule = |(i, &width): (usize, &usize)| match i {
                    0 => format!("| {} |", "-".repeat(width)),
                    _ => format!(" {}: |", "-".repeat(width - 1)),
                };
                writeln!(f, "{}", widths.iter().enumerate().map(rule).collect::<String>())?;
            }
        }
        Ok(())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, is_best: false }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_best { write!(f, "**{}**", self.text) } else { f.write_str(&self.text) }
    }
}

/// Renders the hit ratios as Markdown: one table for each trace and unit, and another one for byte
/// hit ratios where objects have sizes.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "In percent, by capacity. **Bold**: the best of each column except the optimum \
         (`belady`),\nwhich knows the future.\n",
    );
    for group in groups(rows) {
        for (title, table) in of_group(group) {
            let _ = write!(text, "\n## {title}\n\n{table}");
        }
    }
    text
}

/// The tables of one [group](groups), each with a title.
pub(crate) fn of_group(group: &[Row]) -> Vec<(String, Table)> {
    let (trace, unit, n) = (&group[0].trace, group[0].unit, count(group[0].requests));
    let by = unit.name();
    let mut tables = vec![(
        format!("{trace}, by {by}: hit ratio, {n} requests"),
        table(group, |row| row.hit_ratio),
    )];
    if unit == Unit::Bytes {
        tables.push((
            format!("{trace}, by {by}: byte hit ratio"),
            table(group, |row| row.byte_hit_ratio),
        ));
    }
    tables
}

/// Splits the rows by trace and unit.
pub fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.trace == b.trace && a.unit == b.unit)
}

/// Splits the rows by trace, unit and capacity.
pub(crate) fn cases(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.trace == b.trace && a.unit == b.unit && a.capacity == b.capacity)
}

fn table(group: &[Row], ratio: fn(&Row) -> f64) -> Table {
    let columns: Vec<_> = cases(group).collect();
    let heads = columns.iter().map(|column| amount(column[0].capacity, column[0].unit));
    let mut table = Table::new([String::from("policy")].into_iter().chain(heads));
    for policy in columns[0] {
        let cells = columns.iter().map(|column| {
            let best = column.iter().filter(|row| is_online(row)).map(ratio).fold(0.0, f64::max);
            let row = column.iter().find(|row| row.policy == policy.policy);
            let text = row.map_or(String::new(), |row| format!("{:.2}", 100.0 * ratio(row)));
            Cell { text, is_best: row.is_some_and(|row| is_online(row) && ratio(row) >= best) }
        });
        table.rows.push([Cell::from(policy.policy.clone())].into_iter().chain(cells).collect());
    }
    table
}

/// A capacity as shown.
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
