//! How many bytes does an entry take, above its key, its body and its ETag? And a stream, above what is held? What the
//! allocator was asked for; what it rounds up is its own affair.

#[path = "../subjects/mod.rs"]
mod subjects;

use std::alloc::System;

use bench_harness::{Row, Subject, Workload, publish};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::subjects::{
    fills::Fill,
    ranges::{BLOCK, Streamed},
    tables::{self, E_TAG},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let mut rows = Vec::new();
    let small = [("10^4", 10_000), ("10^5", 100_000), ("10^6", 1_000_000)].map(|size| (size, 100));
    for ((size, n), body_bytes) in small.into_iter().chain([(("10^5", 100_000), 4096)]) {
        let work = Fill { workload: Workload::cycle(n), body_bytes };
        for subject in tables::all(&work).into_iter().chain([tables::locked_map(&work)]) {
            rows.push(row(&subject, format!("{size} entries, bodies of {body_bytes} bytes"), &work));
        }
    }
    rows.extend(stream());
    publish("memory", &rows).expect("the target folder can be written to");
}

fn row(subject: &Subject, case: String, work: &Fill) -> Row {
    let n = work.workload.keys().len() as f64;
    // quick_cache with bodies only, moka and foyer keep no tag.
    let keeps_tag = ["ours", "quick_cache-arc", "rwlock-map"].contains(&subject.name());
    let tag = if keeps_tag { E_TAG.len() } else { 0 };
    let content = (work.workload.keys()[0].len() + work.body_bytes + tag) as f64;
    let (before, calls_before) = held();
    let ready = subject.set_up();
    let (after, calls_after) = held();
    let per_entry = (after - before) / n;
    ready.run(1);
    let read = (held().0 - before) / n;
    let accounted = match ready.figure() {
        0.0 => String::new(),
        bytes => format!("; accounts for {:.3} of it", bytes / (after - before)),
    };
    Row {
        case,
        subject: subject.name().to_owned(),
        reference: "quick_cache".to_owned(),
        threads: 1,
        unit: "bytes",
        value: per_entry - content,
        wall: 0.0,
        note: format!(
            "{:.1} allocations; {:.1} bytes once each was read{accounted}",
            (calls_after - calls_before) / n,
            read - content
        ),
    }
}

/// What a stream takes at most, above what the cache may hold, in blocks; and what the bare store's takes.
fn stream() -> [Row; 2] {
    let streamed = Streamed::new();
    let in_use = || held().0;
    let peaks = [("ours", streamed.peak_of_ours(in_use)), ("bare", streamed.peak_of_bare(in_use))];
    peaks.map(|(subject, peak)| Row {
        case: "a stream of 64 MiB from local disk".to_owned(),
        subject: subject.to_owned(),
        reference: "bare".to_owned(),
        threads: 1,
        unit: "blocks",
        value: peak / BLOCK as f64,
        wall: 0.0,
        note: format!("of {BLOCK} bytes; sampled at each part"),
    })
}

/// The bytes, and the allocations, that are in use.
fn held() -> (f64, f64) {
    let stats = ALLOCATOR.stats();
    let bytes = stats.bytes_allocated as f64 - stats.bytes_deallocated as f64;
    (bytes, stats.allocations as f64 - stats.deallocations as f64)
}
