//! The cost of exporting metrics. Separate, because it is built twice: with the feature `tracing`,
//! and without.
#![forbid(unsafe_code)]

fn main() {
    benches::exporters::run();
}
