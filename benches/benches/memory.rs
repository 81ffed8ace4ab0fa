//! The memory of an entry and of a stream. Separate from what is timed, for its counting allocator.
#![forbid(unsafe_code)]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    benches::memory::run(|| {
        let stats = ALLOCATOR.stats();
        let bytes = stats.bytes_allocated as f64 - stats.bytes_deallocated as f64;
        (bytes, stats.allocations as f64 - stats.deallocations as f64)
    });
}
