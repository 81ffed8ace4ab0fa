//! The contract of backends, as the conformance kit checks it.

use std::sync::Arc;

use cache_core::Backend;
use cache_testkit::conformance::backend::{self, Capabilities, Suite};
use tempfile::TempDir;

use crate::support::{memory, open, tier};

fn suite(capabilities: Capabilities, entries: u64, bytes: u64) -> (TempDir, Suite) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    let suite = Suite::new(capabilities.waits().sweeps(), move |number| {
        let path = path.join(number.to_string());
        async move { Arc::new(open(memory(entries, bytes), tier(&path)).await) as Arc<dyn Backend> }
    });
    (directory, suite)
}

async fn check(capabilities: Capabilities, entries: u64, bytes: u64) {
    let (_directory, suite) = suite(capabilities, entries, bytes);
    for rule in backend::RULES.iter().filter(|rule| !OF_ONE_TIER.contains(&rule.name)) {
        rule.run(&suite).await.unwrap_or_else(|broken| panic!("{broken}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_everything() {
    check(Capabilities::new().outlives_the_process(), u64::MAX >> 1, 17 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_one_entry() {
    check(Capabilities::new().outlives_the_process(), 1, 1 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_fifty_entries() {
    check(Capabilities::new().outlives_the_process(), 50, 1 << 20).await;
}

/// Rules for backends whose `usage` counts all that look-ups show, and that keep what cannot be
/// revalidated: a tier below memory does neither.
const OF_ONE_TIER: &[&str] = &[
    "what_outlives_the_process_comes_back_without_a_stamp",
    "a_sweep_drops_what_has_expired",
    "usage_counts_what_is_shown",
    "whoever_left_is_counted_once",
    "many_tasks_at_once_find_their_own",
];
