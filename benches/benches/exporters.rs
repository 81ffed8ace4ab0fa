//! What does it cost to be watched? Fresh hits of a cache that nobody exports, and of one that each exporter scrapes ten
//! times a second; and a scrape of a hundred caches. Run it with `--features tracing` too: who has that compiled in, and
//! listens to nothing, should pay nothing.

#[path = "../subjects/mod.rs"]
mod subjects;

use bench_harness::{Case, CpuTime, Row, compare, publish};

use crate::subjects::{
    exporters::{self, Scraping},
    objects::Objects,
    stores::Store,
};

fn main() {
    let tracing = if cfg!(feature = "tracing") { "tracing compiled in, and off" } else { "no tracing" };
    let objects = Objects::new(N_KEYS, Store::in_memory());
    let mut subjects = vec![objects.fresh_beside(ALONE, |_| ())];
    subjects.extend(
        exporters::ALL.map(|(name, exporter)| {
            objects.fresh_beside(name, move |cache| Scraping::begin(cache, exporter))
        }),
    );
    let hits = Case {
        name: format!("fresh hit, {tracing}"),
        reference: ALONE,
        threads: 1,
        ops: 80_000,
        rounds: 60,
        cpu: CpuTime::Thread,
        subjects,
    };
    let scrapes = Case {
        name: format!("a scrape of {N_CACHES} caches"),
        reference: "prometheus",
        threads: 1,
        ops: 20,
        rounds: 20,
        cpu: CpuTime::Thread,
        subjects: exporters::ALL.map(|exporter| exporters::of_many(N_CACHES, exporter)).into(),
    };
    let (mut rows, _) = compare(&hits);
    rows.extend(compare(&scrapes).0.into_iter().map(in_micros));
    publish("exporters", &rows).expect("the target folder can be written to");
}

fn in_micros(row: Row) -> Row {
    Row { unit: "us", value: row.value / 1000.0, wall: row.wall / 1000.0, ..row }
}

const ALONE: &str = "no exporter";
const N_KEYS: usize = 1000;
const N_CACHES: usize = 100;
