//! What every group does with its cases: the table of ratios first, then criterion's statistics.

use std::time::Duration;

use bench_harness::{Case, Ready, Row, compare, publish};
use criterion::Criterion;

/// Measures all cases, one after the other, and publishes the ratios. `note` makes something of a subject's figure.
pub fn run(group: &str, cases: impl IntoIterator<Item = Case>, note: fn(f64) -> String) {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    let mut rows = Vec::new();
    for case in cases {
        let (compared, ready) = compare(&case);
        rows.extend(compared.into_iter().zip(&ready).map(|(row, subject)| noted(row, subject, note)));
        let mut timed = criterion.benchmark_group(format!("{group}/{}", case.name));
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
    criterion.final_summary();
    publish(group, &rows).expect("the target folder can be written to");
}

fn noted(row: Row, subject: &Ready, note: fn(f64) -> String) -> Row {
    match subject.figure() {
        0.0 => row,
        figure => Row { note: note(figure), ..row },
    }
}
