//! What the benchmarks share. They are under `benches/`, one file a question; `cargo bench` runs them.
#![forbid(unsafe_code)]
