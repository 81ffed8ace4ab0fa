//! Tables and charts compared with reviewed ones.
//!
//! After an intended change: `SIMULATE_BLESS=1 cargo test -p simulate`, and review the files.

use std::{env, fs, path::Path};

use crate::{chart, row::Row, setting::Unit, summary::Summary, table};

fn rows() -> Vec<Row> {
    let row = |unit, capacity, policy: &str, hits: u32| Row {
        trace: "web <1>".to_owned(),
        unit,
        capacity,
        policy: policy.to_owned(),
        share: 0.05,
        requests: 12_345,
        hits: hits.into(),
        hit_ratio: f64::from(hits) / 12_345.0,
        byte_hit_ratio: f64::from(hits) / 20_000.0,
    };
    let pair = |(unit, capacity, hits): (Unit, u64, [u32; 4])| {
        let names = ["lru", "default", "peer:moka", "belady"];
        names.into_iter().zip(hits).map(move |(name, hits)| row(unit, capacity, name, hits))
    };
    [
        (Unit::Entries, 204, [2_000, 3_000, 2_900, 4_000]),
        (Unit::Entries, 1_024, [4_000, 4_500, 4_500, 6_000]),
        (Unit::Bytes, 3_000_000, [1_000, 1_100, 900, 3_000]),
    ]
    .into_iter()
    .flat_map(pair)
    .collect()
}

#[track_caller]
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if env::var_os("SIMULATE_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} differs; see golden.rs. It is now:\n{text}");
}

#[test]
fn tables_look_as_they_did() {
    let rows = rows();
    check("table.md", &format!("{}\n{}", table::render(&rows), Summary::new(&rows)));
}

#[test]
fn a_chart_looks_as_it_did() {
    let rows = rows();
    let charts: Vec<_> = table::groups(&rows).map(chart::render).collect();
    assert_eq!(charts.len(), 2);
    check("chart.svg", &charts[0]);
}
