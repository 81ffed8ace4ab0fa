//! Results of `cargo bench`: the files `ratios/GROUP.json` in the target folder.

use std::{fs, io, path::Path};

use serde::Deserialize;

use super::{
    json,
    page::{Bar, Bars, span},
};
use crate::{Result, table::count};

/// One group of cases.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rows: Vec<Ratio>,
}

/// One subject of one case. `ratio` is zero if unknown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Ratio {
    group: String,
    case: String,
    subject: String,
    reference: String,
    unit: String,
    value: f64,
    wall: f64,
    ratio: f64,
    note: String,
}

/// Reads all groups in `folder`, by name; none without that folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Group>> {
    let fault = |error: io::Error| format!("{}: {error}", folder.display());
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error).into()),
    };
    let mut groups = Vec::new();
    for file in files {
        let path = file.map_err(fault)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let rows: Vec<Ratio> = json(&path)?.unwrap_or_default();
        if let Some(first) = rows.first() {
            groups.push(Group { name: first.group.clone(), rows });
        }
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

impl Group {
    /// One chart a case.
    pub(super) fn bars(&self) -> Vec<Bars> {
        self.rows.chunk_by(|a, b| a.case == b.case).map(bars).collect()
    }
}

fn bars(case: &[Ratio]) -> Bars {
    let bar = |row: &Ratio| Bar {
        subject: row.subject.clone(),
        amount: row.value,
        text: amount(row.value, &row.unit),
        hint: (row.wall > 0.0).then(|| format!("{} on the wall", span(row.wall))),
        ratio: (row.ratio > 0.0).then_some(row.ratio),
        note: row.note.clone(),
    };
    let reference = case[0].reference.clone();
    Bars {
        title: case[0].case.clone(),
        reference: Some(reference),
        bars: case.iter().map(bar).collect(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded to be shown")]
fn amount(value: f64, unit: &str) -> String {
    match unit {
        "ns" => span(value),
        unit if value < 10.0 => format!("{value:.2} {unit}"),
        unit => format!("{} {unit}", count(value.round() as u64)),
    }
}
