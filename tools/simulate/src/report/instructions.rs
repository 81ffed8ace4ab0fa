//! Instructions per operation, counted by callgrind.

use serde::Deserialize;

use super::page::{Bar, Bars, with_ratios};
use crate::table::count;

/// One subject in one loop.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Instructions {
    #[serde(rename = "loop")]
    name: String,
    subject: String,
    instructions_per_op: f64,
}

/// One chart a loop, in the order of the rows.
pub(super) fn bars(rows: &[Instructions]) -> Vec<Bars> {
    let mut loops: Vec<&str> = Vec::new();
    for row in rows {
        if !loops.contains(&row.name.as_str()) {
            loops.push(&row.name);
        }
    }
    let bar = |row: &Instructions| Bar {
        subject: row.subject.clone(),
        amount: row.instructions_per_op,
        text: number(row.instructions_per_op),
        hint: None,
        ratio: None,
        note: String::new(),
    };
    let of_loop = |name: &str| rows.iter().filter(|row| row.name == name).map(bar).collect();
    loops.into_iter().map(|name| with_ratios(name.to_owned(), of_loop(name))).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count, rounded to be shown"
)]
fn number(amount: f64) -> String {
    count(amount.round() as u64)
}
