//! The cost of a read by size and distance. Separate from what is timed in CPU time: most of the
//! time here is spent waiting.
#![forbid(unsafe_code)]

fn main() {
    benches::distances::run();
}
