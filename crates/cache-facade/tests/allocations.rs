//! What a read allocates: a process of its own, for its counting allocator.

use std::{
    alloc::System,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use cache_facade::{
    Eviction, Freshness, Memory, ObjectCache, Status, object_store::memory::InMemory,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Outside of a runtime, too: so it starts no task, and is ready when it is first polled.
#[test]
fn a_fresh_hit_allocates_nothing_and_needs_no_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for eviction in [Eviction::default(), Eviction::Lru] {
        let cache = ObjectCache::builder(Arc::new(InMemory::new()))
            .freshness(Freshness::max_age(Duration::from_secs(3600)))
            .freshness_for("static/", Freshness::immutable())
            .backend(Memory::new().eviction(eviction))
            .build()
            .unwrap();
        for key in ["config.json", "static/a"] {
            runtime.block_on(cache.put(key, "body")).unwrap();
            let allocated = Region::new(ALLOCATOR);
            for _ in 0..1000 {
                let read = pin!(cache.get(key)).poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(Ok(object)) = read else { panic!("{read:?}") };
                assert_eq!((object.status(), &object.bytes()[..]), (Status::Fresh, &b"body"[..]));
            }
            let change = allocated.change();
            assert_eq!((change.allocations, change.reallocations), (0, 0), "{key}");
        }
    }
}
