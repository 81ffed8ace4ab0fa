//! The simulation itself.

use super::*;
use crate::{MapBackend, WaitingBackend};

fn waiting(seed: u64, node: usize) -> Arc<dyn Backend> {
    let latency_max = Duration::from_millis(3 + seed % 15);
    Arc::new(WaitingBackend::new(MapBackend::new(), 50, seed ^ node as u64).with_latency_max(latency_max))
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..100 {
        let schedule = Schedule::new(seed, 3);
        let (one, other) = (run(&schedule, &waiting), run(&schedule, &waiting));
        assert!(one == other, "seed {seed}\n{one:#?}\n{other:#?}");
    }
    assert!(run(&Schedule::new(1, 3), &waiting) != run(&Schedule::new(2, 3), &waiting));
}
