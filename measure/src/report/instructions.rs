//! Instructions an operation, as callgrind counted them.

use serde::Deserialize;

use super::page::{Bar, Bars};
use crate::table::count;

/// What one subject needs in one loop.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Instructions {
    #[serde(rename = "loop")]
    name: String,
    subject: String,
    instructions_per_op: f64,
}

/// One chart a loop, in the order of the rows.
pub(super) fn bars(rows: &[Instructions]) -> Vec<Bars> {
    let mut all: Vec<Bars> = Vec::new();
    for row in rows {
        let bar = Bar {
            subject: row.subject.clone(),
            amount: row.instructions_per_op,
            text: number(row.instructions_per_op),
            range: None,
        };
        match all.iter_mut().find(|bars| bars.title == row.name) {
            Some(bars) => bars.bars.push(bar),
            None => all.push(Bars { title: row.name.clone(), bars: vec![bar] }),
        }
    }
    all
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded to be shown")]
fn number(amount: f64) -> String {
    count(amount.round() as u64)
}
