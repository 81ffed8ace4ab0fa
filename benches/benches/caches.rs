//! All that is timed, in one program: a target for each group would be optimised as a whole ten times over.
//!
//! `cargo bench` runs all groups; `cargo bench --bench caches -- hits` only that one, and so on with
//! `hits/1k`, `hits/1k keys, 1 thread/ours`. For each case there is a table of ratios first, then come criterion's
//! statistics; `-- hits --ratios` is for the table alone.

#[path = "../groups/mod.rs"]
mod groups;
#[path = "../subjects/mod.rs"]
mod subjects;

use std::{env, time::Duration};

use bench_harness::{Ready, Row, compare, publish};
use criterion::Criterion;

use crate::groups::Group;

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let is_criterion_wanted = !args.iter().any(|arg| arg == "--ratios");
    let mut criterion = is_criterion_wanted.then(|| {
        Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(400))
            .configure_from_args()
    });
    let is_chosen = |group: &&Group| {
        let Some(filter) = filter else { return true };
        let first = filter.split('/').next().unwrap_or_default();
        first == group.name || !groups::ALL.iter().any(|other| other.name == first)
    };
    for group in groups::ALL.iter().filter(is_chosen) {
        measure(group, filter.map(String::as_str), criterion.as_mut());
    }
    if let Some(criterion) = criterion {
        criterion.final_summary();
    }
}

/// Measures the cases that `filter` leaves, one after the other, and publishes the ratios.
fn measure(group: &Group, filter: Option<&str>, mut criterion: Option<&mut Criterion>) {
    let mut rows = Vec::new();
    for case in (group.cases)() {
        let name = format!("{}/{}", group.name, case.name);
        if filter.is_some_and(|filter| {
            filter.contains('/') && !name.starts_with(filter) && !filter.starts_with(&name)
        }) {
            continue;
        }
        let (compared, ready) = compare(&case);
        rows.extend(compared.into_iter().zip(&ready).map(|(row, subject)| noted(row, subject, group.note)));
        let Some(criterion) = &mut criterion else { continue };
        let mut timed = criterion.benchmark_group(name);
        for subject in &ready {
            timed.bench_function(subject.name(), |bencher| {
                bencher.iter_custom(|ops| {
                    // The same number of operations for each thread, and at least one.
                    let ops = ops.next_multiple_of(case.threads as u64);
                    subject.measure(case.threads, ops, case.cpu).wall
                });
            });
        }
        timed.finish();
    }
    publish(group.name, &rows).expect("the target folder can be written to");
}

fn noted(row: Row, subject: &Ready, note: fn(f64) -> String) -> Row {
    match subject.figure() {
        0.0 => row,
        figure => Row { note: note(figure), ..row },
    }
}
