//! Everything that is timed, in one program: to link a target for each group would take ten times
//! as long.
//!
//! `cargo bench` runs all groups; `cargo bench --bench caches -- hits` only that one, and likewise
//! `hits/1k` and `hits/1k keys, 1 thread/ours`. For each case a table of ratios is measured first,
//! then criterion's statistics; `-- hits --ratios` prints the table alone.
#![forbid(unsafe_code)]

use std::{env, time::Duration};

use benches::{
    Row, compare,
    groups::{self, Cases},
    publish,
};
use criterion::Criterion;

struct Group {
    name: &'static str,
    cases: fn() -> Cases,
    /// The text for a subject's figure; for a group whose subjects have none, empty.
    note: fn(f64) -> String,
}

const GROUPS: [Group; 11] = [
    group("hits", groups::hits),
    group("inserts", groups::inserts),
    Group { name: "mix", cases: groups::mix, note: |percent| format!("{percent:.1} % hits") },
    group("fresh", groups::fresh),
    group("validated", groups::validated),
    group("misses", groups::misses),
    Group { name: "ranges", cases: groups::ranges, note: |n| format!("{n:.2} requests a read") },
    Group { name: "burst", cases: groups::burst, note: |n| format!("{n:.2} requests") },
    group("decoded", groups::decoded),
    group("scaling", groups::scaling),
    group("judge", groups::judge_freshness),
];

const fn group(name: &'static str, cases: fn() -> Cases) -> Group {
    Group { name, cases, note: |_| String::new() }
}

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map(String::as_str);
    let mut criterion = (!args.iter().any(|arg| arg == "--ratios")).then(|| {
        Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(400))
            .configure_from_args()
    });
    let first = filter.and_then(|filter| filter.split('/').next());
    let is_named = GROUPS.iter().any(|group| Some(group.name) == first);
    for group in GROUPS.iter().filter(|group| !is_named || Some(group.name) == first) {
        measure(group, filter, criterion.as_mut());
    }
    if let Some(criterion) = criterion {
        criterion.final_summary();
    }
}

/// Measures the cases that `filter` selects, one after the other, and publishes the ratios.
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
        rows.extend(compared.into_iter().zip(&ready).map(
            |(row, subject)| match subject.figure() {
                0.0 => row,
                figure => Row { note: (group.note)(figure), ..row },
            },
        ));
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
    publish(group.name, &rows);
}
