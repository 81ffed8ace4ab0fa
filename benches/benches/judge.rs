//! The pure part of a hit: is this entry fresh?

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use cache_core::{Entry, Freshness, Key, Moment, Verdict, judge};
use criterion::{Criterion, criterion_group, criterion_main};

/// An entry that nobody vouched for, under rules that differ: the verdict comes from the first look at it.
fn unvouched(c: &mut Criterion) {
    let key = Key::parse("config.json").expect("a canonical key");
    let entry = Entry::builder(&key, Bytes::from_static(b"{}")).e_tag("\"1\"").build();
    let now = Moment::from_nanos(1);
    assert_eq!(judge(&entry, now, &Freshness::immutable()), Verdict::Ask);
    for (name, freshness) in
        [("strong", Freshness::strong()), ("max_age", Freshness::max_age(Duration::from_secs(1)))]
    {
        c.bench_function(&format!("judge/unvouched/{name}"), |b| {
            b.iter(|| judge(black_box(&entry), black_box(now), black_box(&freshness)));
        });
    }
}

criterion_group!(benches, unvouched);
criterion_main!(benches);
