//! What a memory backend counts as held, against what the allocator says. A binary of its own:
//! nothing else may allocate meanwhile.

use std::{
    alloc::System,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Admission, Backend, Entry, EvictionPolicy, Key, Moment};
use cache_policy::{Adaptive, Gdsf, Lru, MemoryBackend, S3Fifo, Sieve, Ttl, WTinyLfu};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A backend that grows from nothing, and what was allocated since before it was built.
struct Measured {
    backend: Arc<dyn Backend>,
    region: Region<'static, System>,
}

impl Measured {
    fn new(policy: impl EvictionPolicy, max_entries: u32) -> Self {
        let region = Region::new(ALLOCATOR);
        let builder = MemoryBackend::builder(policy)
            .shards(8)
            .max_capacity(u64::MAX)
            .max_entries(max_entries.into());
        Self { backend: Arc::new(builder.build().expect("the settings are good")), region }
    }

    fn insert(&self, numbers: std::ops::Range<u32>, body: usize) {
        for n in numbers {
            let key =
                Key::parse(&format!("tenants/acme/objects/{n:08x}/page.json")).expect("a key");
            let entry = Entry::builder(&key, Bytes::from(vec![7; body]))
                .e_tag("\"9b2cf535f27731c974343645a3985328\"")
                .validated(Moment::from_nanos(u64::from(n)), Some(Duration::from_secs(300)))
                .build();
            drop(key);
            assert!(matches!(
                done(self.backend.insert(entry)),
                Ok(Admission::Stored | Admission::Rejected(_))
            ));
        }
    }

    fn allocated(&self) -> u64 {
        let change = self.region.change();
        (change.bytes_allocated - change.bytes_deallocated) as u64
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let (held, allocated) = (self.backend.usage().bytes, self.allocated());
        let bounds = allocated / 10 * 9..=allocated / 10 * 11;
        assert!(bounds.contains(&held), "{what}: {held} counted, {allocated} allocated");
    }
}

fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn check<P: EvictionPolicy>(policy: &str, build: impl Fn() -> P) {
    for (body, n) in [(17, 10_000), (17, 13_000), (200, 20_000), (4096, 10_000)] {
        check_sizes(policy, &build, body, n);
    }
}

fn check_sizes<P: EvictionPolicy>(policy: &str, build: impl Fn() -> P, body: usize, n: u32) {
    // The test harness has a thread of its own, which allocates when it likes: what leaks does so
    // each time.
    let left: Vec<_> = (0..3)
        .map(|_| left_after_clear(policy, &build, body, n))
        .take_while(|left| *left != 0)
        .collect();
    assert!(
        left.len() < 3,
        "{policy}, {n} bodies of {body} bytes, after clear: {left:?} bytes are left"
    );
}

/// The bytes that are allocated after a clear and were not before.
fn left_after_clear<P: EvictionPolicy>(
    policy: &str,
    build: impl Fn() -> P,
    body: usize,
    n: u32,
) -> i128 {
    let held = Measured::new(build(), n);
    let empty = held.allocated();
    held.insert(0..n, body);
    held.check(&format!("{policy}, {n} bodies of {body} bytes"));
    held.insert(n..2 * n, body);
    held.check(&format!("{policy}, {n} bodies of {body} bytes, after churn"));
    assert!(done(held.backend.clear()).is_ok());
    assert_eq!(held.backend.usage().bytes, 0);
    i128::from(held.allocated()) - i128::from(empty)
}

#[test]
fn what_is_counted_is_within_a_tenth_of_what_is_allocated() {
    // Once before, so that what a process allocates once is not counted.
    Measured::new(Ttl::new(Lru::new()), 10).insert(0..100, 10);
    check("Adaptive", || Ttl::new(Adaptive::new()));
    check("Lru", || Ttl::new(Lru::new()));
    check_sizes("Lru", || Ttl::new(Lru::new()), 17, 200_000);
    check("Sieve", || Ttl::new(Sieve::new()));
    check("S3Fifo", || Ttl::new(S3Fifo::new()));
    check("WTinyLfu", || Ttl::new(WTinyLfu::new()));
    check("Gdsf", || Ttl::new(Gdsf::new()));
}
