//! The pure part of a hit: is this entry fresh? One that nobody validated, so that the verdict comes from the first
//! look at it.

use std::{hint::black_box, time::Duration};

use bench_harness::{Case, CpuTime, Run, Subject};
use bytes::Bytes;
use cache_core::{Entry, Freshness, Key, Moment, Verdict, judge};

use super::{Cases, Group};

pub const GROUP: Group = Group { name: "judge", cases, note: |_| String::new() };

fn cases() -> Cases {
    let rules = [("strong", Freshness::strong()), ("max_age", Freshness::max_age(Duration::from_secs(1)))];
    let subject = |(name, freshness): (&str, Freshness)| {
        Subject::new(name, move || {
            let key = Key::parse("config.json").expect("a canonical key");
            let entry = Entry::builder(&key, Bytes::from_static(b"{}")).e_tag("\"1\"").build();
            let (now, freshness) = (Moment::from_nanos(1), freshness);
            Run::new(move |_, ops| {
                for _ in 0..ops {
                    let verdict = judge(black_box(&entry), black_box(now), black_box(&freshness));
                    assert_eq!(verdict, Verdict::Ask);
                }
            })
        })
    };
    let case = Case {
        name: "an entry not validated".to_owned(),
        reference: "strong",
        threads: 1,
        ops: 100_000,
        rounds: 20,
        cpu: CpuTime::Thread,
        subjects: rules.map(subject).into(),
    };
    Box::new([case].into_iter())
}
